package store

import "github.com/keyturn/keyturn/internal/fault"

// Meta returns the value kept under a key of the server's own, such as who
// made this data folder; "" when there is none.
func (tx *Tx) Meta(key string) (string, error) {
	var value string
	err := tx.one([]any{&value}, `SELECT value FROM meta WHERE key = $1`, key)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	return value, err
}

// SetMeta keeps a value under a key of the server's own; "" removes it.
func (tx *Tx) SetMeta(key, value string) error {
	var err error
	if value == "" {
		_, err = tx.exec(`DELETE FROM meta WHERE key = $1`, key)
	} else {
		_, err = tx.exec(`INSERT INTO meta (key, value) VALUES ($1, $2)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	}
	return err
}
