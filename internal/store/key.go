package store

import (
	"database/sql"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
)

const keyColumns = `k.account, k.region, k.id, k.description, k.manager, k.state, k.policy, k.created_at, k.delete_at, k.tags,
	k.rotation_days, k.next_rotation_at`

// keys runs a query for keyColumns and loads the key material.
func (tx *Tx) keys(query string, args ...any) ([]*key.Record, error) {
	var list []*key.Record
	err := tx.each(func(rows *sql.Rows) error {
		var k key.Record
		var created, deleteAt, rotateAt int64
		var tags string
		err := rows.Scan(&k.Account, &k.Region, &k.ID, &k.Description, &k.Manager, &k.State, &k.Policy, &created, &deleteAt, &tags,
			&k.RotationDays, &rotateAt)
		if err != nil {
			return err
		}
		k.CreatedAt, k.DeleteAt, k.NextRotation = fromMicros(created), fromMicros(deleteAt), fromMicros(rotateAt)
		k.Tags, err = parseTags[key.Tag](tags)
		list = append(list, &k)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if err := tx.loadMaterial(k); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (tx *Tx) loadMaterial(k *key.Record) error {
	return tx.each(func(rows *sql.Rows) error {
		var m key.Material
		var created int64
		err := rows.Scan(&m.ID, &m.Wrapped, &created, &m.Rotation)
		m.CreatedAt = fromMicros(created)
		k.Material = append(k.Material, m)
		return err
	}, `SELECT id, wrapped, created_at, rotation FROM kms_material WHERE account = $1 AND region = $2 AND key_id = $3 ORDER BY seq`,
		k.Account, k.Region, k.ID)
}

// Key returns a key with its material. It returns an error of kind
// NotFound, without message, when there is none with the ID.
func (tx *Tx) Key(account, region, id string) (*key.Record, error) {
	place := keyPlace{account, region, id}
	if rec, ok, err := recall(tx, heldKeys, place); ok && !tx.readOnly {
		return rec.Clone(), err
	} else if ok || err != nil {
		return rec, err
	}
	list, err := tx.keys(`SELECT `+keyColumns+` FROM kms_key k WHERE k.account = $1 AND k.region = $2 AND k.id = $3`, account, region, id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	keep(tx, heldKeys, place, list[0], KeyTopic(id))
	return list[0], nil
}

// KeyByID returns the key with the ID, whichever account of the region it
// belongs to. It returns an error of kind NotFound, without message, when
// there is none.
func (tx *Tx) KeyByID(region, id string) (*key.Record, error) {
	return first(tx.keys(`SELECT `+keyColumns+` FROM kms_key k WHERE k.id = $1 AND k.region = $2 LIMIT 1`, id, region))
}

// Keys returns up to limit keys of the account and region in the order of
// their IDs, beginning behind the ID after.
func (tx *Tx) Keys(account, region, after string, limit int) ([]*key.Record, error) {
	return tx.keys(`SELECT `+keyColumns+` FROM kms_key k
		WHERE k.account = $1 AND k.region = $2 AND k.id > $3 ORDER BY k.id LIMIT $4`, account, region, after, limit)
}

// KeysToPurge returns up to limit keys whose waiting period ended by now.
func (tx *Tx) KeysToPurge(now time.Time, limit int) ([]*key.Record, error) {
	return tx.keys(`SELECT `+keyColumns+` FROM kms_key k
		WHERE k.delete_at > 0 AND k.delete_at <= $1 ORDER BY k.delete_at LIMIT $2`, micros(now), limit)
}

// KeysToRotate returns up to limit enabled keys whose automatic rotation is due
// by now.
func (tx *Tx) KeysToRotate(now time.Time, limit int) ([]*key.Record, error) {
	return tx.keys(`SELECT `+keyColumns+` FROM kms_key k
		WHERE k.next_rotation_at > 0 AND k.state = 'Enabled' AND k.next_rotation_at <= $1 ORDER BY k.next_rotation_at LIMIT $2`,
		micros(now), limit)
}

// SaveKey stores a key with its material, new or in place of the stored
// one.
func (tx *Tx) SaveKey(k *key.Record) error {
	tx.Touch(KeyTopic(k.ID))
	_, err := tx.exec(`INSERT INTO kms_key (account, region, id, description, manager, state, policy, created_at, delete_at, tags,
			rotation_days, next_rotation_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (account, region, id) DO UPDATE SET description = excluded.description, manager = excluded.manager,
			state = excluded.state, policy = excluded.policy, created_at = excluded.created_at,
			delete_at = excluded.delete_at, tags = excluded.tags, rotation_days = excluded.rotation_days,
			next_rotation_at = excluded.next_rotation_at`,
		k.Account, k.Region, k.ID, k.Description, string(k.Manager), string(k.State), k.Policy,
		micros(k.CreatedAt), micros(k.DeleteAt), formatTags(k.Tags), k.RotationDays, micros(k.NextRotation))
	if err != nil {
		return err
	}
	for i, m := range k.Material {
		_, err := tx.exec(`INSERT INTO kms_material (account, region, key_id, seq, id, wrapped, created_at, rotation)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (account, region, key_id, seq) DO UPDATE SET id = excluded.id, wrapped = excluded.wrapped,
				created_at = excluded.created_at, rotation = excluded.rotation`,
			k.Account, k.Region, k.ID, i, m.ID, m.Wrapped, micros(m.CreatedAt), string(m.Rotation))
		if err != nil {
			return err
		}
	}
	_, err = tx.exec(`DELETE FROM kms_material WHERE account = $1 AND region = $2 AND key_id = $3 AND seq >= $4`,
		k.Account, k.Region, k.ID, len(k.Material))
	return err
}

// DeleteKey removes a key with its material, aliases and grants. It returns an
// error of kind NotFound if it is gone already.
func (tx *Tx) DeleteKey(account, region, id string) error {
	tx.Touch(KeyTopic(id))
	return tx.change(`DELETE FROM kms_key WHERE account = $1 AND region = $2 AND id = $3`, account, region, id)
}

const aliasColumns = `a.account, a.region, a.name, a.key_id, a.created_at, a.updated_at`

func (tx *Tx) aliases(query string, args ...any) ([]key.Alias, error) {
	var list []key.Alias
	err := tx.each(func(rows *sql.Rows) error {
		var a key.Alias
		var created, updated int64
		err := rows.Scan(&a.Account, &a.Region, &a.Name, &a.KeyID, &created, &updated)
		a.CreatedAt, a.UpdatedAt = fromMicros(created), fromMicros(updated)
		list = append(list, a)
		return err
	}, query, args...)
	return list, err
}

// Alias returns an alias by its name, which starts with "alias/". It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) Alias(account, region, name string) (*key.Alias, error) {
	place := keyPlace{account, region, name}
	if alias, ok, err := recall(tx, heldAliases, place); ok {
		return new(*alias), err
	} else if err != nil {
		return nil, err
	}
	list, err := tx.aliases(`SELECT `+aliasColumns+` FROM kms_alias a WHERE a.account = $1 AND a.region = $2 AND a.name = $3`, account, region, name)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	keep(tx, heldAliases, place, &list[0], KeyTopic(list[0].KeyID))
	return &list[0], nil
}

// Aliases returns up to limit aliases of the account and region, of one
// key unless keyID is "", in the order of their names and beginning behind
// the name after.
func (tx *Tx) Aliases(account, region, keyID, after string, limit int) ([]key.Alias, error) {
	query := `SELECT ` + aliasColumns + ` FROM kms_alias a WHERE a.account = $1 AND a.region = $2 AND a.name > $3`
	args := []any{account, region, after, limit}
	if keyID != "" {
		query += ` AND a.key_id = $5`
		args = append(args, keyID)
	}
	return tx.aliases(query+` ORDER BY a.name LIMIT $4`, args...)
}

// SaveAlias stores an alias, new or in place of the stored one. The key
// must exist.
func (tx *Tx) SaveAlias(a *key.Alias) error {
	if err := tx.touchAlias(a.Account, a.Region, a.Name); err != nil {
		return err
	}
	tx.Touch(KeyTopic(a.KeyID))
	_, err := tx.exec(`INSERT INTO kms_alias (account, region, name, key_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, region, name) DO UPDATE SET key_id = excluded.key_id,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		a.Account, a.Region, a.Name, a.KeyID, micros(a.CreatedAt), micros(a.UpdatedAt))
	return err
}

// DeleteAlias removes an alias. It returns an error of kind NotFound if it
// is gone already.
func (tx *Tx) DeleteAlias(account, region, name string) error {
	if err := tx.touchAlias(account, region, name); err != nil {
		return err
	}
	return tx.change(`DELETE FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3`, account, region, name)
}

// touchAlias touches the key that the alias names so far, if any.
func (tx *Tx) touchAlias(account, region, name string) error {
	old, err := tx.Alias(account, region, name)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		tx.Touch(KeyTopic(old.KeyID))
	}
	return err
}
