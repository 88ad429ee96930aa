package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

func fullKey(id string) *key.Record {
	return &key.Record{
		ID: id, Account: account, Region: region, Description: "a key", Manager: key.Customer, State: key.PendingDeletion,
		Policy: "{}", CreatedAt: noon0, DeleteAt: noon0.AddDate(0, 0, 7), RotationDays: 90, NextRotation: noon0.AddDate(0, 0, 90),
		Tags: []key.Tag{{Key: "k", Value: "v"}},
		Material: []key.Material{
			{ID: "m2", Wrapped: []byte{0, 1}, CreatedAt: noon0},
			{ID: "m1", Wrapped: []byte{2}, CreatedAt: noon0.Add(time.Second), Rotation: key.OnDemand},
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
		func() { want.RotationDays, want.NextRotation = 0, time.Time{} },
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
	byID := func(region, id string) (*key.Record, error) {
		var got *key.Record
		err := s.View(t.Context(), func(tx *store.Tx) (err error) {
			got, err = tx.KeyByID(region, id)
			return err
		})
		return got, err
	}
	if got, err := byID(region, "k1"); err != nil || got.Account != account || len(got.Material) != 1 {
		t.Errorf("by ID: got %+v, %v", got, err)
	}
	_, err = byID("eu-west-1", "k1")
	wantKind(t, err, fault.NotFound)
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
			} else {
				k.State, k.NextRotation = key.Enabled, noon0.Add(time.Duration(2-i)*time.Hour)
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
		if got := ids(tx.KeysToRotate(noon0, 10)); got != "k4k2" {
			t.Errorf("got keys to rotate %q, want k4k2", got)
		}
		if got := ids(tx.KeysToRotate(noon0.Add(3*time.Hour), 2)); got != "k4k2" {
			t.Errorf("got first keys to rotate %q, want k4k2", got)
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

func testGrants(t *testing.T, open Open) {
	s := open(t)
	full := &key.Grant{
		ID: "g2", Account: account, Region: region, KeyID: "k1", Name: "n", Grantee: "arn:a", Retiring: "arn:r", Issuer: "999999999999",
		Operations: []string{"Decrypt", "CreateGrant"}, Equals: key.EncryptionContext{}, Subset: key.EncryptionContext{"a": "b"}, CreatedAt: noon0,
	}
	grant := func(id, keyID, grantee, retiring string) *key.Grant {
		return &key.Grant{ID: id, Account: account, Region: region, KeyID: keyID, Grantee: grantee, Retiring: retiring, Operations: []string{"Encrypt"}}
	}
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"k1", "k2"} {
			if err := tx.SaveKey(fullKey(id)); err != nil {
				return err
			}
		}
		for _, g := range []*key.Grant{full, grant("g3", "k1", "arn:a", ""), grant("g1", "k1", "arn:b", ""), grant("g0", "k2", "arn:a", "arn:r")} {
			if err := tx.SaveGrant(g); err != nil {
				return err
			}
		}
		return nil
	})
	got := read(t, s, func(tx *store.Tx) (*key.Grant, error) { return tx.Grant(account, region, "k1", "g2") })
	if diff := cmp.Diff(full, got); diff != "" {
		t.Errorf("stored grant (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		what string
		list func(tx *store.Tx) ([]*key.Grant, error)
		want string
	}{
		{"all", func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, region, "k1", "", "", 10) }, "g1g2g3"},
		{"a page", func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, region, "k1", "", "g1", 1) }, "g2"},
		{"a grantee's", func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, region, "k1", "arn:a", "", 10) }, "g2g3"},
		{"a grantee's page", func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, region, "k1", "arn:a", "g2", 10) }, "g3"},
		{"another region's", func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, "eu-west-1", "k1", "", "", 10) }, ""},
		{"by name", func(tx *store.Tx) ([]*key.Grant, error) { return tx.GrantsNamed(account, region, "k1", "n") }, "g2"},
		{"without name", func(tx *store.Tx) ([]*key.Grant, error) { return tx.GrantsNamed(account, region, "k1", "") }, ""},
		{"retirable", func(tx *store.Tx) ([]*key.Grant, error) { return tx.RetirableGrants(region, "arn:r", "", 10) }, "g0g2"},
		{"a retirable page", func(tx *store.Tx) ([]*key.Grant, error) { return tx.RetirableGrants(region, "arn:r", "g0", 10) }, "g2"},
		{"retirable by nobody", func(tx *store.Tx) ([]*key.Grant, error) { return tx.RetirableGrants(region, "", "", 10) }, ""},
	} {
		ids := ""
		for _, g := range read(t, s, tc.list) {
			ids += g.ID
		}
		if ids != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, ids, tc.want)
		}
	}
	remove := func() error {
		return s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteGrant(account, region, "k1", "g2") })
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	wantKind(t, remove(), fault.NotFound)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteKey(account, region, "k1") })
	view(t, s, func(tx *store.Tx) error {
		_, err := tx.Grant(account, region, "k1", "g3")
		wantKind(t, err, fault.NotFound)
		return nil
	})
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveGrant(full) }); err == nil {
		t.Error("a grant on a key that is gone was stored")
	}
}
