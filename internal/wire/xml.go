package wire

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// XML appends elements to a buffer, as query services answer. Members
// without a value are left out; timestamps are ISO 8601.
type XML struct{ buf []byte }

// NewXML returns an XML that appends to buf.
func NewXML(buf []byte) *XML { return &XML{buf} }

// Bytes returns the buffer.
func (e *XML) Bytes() []byte { return e.buf }

// Open writes a start tag.
func (e *XML) Open(name string) {
	e.buf = append(append(append(e.buf, '<'), name...), '>')
}

// OpenRoot writes a start tag with a name space.
func (e *XML) OpenRoot(name, namespace string) {
	e.buf = append(append(append(e.buf, '<'), name...), ` xmlns="`...)
	e.buf = append(appendXML(e.buf, namespace), `">`...)
}

// Close writes an end tag.
func (e *XML) Close(name string) {
	e.buf = append(append(append(e.buf, '<', '/'), name...), '>')
}

// Text writes an element that holds text.
func (e *XML) Text(name, s string) {
	e.Open(name)
	e.buf = appendXML(e.buf, s)
	e.Close(name)
}

// String writes an element, unless v is nil.
func (e *XML) String(name string, v *string) {
	if v != nil {
		e.Text(name, *v)
	}
}

// Long writes an element, unless v is nil.
func (e *XML) Long(name string, v *int64) {
	if v != nil {
		e.Text(name, strconv.FormatInt(*v, 10))
	}
}

// Double writes an element, unless v is nil.
func (e *XML) Double(name string, v *float64) {
	if v != nil {
		e.Text(name, formatDouble(*v))
	}
}

// Bool writes an element, unless v is nil.
func (e *XML) Bool(name string, v *bool) {
	if v != nil {
		e.Text(name, strconv.FormatBool(*v))
	}
}

// Time writes an element, unless v is nil.
func (e *XML) Time(name string, v *time.Time) {
	if v != nil {
		e.Open(name)
		e.buf = appendISO(e.buf, *v)
		e.Close(name)
	}
}

// Blob writes an element that holds base64 text, unless v is nil.
func (e *XML) Blob(name string, v []byte) {
	if v != nil {
		e.Open(name)
		e.buf = base64.StdEncoding.AppendEncode(e.buf, v)
		e.Close(name)
	}
}

// Strings writes a list of strings, unless v is nil. A list without an item
// name is flattened: one element named name for each.
func (e *XML) Strings(name, item string, v []string) {
	xmlList(e, name, item, v, func(name string, s *string) { e.Text(name, *s) })
}

// StringMap writes a map of strings by name, unless v is nil; entry is ""
// for a flattened map.
func (e *XML) StringMap(name, entry, key, value string, v map[string]string) {
	xmlMap(e, name, entry, key, v, func(s string) { e.Text(value, s) })
}

// LongMap writes a map of integers as StringMap does one of strings.
func (e *XML) LongMap(name, entry, key, value string, v map[string]int64) {
	xmlMap(e, name, entry, key, v, func(n int64) { e.Long(value, &n) })
}

func xmlMap[T any](e *XML, name, entry, key string, v map[string]T, write func(T)) {
	keys := slices.Sorted(maps.Keys(v))
	if v != nil && keys == nil {
		keys = []string{}
	}
	xmlList(e, name, entry, keys, func(name string, k *string) {
		e.Open(name)
		e.Text(key, *k)
		write(v[*k])
		e.Close(name)
	})
}

func xmlList[T any](e *XML, name, item string, v []T, write func(string, *T)) {
	if v == nil {
		return
	}
	if item == "" {
		item = name
	} else {
		e.Open(name)
		defer e.Close(name)
	}
	for i := range v {
		write(item, &v[i])
	}
}

type xmlEncodable[T any] interface {
	*T
	EncodeXML(*XML)
}

// XMLStruct writes a structure as an element, unless v is nil.
func XMLStruct[T any, P xmlEncodable[T]](e *XML, name string, v *T) {
	if v != nil {
		e.Open(name)
		P(v).EncodeXML(e)
		e.Close(name)
	}
}

// XMLStructs writes a list of structures, unless v is nil; item is "" for a
// flattened list.
func XMLStructs[T any, P xmlEncodable[T]](e *XML, name, item string, v []T) {
	xmlList(e, name, item, v, func(name string, x *T) { XMLStruct[T, P](e, name, x) })
}

// appendXML writes character data, with U+FFFD for what XML cannot hold.
func appendXML(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\r':
			b = append(b, "&#xD;"...)
		case r < ' ' && r != '\t' && r != '\n', r == '\uFFFE', r == '\uFFFF':
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
		i += n
	}
	return b
}
