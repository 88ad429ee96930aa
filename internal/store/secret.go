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
	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
)

// secretColumns are the columns of a secret as secretRow scans them. They
// are few because each costs as much to fetch as some comparisons of keys.
const secretColumns = `s.id, s.account, s.region, s.name, s.suffix, s.created_at, s.changed_at, s.accessed_on, s.delete_at, s.due_at,
	s.version_count, s.revision, s.detail`

// secretRow is a row of secretColumns on its way into a Secret.
type secretRow struct {
	secret.Secret
	created, changed, accessed, deleteAt, dueAt int64
	// versions counts all versions, loaded or not.
	versions int64
	detail   string
}

// dest returns what to scan secretColumns into.
func (r *secretRow) dest() []any {
	return []any{
		&r.ID, &r.Account, &r.Region, &r.Name, &r.Suffix, &r.created, &r.changed, &r.accessed, &r.deleteAt, &r.dueAt,
		&r.versions, &r.Revision, &r.detail,
	}
}

// finish fills the members that are not scanned as they are.
func (r *secretRow) finish() (*secret.Secret, error) {
	var d secretDetail
	if err := json.Unmarshal([]byte(r.detail), &d); err != nil {
		return nil, fmt.Errorf("reading a secret's detail: %w", err)
	}
	tags, err := parseTags[secret.Tag](d.Tags)
	if err != nil {
		return nil, err
	}
	s := &r.Secret
	s.CreatedAt, s.ChangedAt, s.AccessedOn, s.DeleteAt = fromMicros(r.created), fromMicros(r.changed), fromMicros(r.accessed), fromMicros(r.deleteAt)
	s.Description, s.KMSKeyID, s.Type, s.OwningService = d.Description, d.KMSKeyID, d.Type, d.OwningService
	s.Tags, s.Policy, s.PrimaryRegion = tags, d.Policy, d.PrimaryRegion
	s.Rotation = secret.Rotation{
		Configured: d.Configured, Enabled: d.Enabled, FunctionARN: d.FunctionARN,
		Rules:        schedule.Rules{AutomaticallyAfterDays: d.Days, Duration: d.Duration, Expression: d.Expression},
		ConfiguredAt: fromMicros(d.ConfiguredAt), LastRotatedAt: fromMicros(d.LastRotatedAt),
		ValueChangedAt: fromMicros(d.ValueChangedAt), NextDate: fromMicros(d.NextDate), DueAt: fromMicros(r.dueAt),
	}
	return s, nil
}

// secretDetail is the column detail.
type secretDetail struct {
	Description   string `json:"description,omitempty"`
	KMSKeyID      string `json:"kmsKeyId,omitempty"`
	Type          string `json:"type,omitempty"`
	OwningService string `json:"owningService,omitempty"`
	// Tags is the stored form of the tags.
	Tags          string `json:"tags,omitempty"`
	Policy        string `json:"policy,omitempty"`
	PrimaryRegion string `json:"primaryRegion,omitempty"`

	Configured     bool   `json:"rotationConfigured,omitempty"`
	Enabled        bool   `json:"rotationEnabled,omitempty"`
	FunctionARN    string `json:"rotationFunction,omitempty"`
	Days           int64  `json:"rotationDays,omitempty"`
	Duration       string `json:"rotationDuration,omitempty"`
	Expression     string `json:"rotationExpression,omitempty"`
	ConfiguredAt   int64  `json:"rotationConfiguredAt,omitempty"`
	LastRotatedAt  int64  `json:"lastRotatedAt,omitempty"`
	ValueChangedAt int64  `json:"valueChangedAt,omitempty"`
	NextDate       int64  `json:"nextDate,omitempty"`
}

func detailOf(s *secret.Secret) secretDetail {
	rules := s.Rotation.Rules
	return secretDetail{
		Description: s.Description, KMSKeyID: s.KMSKeyID, Type: s.Type, OwningService: s.OwningService,
		Tags: formatTags(s.Tags), Policy: s.Policy, PrimaryRegion: s.PrimaryRegion,
		Configured: s.Rotation.Configured, Enabled: s.Rotation.Enabled, FunctionARN: s.Rotation.FunctionARN,
		Days: rules.AutomaticallyAfterDays, Duration: rules.Duration, Expression: rules.Expression,
		ConfiguredAt: micros(s.Rotation.ConfiguredAt), LastRotatedAt: micros(s.Rotation.LastRotatedAt),
		ValueChangedAt: micros(s.Rotation.ValueChangedAt), NextDate: micros(s.Rotation.NextDate),
	}
}

// encode returns the stored form.
func (d secretDetail) encode() string {
	b, _ := json.Marshal(d) // strings, numbers and truth values always encode
	return string(b)
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
	return `SELECT ` + secretColumns + `, coalesce(l.label, ''), ` + versionColumns + selected + `
		FROM secret s
		LEFT JOIN label l ON l.secret_id = s.id
		LEFT JOIN version v ON v.secret_id = l.secret_id AND v.id = l.version_id
		WHERE ` + where
}

// The statements that find a secret.
var (
	findByName = findQuery(`s.account = $1 AND s.region = $2 AND s.name = $3`, ``)
	findByID   = findQuery(`s.id = $1`, ``)
	// readByName also gives the sealed value of the version named $4 or
	// else of the one with label $5.
	readByName = findQuery(`s.account = $1 AND s.region = $2 AND s.name = $3`,
		`, CASE WHEN v.id = $4 OR ($4 = '' AND l.label = $5) THEN v.sealed END`)
)

// find runs a findQuery, with the sealed value as a last column if sealed
// is true, and also returns how many versions there are. It returns an error
// of kind NotFound when there is no such secret.
func (tx *Tx) find(sealed bool, query string, args ...any) (_ *secret.Secret, count int64, err error) {
	var s secretRow
	var v versionRow
	var label string
	var value []byte
	dest := append(append(s.dest(), &label), v.dest()...)
	if sealed {
		dest = append(dest, &value)
	}
	var versions versionList
	found := false
	err = tx.each(func(rows *sql.Rows) error {
		found, value = true, nil
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if label != "" {
			versions.add(&v, label).keep(value)
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
func (tx *Tx) findRef(sealed bool, query, account, region string, ref arn.SecretRef, args ...any) (*secret.Secret, int64, error) {
	name, want, ok := lookup(account, region, ref)
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "")
	}
	s, count, err := tx.find(sealed, query, append([]any{account, region, name}, args...)...)
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
	s, count, err := tx.findRef(false, findByName, account, region, ref)
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
	s, count, err := tx.findRef(false, findByName, account, region, ref)
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
	s, count, err := tx.find(false, findByID, id)
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
	s, count, err := tx.findRef(true, readByName, account, region, ref, versionID, stage)
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
