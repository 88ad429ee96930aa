package store

import (
	"database/sql"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
)

const roleColumns = `r.account, r.name, r.path, r.id, r.description, r.trust_policy, r.max_session, r.created_at, r.boundary, r.tags`

// roles runs a query for roleColumns and loads the policies.
func (tx *Tx) roles(query string, args ...any) ([]*iam.Role, error) {
	var list []*iam.Role
	err := tx.each(func(rows *sql.Rows) error {
		var r iam.Role
		var session, created int64
		var tags string
		err := rows.Scan(&r.Account, &r.Name, &r.Path, &r.ID, &r.Description, &r.TrustPolicy, &session, &created, &r.Boundary, &tags)
		if err != nil {
			return err
		}
		r.MaxSession, r.CreatedAt = time.Duration(session)*time.Second, fromMicros(created)
		r.Tags, err = parseTags[iam.Tag](tags)
		list = append(list, &r)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if err := tx.loadPolicies(holderOf(r.Account, iam.RoleHolder, r.Name), &r.Holdings); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Role returns a role with its policies by name, without regard to case. It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) Role(account, name string) (*iam.Role, error) {
	return only(tx.roles(`SELECT `+roleColumns+` FROM iam_role r WHERE r.account = $1 AND r.folded = $2`, account, strings.ToLower(name)))
}

// Roles returns up to limit roles of the account whose path begins with
// pathPrefix, by name without regard to case and beginning behind the name
// after.
func (tx *Tx) Roles(account, pathPrefix, after string, limit int) ([]*iam.Role, error) {
	return tx.roles(`SELECT `+roleColumns+` FROM iam_role r
		WHERE r.account = $1 AND r.folded > $2 AND substr(r.path, 1, length($3)) = $3 ORDER BY r.folded LIMIT $4`,
		account, strings.ToLower(after), pathPrefix, limit)
}

// SaveRole stores what differs between before, as it was read in this
// transaction, and after. A nil before makes a new role: an error of kind
// Exists, without message, tells that the name is taken, in whatever case.
// Roles are not renamed.
func (tx *Tx) SaveRole(before, after *iam.Role) error {
	args := []any{
		after.Account, strings.ToLower(after.Name), after.Name, after.Path, after.ID, after.Description, after.TrustPolicy,
		int64(after.MaxSession / time.Second), micros(after.CreatedAt), after.Boundary, formatTags(after.Tags),
	}
	var err error
	if before == nil {
		before = &iam.Role{}
		err = tx.insert(`INSERT INTO iam_role (account, folded, name, path, id, description, trust_policy, max_session, created_at, boundary, tags)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`, args...)
	} else {
		err = tx.change(`UPDATE iam_role SET name = $3, path = $4, id = $5, description = $6, trust_policy = $7,
			max_session = $8, created_at = $9, boundary = $10, tags = $11 WHERE account = $1 AND folded = $2`, args...)
	}
	if err != nil {
		return err
	}
	return tx.savePolicies(holderOf(after.Account, iam.RoleHolder, after.Name), &before.Holdings, &after.Holdings)
}

// DeleteRole removes a role with its policies. It returns an error of kind
// NotFound if it is gone already.
func (tx *Tx) DeleteRole(account, name string) error {
	h := holderOf(account, iam.RoleHolder, name)
	if err := tx.change(`DELETE FROM iam_role WHERE account = $1 AND folded = $2`, account, h.folded); err != nil {
		return err
	}
	return tx.deletePolicies(h)
}
