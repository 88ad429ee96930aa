package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
)

// Records of secrets are stored encoded, because to fetch a column costs
// about as much as to find a row: numbers as varints, times as their
// microseconds, text with its length in front, in a fixed order after a
// byte that names the format. What a later version adds goes to the end of
// the record, where an absent member reads as zero.

// recordFormat is the first byte of a record.
const recordFormat = 1

// The bits of a version's flags.
const (
	hasValue = 1 << iota
	isBinary
	byToken
)

// The bits of a secret's flags.
const (
	rotationConfigured = 1 << iota
	rotationEnabled
	hadTags
)

// encoder appends to a record.
type encoder []byte

func (e *encoder) int(n int64)      { *e = binary.AppendVarint(*e, n) }
func (e *encoder) time(t time.Time) { e.int(micros(t)) }
func (e *encoder) text(s string) {
	e.int(int64(len(s)))
	*e = append(*e, s...)
}

// encodeSecret returns the record of a secret with its labelled versions.
func encodeSecret(s *secret.Secret) []byte {
	e := make(encoder, 0, 512)
	e = append(e, recordFormat)
	for _, text := range []string{
		s.Account, s.Region, s.Name, s.Suffix, s.Description, s.KMSKeyID, s.Type, s.OwningService, s.Policy, s.PrimaryRegion,
		s.Rotation.FunctionARN, s.Rotation.Rules.Duration, s.Rotation.Rules.Expression,
	} {
		e.text(text)
	}
	for _, t := range []time.Time{
		s.CreatedAt, s.ChangedAt, s.AccessedOn, s.DeleteAt, s.Rotation.ConfiguredAt, s.Rotation.LastRotatedAt,
		s.Rotation.ValueChangedAt, s.Rotation.NextDate, s.Rotation.DueAt,
	} {
		e.time(t)
	}
	e.int(s.Rotation.Rules.AutomaticallyAfterDays)
	e.int(bit(s.Rotation.Configured)*rotationConfigured + bit(s.Rotation.Enabled)*rotationEnabled + bit(s.Tags != nil)*hadTags)
	e.int(int64(len(s.Tags)))
	for _, t := range s.Tags {
		e.text(t.Key)
		e.text(t.Value)
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		if len(v.Labels) == 0 {
			continue
		}
		e.int(int64(len(v.Labels)))
		for _, l := range v.Labels {
			e.text(l)
		}
		e.text(v.ID)
		e.version(v)
	}
	e.int(0) // no more versions
	return e
}

// version appends what a record tells of a version, ID and labels aside.
func (e *encoder) version(v *secret.Version) {
	e.time(v.CreatedAt)
	e.time(v.AccessedOn)
	e.int(bit(v.HasValue)*hasValue + bit(v.Binary)*isBinary + bit(v.ByToken)*byToken)
	e.text(v.KeyARN)
	e.text(v.WrittenBy)
}

// encodeVersion returns the column meta of a version.
func encodeVersion(v *secret.Version) []byte {
	e := make(encoder, 0, 160)
	e = append(e, recordFormat)
	e.version(v)
	return e
}

var errRecord = errors.New("a stored record is damaged, or a newer version wrote it")

// decoder reads a record; it goes on with zeros once it is broken. The
// texts that it returns share the record's memory.
type decoder struct {
	b      string
	broken bool
}

func newDecoder(b []byte) *decoder {
	if len(b) == 0 || b[0] != recordFormat {
		return &decoder{broken: true}
	}
	return &decoder{b: string(b[1:])}
}

func (d *decoder) fail() { d.broken, d.b = true, "" }

// int reads what binary.AppendVarint wrote.
func (d *decoder) int() int64 {
	var n uint64
	for i := 0; i < len(d.b) && i < binary.MaxVarintLen64; i++ {
		c := d.b[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.b = d.b[i+1:]
			return int64(n>>1) ^ -int64(n&1)
		}
	}
	d.fail()
	return 0
}

func (d *decoder) time() time.Time { return fromMicros(d.int()) }

func (d *decoder) text() string {
	n := d.int()
	if n < 0 || n > int64(len(d.b)) {
		d.fail()
		return ""
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

// count reads how many elements follow; each has at least one byte.
func (d *decoder) count() int {
	n := d.int()
	if n < 0 || n > int64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// decodeSecret reads what encodeSecret wrote into s.
func decodeSecret(b []byte, s *secret.Secret) error {
	d := newDecoder(b)
	for _, text := range []*string{
		&s.Account, &s.Region, &s.Name, &s.Suffix, &s.Description, &s.KMSKeyID, &s.Type, &s.OwningService, &s.Policy, &s.PrimaryRegion,
		&s.Rotation.FunctionARN, &s.Rotation.Rules.Duration, &s.Rotation.Rules.Expression,
	} {
		*text = d.text()
	}
	for _, t := range []*time.Time{
		&s.CreatedAt, &s.ChangedAt, &s.AccessedOn, &s.DeleteAt, &s.Rotation.ConfiguredAt, &s.Rotation.LastRotatedAt,
		&s.Rotation.ValueChangedAt, &s.Rotation.NextDate, &s.Rotation.DueAt,
	} {
		*t = d.time()
	}
	s.Rotation.Rules.AutomaticallyAfterDays = d.int()
	flags := d.int()
	s.Rotation.Configured, s.Rotation.Enabled = flags&rotationConfigured != 0, flags&rotationEnabled != 0
	tags := d.count()
	if flags&hadTags != 0 {
		s.Tags = make([]secret.Tag, tags)
		for i := range s.Tags {
			s.Tags[i] = secret.Tag{Key: d.text(), Value: d.text()}
		}
	}
	for labels := d.count(); labels > 0; labels = d.count() {
		v := secret.Version{Labels: make([]string, labels)}
		for i := range v.Labels {
			v.Labels[i] = d.text()
		}
		v.ID = d.text()
		d.version(&v)
		s.Versions = append(s.Versions, v)
	}
	if d.broken {
		return errRecord
	}
	return nil
}

func (d *decoder) version(v *secret.Version) {
	v.CreatedAt, v.AccessedOn = d.time(), d.time()
	flags := d.int()
	v.HasValue, v.Binary, v.ByToken = flags&hasValue != 0, flags&isBinary != 0, flags&byToken != 0
	v.KeyARN, v.WrittenBy = d.text(), d.text()
}

// decodeVersion reads what encodeVersion wrote into v.
func decodeVersion(b []byte, v *secret.Version) error {
	d := newDecoder(b)
	d.version(v)
	if d.broken {
		return errRecord
	}
	return nil
}
