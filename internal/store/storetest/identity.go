package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

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
