package authz

import (
	"strings"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxGrants bounds the grants to one principal that are looked at in one
// step.
const maxGrants = 100

// granted reports whether a grant allows the use of the key. It is asked only
// when no policy has decided, so that common uses cost no look at grants. A
// grant is a statement of the key's policy for its grantee, but one that the
// grantee's account need not pass on, also in another account (AWS docs):
// what limits a role's sessions limits it here, too (assumed).
func (q *inquiry) granted() (bool, error) {
	operation, ok := strings.CutPrefix(q.use.Action, "kms:")
	if !ok || q.tx == nil {
		return false, nil
	}
	for _, grantee := range names(&q.call.Principal) {
		for after := ""; ; {
			list, err := q.tx.Grants(q.key.Account, q.key.Region, q.key.ID, grantee, after, maxGrants)
			if err != nil {
				return false, err
			}
			for _, g := range list {
				if g.Allows(operation, q.use.Context) && (q.use.Grant == nil || g.MayGrant(q.use.Grant)) && q.allowed(grantee) {
					return true, nil
				}
			}
			if len(list) < maxGrants {
				break
			}
			after = list[len(list)-1].ID
		}
	}
	return false, nil
}

// allowed decides with a statement for the principals in place of the key's
// policy.
func (q *inquiry) allowed(principals ...string) bool {
	request, policies := q.request, q.policies
	request.ResourceAccount = ""
	policies.Resource = allow(principals)
	return iam.Evaluate(&request, &policies).Allowed()
}

// names returns what a grant may call the principal: by its unique ID or its
// role's, or by its account's root; principals of accounts that did not live
// here when the grant was made by their ARNs.
func names(p *iam.Principal) []string {
	if p.Type == iam.Root {
		return []string{p.ARN}
	}
	if p.Type != iam.IAMUser && p.Type != iam.AssumedRole {
		return nil
	}
	list := []string{p.ID, p.ARN, RootPrincipal(p.Account, "").ARN}
	if p.Type == iam.AssumedRole {
		role, _, _ := strings.Cut(p.ID, ":")
		list = append(list, role, p.RoleARN)
	}
	return list
}

// allow returns a policy that allows everything: to the principals, or to
// whom it is attached if there are none.
func allow(principals []string) *iam.Policy {
	s := iam.Statement{Effect: iam.Allow, Actions: []string{"*"}, Resources: []string{"*"}}
	if principals != nil {
		s.Principals = &iam.Principals{AWS: principals}
	}
	return fixed("a grant", s)
}

// RetireGrant authorises the end of a grant: by whom it names for that, by a
// grantee whom it lets do so, and by the account in which it was made. Policies
// of keys do not matter, denials apart (AWS docs). The error is fault.Denied
// with KMS's text.
func (g *Guard) RetireGrant(tx *store.Tx, call *wire.Call, rec *key.Record, grant *key.Grant) error {
	q := g.keyInquiry(tx, call, rec, KeyUse{Action: "kms:RetireGrant"}, rec.Policy)
	defer g.done(q)
	d := iam.Evaluate(&q.request, &q.policies)
	may := []string{grant.Issuer}
	if grant.Retiring != "" {
		may = append(may, grant.Retiring)
	}
	if grant.Allows("RetireGrant", nil) {
		may = append(may, grant.Grantee)
	}
	if d.Effect != iam.ExplicitDeny && q.allowed(may...) {
		return nil
	}
	if d.Allowed() {
		d = iam.Decision{Effect: iam.ImplicitDeny, Layer: iam.ResourceLayer}
	}
	return q.refuse(d, q.request.Resource)
}
