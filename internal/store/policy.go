package store

import (
	"database/sql"
	"strings"

	"github.com/keyturn/keyturn/internal/iam"
)

const policyColumns = `p.account, p.name, p.path, p.id, p.description, p.created_at, p.updated_at, p.default_version, p.next_version, p.tags`

// policies runs a query for policyColumns and loads the versions.
func (tx *Tx) policies(query string, args ...any) ([]*iam.CustomerPolicy, error) {
	var list []*iam.CustomerPolicy
	err := tx.each(func(rows *sql.Rows) error {
		var p iam.CustomerPolicy
		var created, updated int64
		var tags string
		err := rows.Scan(&p.Account, &p.Name, &p.Path, &p.ID, &p.Description, &created, &updated, &p.Default, &p.NextVersion, &tags)
		if err != nil {
			return err
		}
		p.CreatedAt, p.UpdatedAt = fromMicros(created), fromMicros(updated)
		p.Tags, err = parseTags[iam.Tag](tags)
		list = append(list, &p)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if err := tx.loadPolicyVersions(p); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (tx *Tx) loadPolicyVersions(p *iam.CustomerPolicy) error {
	return tx.each(func(rows *sql.Rows) error {
		var v iam.PolicyVersion
		var created int64
		err := rows.Scan(&v.ID, &v.Document, &created)
		v.CreatedAt = fromMicros(created)
		p.Versions = append(p.Versions, v)
		return err
	}, `SELECT id, document, created_at FROM iam_policy_version WHERE account = $1 AND policy = $2 ORDER BY seq`, p.Account, strings.ToLower(p.Name))
}

// CustomerPolicy returns a managed policy of the account with its versions by
// name, without regard to case. It returns an error of kind NotFound, without
// message, when there is none.
func (tx *Tx) CustomerPolicy(account, name string) (*iam.CustomerPolicy, error) {
	return only(tx.policies(`SELECT `+policyColumns+` FROM iam_policy p WHERE p.account = $1 AND p.folded = $2`, account, strings.ToLower(name)))
}

// CustomerPolicies returns up to limit managed policies of the account whose
// path begins with pathPrefix, by name without regard to case and beginning
// behind the name after.
func (tx *Tx) CustomerPolicies(account, pathPrefix, after string, limit int) ([]*iam.CustomerPolicy, error) {
	return tx.policies(`SELECT `+policyColumns+` FROM iam_policy p
		WHERE p.account = $1 AND p.folded > $2 AND substr(p.path, 1, length($3)) = $3 ORDER BY p.folded LIMIT $4`,
		account, strings.ToLower(after), pathPrefix, limit)
}

// SaveCustomerPolicy stores what differs between before, as it was read in
// this transaction, and after. A nil before makes a new policy: an error of
// kind Exists, without message, tells that the name is taken, in whatever
// case. Policies are not renamed, and versions do not change.
func (tx *Tx) SaveCustomerPolicy(before, after *iam.CustomerPolicy) error {
	tx.Touch(IdentityTopic(after.Account))
	args := []any{
		after.Account, strings.ToLower(after.Name), after.Name, after.Path, after.ID, after.Description, micros(after.CreatedAt),
		micros(after.UpdatedAt), after.Default, after.NextVersion, formatTags(after.Tags),
	}
	var err error
	if before == nil {
		before = &iam.CustomerPolicy{}
		err = tx.insert(`INSERT INTO iam_policy (account, folded, name, path, id, description, created_at, updated_at, default_version, next_version, tags)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`, args...)
	} else {
		err = tx.change(`UPDATE iam_policy SET name = $3, path = $4, id = $5, description = $6, created_at = $7, updated_at = $8,
			default_version = $9, next_version = $10, tags = $11 WHERE account = $1 AND folded = $2`, args...)
	}
	if err != nil {
		return err
	}
	return tx.savePolicyVersions(before, after)
}

func (tx *Tx) savePolicyVersions(before, after *iam.CustomerPolicy) error {
	folded := strings.ToLower(after.Name)
	for i := range before.Versions {
		id := before.Versions[i].ID
		if after.Version(id) != nil {
			continue
		}
		if _, err := tx.exec(`DELETE FROM iam_policy_version WHERE account = $1 AND policy = $2 AND id = $3`, after.Account, folded, id); err != nil {
			return err
		}
	}
	for i := range after.Versions {
		v := &after.Versions[i]
		if before.Version(v.ID) != nil {
			continue
		}
		// after.NextVersion counts up with every version that is made.
		if _, err := tx.exec(`INSERT INTO iam_policy_version (account, policy, seq, id, document, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			after.Account, folded, after.NextVersion*maxSavedVersions+i, v.ID, v.Document, micros(v.CreatedAt)); err != nil {
			return err
		}
	}
	return nil
}

// maxSavedVersions leaves room for the versions that one save may add.
const maxSavedVersions = 100

// DeleteCustomerPolicy removes a policy with its versions; attachments are the
// caller's affair. It returns an error of kind NotFound if it is gone
// already.
func (tx *Tx) DeleteCustomerPolicy(account, name string) error {
	tx.Touch(IdentityTopic(account))
	return tx.change(`DELETE FROM iam_policy WHERE account = $1 AND folded = $2`, account, strings.ToLower(name))
}

// PolicyHolders returns the groups, roles and users of an account that a
// managed policy is attached to, or whose boundary it is: those with the
// policy attached first, each kind by name.
func (tx *Tx) PolicyHolders(account, policyARN string) ([]iam.PolicyHolder, error) {
	var list []iam.PolicyHolder
	for _, q := range []struct {
		kind     iam.HolderKind
		boundary bool
		query    string
	}{
		{iam.GroupHolder, false, `SELECT x.name, x.id, x.path FROM iam_attached_policy a JOIN iam_group x ON x.account = a.account AND x.folded = a.holder
			WHERE a.policy_arn = $1 AND a.account = $2 AND a.kind = 'group' ORDER BY a.holder`},
		{iam.RoleHolder, false, `SELECT x.name, x.id, x.path FROM iam_attached_policy a JOIN iam_role x ON x.account = a.account AND x.folded = a.holder
			WHERE a.policy_arn = $1 AND a.account = $2 AND a.kind = 'role' ORDER BY a.holder`},
		{iam.UserHolder, false, `SELECT x.name, x.id, x.path FROM iam_attached_policy a JOIN iam_user x ON x.account = a.account AND x.folded = a.holder
			WHERE a.policy_arn = $1 AND a.account = $2 AND a.kind = 'user' ORDER BY a.holder`},
		{iam.RoleHolder, true, `SELECT name, id, path FROM iam_role WHERE boundary = $1 AND boundary <> '' AND account = $2 ORDER BY folded`},
		{iam.UserHolder, true, `SELECT name, id, path FROM iam_user WHERE boundary = $1 AND boundary <> '' AND account = $2 ORDER BY folded`},
	} {
		err := tx.each(func(rows *sql.Rows) error {
			h := iam.PolicyHolder{Kind: q.kind, Boundary: q.boundary}
			err := rows.Scan(&h.Name, &h.ID, &h.Path)
			list = append(list, h)
			return err
		}, q.query, policyARN, account)
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// PolicyUse counts how often a managed policy is attached in an account, and
// how often it is a boundary there.
func (tx *Tx) PolicyUse(account, policyARN string) (attached, boundaries int, err error) {
	err = tx.one([]any{&attached, &boundaries}, `SELECT
		(SELECT count(*) FROM iam_attached_policy WHERE policy_arn = $1 AND account = $2),
		(SELECT count(*) FROM iam_role WHERE boundary = $1 AND boundary <> '' AND account = $2) +
		(SELECT count(*) FROM iam_user WHERE boundary = $1 AND boundary <> '' AND account = $2)`, policyARN, account)
	return attached, boundaries, err
}
