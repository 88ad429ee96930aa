package store

import (
	"database/sql"

	"github.com/keyturn/keyturn/internal/iam"
)

func (tx *Tx) accounts(query string, args ...any) ([]*iam.Account, error) {
	var list []*iam.Account
	err := tx.each(func(rows *sql.Rows) error {
		var a iam.Account
		var created int64
		err := rows.Scan(&a.ID, &a.Name, &created)
		a.CreatedAt = fromMicros(created)
		list = append(list, &a)
		return err
	}, query, args...)
	return list, err
}

// Account returns an account by its ID. It returns an error of kind
// NotFound, without message, when there is none.
func (tx *Tx) Account(id string) (*iam.Account, error) {
	return only(tx.accounts(`SELECT id, name, created_at FROM account WHERE id = $1`, id))
}

// Accounts returns up to limit accounts in the order of their IDs, beginning
// behind the ID after.
func (tx *Tx) Accounts(after string, limit int) ([]*iam.Account, error) {
	return tx.accounts(`SELECT id, name, created_at FROM account WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

// SaveAccount stores an account, new or in place of the stored one.
func (tx *Tx) SaveAccount(a *iam.Account) error {
	tx.Touch(IdentityTopic(a.ID))
	_, err := tx.exec(`INSERT INTO account (id, name, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, created_at = excluded.created_at`, a.ID, a.Name, micros(a.CreatedAt))
	return err
}

// AccountAlias returns the alias of an account, or "".
func (tx *Tx) AccountAlias(account string) (alias string, err error) {
	err = tx.each(func(rows *sql.Rows) error { return rows.Scan(&alias) }, `SELECT alias FROM iam_account_alias WHERE account = $1`, account)
	return alias, err
}

// SetAccountAlias gives an account an alias, in place of one that it has; ""
// takes it away. An error of kind Exists, without message, tells that the
// alias is another account's.
func (tx *Tx) SetAccountAlias(account, alias string) error {
	if _, err := tx.exec(`DELETE FROM iam_account_alias WHERE account = $1`, account); err != nil || alias == "" {
		return err
	}
	return tx.insert(`INSERT INTO iam_account_alias (account, alias) VALUES ($1, $2) ON CONFLICT DO NOTHING`, account, alias)
}

// IdentityCount says how much an account has.
type IdentityCount struct {
	Users, Groups, Roles, Policies, PolicyVersions, Providers, RootAccessKeys int64
}

// IdentityCount counts the account's identities and what belongs to them.
func (tx *Tx) IdentityCount(account string) (n IdentityCount, err error) {
	err = tx.one([]any{&n.Users, &n.Groups, &n.Roles, &n.Policies, &n.PolicyVersions, &n.Providers, &n.RootAccessKeys}, `SELECT
		(SELECT count(*) FROM iam_user WHERE account = $1),
		(SELECT count(*) FROM iam_group WHERE account = $1),
		(SELECT count(*) FROM iam_role WHERE account = $1),
		(SELECT count(*) FROM iam_policy WHERE account = $1),
		(SELECT count(*) FROM iam_policy_version WHERE account = $1),
		(SELECT count(*) FROM iam_provider WHERE account = $1),
		(SELECT count(*) FROM iam_access_key WHERE account = $1 AND holder = '')`, account)
	return n, err
}
