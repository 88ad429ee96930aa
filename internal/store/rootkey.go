package store

import (
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/keyturn/keyturn/internal/fault"
)

// WrappedMaterial is one generation of a KMS key's material, as the root key
// with an ID wrapped it.
type WrappedMaterial struct {
	MaterialPlace
	// ID names the generation: 64 hexadecimal digits.
	ID      string
	Wrapped []byte
}

// MaterialPlace is where a generation is stored; the zero value stands before
// all.
type MaterialPlace struct {
	Account, Region, KeyID string
	Seq                    int
}

// RootKeyIDs returns the IDs of the root keys that wrapped what is stored now,
// in hexadecimal digits and in order. Its cost does not depend on how many
// keys there are.
func (tx *Tx) RootKeyIDs() ([]string, error) {
	var ids []string
	for last := []byte{}; ; {
		var next []byte
		err := tx.one([]any{&next}, `SELECT substr(wrapped, 2, 8) FROM kms_material WHERE substr(wrapped, 2, 8) > $1
			ORDER BY substr(wrapped, 2, 8) LIMIT 1`, last)
		if fault.Is(err, fault.NotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		ids, last = append(ids, hex.EncodeToString(next)), next
	}
	sealer, err := tx.SealerKey()
	if err != nil || len(sealer) <= 8 {
		return ids, err
	}
	return merge(ids, hex.EncodeToString(sealer[1:9])), nil
}

// merge adds an element to an ordered list unless it is there.
func merge(list []string, id string) []string {
	for i, have := range list {
		switch {
		case have == id:
			return list
		case have > id:
			return append(list[:i:i], append([]string{id}, list[i:]...)...)
		}
	}
	return append(list, id)
}

// CountMaterial returns how many generations of key material a root key
// wrapped.
func (tx *Tx) CountMaterial(rootKeyID string) (n int, err error) {
	id, err := hex.DecodeString(rootKeyID)
	if err != nil {
		return 0, fault.Wrap(err, "reading a root key's ID")
	}
	err = tx.one([]any{&n}, `SELECT count(*) FROM kms_material WHERE substr(wrapped, 2, 8) = $1`, id)
	return n, err
}

// MaterialOf returns up to limit generations of key material that a root key
// wrapped, in the order of their places and beginning behind the place after.
func (tx *Tx) MaterialOf(rootKeyID string, after MaterialPlace, limit int) ([]WrappedMaterial, error) {
	id, err := hex.DecodeString(rootKeyID)
	if err != nil {
		return nil, fault.Wrap(err, "reading a root key's ID")
	}
	var list []WrappedMaterial
	err = tx.each(func(rows *sql.Rows) error {
		var m WrappedMaterial
		err := rows.Scan(&m.Account, &m.Region, &m.KeyID, &m.Seq, &m.ID, &m.Wrapped)
		list = append(list, m)
		return err
	}, `SELECT account, region, key_id, seq, id, wrapped FROM kms_material
		WHERE substr(wrapped, 2, 8) = $1 AND (account, region, key_id, seq) > ($2, $3, $4, $5)
		ORDER BY account, region, key_id, seq LIMIT $6`, id, after.Account, after.Region, after.KeyID, after.Seq, limit)
	return list, err
}

// Rewrap puts other bytes in the place of a generation's wrapped ones. It
// returns an error of kind NotFound, without message, when these are not there
// any more.
func (tx *Tx) Rewrap(m *WrappedMaterial, wrapped []byte) error {
	tx.Touch(KeyTopic(m.KeyID))
	return tx.change(`UPDATE kms_material SET wrapped = $1
		WHERE account = $2 AND region = $3 AND key_id = $4 AND seq = $5 AND wrapped = $6`,
		wrapped, m.Account, m.Region, m.KeyID, m.Seq, m.Wrapped)
}

// metaSealer is where the key of the server's Sealer is, wrapped, in base64.
const metaSealer = "sealer key"

// SealerKey returns the wrapped key of the deployment's Sealer; nil when there
// is none yet.
func (tx *Tx) SealerKey() ([]byte, error) {
	text, err := tx.Meta(metaSealer)
	if err != nil || text == "" {
		return nil, err
	}
	wrapped, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Cause: fmt.Errorf("the store's sealer key is damaged: %w", err)}
	}
	return wrapped, nil
}

// SetSealerKey stores the wrapped key of the deployment's Sealer.
func (tx *Tx) SetSealerKey(wrapped []byte) error {
	return tx.SetMeta(metaSealer, base64.StdEncoding.EncodeToString(wrapped))
}
