package iam

import (
	"errors"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// maxTrustPolicy is the size of a trust policy in characters (AWS docs).
const maxTrustPolicy = 2048

// setTrust gives a role the trust policy, as it is kept: with the unique IDs
// of the users and roles that it names. It refuses one that is not well
// formed: a trust policy names principals, which exist, and no resources (AWS:
// recorded).
func setTrust(tx *store.Tx, r *iam.Role, text string) error {
	if len(text) > maxTrustPolicy {
		return fault.New(fault.Limit, "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	d, err := iam.ParseDocument(text)
	if err != nil {
		return err
	}
	if err := d.CheckTrust(); err != nil {
		return err
	}
	bound, err := authz.BindPrincipals(tx, text, r.Account)
	if unknown, ok := errors.AsType[*fault.Error](err); ok && unknown.Kind == fault.NotFound {
		return iam.InvalidPrincipal("AWS", unknown.Subject)
	}
	r.TrustPolicy = bound
	return err
}

// shownTrust is a role's trust policy as answers have it: with the names that
// its principals have by now.
func shownTrust(tx *store.Tx, r *iam.Role) (*string, error) {
	text, err := authz.ShowPrincipals(tx, r.TrustPolicy)
	return encode(text), err
}
