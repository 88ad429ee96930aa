package store

import (
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// secretColumns are the columns of a secret as secretRow scans them.
const secretColumns = `s.id, s.version_count, s.revision, s.body`

// secretRow is a row of secretColumns.
type secretRow struct {
	id                 string
	versions, revision int64
	body               sql.RawBytes
}

// dest returns what to scan secretColumns into.
func (r *secretRow) dest() []any { return []any{&r.id, &r.versions, &r.revision, &r.body} }

// secret returns the row's secret with its labelled versions.
func (r *secretRow) secret() (*secret.Secret, error) {
	s := &secret.Secret{ID: r.id, Revision: r.revision}
	return s, decodeSecret(r.body, s)
}

// find returns the one secret that a query for secretColumns gives, with
// its labelled versions, and how many versions there are. more are further
// columns. It returns an error of kind NotFound when there is none.
func (tx *Tx) find(more []any, query string, args ...any) (_ *secret.Secret, count int64, err error) {
	var row secretRow
	var s *secret.Secret
	dest := append(row.dest(), more...)
	err = tx.each(func(rows *sql.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		s, err = row.secret()
		return err
	}, query, args...)
	if err != nil {
		return nil, 0, err
	}
	if s == nil {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	tx.found, tx.foundVersions = s, row.versions
	return s, row.versions, tx.loadReplicas(s)
}

// lookup returns the name under which ref may be found in the region, and
// the ARN that the secret must have, if any.
func lookup(account, region string, ref arn.SecretRef) (name, want string, ok bool) {
	if ref.Region != "" && ref.Region != region || ref.Account != "" && ref.Account != account {
		return "", "", false
	}
	if ref.Name != "" {
		return ref.Name, "", true
	}
	a, ok := arn.Parse(ref.ARN)
	resource, isSecret := strings.CutPrefix(a.Resource, "secret:")
	if !ok || !isSecret || !arn.LooksComplete(resource) {
		return "", "", false
	}
	return resource[:len(resource)-arn.SuffixLen-1], ref.ARN, true
}

// findRef finds a secret by name. columns and joins are further parts of the
// statement, in which $1, $2 and $3 are taken.
func (tx *Tx) findRef(account, region string, ref arn.SecretRef, columns, joins string, more []any, args ...any) (*secret.Secret, int64, error) {
	name, want, ok := lookup(account, region, ref)
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	return tx.findNamed(account, region, name, want, columns, joins, more, args...)
}

// findNamed finds a secret by name; want is the ARN that it must have, if
// not "".
func (tx *Tx) findNamed(account, region, name, want, columns, joins string, more []any, args ...any) (*secret.Secret, int64, error) {
	s, count, err := tx.find(more, `SELECT `+secretColumns+columns+` FROM secret s`+joins+`
		WHERE s.account = $1 AND s.region = $2 AND s.name = $3`, append([]any{account, region, name}, args...)...)
	if err == nil && want != "" && s.ARN() != want {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	return s, count, err
}

// FindSecret returns the secret that ref names in the account and region,
// by exact ARN or else by name, also when it is scheduled for deletion, with
// all its versions. It returns an error of kind NotFound, without message,
// when there is no such secret.
func (tx *Tx) FindSecret(account, region string, ref arn.SecretRef) (*secret.Secret, error) {
	s, count, err := tx.findRef(account, region, ref, "", "", nil)
	if err == nil && count > int64(len(s.Versions)) {
		err = tx.loadAll(s)
	}
	return s, err
}

// FindLabelled is FindSecret at a cost that does not grow with the number
// of deprecated versions: of those it loads only the ones with the given
// IDs, which need not exist. That is enough to put or to move a version: it
// loads all once the secret has so many versions that their limit or their
// purge come into play.
func (tx *Tx) FindLabelled(account, region string, ref arn.SecretRef, versionIDs ...string) (*secret.Secret, error) {
	if tx.memory != nil {
		return tx.recallLabelled(account, region, ref, versionIDs)
	}
	exists := int64(0)
	column, more := "", []any(nil)
	places, args := inList(4, versionIDs)
	if args != nil {
		column = `, CASE WHEN EXISTS (SELECT 1 FROM version t WHERE t.secret_id = s.id AND t.id IN (` + places + `)) THEN 1 ELSE 0 END`
		more = []any{&exists}
	}
	s, count, err := tx.findRef(account, region, ref, column, "", more, args...)
	switch {
	case err != nil || count == int64(len(s.Versions)):
	case count >= secret.KeptVersions:
		err = tx.loadAll(s)
	case exists == 1:
		err = tx.loadDeprecated(s, versionIDs...)
	}
	return s, err
}

// recallLabelled is FindLabelled with the help of memory, which knows nothing
// of deprecated versions but their number.
func (tx *Tx) recallLabelled(account, region string, ref arn.SecretRef, versionIDs []string) (*secret.Secret, error) {
	s, err := tx.sharedVersion(account, region, ref, "", secret.Current)
	if err != nil {
		return nil, err
	}
	s = s.Clone()
	tx.found = s
	switch count := tx.foundVersions; {
	case count == int64(len(s.Versions)):
	case count >= secret.KeptVersions:
		err = tx.loadAll(s)
	default:
		err = tx.addDeprecated(s, versionIDs)
	}
	return s, err
}

// addDeprecated adds those of the named versions to s that exist and are not
// there.
func (tx *Tx) addDeprecated(s *secret.Secret, ids []string) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" || s.Version(id) != nil })
	if len(ids) == 0 {
		return nil
	}
	exists := false
	places, args := inList(2, ids)
	err := tx.each(func(*sql.Rows) error {
		exists = true
		return errEnough
	}, `SELECT 1 FROM version WHERE secret_id = $1 AND id IN (`+places+`)`, append([]any{s.ID}, args...)...)
	if err != nil || !exists {
		return err
	}
	return tx.loadDeprecated(s, ids...)
}

// SecretByID returns a secret with all its versions. It returns an error of
// kind NotFound, without message, when there is no such secret.
func (tx *Tx) SecretByID(id string) (*secret.Secret, error) {
	s, count, err := tx.find(nil, `SELECT `+secretColumns+` FROM secret s WHERE s.id = $1`, id)
	if err == nil && count > int64(len(s.Versions)) {
		err = tx.loadAll(s)
	}
	return s, err
}

// ReadVersion returns a secret with its labelled versions and, in
// Version.Sealed, the value of one version: the one that versionID names,
// which may be deprecated, or for "" the one that carries the label stage.
// That version is missing, or has no value, if there is no such thing. It
// is one statement but for a deprecated version or a secret with replicas.
func (tx *Tx) ReadVersion(account, region string, ref arn.SecretRef, versionID, stage string) (*secret.Secret, error) {
	s, err := tx.sharedVersion(account, region, ref, versionID, stage)
	if err == nil && !tx.readOnly {
		s = s.Clone()
	}
	return s, err
}

// sharedVersion is ReadVersion of a secret that memory may hold, so that
// nobody may change it.
func (tx *Tx) sharedVersion(account, region string, ref arn.SecretRef, versionID, stage string) (*secret.Secret, error) {
	name, want, ok := lookup(account, region, ref)
	if !ok {
		return nil, fault.New(fault.NotFound, "")
	}
	place := versionPlace{account, region, name, versionID, true}
	if versionID == "" {
		place.selector, place.byID = stage, false
	}
	held, ok, err := recall(tx, heldSecrets, place)
	if err != nil {
		return nil, err
	}
	if ok {
		tx.found, tx.foundVersions = held.Secret, held.versions
	} else {
		var v *secret.Version
		if held.Secret, v, err = tx.readVersion(place); err != nil {
			return nil, err
		}
		if v != nil {
			keep(tx, heldSecrets, place, heldSecret{held.Secret, tx.foundVersions}, SecretTopic(held.ID))
		}
	}
	if want != "" && held.ARN() != want {
		return nil, fault.New(fault.NotFound, "")
	}
	return held.Secret, nil
}

// readVersion is ReadVersion from the database. v is nil if there is no such
// version.
func (tx *Tx) readVersion(p versionPlace) (s *secret.Secret, v *secret.Version, err error) {
	var sealed []byte
	columns, joins := `, v.sealed`, ` LEFT JOIN version v ON v.secret_id = s.id AND v.id = $4`
	if !p.byID {
		joins = ` LEFT JOIN label l ON l.secret_id = s.id AND l.label = $4
			LEFT JOIN version v ON v.secret_id = l.secret_id AND v.id = l.version_id`
	}
	s, count, err := tx.findNamed(p.account, p.region, p.name, "", columns, joins, []any{&sealed}, p.selector)
	if err != nil {
		return nil, nil, err
	}
	if v = s.Version(p.selector); !p.byID {
		v = s.Holder(p.selector)
	} else if v == nil && count > int64(len(s.Versions)) {
		err = tx.loadDeprecated(s, p.selector)
		v = s.Version(p.selector)
	}
	if v != nil && sealed != nil {
		v.Sealed = sealed
	}
	return s, v, err
}

// SecretsToPurge returns up to limit secrets whose recovery window ended by
// now, the longest overdue first, with their labelled versions.
func (tx *Tx) SecretsToPurge(now time.Time, limit int) ([]*secret.Secret, error) {
	return tx.secrets(`SELECT `+secretColumns+` FROM secret s
		WHERE s.delete_at > 0 AND s.delete_at <= $1 ORDER BY s.delete_at LIMIT $2`, micros(now), limit)
}

// DueSecrets returns up to limit secrets whose rotation is due at now, the
// longest overdue first, with their labelled versions. The cost does not
// depend on how many are not due.
func (tx *Tx) DueSecrets(now time.Time, limit int) ([]*secret.Secret, error) {
	return tx.secrets(`SELECT `+secretColumns+` FROM secret s
		WHERE s.due_at > 0 AND s.delete_at = 0 AND s.due_at <= $1 ORDER BY s.due_at LIMIT $2`, micros(now), limit)
}

// CrowdedSecrets returns up to limit secrets that have more than
// secret.KeptVersions versions, with all of them, in the order of their IDs
// and beginning behind the ID after.
func (tx *Tx) CrowdedSecrets(after string, limit int) ([]*secret.Secret, error) {
	list, err := tx.secrets(`SELECT `+secretColumns+` FROM secret s
		WHERE s.version_count > 100 AND s.id > $1 ORDER BY s.id LIMIT $2`, after, limit)
	for _, s := range list {
		if err == nil {
			err = tx.loadAll(s)
		}
	}
	return list, err
}

// secrets runs a query for secretColumns and loads replicas.
func (tx *Tx) secrets(query string, args ...any) ([]*secret.Secret, error) {
	var list []*secret.Secret
	var row secretRow
	dest := row.dest()
	err := tx.each(func(rows *sql.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		s, err := row.secret()
		list = append(list, s)
		return err
	}, query, args...)
	for _, s := range list {
		if err == nil {
			err = tx.loadReplicas(s)
		}
	}
	return list, err
}

// DeleteSecret removes a secret with its versions, labels, replicas and
// rotation. It returns an error of kind NotFound if it is gone already.
func (tx *Tx) DeleteSecret(id string) error {
	tx.Touch(SecretTopic(id))
	return tx.change(`DELETE FROM secret WHERE id = $1`, id)
}

// TouchSecret notes that a version was read on the UTC day. It leaves
// Revision as it is, and writes nothing when the day is noted already or
// the secret is gone.
func (tx *Tx) TouchSecret(secretID, versionID string, day time.Time) error {
	s, _, err := tx.find(nil, `SELECT `+secretColumns+` FROM secret s WHERE s.id = $1`, secretID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v, labelled := s.Version(versionID), true
	if v == nil {
		labelled = false
		if err := tx.loadDeprecated(s, versionID); err != nil {
			return err
		}
		v = s.Version(versionID)
	}
	touched := false
	if v != nil && v.AccessedOn.Before(day) {
		tx.Touch(SecretTopic(secretID))
		v.AccessedOn, touched = day, labelled
		if err := tx.updateVersion(secretID, v); err != nil {
			return err
		}
	}
	if s.AccessedOn.Before(day) {
		s.AccessedOn, touched = day, true
	}
	if touched {
		tx.Touch(SecretTopic(secretID))
		_, err = tx.exec(`UPDATE secret SET accessed_on = $2, body = $3 WHERE id = $1`, secretID, micros(s.AccessedOn), encodeSecret(s))
	}
	return err
}
