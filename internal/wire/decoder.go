package wire

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/fault"
)

// Serialization is the kind of a body that is not well formed, or that has a
// value of the wrong type. Its message may be empty, as AWS's is.
const Serialization fault.Kind = "malformed body"

// maxDepth is how deep objects and lists may nest in a body (ours; the
// deepest modelled request needs six).
const maxDepth = 64

// Decoder reads one JSON text strictly: names match exactly, strings are
// valid UTF-8 without lone surrogates, nothing follows the value. Members
// that the caller does not name are skipped, and null counts as absent (AWS:
// recorded). The first error sticks: later calls do nothing and return zero
// values. A Decoder copies what it returns, so its input may be reused.
type Decoder struct {
	data    []byte
	pos     int
	depth   int
	key     []byte
	scratch []byte
	err     error
}

// NewDecoder returns a Decoder of data, which must not change while in use.
func NewDecoder(data []byte) *Decoder {
	d := &Decoder{data: data}
	d.check()
	return d
}

func (d *Decoder) check() {
	if !utf8.Valid(d.data) {
		d.broken()
	}
}

// Unmarshal decodes data into x; the error is a *fault.Error of kind
// Serialization.
func Unmarshal(data []byte, x interface{ DecodeJSON(*Decoder) }) error {
	d := Decoder{data: data}
	d.check()
	x.DecodeJSON(&d)
	return d.End()
}

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// End checks that only white space is left and returns the first error.
func (d *Decoder) End() error {
	if d.peek(); d.pos != len(d.data) {
		d.broken()
	}
	return d.err
}

// broken notes a syntax error. AWS answers those without a message.
func (d *Decoder) broken() {
	if d.err == nil {
		d.err = fault.New(Serialization, "")
	}
}

func (d *Decoder) fail(message string) {
	if d.err == nil {
		d.err = &fault.Error{Kind: Serialization, Message: message}
	}
}

// mismatch notes that the value at hand is not a want, in AWS's words.
func (d *Decoder) mismatch(want string) {
	switch c := d.peek(); {
	case c == '{':
		d.fail("Start of structure or map found where not expected.")
	case c == '[':
		d.fail("Start of list found where not expected")
	case c == '"':
		d.fail("class java.lang.String can not be converted to an " + want)
	case c == 't' || c == 'f':
		d.fail("class java.lang.Boolean can not be converted to an " + want)
	case c == '-' || '0' <= c && c <= '9':
		d.fail("class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an " + want)
	default:
		d.broken()
	}
}

// peek skips white space and returns the next byte, or 0 at the end or after
// an error.
func (d *Decoder) peek() byte {
	if d.err != nil {
		return 0
	}
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; c {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

// Null consumes a null, if that is what comes next.
func (d *Decoder) Null() bool { return d.peek() == 'n' && d.literal("null") }

func (d *Decoder) literal(s string) bool {
	if len(d.data)-d.pos < len(s) || string(d.data[d.pos:d.pos+len(s)]) != s {
		d.broken()
		return false
	}
	d.pos += len(s)
	return true
}

func (d *Decoder) open() {
	d.pos++
	if d.depth++; d.depth > maxDepth {
		d.broken()
	}
}

func (d *Decoder) close() bool {
	d.pos++
	d.depth--
	return false
}

// Object enters an object and reports whether it has a member; Key is then
// its name. The caller must consume the value before it calls Next.
func (d *Decoder) Object() bool {
	if d.peek() != '{' {
		d.mismatch("Structure")
		return false
	}
	if d.open(); d.peek() == '}' {
		return d.close()
	}
	return d.member()
}

// Next reports whether the object has another member; after the last it has
// left the object.
func (d *Decoder) Next() bool {
	switch d.peek() {
	case ',':
		d.pos++
		return d.member()
	case '}':
		return d.close()
	}
	d.broken()
	return false
}

func (d *Decoder) member() bool {
	d.key = d.text()
	if d.peek() != ':' {
		d.broken()
		return false
	}
	d.pos++
	return d.err == nil
}

// Key is the name of the member at hand, valid until the next call.
func (d *Decoder) Key() []byte { return d.key }

// list enters a list and reports whether it has an element.
func (d *Decoder) list() bool {
	if d.peek() != '[' {
		d.mismatch("List")
		return false
	}
	if d.open(); d.peek() == ']' {
		return d.close()
	}
	return d.err == nil
}

// more reports whether the list has another element.
func (d *Decoder) more() bool {
	switch d.peek() {
	case ',':
		d.pos++
		return true
	case ']':
		return d.close()
	}
	d.broken()
	return false
}

// Skip consumes one value of any type.
func (d *Decoder) Skip() {
	switch c := d.peek(); {
	case c == '{':
		for more := d.Object(); more; more = d.Next() {
			d.Skip()
		}
	case c == '[':
		for more := d.list(); more; more = d.more() {
			d.Skip()
		}
	case c == '"':
		d.text()
	case c == 't':
		d.literal("true")
	case c == 'f':
		d.literal("false")
	case c == 'n':
		d.literal("null")
	default:
		d.number()
	}
}

// StringValue reads a string.
func (d *Decoder) StringValue() string {
	if d.peek() != '"' {
		d.mismatch("String")
		return ""
	}
	return string(d.text())
}

// String reads a string; null gives nil.
func (d *Decoder) String() *string { return optional(d, (*Decoder).StringValue) }

// LongValue reads a 64-bit integer. A number with a fraction or exponent
// counts if its value is integral.
func (d *Decoder) LongValue() int64 { return d.integer(64, "Long") }

// Long reads a 64-bit integer; null gives nil.
func (d *Decoder) Long() *int64 { return optional(d, (*Decoder).LongValue) }

// IntegerValue reads a 32-bit integer.
func (d *Decoder) IntegerValue() int64 { return d.integer(32, "Integer") }

// Integer reads a 32-bit integer; null gives nil.
func (d *Decoder) Integer() *int64 { return optional(d, (*Decoder).IntegerValue) }

func (d *Decoder) integer(bits int, want string) int64 {
	if !d.isNumber() {
		d.mismatch(want)
		return 0
	}
	start := d.pos
	s := string(d.number())
	if d.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, bits)
	if err == nil {
		return n
	}
	f, err := strconv.ParseFloat(s, 64)
	limit := math.Ldexp(1, min(bits-1, 53))
	if err != nil || f != math.Trunc(f) || f < -limit || f >= limit {
		d.pos = start
		d.mismatch(want)
		return 0
	}
	return int64(f)
}

// DoubleValue reads a floating-point number.
func (d *Decoder) DoubleValue() float64 {
	if !d.isNumber() {
		d.mismatch("Double")
		return 0
	}
	f, err := strconv.ParseFloat(string(d.number()), 64)
	if err != nil && d.err == nil {
		d.broken()
	}
	return f
}

// Double reads a floating-point number; null gives nil.
func (d *Decoder) Double() *float64 { return optional(d, (*Decoder).DoubleValue) }

// BoolValue reads true or false.
func (d *Decoder) BoolValue() bool {
	switch d.peek() {
	case 't':
		return d.literal("true")
	case 'f':
		d.literal("false")
		return false
	}
	d.mismatch("Boolean")
	return false
}

// Bool reads true or false; null gives nil.
func (d *Decoder) Bool() *bool { return optional(d, (*Decoder).BoolValue) }

// BlobValue reads base64 text; the result is never nil but after an error.
func (d *Decoder) BlobValue() []byte {
	if d.peek() != '"' {
		d.mismatch("Blob")
		return nil
	}
	s := d.text()
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b, s)
	if err != nil {
		d.broken()
		return nil
	}
	return b[:n]
}

// Blob reads base64 text; null gives nil.
func (d *Decoder) Blob() []byte {
	if d.Null() {
		return nil
	}
	return d.BlobValue()
}

// TimeValue reads a timestamp: seconds since the epoch as a number, or ISO
// 8601 text. It keeps milliseconds.
func (d *Decoder) TimeValue() time.Time {
	var t time.Time
	ok := false
	if d.peek() == '"' {
		t, ok = parseTime(string(d.text()))
	} else if d.isNumber() {
		f, err := strconv.ParseFloat(string(d.number()), 64)
		t, ok = epoch(f), err == nil && math.Abs(f) < maxEpoch
	}
	if !ok {
		d.mismatch("Timestamp")
		d.broken()
		return time.Time{}
	}
	return t
}

// Time reads a timestamp; null gives nil.
func (d *Decoder) Time() *time.Time { return optional(d, (*Decoder).TimeValue) }

// maxEpoch bounds timestamps to about the year 9999.
const maxEpoch = 253402300800

func epoch(f float64) time.Time { return time.UnixMilli(int64(math.Round(f * 1000))).UTC() }

// parseTime reads ISO 8601 text or decimal seconds since the epoch.
func parseTime(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(f) < maxEpoch) {
		return time.Time{}, false
	}
	return epoch(f), true
}

func optional[T any](d *Decoder, read func(*Decoder) T) *T {
	if d.Null() {
		return nil
	}
	v := read(d)
	if d.err != nil {
		return nil
	}
	return &v
}

// Strings reads a list of strings; null gives nil.
func (d *Decoder) Strings() []string { return DecodeList(d, (*Decoder).StringValue) }

// StringMap reads an object of strings; null gives nil.
func (d *Decoder) StringMap() map[string]string { return DecodeMap(d, (*Decoder).StringValue) }

// DecodeList reads a list whose elements read reads; null gives nil. A null
// element is an error, as the models have no sparse lists.
func DecodeList[T any](d *Decoder, read func(*Decoder) T) []T {
	if d.Null() {
		return nil
	}
	list := []T{}
	for more := d.list(); more; more = d.more() {
		list = append(list, read(d))
	}
	return list
}

// DecodeMap reads an object whose values read reads; null gives nil.
func DecodeMap[T any](d *Decoder, read func(*Decoder) T) map[string]T {
	if d.Null() {
		return nil
	}
	m := map[string]T{}
	for more := d.Object(); more; more = d.Next() {
		key := string(d.Key())
		m[key] = read(d)
	}
	return m
}

type decodable[T any] interface {
	*T
	DecodeJSON(*Decoder)
}

// DecodeStruct reads a structure; null gives nil.
func DecodeStruct[T any, P decodable[T]](d *Decoder) *T {
	if d.Null() {
		return nil
	}
	x := new(T)
	P(x).DecodeJSON(d)
	return x
}

// DecodeStructs reads a list of structures; null gives nil.
func DecodeStructs[T any, P decodable[T]](d *Decoder) []T {
	if d.Null() {
		return nil
	}
	list := []T{}
	for more := d.list(); more; more = d.more() {
		list = append(list, *new(T))
		P(&list[len(list)-1]).DecodeJSON(d)
	}
	return list
}

// DecodeStructValue reads a structure as an element of a map.
func DecodeStructValue[T any, P decodable[T]](d *Decoder) T {
	var x T
	P(&x).DecodeJSON(d)
	return x
}
