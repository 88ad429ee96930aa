package store

import (
	"bytes"
	"errors"
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

// comparedColumns repeat those members of a record that statements compare.
var comparedColumns = []column{
	{"account", func(s *secret.Secret) any { return s.Account }},
	{"region", func(s *secret.Secret) any { return s.Region }},
	{"name", func(s *secret.Secret) any { return s.Name }},
	{"created_at", func(s *secret.Secret) any { return micros(s.CreatedAt) }},
	{"changed_at", func(s *secret.Secret) any { return micros(s.ChangedAt) }},
	{"accessed_on", func(s *secret.Secret) any { return micros(s.AccessedOn) }},
	{"delete_at", func(s *secret.Secret) any { return micros(s.DeleteAt) }},
	{"due_at", func(s *secret.Secret) any { return micros(s.Rotation.DueAt) }},
}

// insertSecret takes the version count, the record, the ID and the compared
// columns.
var insertSecret = func() string {
	names, places := "", ""
	for i, c := range comparedColumns {
		names += ", " + c.name
		places += ", $" + strconv.Itoa(i+4)
	}
	return `INSERT INTO secret (revision, version_count, body, id` + names + `) VALUES (1, $1, $2, $3` + places + `) ON CONFLICT DO NOTHING`
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
	tx.Touch(SecretTopic(after.ID))
	labels, err := labelsOf(after)
	if err != nil {
		return err
	}
	body := encodeSecret(after)
	if before == nil {
		args := []any{len(after.Versions), body, after.ID}
		for _, c := range comparedColumns {
			args = append(args, c.value(after))
		}
		if err := tx.insert(insertSecret, args...); err != nil {
			return err
		}
		after.Revision = 1
		before = &secret.Secret{}
	} else if err := tx.updateSecret(before, after, body); err != nil {
		return err
	}
	if err := tx.saveVersions(before, after); err != nil {
		return err
	}
	if err := tx.saveLabels(after.ID, before, labels); err != nil {
		return err
	}
	if err := tx.saveReplicas(before, after); err != nil {
		return err
	}
	return tx.remember(before, after, body)
}

// remember notes what a later read will find, for memory.
func (tx *Tx) remember(before, after *secret.Secret, body []byte) error {
	current := after.Holder(secret.Current)
	if tx.memory == nil || before != tx.found || len(before.Replicas)+len(after.Replicas) > 0 || current == nil || current.Sealed == nil {
		return nil
	}
	// As it is read back: with times as they are stored, and shared by nobody.
	s := &secret.Secret{ID: after.ID, Revision: after.Revision}
	if err := decodeSecret(body, s); err != nil {
		return err
	}
	s.Holder(secret.Current).Sealed = current.Sealed
	place := versionPlace{account: s.Account, region: s.Region, name: s.Name, selector: secret.Current}
	versions := tx.foundVersions + int64(len(after.Versions)-len(before.Versions))
	tx.saved = append(tx.saved, savedSecret{place, heldSecret{s, versions}, SecretTopic(s.ID)})
	return nil
}

// updateSecret writes the record and the columns that differ and counts the
// revision up, or just checks it when nothing differs that replicas would
// take over.
func (tx *Tx) updateSecret(before, after *secret.Secret, body []byte) error {
	after.Revision = before.Revision
	if bytes.Equal(body, encodeSecret(before)) && slices.EqualFunc(before.Versions, after.Versions, sameVersion) {
		return tx.checkRevision(before)
	}
	set, args := "revision = revision + 1, body = $3", []any{after.ID, before.Revision, body}
	for _, c := range comparedColumns {
		if v := c.value(after); v != c.value(before) {
			args = append(args, v)
			set += ", " + c.name + " = $" + strconv.Itoa(len(args))
		}
	}
	if n := len(after.Versions) - len(before.Versions); n != 0 {
		args = append(args, n)
		set += ", version_count = version_count + $" + strconv.Itoa(len(args))
	}
	n, err := tx.exec(`UPDATE secret SET `+set+` WHERE id = $1 AND revision = $2`, args...)
	if err == nil && n == 0 {
		return fault.New(fault.Conflict, "").For(after.Name)
	}
	after.Revision++
	return err
}

// checkRevision returns an error of kind Conflict unless the stored secret
// has the revision of s.
func (tx *Tx) checkRevision(s *secret.Secret) error {
	var revision int64
	err := tx.one([]any{&revision}, `SELECT revision FROM secret WHERE id = $1`, s.ID)
	if fault.Is(err, fault.NotFound) || err == nil && revision != s.Revision {
		return fault.New(fault.Conflict, "").For(s.Name)
	}
	return err
}

// sameVersion compares what the table version holds.
func sameVersion(a, b secret.Version) bool {
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
		var err error
		if old := before.Version(v.ID); old == nil {
			err = tx.insertVersion(after.ID, v, after.Revision*seqPerRevision+int64(i))
		} else if !sameVersion(*old, *v) {
			err = tx.updateVersion(after.ID, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errTwice tells that a label is on two versions of a secret to be saved.
var errTwice = errors.New("a staging label is on two versions")

// labelsOf maps each label to its version's ID.
func labelsOf(s *secret.Secret) (map[string]string, error) {
	labels := make(map[string]string, 4)
	for i := range s.Versions {
		for _, l := range s.Versions[i].Labels {
			if _, twice := labels[l]; twice {
				return nil, &fault.Error{Kind: fault.Internal, Subject: s.ID, Cause: errTwice}
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
