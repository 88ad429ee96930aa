package wire

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Encoder appends JSON to a buffer. Members without a value are left out;
// timestamps are epoch seconds with up to three decimals; nothing is escaped
// for HTML.
//
// In trail mode it writes the form of CloudTrail's requestParameters and
// responseElements instead: member names start in lower case, timestamps are
// English text, and sensitive members are left out.
type Encoder struct {
	buf   []byte
	trail bool
	comma bool
}

// NewEncoder returns an Encoder that appends to buf.
func NewEncoder(buf []byte) *Encoder { return &Encoder{buf: buf} }

// NewTrailEncoder returns an Encoder in trail mode that appends to buf.
func NewTrailEncoder(buf []byte) *Encoder { return &Encoder{buf: buf, trail: true} }

// Bytes returns the buffer.
func (e *Encoder) Bytes() []byte { return e.buf }

// Trail reports whether e is in trail mode.
func (e *Encoder) Trail() bool { return e.trail }

// Begin starts an object.
func (e *Encoder) Begin() { e.open('{') }

// End ends an object.
func (e *Encoder) End() { e.close('}') }

func (e *Encoder) open(c byte) {
	e.separate()
	e.buf = append(e.buf, c)
	e.comma = false
}

func (e *Encoder) close(c byte) {
	e.buf = append(e.buf, c)
	e.comma = true
}

func (e *Encoder) separate() {
	if e.comma {
		e.buf = append(e.buf, ',')
	}
	e.comma = true
}

// Key writes a member's name; one value must follow.
func (e *Encoder) Key(name string) {
	e.separate()
	e.buf = append(e.buf, '"')
	start := len(e.buf)
	e.buf = append(e.buf, name...)
	if e.trail {
		trailName(e.buf[start:])
	}
	e.buf = append(e.buf, '"', ':')
	e.comma = false
}

// trailName lowers the first letter of a member's name. ARN becomes arn, as
// CloudTrail writes it since 2024 (AWS docs).
func trailName(name []byte) {
	n := 1
	if string(name) == "ARN" {
		n = len(name)
	}
	for i, c := range name[:n] {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
}

// StringValue writes a string.
func (e *Encoder) StringValue(s string) {
	e.separate()
	e.buf = appendString(e.buf, s)
}

// String writes a member, unless v is nil.
func (e *Encoder) String(name string, v *string) {
	if v != nil {
		e.Key(name)
		e.StringValue(*v)
	}
}

// LongValue writes an integer.
func (e *Encoder) LongValue(n int64) {
	e.separate()
	e.buf = strconv.AppendInt(e.buf, n, 10)
}

// Long writes a member, unless v is nil.
func (e *Encoder) Long(name string, v *int64) {
	if v != nil {
		e.Key(name)
		e.LongValue(*v)
	}
}

// DoubleValue writes a floating-point number, never with an exponent.
func (e *Encoder) DoubleValue(f float64) {
	e.separate()
	e.buf = strconv.AppendFloat(e.buf, f, 'f', -1, 64)
}

// Double writes a member, unless v is nil.
func (e *Encoder) Double(name string, v *float64) {
	if v != nil {
		e.Key(name)
		e.DoubleValue(*v)
	}
}

// BoolValue writes true or false.
func (e *Encoder) BoolValue(b bool) {
	e.separate()
	e.buf = strconv.AppendBool(e.buf, b)
}

// Bool writes a member, unless v is nil.
func (e *Encoder) Bool(name string, v *bool) {
	if v != nil {
		e.Key(name)
		e.BoolValue(*v)
	}
}

// BlobValue writes base64 text.
func (e *Encoder) BlobValue(b []byte) {
	e.separate()
	e.buf = append(e.buf, '"')
	e.buf = base64.StdEncoding.AppendEncode(e.buf, b)
	e.buf = append(e.buf, '"')
}

// Blob writes a member, unless v is nil.
func (e *Encoder) Blob(name string, v []byte) {
	if v != nil {
		e.Key(name)
		e.BlobValue(v)
	}
}

// trailTime is how CloudTrail prints a timestamp in an event's elements
// (AWS docs: "May 3, 2018 5:51:02 PM").
const trailTime = "Jan 2, 2006 3:04:05 PM"

// TimeValue writes epoch seconds.
func (e *Encoder) TimeValue(t time.Time) {
	e.separate()
	if e.trail {
		e.buf = append(e.buf, '"')
		e.buf = t.UTC().AppendFormat(e.buf, trailTime)
		e.buf = append(e.buf, '"')
		return
	}
	e.buf = appendEpoch(e.buf, t)
}

// Time writes a member as epoch seconds, unless v is nil.
func (e *Encoder) Time(name string, v *time.Time) {
	if v != nil {
		e.Key(name)
		e.TimeValue(*v)
	}
}

// TimeISO writes a member as ISO 8601 text, unless v is nil.
func (e *Encoder) TimeISO(name string, v *time.Time) {
	switch {
	case v == nil:
	case e.trail:
		e.Time(name, v)
	default:
		e.Key(name)
		e.separate()
		e.buf = append(e.buf, '"')
		e.buf = appendISO(e.buf, *v)
		e.buf = append(e.buf, '"')
	}
}

// appendEpoch writes whole seconds plain and others with three decimals, less
// zeros at the end.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b = append(b, '-')
		ms = -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if ms %= 1000; ms == 0 {
		return b
	}
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// appendISO writes UTC with milliseconds only where there are some.
func appendISO(b []byte, t time.Time) []byte {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Nanosecond() == 0 {
		return t.AppendFormat(b, "2006-01-02T15:04:05Z")
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// StringsValue writes a list of strings.
func (e *Encoder) StringsValue(list []string) { EncodeList(e, list, (*Encoder).StringValue) }

// Strings writes a member, unless v is nil.
func (e *Encoder) Strings(name string, v []string) {
	if v != nil {
		e.Key(name)
		e.StringsValue(v)
	}
}

// StringMapValue writes an object of strings, by name.
func (e *Encoder) StringMapValue(m map[string]string) { EncodeMap(e, m, (*Encoder).StringValue) }

// StringMap writes a member, unless v is nil.
func (e *Encoder) StringMap(name string, v map[string]string) {
	if v != nil {
		e.Key(name)
		e.StringMapValue(v)
	}
}

// EncodeList writes a list whose elements write writes.
func EncodeList[T any](e *Encoder, list []T, write func(*Encoder, T)) {
	e.open('[')
	for _, v := range list {
		write(e, v)
	}
	e.close(']')
}

// EncodeMap writes an object whose values write writes, sorted by name.
// The names are data: trail mode keeps them.
func EncodeMap[T any](e *Encoder, m map[string]T, write func(*Encoder, T)) {
	e.open('{')
	for _, key := range slices.Sorted(maps.Keys(m)) {
		e.StringValue(key)
		e.buf = append(e.buf, ':')
		e.comma = false
		write(e, m[key])
	}
	e.close('}')
}

type encodable[T any] interface {
	*T
	EncodeJSON(*Encoder)
}

// EncodeStruct writes a structure as a member, unless v is nil.
func EncodeStruct[T any, P encodable[T]](e *Encoder, name string, v *T) {
	if v != nil {
		e.Key(name)
		P(v).EncodeJSON(e)
	}
}

// EncodeStructs writes a list of structures as a member, unless v is nil.
func EncodeStructs[T any, P encodable[T]](e *Encoder, name string, v []T) {
	if v != nil {
		e.Key(name)
		EncodeStructsValue[T, P](e, v)
	}
}

// EncodeStructsValue writes a list of structures.
func EncodeStructsValue[T any, P encodable[T]](e *Encoder, v []T) {
	e.open('[')
	for i := range v {
		P(&v[i]).EncodeJSON(e)
	}
	e.close(']')
}

// EncodeStructValue writes a structure.
func EncodeStructValue[T any, P encodable[T]](e *Encoder, v T) { P(&v).EncodeJSON(e) }

const hexDigits = "0123456789abcdef"

// plain tells which bytes stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString writes s between quotes, with U+FFFD for what is not UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		b = appendEscape(append(b, s[start:i]...), c)
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
