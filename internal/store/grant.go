package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/keyturn/keyturn/internal/key"
)

const grantColumns = `g.account, g.region, g.key_id, g.id, g.name, g.grantee, g.retiring, g.issuer, g.operations, g.equals, g.subset, g.created_at`

func (tx *Tx) grants(query string, args ...any) ([]*key.Grant, error) {
	var list []*key.Grant
	err := tx.each(func(rows *sql.Rows) error {
		var g key.Grant
		var operations, equals, subset string
		var created int64
		err := rows.Scan(&g.Account, &g.Region, &g.KeyID, &g.ID, &g.Name, &g.Grantee, &g.Retiring, &g.Issuer,
			&operations, &equals, &subset, &created)
		if err != nil {
			return err
		}
		g.CreatedAt = fromMicros(created)
		if err := json.Unmarshal([]byte(operations), &g.Operations); err != nil {
			return fmt.Errorf("reading a grant's operations: %w", err)
		}
		if g.Equals, err = parseContext(equals); err != nil {
			return err
		}
		g.Subset, err = parseContext(subset)
		list = append(list, &g)
		return err
	}, query, args...)
	return list, err
}

// formatContext returns the stored form of a constraint.
func formatContext(ec key.EncryptionContext) string {
	if ec == nil {
		return ""
	}
	b, _ := json.Marshal(ec) // strings always encode
	return string(b)
}

func parseContext(s string) (ec key.EncryptionContext, err error) {
	if s == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(s), &ec); err != nil {
		return nil, fmt.Errorf("reading a grant's constraint: %w", err)
	}
	return ec, nil
}

// Grant returns a grant on a key. It returns an error of kind NotFound,
// without message, when there is none with the ID.
func (tx *Tx) Grant(account, region, keyID, id string) (*key.Grant, error) {
	return first(tx.grants(`SELECT `+grantColumns+` FROM kms_grant g WHERE g.account = $1 AND g.region = $2 AND g.key_id = $3 AND g.id = $4`,
		account, region, keyID, id))
}

// GrantsNamed returns the grants on a key with the name, which is not "".
func (tx *Tx) GrantsNamed(account, region, keyID, name string) ([]*key.Grant, error) {
	return tx.grants(`SELECT `+grantColumns+` FROM kms_grant g
		WHERE g.account = $1 AND g.region = $2 AND g.key_id = $3 AND g.name = $4 AND g.name <> '' ORDER BY g.id`, account, region, keyID, name)
}

// Grants returns up to limit grants on a key, only those to grantee unless
// that is "", in the order of their IDs and beginning behind the ID after.
func (tx *Tx) Grants(account, region, keyID, grantee, after string, limit int) ([]*key.Grant, error) {
	place := grantPlace{keyPlace{account, region, keyID}, grantee, after, limit}
	if tx.readOnly { // who grants reads what to change
		if list, ok, err := recall(tx, heldGrants, place); ok || err != nil {
			return list, err
		}
	}
	list, err := tx.listGrants(place)
	if err == nil {
		keep(tx, heldGrants, place, list, KeyTopic(keyID))
	}
	return list, err
}

func (tx *Tx) listGrants(p grantPlace) ([]*key.Grant, error) {
	query := `SELECT ` + grantColumns + ` FROM kms_grant g WHERE g.account = $1 AND g.region = $2 AND g.key_id = $3 AND g.id > $4`
	args := []any{p.account, p.region, p.id, p.after, p.limit}
	if p.grantee != "" {
		query += ` AND g.grantee = $6`
		args = append(args, p.grantee)
	}
	return tx.grants(query+` ORDER BY g.id LIMIT $5`, args...)
}

// RetirableGrants returns up to limit grants in the region, of whichever
// account, that the principal may retire, in the order of their IDs and
// beginning behind the ID after.
func (tx *Tx) RetirableGrants(region, retiring, after string, limit int) ([]*key.Grant, error) {
	return tx.grants(`SELECT `+grantColumns+` FROM kms_grant g
		WHERE g.region = $1 AND g.retiring = $2 AND g.retiring <> '' AND g.id > $3 ORDER BY g.id LIMIT $4`, region, retiring, after, limit)
}

// SaveGrant stores a new grant. The key must exist.
func (tx *Tx) SaveGrant(g *key.Grant) error {
	tx.Touch(KeyTopic(g.KeyID))
	operations, _ := json.Marshal(g.Operations) // strings always encode
	_, err := tx.exec(`INSERT INTO kms_grant (account, region, key_id, id, name, grantee, retiring, issuer, operations, equals, subset, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		g.Account, g.Region, g.KeyID, g.ID, g.Name, g.Grantee, g.Retiring, g.Issuer, string(operations),
		formatContext(g.Equals), formatContext(g.Subset), micros(g.CreatedAt))
	return err
}

// DeleteGrant removes a grant. It returns an error of kind NotFound if it is
// gone already.
func (tx *Tx) DeleteGrant(account, region, keyID, id string) error {
	tx.Touch(KeyTopic(keyID))
	return tx.change(`DELETE FROM kms_grant WHERE account = $1 AND region = $2 AND key_id = $3 AND id = $4`, account, region, keyID, id)
}
