package store

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"strconv"

	"github.com/keyturn/keyturn/internal/secret"
)

// loadAll loads all versions of s, in their order by creation. s has its
// labelled versions already.
func (tx *Tx) loadAll(s *secret.Secret) error {
	return tx.loadVersions(s, `SELECT v.id, v.seq, v.meta FROM version v WHERE v.secret_id = $1`, s.ID)
}

// loadDeprecated adds those of the named versions to s that exist, in their
// place by creation.
func (tx *Tx) loadDeprecated(s *secret.Secret, ids ...string) error {
	if !slices.ContainsFunc(ids, func(id string) bool { return id != "" && s.Version(id) == nil }) {
		return nil
	}
	places, args := inList(2, ids)
	return tx.loadVersions(s, `SELECT v.id, v.seq, v.meta FROM version v WHERE v.secret_id = $1
		AND (v.id IN (`+places+`) OR v.id IN (SELECT l.version_id FROM label l WHERE l.secret_id = $1))`, append([]any{s.ID}, args...)...)
}

// inList returns the places of an IN list that begins at $first, and its
// arguments: the IDs that are not empty.
func inList(first int, ids []string) (places string, args []any) {
	for _, id := range ids {
		if id == "" {
			continue
		}
		if args != nil {
			places += ", "
		}
		places += "$" + strconv.Itoa(first+len(args))
		args = append(args, id)
	}
	return places, args
}

// loadVersions replaces the versions of s by those that the query gives,
// with the labels that s knows.
func (tx *Tx) loadVersions(s *secret.Secret, query string, args ...any) error {
	type numbered struct {
		secret.Version
		seq int64
	}
	var found []numbered
	var meta sql.RawBytes
	err := tx.each(func(rows *sql.Rows) error {
		var v numbered
		if err := rows.Scan(&v.ID, &v.seq, &meta); err != nil {
			return err
		}
		if known := s.Version(v.ID); known != nil {
			v.Labels = known.Labels
		}
		err := decodeVersion(meta, &v.Version)
		found = append(found, v)
		return err
	}, query, args...)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b numbered) int { return cmp.Compare(a.seq, b.seq) })
	s.Versions = make([]secret.Version, len(found))
	for i, v := range found {
		s.Versions[i] = v.Version
	}
	return nil
}

// SealedValue returns the value of a version as package key sealed it. It
// returns an error of kind NotFound when the version does not exist or has
// no value.
func (tx *Tx) SealedValue(secretID, versionID string) ([]byte, error) {
	var sealed []byte
	err := tx.one([]any{&sealed}, `SELECT sealed FROM version WHERE secret_id = $1 AND id = $2 AND sealed IS NOT NULL`, secretID, versionID)
	return sealed, err
}

// insertVersion stores a new version; one with its ID must not exist.
func (tx *Tx) insertVersion(secretID string, v *secret.Version, seq int64) error {
	return tx.insert(`INSERT INTO version (secret_id, id, seq, meta, sealed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		secretID, v.ID, seq, encodeVersion(v), nullable(v.Sealed))
}

// updateVersion stores a version's changes; a nil sealed value stays.
func (tx *Tx) updateVersion(secretID string, v *secret.Version) error {
	if v.Sealed == nil {
		return tx.change(`UPDATE version SET meta = $3 WHERE secret_id = $1 AND id = $2`, secretID, v.ID, encodeVersion(v))
	}
	return tx.change(`UPDATE version SET meta = $3, sealed = $4 WHERE secret_id = $1 AND id = $2`, secretID, v.ID, encodeVersion(v), v.Sealed)
}

// nullable passes nil as NULL and not as an empty value.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// checkLabels compares the labels in a secret's record with the rows that
// keep them unique.
func (tx *Tx) checkLabels(s *secret.Secret) error {
	labels, err := labelsOf(s)
	if err != nil {
		return err
	}
	rowsMatch := true
	n := 0
	err = tx.each(func(rows *sql.Rows) error {
		var label, id string
		err := rows.Scan(&label, &id)
		n++
		rowsMatch = rowsMatch && labels[label] == id
		return err
	}, `SELECT label, version_id FROM label WHERE secret_id = $1`, s.ID)
	if err == nil && (!rowsMatch || n != len(labels)) {
		return errors.New("the database is damaged: labels of secret " + s.ID + " differ from its record")
	}
	return err
}
