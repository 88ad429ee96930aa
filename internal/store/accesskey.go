package store

import (
	"database/sql"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
)

// accessKeys runs a query for access keys; its condition is about k.
func (tx *Tx) accessKeys(where string, args ...any) ([]*iam.AccessKey, error) {
	var list []*iam.AccessKey
	err := tx.each(func(rows *sql.Rows) error {
		var k iam.AccessKey
		var created, used int64
		err := rows.Scan(&k.ID, &k.Account, &k.UserName, &k.Secret, &k.Inactive, &created, &used, &k.UsedService, &k.UsedRegion)
		k.CreatedAt, k.UsedAt = fromMicros(created), fromMicros(used)
		list = append(list, &k)
		return err
	}, `SELECT k.id, k.account, coalesce(u.name, k.holder), k.secret, k.inactive, k.created_at, k.used_at, k.used_service, k.used_region
		FROM iam_access_key k LEFT JOIN iam_user u ON u.account = k.account AND u.folded = k.holder WHERE `+where, args...)
	return list, err
}

// AccessKey returns an access key by its ID. It returns an error of kind
// NotFound, without message, when there is none.
func (tx *Tx) AccessKey(id string) (*iam.AccessKey, error) {
	return only(tx.accessKeys(`k.id = $1`, id))
}

// AccessKeys returns the access keys of a user, or of the account's root if
// user is "", oldest first.
func (tx *Tx) AccessKeys(account, user string) ([]*iam.AccessKey, error) {
	return tx.accessKeys(`k.account = $1 AND k.holder = $2 ORDER BY k.created_at, k.id`, account, strings.ToLower(user))
}

// SaveAccessKey stores an access key, new or in place of the stored one. Its
// user must exist.
func (tx *Tx) SaveAccessKey(k *iam.AccessKey) error {
	tx.Touch(IdentityTopic(k.Account))
	_, err := tx.exec(`INSERT INTO iam_access_key (id, account, holder, secret, inactive, created_at, used_at, used_service, used_region)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET account = excluded.account, holder = excluded.holder, secret = excluded.secret,
			inactive = excluded.inactive, created_at = excluded.created_at, used_at = excluded.used_at,
			used_service = excluded.used_service, used_region = excluded.used_region`,
		k.ID, k.Account, strings.ToLower(k.UserName), k.Secret, bit(k.Inactive), micros(k.CreatedAt), micros(k.UsedAt), k.UsedService, k.UsedRegion)
	return err
}

// NoteAccessKeyUse stores when and for what a key was last used, which
// changes nothing about what it may do. A key that is gone is passed over.
func (tx *Tx) NoteAccessKeyUse(id string, at time.Time, service, region string) error {
	_, err := tx.exec(`UPDATE iam_access_key SET used_at = $2, used_service = $3, used_region = $4 WHERE id = $1`,
		id, micros(at), service, region)
	return err
}

// DeleteAccessKey removes an access key. It returns an error of kind
// NotFound if it is gone already.
func (tx *Tx) DeleteAccessKey(id string) error {
	k, err := tx.AccessKey(id)
	if err != nil {
		return err
	}
	tx.Touch(IdentityTopic(k.Account))
	return tx.change(`DELETE FROM iam_access_key WHERE id = $1`, id)
}
