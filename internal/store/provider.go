package store

import (
	"database/sql"
	"encoding/json"

	"github.com/keyturn/keyturn/internal/iam"
)

const providerColumns = `p.account, p.url, p.client_ids, p.thumbprints, p.created_at, p.tags`

func (tx *Tx) providers(query string, args ...any) ([]*iam.Provider, error) {
	var list []*iam.Provider
	err := tx.each(func(rows *sql.Rows) error {
		var p iam.Provider
		var clients, thumbprints, tags string
		var created int64
		if err := rows.Scan(&p.Account, &p.URL, &clients, &thumbprints, &created, &tags); err != nil {
			return err
		}
		p.CreatedAt = fromMicros(created)
		if err := json.Unmarshal([]byte(clients), &p.ClientIDs); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(thumbprints), &p.Thumbprints); err != nil {
			return err
		}
		var err error
		p.Tags, err = parseTags[iam.Tag](tags)
		list = append(list, &p)
		return err
	}, query, args...)
	return list, err
}

// Provider returns an OpenID Connect provider by its URL without the scheme.
// It returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) Provider(account, url string) (*iam.Provider, error) {
	return only(tx.providers(`SELECT `+providerColumns+` FROM iam_provider p WHERE p.account = $1 AND p.url = $2`, account, url))
}

// Providers returns the account's providers, of which there are few, by URL.
func (tx *Tx) Providers(account string) ([]*iam.Provider, error) {
	return tx.providers(`SELECT `+providerColumns+` FROM iam_provider p WHERE p.account = $1 ORDER BY p.url`, account)
}

// SaveProvider stores a provider, new or in place of the stored one.
func (tx *Tx) SaveProvider(p *iam.Provider) error {
	tx.Touch(IdentityTopic(p.Account))
	_, err := tx.exec(`INSERT INTO iam_provider (account, url, client_ids, thumbprints, created_at, tags) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, url) DO UPDATE SET client_ids = excluded.client_ids, thumbprints = excluded.thumbprints,
			created_at = excluded.created_at, tags = excluded.tags`,
		p.Account, p.URL, formatTexts(p.ClientIDs), formatTexts(p.Thumbprints), micros(p.CreatedAt), formatTags(p.Tags))
	return err
}

// formatTexts returns the stored form of a list of texts.
func formatTexts(list []string) string {
	b, _ := json.Marshal(list) // strings always encode
	return string(b)
}

// DeleteProvider removes a provider. It returns an error of kind NotFound if
// it is gone already.
func (tx *Tx) DeleteProvider(account, url string) error {
	tx.Touch(IdentityTopic(account))
	return tx.change(`DELETE FROM iam_provider WHERE account = $1 AND url = $2`, account, url)
}
