package store

import (
	"database/sql"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
)

const userColumns = `u.account, u.name, u.path, u.id, u.created_at, u.boundary, u.tags`

// users runs a query for userColumns and loads the policies.
func (tx *Tx) users(query string, args ...any) ([]*iam.User, error) {
	var list []*iam.User
	err := tx.each(func(rows *sql.Rows) error {
		var u iam.User
		var created int64
		var tags string
		if err := rows.Scan(&u.Account, &u.Name, &u.Path, &u.ID, &created, &u.Boundary, &tags); err != nil {
			return err
		}
		u.CreatedAt = fromMicros(created)
		var err error
		u.Tags, err = parseTags[iam.Tag](tags)
		list = append(list, &u)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		if err := tx.loadPolicies(holderOf(u.Account, iam.UserHolder, u.Name), &u.Holdings); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// User returns a user with its policies by name, without regard to case. It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) User(account, name string) (*iam.User, error) {
	return only(tx.users(`SELECT `+userColumns+` FROM iam_user u WHERE u.account = $1 AND u.folded = $2`, account, strings.ToLower(name)))
}

// Users returns up to limit users of the account whose path begins with
// pathPrefix, by name without regard to case and beginning behind the name
// after.
func (tx *Tx) Users(account, pathPrefix, after string, limit int) ([]*iam.User, error) {
	return tx.users(`SELECT `+userColumns+` FROM iam_user u
		WHERE u.account = $1 AND u.folded > $2 AND substr(u.path, 1, length($3)) = $3 ORDER BY u.folded LIMIT $4`,
		account, strings.ToLower(after), pathPrefix, limit)
}

// SaveUser stores what differs between before, as it was read in this
// transaction, and after. A nil before makes a new user. A user that gets
// another name keeps policies, groups and access keys. An error of kind
// Exists, without message, tells that the name is taken, in whatever case.
func (tx *Tx) SaveUser(before, after *iam.User) error {
	folded := strings.ToLower(after.Name)
	var err error
	if before == nil {
		before = &iam.User{}
		err = tx.insert(`INSERT INTO iam_user (account, folded, name, path, id, created_at, boundary, tags)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			after.Account, folded, after.Name, after.Path, after.ID, micros(after.CreatedAt), after.Boundary, formatTags(after.Tags))
	} else {
		err = tx.updateUser(before, after)
	}
	if err != nil {
		return err
	}
	return tx.savePolicies(holderOf(after.Account, iam.UserHolder, after.Name), &before.Holdings, &after.Holdings)
}

func (tx *Tx) updateUser(before, after *iam.User) error {
	from, folded := holderOf(before.Account, iam.UserHolder, before.Name), strings.ToLower(after.Name)
	if from.folded != folded {
		if err := tx.free(`SELECT 1 FROM iam_user WHERE account = $1 AND folded = $2`, from.account, folded); err != nil {
			return err
		}
	}
	err := tx.change(`UPDATE iam_user SET folded = $2, name = $3, path = $4, id = $5, created_at = $6, boundary = $7, tags = $8
		WHERE account = $1 AND folded = $9`,
		after.Account, folded, after.Name, after.Path, after.ID, micros(after.CreatedAt), after.Boundary, formatTags(after.Tags), from.folded)
	if err != nil || from.folded == folded {
		return err
	}
	if _, err := tx.exec(`UPDATE iam_access_key SET holder = $3 WHERE account = $1 AND holder = $2`, from.account, from.folded, folded); err != nil {
		return err
	}
	return tx.movePolicies(from, folded)
}

// free returns an error of kind Exists, without message, if the query finds
// something.
func (tx *Tx) free(query string, args ...any) error {
	var one int
	err := tx.one([]any{&one}, query, args...)
	if err == nil {
		return fault.New(fault.Exists, "")
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// DeleteUser removes a user with its policies, memberships and access keys.
// It returns an error of kind NotFound if it is gone already.
func (tx *Tx) DeleteUser(account, name string) error {
	h := holderOf(account, iam.UserHolder, name)
	if err := tx.change(`DELETE FROM iam_user WHERE account = $1 AND folded = $2`, account, h.folded); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM iam_access_key WHERE account = $1 AND holder = $2`, account, h.folded); err != nil {
		return err
	}
	return tx.deletePolicies(h)
}
