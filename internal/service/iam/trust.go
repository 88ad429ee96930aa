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

// setTrust gives a role a trust policy, or refuses one that is not well formed:
// it names principals, which exist, and no resources (AWS: recorded).
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
	if missing, ok := errors.AsType[*fault.Error](err); ok && missing.Kind == fault.NotFound {
		return iam.InvalidPrincipal("AWS", missing.Subject)
	}
	r.TrustPolicy = bound
	return err
}

// showTrust makes the trust policy of a role, which is not to be stored again,
// the one to be shown.
func showTrust(tx *store.Tx, r *iam.Role) (err error) {
	r.TrustPolicy, err = authz.ShowPrincipals(tx, r.TrustPolicy)
	return err
}
