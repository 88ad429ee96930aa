package rehearse

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// newMariaDBFor is a database server that ends with the test.
func newMariaDBFor(t *testing.T) *database {
	t.Helper()
	made, err := startMariaDB(t.Context(), &workspace{dir: t.TempDir()}, "mariadb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.close(); err != nil {
			t.Error(err)
		}
	})
	return made.(*database)
}

// A rehearsal on shadow users of MariaDB leaves the real user, its grants and
// its session as they were, and no shadow.
func TestShadowMariaDB(t *testing.T) {
	t.Parallel()
	d := newMariaDBFor(t)
	secret, root, err := d.create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.read(secret)
	if err != nil {
		t.Fatal(err)
	}
	open, err := d.enter(t.Context(), l, d.secure)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close(context.Background())
	session, err := d.asSuperuser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(context.Background())
	before, err := session.(keeper).Fingerprint(t.Context(), text(secret["username"]))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shadow := &Shadow{Engine: "mariadb", Secret: maps.Clone(secret), Superuser: root}
	shadow.Secret["password"] = "not-its-password"
	var prefixes []string
	progress := func(line string) {
		if _, name, told := strings.Cut(line, " will be called "); told {
			prefixes = append(prefixes, name[:strings.IndexByte(name, '*')])
		}
	}
	for _, strategy := range []string{single, alternating} {
		report, err := Run(t.Context(), Options{
			Program: program, Environment: []string{"KEYTURN_TEST_PROGRAM=yes"}, Function: BuiltIn("mariadb." + strategy), Strategy: strategy,
			Shadow: shadow, Only: []string{"kill-after-set", "database-down-set", "foreign-put-set"}, Progress: progress,
		})
		if err != nil || !report.Passed {
			t.Fatalf("%s: got %v, %v", strategy, report.Codes(), err)
		}
		for _, r := range report.Results {
			if r.Outcome != Passed {
				t.Errorf("%s, %s: got %s (%s)", strategy, r.Fault, r.Outcome, r.Note)
			}
		}
	}
	if after, err := session.(keeper).Fingerprint(t.Context(), text(secret["username"])); err != nil || after != before {
		t.Errorf("the real user was changed, or cannot be read: %v", err)
	}
	if err := open.Ping(t.Context()); err != nil {
		t.Errorf("the real user's session: %v", err)
	}
	if in, err := d.login(t.Context(), secret); !in || err != nil {
		t.Errorf("the real user: logs in %v, %v", in, err)
	}
	for _, prefix := range prefixes {
		for n := range 20 {
			for _, name := range []string{fmt.Sprint(prefix, n), fmt.Sprint(prefix, n, "_clone")} {
				if left, err := session.UserExists(t.Context(), name); left || err != nil {
					t.Errorf("the shadow %s is left: %v, %v", name, left, err)
				}
			}
		}
	}
	if len(prefixes) != 2 {
		t.Errorf("got shadows of the names %v", prefixes)
	}
}

// What guards a real user of MariaDB sees a new password, and nothing else.
func TestKeeperMariaDB(t *testing.T) {
	d := newMariaDBFor(t)
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
