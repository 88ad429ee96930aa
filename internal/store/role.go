package store

import (
	"database/sql"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
)

// roleKind marks the policies of roles in the tables of policies.
const roleKind = "role"

const roleColumns = `r.account, r.name, r.path, r.id, r.description, r.trust_policy, r.max_session, r.created_at, r.tags`

// roles runs a query for roleColumns and loads the policies.
func (tx *Tx) roles(query string, args ...any) ([]*iam.Role, error) {
	var list []*iam.Role
	err := tx.each(func(rows *sql.Rows) error {
		var r iam.Role
		var session, created int64
		var tags string
		if err := rows.Scan(&r.Account, &r.Name, &r.Path, &r.ID, &r.Description, &r.TrustPolicy, &session, &created, &tags); err != nil {
			return err
		}
		r.MaxSession, r.CreatedAt = time.Duration(session)*time.Second, fromMicros(created)
		var err error
		r.Tags, err = parseTags[iam.Tag](tags)
		list = append(list, &r)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if err := tx.loadPolicies(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (tx *Tx) loadPolicies(r *iam.Role) error {
	holder := strings.ToLower(r.Name)
	err := tx.each(func(rows *sql.Rows) error {
		var name, document string
		err := rows.Scan(&name, &document)
		if r.Inline == nil {
			r.Inline = map[string]string{}
		}
		r.Inline[name] = document
		return err
	}, `SELECT name, document FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3`, r.Account, roleKind, holder)
	if err != nil {
		return err
	}
	return tx.each(func(rows *sql.Rows) error {
		var policy string
		err := rows.Scan(&policy)
		r.Attached = append(r.Attached, policy)
		return err
	}, `SELECT policy_arn FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3 ORDER BY seq`, r.Account, roleKind, holder)
}

// Role returns a role with its policies by name, without regard to case. It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) Role(account, name string) (*iam.Role, error) {
	list, err := tx.roles(`SELECT `+roleColumns+` FROM iam_role r WHERE r.account = $1 AND r.folded = $2`, account, strings.ToLower(name))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	return list[0], nil
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
func (tx *Tx) SaveRole(before, after *iam.Role) error {
	args := []any{
		after.Account, strings.ToLower(after.Name), after.Name, after.Path, after.ID, after.Description, after.TrustPolicy,
		int64(after.MaxSession / time.Second), micros(after.CreatedAt), formatTags(after.Tags),
	}
	var err error
	if before == nil {
		before = &iam.Role{}
		err = tx.insert(`INSERT INTO iam_role (account, folded, name, path, id, description, trust_policy, max_session, created_at, tags)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`, args...)
	} else {
		err = tx.change(`UPDATE iam_role SET name = $3, path = $4, id = $5, description = $6, trust_policy = $7,
			max_session = $8, created_at = $9, tags = $10 WHERE account = $1 AND folded = $2`, args...)
	}
	if err != nil {
		return err
	}
	tx.Touch(IdentityTopic(after.Account))
	if err := tx.saveInline(before, after); err != nil {
		return err
	}
	return tx.saveAttached(before, after)
}

func (tx *Tx) saveInline(before, after *iam.Role) error {
	holder := strings.ToLower(after.Name)
	for name := range before.Inline {
		if _, stays := after.Inline[name]; !stays {
			if _, err := tx.exec(`DELETE FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3 AND name = $4`,
				after.Account, roleKind, holder, name); err != nil {
				return err
			}
		}
	}
	for name, document := range after.Inline {
		if old, found := before.Inline[name]; found && old == document {
			continue
		}
		if _, err := tx.exec(`INSERT INTO iam_inline_policy (account, kind, holder, name, document) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, kind, holder, name) DO UPDATE SET document = excluded.document`,
			after.Account, roleKind, holder, name, document); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) saveAttached(before, after *iam.Role) error {
	holder := strings.ToLower(after.Name)
	if len(before.Attached) > 0 {
		if _, err := tx.exec(`DELETE FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3`,
			after.Account, roleKind, holder); err != nil {
			return err
		}
	}
	for i, policy := range after.Attached {
		if err := tx.insert(`INSERT INTO iam_attached_policy (account, kind, holder, policy_arn, seq) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, after.Account, roleKind, holder, policy, i); err != nil {
			return err
		}
	}
	return nil
}

// DeleteRole removes a role with its policies. It returns an error of kind
// NotFound if it is gone already.
func (tx *Tx) DeleteRole(account, name string) error {
	tx.Touch(IdentityTopic(account))
	folded := strings.ToLower(name)
	if err := tx.change(`DELETE FROM iam_role WHERE account = $1 AND folded = $2`, account, folded); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3`, account, roleKind, folded); err != nil {
		return err
	}
	_, err := tx.exec(`DELETE FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3`, account, roleKind, folded)
	return err
}
