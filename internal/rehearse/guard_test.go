package rehearse

import (
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// What guards a real user of MariaDB sees a new password, and nothing else.
func TestKeeperMariaDB(t *testing.T) {
	made, err := startMariaDB(t.Context(), "mariadb")
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*database)
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	secret, root, err := d.create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	user := text(secret["username"])
	session, err := d.asSuperuser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	k := session.(keeper)
	print := func() string {
		got, err := k.Fingerprint(t.Context(), user)
		if err != nil || got == "" {
			t.Fatalf("got %q, %v, want a fingerprint", got, err)
		}
		return got
	}
	before := print()
	if err := k.Expire(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if in, err := d.login(t.Context(), secret); !in || err != nil || print() != before {
		t.Errorf("after Expire: logs in %v (%v), same fingerprint %v", in, err, print() == before)
	}
	if err := session.SetPassword(t.Context(), user, plaintext.Of("Another-one-1")); err != nil {
		t.Fatal(err)
	}
	if print() == before {
		t.Error("a new password has the fingerprint of the old one")
	}
	for name, want := range map[string]bool{text(root["username"]): true, "nobody": false} {
		powers, err := k.Powers(t.Context(), name)
		if err != nil || slices.Contains(powers, "SUPER") != want {
			t.Errorf("%s: got %v, %v, want SUPER %v", name, powers, err, want)
		}
	}
}

func TestLeaks(t *testing.T) {
	secret := value{
		"engine": "postgres", "username": "app", "password": "p@ss/word", "host": "db.test", "url": "postgres://app@db.test/",
		"quoted": "x p%40ss%2Fword y", "list": []any{"fine", value{"deep": "p@ss/word"}}, "site": "https://example.test/a@b",
	}
	if got, want := leaks(secret, "", "p@ss/word"), []string{"list[1].deep", "quoted", "url"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TLS is off only if both secrets say so.
func TestTrust(t *testing.T) {
	for _, c := range []struct {
		user, superuser any
		plain           bool
	}{{false, false, true}, {"false", false, true}, {false, nil, false}, {false, true, false}, {nil, false, false}, {nil, nil, false}} {
		d := &database{host: "db.test"}
		if err := d.trust(&Shadow{Secret: value{"ssl": c.user}, Superuser: value{"ssl": c.superuser}}); err != nil {
			t.Fatal(err)
		}
		if (d.secure == nil) != c.plain {
			t.Errorf("%v and %v: got plain %v, want %v", c.user, c.superuser, d.secure == nil, c.plain)
		}
	}
}
