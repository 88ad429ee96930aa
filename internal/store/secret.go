package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// secretColumns are the columns of a secret as secretRow scans them.
const secretColumns = `s.id, s.account, s.region, s.name, s.suffix, s.description, s.kms_key_id, s.type, s.owning_service,
	s.created_at, s.changed_at, s.accessed_on, s.delete_at, s.tags, s.policy,
	s.rotation_configured, s.rotation_enabled, s.rotation_function, s.rotation_days, s.rotation_duration, s.rotation_expression,
	s.rotation_configured_at, s.last_rotated_at, s.value_changed_at, s.next_date, s.due_at, s.primary_region, s.version_count, s.revision`

// secretRow is a row of secretColumns on its way into a Secret.
type secretRow struct {
	secret.Secret
	created, changed, accessed, deleteAt                     int64
	configured, enabled                                      int64
	configuredAt, rotatedAt, valueChangedAt, nextDate, dueAt int64
	tags                                                     string
	// versions counts all versions, loaded or not.
	versions int64
}

// dest returns what to scan secretColumns into.
func (r *secretRow) dest() []any {
	return []any{
		&r.ID, &r.Account, &r.Region, &r.Name, &r.Suffix, &r.Description, &r.KMSKeyID, &r.Type, &r.OwningService,
		&r.created, &r.changed, &r.accessed, &r.deleteAt, &r.tags, &r.Policy,
		&r.configured, &r.enabled, &r.Rotation.FunctionARN, &r.Rotation.Rules.AutomaticallyAfterDays,
		&r.Rotation.Rules.Duration, &r.Rotation.Rules.Expression,
		&r.configuredAt, &r.rotatedAt, &r.valueChangedAt, &r.nextDate, &r.dueAt, &r.PrimaryRegion, &r.versions, &r.Revision,
	}
}

// finish fills the members that are not scanned as they are.
func (r *secretRow) finish() (*secret.Secret, error) {
	r.CreatedAt, r.ChangedAt = fromMicros(r.created), fromMicros(r.changed)
	r.AccessedOn, r.DeleteAt = fromMicros(r.accessed), fromMicros(r.deleteAt)
	r.Rotation.Configured, r.Rotation.Enabled = r.configured != 0, r.enabled != 0
	r.Rotation.ConfiguredAt, r.Rotation.LastRotatedAt = fromMicros(r.configuredAt), fromMicros(r.rotatedAt)
	r.Rotation.ValueChangedAt = fromMicros(r.valueChangedAt)
	r.Rotation.NextDate, r.Rotation.DueAt = fromMicros(r.nextDate), fromMicros(r.dueAt)
	var err error
	r.Tags, err = parseTags[secret.Tag](r.tags)
	return &r.Secret, err
}

// tag is any record's tag.
type tag interface{ ~struct{ Key, Value string } }

// formatTags returns the stored form of tags: a JSON list of pairs, or ""
// for nil.
func formatTags[T tag](tags []T) string {
	if tags == nil {
		return ""
	}
	pairs := make([][2]string, len(tags))
	for i, t := range tags {
		t := struct{ Key, Value string }(t)
		pairs[i] = [2]string{t.Key, t.Value}
	}
	b, _ := json.Marshal(pairs) // strings always encode
	return string(b)
}

func parseTags[T tag](s string) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return nil, fmt.Errorf("reading tags: %w", err)
	}
	tags := make([]T, len(pairs))
	for i, p := range pairs {
		tags[i] = T(struct{ Key, Value string }{p[0], p[1]})
	}
	return tags, nil
}

// findQuery gives a row for each staging label of a secret, and one row
// without a label when it has none. selected is a last column.
func findQuery(where, selected string) string {
	return `SELECT ` + secretColumns + `, coalesce(l.label, ''), ` + versionColumns + `, ` + selected + `
		FROM secret s
		LEFT JOIN label l ON l.secret_id = s.id
		LEFT JOIN version v ON v.secret_id = l.secret_id AND v.id = l.version_id
		WHERE ` + where
}

// The statements that find a secret.
var (
	findByName = findQuery(`s.account = $1 AND s.region = $2 AND s.name = $3`, `NULL`)
	findByID   = findQuery(`s.id = $1`, `NULL`)
	// readByName also gives the sealed value of the version named $4 or
	// else of the one with label $5.
	readByName = findQuery(`s.account = $1 AND s.region = $2 AND s.name = $3`,
		`CASE WHEN v.id = $4 OR ($4 = '' AND l.label = $5) THEN v.sealed END`)
)

// find runs a findQuery and also returns how many versions there are. It
// returns an error of kind NotFound when there is no such secret.
func (tx *Tx) find(query string, args ...any) (_ *secret.Secret, count int64, err error) {
	var s secretRow
	var v versionRow
	var label string
	var sealed []byte
	dest := append(append(s.dest(), &label), append(v.dest(), &sealed)...)
	var versions versionList
	found := false
	err = tx.each(func(rows *sql.Rows) error {
		found, sealed = true, nil
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if label != "" {
			versions.add(&v, label).keep(sealed)
		}
		return nil
	}, query, args...)
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	got, err := s.finish()
	if err != nil {
		return nil, 0, fault.Wrap(err, "reading a secret")
	}
	got.Versions = versions.sorted()
	return got, s.versions, tx.loadReplicas(got)
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

// findRef runs one of the statements that find a secret by name.
func (tx *Tx) findRef(query, account, region string, ref arn.SecretRef, args ...any) (*secret.Secret, int64, error) {
	name, want, ok := lookup(account, region, ref)
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	s, count, err := tx.find(query, append([]any{account, region, name}, args...)...)
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
	s, count, err := tx.findRef(findByName, account, region, ref)
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
	s, count, err := tx.findRef(findByName, account, region, ref)
	switch {
	case err != nil || count == int64(len(s.Versions)):
	case count >= secret.KeptVersions:
		err = tx.loadAll(s)
	default:
		err = tx.loadVersions(s, versionIDs)
	}
	return s, err
}

// SecretByID returns a secret with all its versions. It returns an error of
// kind NotFound, without message, when there is no such secret.
func (tx *Tx) SecretByID(id string) (*secret.Secret, error) {
	s, count, err := tx.find(findByID, id)
	if err == nil && count > int64(len(s.Versions)) {
		err = tx.loadAll(s)
	}
	return s, err
}

// ReadVersion returns a secret with its labelled versions and, in
// Version.Sealed, the value of one version: the one that versionID names,
// which may be deprecated, or for "" the one that carries the label stage.
// That version is missing, or has no value, if there is no such thing. It
// is one statement but for a deprecated version.
func (tx *Tx) ReadVersion(account, region string, ref arn.SecretRef, versionID, stage string) (*secret.Secret, error) {
	s, count, err := tx.findRef(readByName, account, region, ref, versionID, stage)
	if err != nil || versionID == "" || count == int64(len(s.Versions)) || s.Version(versionID) != nil {
		return s, err
	}
	if tx.single {
		return nil, errAnother
	}
	if err := tx.loadVersions(s, []string{versionID}); err != nil {
		return nil, err
	}
	if v := s.Version(versionID); v != nil && v.HasValue {
		v.Sealed, err = tx.SealedValue(s.ID, versionID)
	}
	return s, err
}

// errAnother tells that a read needs another statement and so a snapshot.
var errAnother = errors.New("a second statement is needed")

// ReadVersion is Tx.ReadVersion in a View of its own, at the cost of the
// one statement alone.
func (s *Store) ReadVersion(ctx context.Context, account, region string, ref arn.SecretRef, versionID, stage string) (*secret.Secret, error) {
	var got *secret.Secret
	read := func(tx *Tx) (err error) {
		got, err = tx.ReadVersion(account, region, ref, versionID, stage)
		return err
	}
	err := s.view(ctx, true, read)
	if errors.Is(err, errAnother) {
		err = s.view(ctx, false, read)
	}
	return got, err
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

// secrets runs a query for secretColumns and loads the labelled versions.
func (tx *Tx) secrets(query string, args ...any) ([]*secret.Secret, error) {
	var list []*secret.Secret
	err := tx.each(func(rows *sql.Rows) error {
		var r secretRow
		if err := rows.Scan(r.dest()...); err != nil {
			return err
		}
		s, err := r.finish()
		list = append(list, s)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(list, inListMax) {
		if err := tx.loadLabelled(some); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// DeleteSecret removes a secret with its versions, labels, replicas and
// rotation. It returns an error of kind NotFound if it is gone already.
func (tx *Tx) DeleteSecret(id string) error {
	return tx.change(`DELETE FROM secret WHERE id = $1`, id)
}

// TouchSecret notes that a version was read on the UTC day. It leaves
// Revision as it is, and writes nothing when the day is noted already.
func (tx *Tx) TouchSecret(secretID, versionID string, day time.Time) error {
	if _, err := tx.exec(`UPDATE secret SET accessed_on = $2 WHERE id = $1 AND accessed_on < $2`, secretID, micros(day)); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE version SET accessed_on = $3 WHERE secret_id = $1 AND id = $2 AND accessed_on < $3`,
		secretID, versionID, micros(day))
	return err
}
