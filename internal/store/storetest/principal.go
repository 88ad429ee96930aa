package storetest

import (
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// Users and roles are found by their unique IDs, which no namesake inherits.
func testPrincipalARN(t *testing.T, open Open) {
	s := open(t)
	want := func(id, want string) {
		t.Helper()
		var got string
		err := s.View(t.Context(), func(tx *store.Tx) (err error) {
			got, err = tx.PrincipalARN(id)
			return err
		})
		if want == "" {
			wantKind(t, err, fault.NotFound)
		} else if got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %s", id, got, err, want)
		}
	}
	role := &iam.Role{Account: otherAccount, Name: "r", Path: "/p/", ID: "AROA1", CreatedAt: noon0}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveRole(nil, role); err != nil {
			return err
		}
		return tx.SaveUser(nil, fullUser("Alice", "AIDA1"))
	})
	want("AIDA1", "arn:aws:iam::"+account+":user/app/Alice")
	want("AROA1", role.ARN())
	want("AROA2", "")
	again := role.Clone()
	again.ID = "AROA2"
	update(t, s, func(tx *store.Tx) error {
		if err := tx.DeleteRole(otherAccount, "r"); err != nil {
			return err
		}
		return tx.SaveRole(nil, again)
	})
	want("AROA1", "")
	want("AROA2", role.ARN())
}
