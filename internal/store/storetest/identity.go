package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

func fullKey(id string) *key.Record {
	return &key.Record{
		ID: id, Account: account, Region: region, Description: "a key", Manager: key.Customer, State: key.PendingDeletion,
		Policy: "{}", CreatedAt: noon0, DeleteAt: noon0.AddDate(0, 0, 7), Tags: []key.Tag{{Key: "k", Value: "v"}},
		Material: []key.Material{
			{ID: "m2", Wrapped: []byte{0, 1}, CreatedAt: noon0},
			{ID: "m1", Wrapped: []byte{2}, CreatedAt: noon0.Add(time.Second)},
		},
	}
}

func testKeys(t *testing.T, open Open) {
	s := open(t)
	get := func(id string) (*key.Record, error) {
		var got *key.Record
		err := s.View(t.Context(), func(tx *store.Tx) (err error) {
			got, err = tx.Key(account, region, id)
			return err
		})
		return got, err
	}
	_, err := get("none")
	wantKind(t, err, fault.NotFound)
	want := fullKey("k1")
	for _, change := range []func(){
		func() {},
		func() { want.State, want.DeleteAt, want.Tags = key.Enabled, time.Time{}, nil },
		func() { want.Material[0].Wrapped = []byte("wrapped anew") },
		func() {
			want.Material = append(want.Material, key.Material{ID: "m3", Wrapped: []byte{3}, CreatedAt: noon0})
		},
		func() { want.Material = want.Material[:1] },
	} {
		change()
		update(t, s, func(tx *store.Tx) error { return tx.SaveKey(want) })
		got, err := get("k1")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("stored key, error %v (-want +got):\n%s", err, diff)
		}
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteKey(account, region, "k1") })
	_, err = get("k1")
	wantKind(t, err, fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteKey(account, region, "k1") }), fault.NotFound)
}

func testKeyLists(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		for i := range 5 {
			k := fullKey(fmt.Sprint("k", i))
			k.DeleteAt = time.Time{}
			if i%2 == 1 {
				k.DeleteAt = noon0.Add(time.Duration(-i) * time.Hour)
			}
			if err := tx.SaveKey(k); err != nil {
				return err
			}
		}
		other := fullKey("k0")
		other.Region, other.DeleteAt = "eu-west-1", noon0.Add(time.Hour)
		return tx.SaveKey(other)
	})
	ids := func(list []*key.Record, err error) (s string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			s += k.ID
			if len(k.Material) != 2 {
				t.Errorf("key %s came with %d generations of material, want 2", k.ID, len(k.Material))
			}
		}
		return s
	}
	view(t, s, func(tx *store.Tx) error {
		if got := ids(tx.Keys(account, region, "", 3)); got != "k0k1k2" {
			t.Errorf("got first page %q", got)
		}
		if got := ids(tx.Keys(account, region, "k2", 3)); got != "k3k4" {
			t.Errorf("got second page %q", got)
		}
		if got := ids(tx.KeysToPurge(noon0, 10)); got != "k3k1" {
			t.Errorf("got keys to purge %q, want k3k1", got)
		}
		return nil
	})
}

func testAliases(t *testing.T, open Open) {
	s := open(t)
	a := &key.Alias{Name: "alias/one", Account: account, Region: region, KeyID: "k1", CreatedAt: noon0, UpdatedAt: noon0}
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"k1", "k2"} {
			if err := tx.SaveKey(fullKey(id)); err != nil {
				return err
			}
		}
		for _, name := range []string{"alias/B", "alias/a", "alias/b"} {
			if err := tx.SaveAlias(&key.Alias{Name: name, Account: account, Region: region, KeyID: "k2"}); err != nil {
				return err
			}
		}
		return tx.SaveAlias(a)
	})
	names := func(keyID, after string, limit int) (names string) {
		t.Helper()
		for _, a := range read(t, s, func(tx *store.Tx) ([]key.Alias, error) { return tx.Aliases(account, region, keyID, after, limit) }) {
			names += a.Name[len("alias/"):] + " "
		}
		return names
	}
	for _, tc := range []struct {
		keyID, after string
		limit        int
		want         string
	}{{"", "", 10, "B a b one "}, {"", "alias/a", 1, "b "}, {"k2", "", 2, "B a "}, {"k2", "alias/a", 2, "b "}, {"k1", "", 10, "one "}} {
		if got := names(tc.keyID, tc.after, tc.limit); got != tc.want {
			t.Errorf("aliases of %q behind %q: got %q, want %q", tc.keyID, tc.after, got, tc.want)
		}
	}
	a.KeyID, a.UpdatedAt = "k2", noon0.Add(time.Hour)
	update(t, s, func(tx *store.Tx) error { return tx.SaveAlias(a) })
	got := read(t, s, func(tx *store.Tx) (*key.Alias, error) { return tx.Alias(account, region, a.Name) })
	if diff := cmp.Diff(a, got); diff != "" {
		t.Errorf("moved alias (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteAlias(account, region, "alias/B") })
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteAlias(account, region, "alias/B") }), fault.NotFound)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteKey(account, region, "k2") })
	if got := names("", "", 10); got != "" {
		t.Errorf("got aliases %q of a key that is gone", got)
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveAlias(a) }); err == nil {
		t.Error("an alias of a key that is gone was stored")
	}
}

func testRoles(t *testing.T, open Open) {
	s := open(t)
	full := &iam.Role{
		Account: account, Name: "Rotator", Path: "/app/", ID: "AROA1", Description: "d", TrustPolicy: "{}", MaxSession: 2 * time.Hour,
		CreatedAt: noon0, Holdings: iam.Holdings{
			Inline: map[string]string{"a": "{1}", "b": "{2}"}, Attached: []string{"arn:z", "arn:a"}, Tags: []iam.Tag{{Key: "k", Value: "v"}},
			Boundary: "arn:b",
		},
	}
	get := func(name string) *iam.Role {
		t.Helper()
		return read(t, s, func(tx *store.Tx) (*iam.Role, error) { return tx.Role(account, name) })
	}
	update(t, s, func(tx *store.Tx) error { return tx.SaveRole(nil, full) })
	for _, name := range []string{"Rotator", "rotator", "ROTATOR"} {
		if diff := cmp.Diff(full, get(name)); diff != "" {
			t.Errorf("role %s (-want +got):\n%s", name, diff)
		}
	}
	update(t, s, func(tx *store.Tx) error {
		taken := &iam.Role{Account: account, Name: "rotatoR", Path: "/", ID: "AROA2"}
		wantKind(t, tx.SaveRole(nil, taken), fault.Exists)
		return nil
	})
	before := get("rotator")
	after := get("rotator")
	after.Description, after.Tags, after.Boundary = "new", nil, "arn:other"
	after.Inline = map[string]string{"b": "{3}", "c": "{4}"}
	after.Attached = []string{"arn:a", "arn:q"}
	update(t, s, func(tx *store.Tx) error { return tx.SaveRole(before, after) })
	if diff := cmp.Diff(after, get("rotator")); diff != "" {
		t.Errorf("changed role (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteRole(account, "ROTATOR") })
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Role(account, "rotator")
		return err
	}), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteRole(account, "rotator") }), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveRole(before, after) }), fault.NotFound)
	plain := &iam.Role{Account: account, Name: "Rotator", Path: "/", ID: "AROA3"}
	update(t, s, func(tx *store.Tx) error { return tx.SaveRole(nil, plain) })
	if diff := cmp.Diff(plain, get("rotator")); diff != "" {
		t.Errorf("a role made anew has something of the old one (-want +got):\n%s", diff)
	}
}

func testRoleLists(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		for i, r := range []struct{ name, path string }{{"b", "/"}, {"A", "/app/"}, {"C", "/app/db/"}, {"d", "/ap_/"}, {"B2", "/app%/"}} {
			if err := tx.SaveRole(nil, &iam.Role{Account: account, Name: r.name, Path: r.path, ID: fmt.Sprint("AROA", i)}); err != nil {
				return err
			}
		}
		return tx.SaveRole(nil, &iam.Role{Account: "999999999999", Name: "a", Path: "/", ID: "AROAX"})
	})
	for _, tc := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"/", "", 10, "A b B2 C d "}, {"/", "B", 2, "B2 C "}, {"", "", 1, "A "}, {"/app/", "", 10, "A C "}, {"/ap_/", "", 10, "d "}, {"/app%/", "", 10, "B2 "},
	} {
		var got string
		for _, r := range read(t, s, func(tx *store.Tx) ([]*iam.Role, error) { return tx.Roles(account, tc.prefix, tc.after, tc.limit) }) {
			got += r.Name + " "
		}
		if got != tc.want {
			t.Errorf("roles under %q behind %q: got %q, want %q", tc.prefix, tc.after, got, tc.want)
		}
	}
}
