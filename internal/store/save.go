package store

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// column is a column of the table secret with its value.
type column struct {
	name  string
	value func(*secret.Secret) any
}

// savedColumns are the columns that SaveSecret writes; id, the counters and
// detail aside.
var savedColumns = []column{
	{"account", func(s *secret.Secret) any { return s.Account }},
	{"region", func(s *secret.Secret) any { return s.Region }},
	{"name", func(s *secret.Secret) any { return s.Name }},
	{"suffix", func(s *secret.Secret) any { return s.Suffix }},
	{"created_at", func(s *secret.Secret) any { return micros(s.CreatedAt) }},
	{"changed_at", func(s *secret.Secret) any { return micros(s.ChangedAt) }},
	{"accessed_on", func(s *secret.Secret) any { return micros(s.AccessedOn) }},
	{"delete_at", func(s *secret.Secret) any { return micros(s.DeleteAt) }},
	{"due_at", func(s *secret.Secret) any { return micros(s.Rotation.DueAt) }},
}

// insertSecret takes the version count, the detail, the ID and the saved
// columns.
var insertSecret = func() string {
	names, places := "", ""
	for i, c := range savedColumns {
		names += ", " + c.name
		places += ", $" + strconv.Itoa(i+4)
	}
	return `INSERT INTO secret (revision, version_count, detail, id` + names + `) VALUES (1, $1, $2, $3` + places + `) ON CONFLICT DO NOTHING`
}()

// SaveSecret stores what differs between before, as it was read in this
// transaction, and after. A nil before makes a new secret: an error of kind
// Exists, without message, tells that the name is taken. Otherwise an error
// of kind Conflict tells that the stored secret is not the one that before
// shows. Versions that before has and after lacks are removed; a version's
// sealed value is written when it is not nil and differs.
//
// It sets after.Revision: 1 for a new secret, else one more than before's.
// A save that changes replicas only keeps Revision, since it gives replicas
// nothing to take over. After any other, the replicas of after are behind.
func (tx *Tx) SaveSecret(before, after *secret.Secret) error {
	labels, err := labelsOf(after)
	if err != nil {
		return err
	}
	if before == nil {
		args := []any{len(after.Versions), detailOf(after).encode(), after.ID}
		for _, c := range savedColumns {
			args = append(args, c.value(after))
		}
		if err := tx.insert(insertSecret, args...); err != nil {
			return err
		}
		after.Revision = 1
		before = &secret.Secret{}
	} else if err := tx.updateRow(before, after, labels); err != nil {
		return err
	}
	if err := tx.saveVersions(before, after); err != nil {
		return err
	}
	if err := tx.saveLabels(after.ID, before, labels); err != nil {
		return err
	}
	return tx.saveReplicas(before, after)
}

// updateRow writes the columns that differ and counts the revision up, or
// just checks it when nothing differs that replicas would take over.
func (tx *Tx) updateRow(before, after *secret.Secret, labels map[string]string) error {
	set, args := []string(nil), []any{after.ID, before.Revision}
	for _, c := range savedColumns {
		if v := c.value(after); v != c.value(before) {
			args = append(args, v)
			set = append(set, c.name+" = $"+strconv.Itoa(len(args)))
		}
	}
	if detail := detailOf(after); detail != detailOf(before) {
		args = append(args, detail.encode())
		set = append(set, "detail = $"+strconv.Itoa(len(args)))
	}
	if n := len(after.Versions) - len(before.Versions); n != 0 {
		args = append(args, n)
		set = append(set, "version_count = version_count + $"+strconv.Itoa(len(args)))
	}
	after.Revision = before.Revision
	if set == nil && sameVersions(before, after) {
		var revision int64
		err := tx.one([]any{&revision}, `SELECT revision FROM secret WHERE id = $1`, after.ID)
		if fault.Is(err, fault.NotFound) || err == nil && revision != before.Revision {
			return fault.New(fault.Conflict, "").For(after.Name)
		}
		return err
	}
	set = append(set, "revision = revision + 1")
	n, err := tx.exec(`UPDATE secret SET `+strings.Join(set, ", ")+` WHERE id = $1 AND revision = $2`, args...)
	if err == nil && n == 0 {
		return fault.New(fault.Conflict, "").For(after.Name)
	}
	after.Revision++
	return err
}

func sameVersions(before, after *secret.Secret) bool {
	return slices.EqualFunc(before.Versions, after.Versions, func(a, b secret.Version) bool {
		return sameVersion(&a, &b) && slices.Equal(a.Labels, b.Labels)
	})
}

// sameVersion compares what the table version holds.
func sameVersion(a, b *secret.Version) bool {
	return a.ID == b.ID && a.CreatedAt.Equal(b.CreatedAt) && a.AccessedOn.Equal(b.AccessedOn) &&
		a.HasValue == b.HasValue && a.Binary == b.Binary && a.ByToken == b.ByToken &&
		a.KeyARN == b.KeyARN && a.WrittenBy == b.WrittenBy &&
		(b.Sealed == nil || bytes.Equal(a.Sealed, b.Sealed))
}

// seqPerRevision leaves room for the versions that one save may add.
const seqPerRevision = 1 << 10

// saveVersions removes, adds and changes versions.
func (tx *Tx) saveVersions(before, after *secret.Secret) error {
	for i := range before.Versions {
		if id := before.Versions[i].ID; after.Version(id) == nil {
			if _, err := tx.exec(`DELETE FROM version WHERE secret_id = $1 AND id = $2`, after.ID, id); err != nil {
				return err
			}
		}
	}
	for i := range after.Versions {
		v := &after.Versions[i]
		old := before.Version(v.ID)
		var err error
		switch {
		case old == nil:
			err = tx.insert(`INSERT INTO version (secret_id, id, seq, created_at, accessed_on, flags, key_arn, written_by, sealed)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
				after.ID, v.ID, after.Revision*seqPerRevision+int64(i), micros(v.CreatedAt), micros(v.AccessedOn),
				flagsOf(v), v.KeyARN, v.WrittenBy, nullable(v.Sealed))
		case !sameVersion(old, v):
			_, err = tx.exec(`UPDATE version SET created_at = $3, accessed_on = $4, flags = $5,
				key_arn = $6, written_by = $7, sealed = coalesce($8, sealed) WHERE secret_id = $1 AND id = $2`,
				after.ID, v.ID, micros(v.CreatedAt), micros(v.AccessedOn), flagsOf(v), v.KeyARN, v.WrittenBy, nullable(v.Sealed))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nullable passes nil as NULL and not as an empty value.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// labelsOf maps each label to its version's ID.
func labelsOf(s *secret.Secret) (map[string]string, error) {
	labels := make(map[string]string, 4)
	for i := range s.Versions {
		for _, l := range s.Versions[i].Labels {
			if _, twice := labels[l]; twice {
				return nil, errTwice(l)
			}
			labels[l] = s.Versions[i].ID
		}
	}
	return labels, nil
}

// saveLabels removes labels that are gone and moves or adds the others, in
// one statement each.
func (tx *Tx) saveLabels(secretID string, before *secret.Secret, labels map[string]string) error {
	moved := make(map[string]string, len(labels))
	for l, id := range labels {
		moved[l] = id
	}
	for i := range before.Versions {
		for _, l := range before.Versions[i].Labels {
			if labels[l] == before.Versions[i].ID {
				delete(moved, l)
			} else if _, stays := labels[l]; !stays {
				if _, err := tx.exec(`DELETE FROM label WHERE secret_id = $1 AND label = $2`, secretID, l); err != nil {
					return err
				}
			}
		}
	}
	if len(moved) == 0 {
		return nil
	}
	args, values := []any{secretID}, []string(nil)
	for l, id := range moved {
		args = append(args, l, id)
		values = append(values, "($1, $"+strconv.Itoa(len(args)-1)+", $"+strconv.Itoa(len(args))+")")
	}
	_, err := tx.exec(`INSERT INTO label (secret_id, label, version_id) VALUES `+strings.Join(values, ", ")+`
		ON CONFLICT (secret_id, label) DO UPDATE SET version_id = excluded.version_id`, args...)
	return err
}
