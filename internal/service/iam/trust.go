package iam

import (
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// maxTrustPolicy is the size of a trust policy in characters (AWS docs).
const maxTrustPolicy = 2048

// checkTrust refuses a trust policy that is not well formed: it names
// principals, which exist, and no resources (AWS: recorded).
func checkTrust(tx *store.Tx, r *iam.Role) error {
	if len(r.TrustPolicy) > maxTrustPolicy {
		return fault.New(fault.Limit, "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	d, err := iam.ParseDocument(r.TrustPolicy)
	if err != nil {
		return err
	}
	if err := d.CheckTrust(); err != nil {
		return err
	}
	name, err := authz.UnknownPrincipal(tx, r.Account, d)
	if err == nil && name != "" {
		return iam.InvalidPrincipal("AWS", name)
	}
	return err
}
