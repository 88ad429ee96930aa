package store

import (
	"database/sql"
	"strings"

	"github.com/keyturn/keyturn/internal/iam"
)

const groupColumns = `g.account, g.name, g.path, g.id, g.created_at`

// groups runs a query for groupColumns and loads the policies.
func (tx *Tx) groups(query string, args ...any) ([]*iam.Group, error) {
	var list []*iam.Group
	err := tx.each(func(rows *sql.Rows) error {
		var g iam.Group
		var created int64
		err := rows.Scan(&g.Account, &g.Name, &g.Path, &g.ID, &created)
		g.CreatedAt = fromMicros(created)
		list = append(list, &g)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, g := range list {
		if err := tx.loadPolicies(holderOf(g.Account, iam.GroupHolder, g.Name), &g.Holdings); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Group returns a group with its policies by name, without regard to case.
// It returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) Group(account, name string) (*iam.Group, error) {
	return only(tx.groups(`SELECT `+groupColumns+` FROM iam_group g WHERE g.account = $1 AND g.folded = $2`, account, strings.ToLower(name)))
}

// Groups returns up to limit groups of the account whose path begins with
// pathPrefix, by name without regard to case and beginning behind the name
// after.
func (tx *Tx) Groups(account, pathPrefix, after string, limit int) ([]*iam.Group, error) {
	return tx.groups(`SELECT `+groupColumns+` FROM iam_group g
		WHERE g.account = $1 AND g.folded > $2 AND substr(g.path, 1, length($3)) = $3 ORDER BY g.folded LIMIT $4`,
		account, strings.ToLower(after), pathPrefix, limit)
}

// SaveGroup stores what differs between before, as it was read in this
// transaction, and after. A nil before makes a new group. A group that gets
// another name keeps policies and members. An error of kind Exists, without
// message, tells that the name is taken, in whatever case.
func (tx *Tx) SaveGroup(before, after *iam.Group) error {
	var err error
	if before == nil {
		before = &iam.Group{}
		err = tx.insert(`INSERT INTO iam_group (account, folded, name, path, id, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			after.Account, strings.ToLower(after.Name), after.Name, after.Path, after.ID, micros(after.CreatedAt))
	} else {
		err = tx.updateGroup(before, after)
	}
	if err != nil {
		return err
	}
	return tx.savePolicies(holderOf(after.Account, iam.GroupHolder, after.Name), &before.Holdings, &after.Holdings)
}

func (tx *Tx) updateGroup(before, after *iam.Group) error {
	from, folded := holderOf(before.Account, iam.GroupHolder, before.Name), strings.ToLower(after.Name)
	if from.folded != folded {
		if err := tx.free(`SELECT 1 FROM iam_group WHERE account = $1 AND folded = $2`, from.account, folded); err != nil {
			return err
		}
	}
	err := tx.change(`UPDATE iam_group SET folded = $2, name = $3, path = $4, id = $5, created_at = $6 WHERE account = $1 AND folded = $7`,
		after.Account, folded, after.Name, after.Path, after.ID, micros(after.CreatedAt), from.folded)
	if err != nil || from.folded == folded {
		return err
	}
	return tx.movePolicies(from, folded)
}

// DeleteGroup removes a group with its policies and memberships. It returns
// an error of kind NotFound if it is gone already.
func (tx *Tx) DeleteGroup(account, name string) error {
	h := holderOf(account, iam.GroupHolder, name)
	if err := tx.change(`DELETE FROM iam_group WHERE account = $1 AND folded = $2`, account, h.folded); err != nil {
		return err
	}
	return tx.deletePolicies(h)
}

// GroupsOf returns the groups of a user with their policies, by name.
func (tx *Tx) GroupsOf(account, user string) ([]*iam.Group, error) {
	return tx.groups(`SELECT `+groupColumns+` FROM iam_membership m
		JOIN iam_group g ON g.account = m.account AND g.folded = m.group_name
		WHERE m.account = $1 AND m.user_name = $2 ORDER BY m.group_name`, account, strings.ToLower(user))
}

// GroupUsers returns up to limit users of a group, by name without regard to
// case and beginning behind the name after.
func (tx *Tx) GroupUsers(account, group, after string, limit int) ([]*iam.User, error) {
	return tx.users(`SELECT `+userColumns+` FROM iam_membership m
		JOIN iam_user u ON u.account = m.account AND u.folded = m.user_name
		WHERE m.account = $1 AND m.group_name = $2 AND m.user_name > $3 ORDER BY m.user_name LIMIT $4`,
		account, strings.ToLower(group), strings.ToLower(after), limit)
}

// AddToGroup makes a user a member of a group; both must exist. It does
// nothing if the user is one already.
func (tx *Tx) AddToGroup(account, group, user string) error {
	tx.Touch(IdentityTopic(account))
	_, err := tx.exec(`INSERT INTO iam_membership (account, user_name, group_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		account, strings.ToLower(user), strings.ToLower(group))
	return err
}

// RemoveFromGroup ends a membership. It returns an error of kind NotFound,
// without message, if there is none.
func (tx *Tx) RemoveFromGroup(account, group, user string) error {
	tx.Touch(IdentityTopic(account))
	return tx.change(`DELETE FROM iam_membership WHERE account = $1 AND user_name = $2 AND group_name = $3`,
		account, strings.ToLower(user), strings.ToLower(group))
}
