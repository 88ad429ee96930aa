package wire

import (
	"encoding/base64"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// MalformedInput is the kind of a query parameter whose text is not of the
// member's type.
const MalformedInput fault.Kind = "malformed input"

// Form reads the parameters of a query request below one prefix: a
// structure's members are A.B, a list's elements A.member.1.
type Form struct {
	*form
	prefix string
}

type form struct {
	pairs []pair // sorted by name
	err   error
}

type pair struct{ name, value string }

// NewForm returns a Form over values; of a repeated name the first value
// counts.
func NewForm(values url.Values) Form {
	f := &form{pairs: make([]pair, 0, len(values))}
	for name, v := range values {
		f.pairs = append(f.pairs, pair{name, v[0]})
	}
	slices.SortFunc(f.pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return Form{form: f}
}

// Err returns the first error.
func (f Form) Err() error { return f.err }

func (f Form) malformed(text string) {
	if f.err == nil {
		f.form.err = fault.New(MalformedInput, "%s", text)
	}
}

// from returns the index of the first name that is not before s.
func (f Form) from(s string) int {
	return sort.Search(len(f.pairs), func(i int) bool { return f.pairs[i].name >= s })
}

func (f Form) get(name string) (string, bool) {
	name = f.prefix + name
	i := f.from(name)
	if i == len(f.pairs) || f.pairs[i].name != name {
		return "", false
	}
	return f.pairs[i].value, true
}

// String reads a string; nil if it is absent.
func (f Form) String(name string) *string {
	s, ok := f.get(name)
	if !ok {
		return nil
	}
	return &s
}

// Long reads an integer; nil if it is absent.
func (f Form) Long(name string) *int64 {
	return parsed(f, name, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
}

// Integer reads a 32-bit integer; nil if it is absent.
func (f Form) Integer(name string) *int64 {
	return parsed(f, name, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 32) })
}

// Double reads a floating-point number; nil if it is absent.
func (f Form) Double(name string) *float64 {
	return parsed(f, name, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
}

// Bool reads true or false; nil if it is absent.
func (f Form) Bool(name string) *bool { return parsed(f, name, parseBool) }

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

// Time reads an ISO 8601 timestamp; nil if it is absent.
func (f Form) Time(name string) *time.Time {
	return parsed(f, name, func(s string) (time.Time, error) {
		t, ok := parseTime(s)
		if !ok {
			return t, strconv.ErrSyntax
		}
		return t, nil
	})
}

// Blob reads base64 text; nil if it is absent.
func (f Form) Blob(name string) []byte {
	if b := parsed(f, name, base64.StdEncoding.DecodeString); b != nil {
		return *b
	}
	return nil
}

func parsed[T any](f Form, name string, parse func(string) (T, error)) *T {
	s, ok := f.get(name)
	if !ok {
		return nil
	}
	v, err := parse(s)
	if err != nil {
		f.malformed(strconv.Quote(s) + " is not a valid value for " + f.prefix + name)
		return nil
	}
	return &v
}

// below returns the Form of the names under name.
func (f Form) below(name string) Form { return Form{f.form, f.prefix + name + "."} }

// elements returns the positions that occur under the list name, in order.
// item is the word between the list's name and the position; flattened lists
// have none. present tells an empty list, sent as "Name=", from an absent one.
func (f Form) elements(name, item string) (list Form, positions []int, present bool) {
	_, present = f.get(name)
	list = f.below(name)
	if item != "" {
		list = list.below(item)
	}
	seen := map[int]bool{}
	for i := f.from(list.prefix); i < len(f.pairs); i++ {
		rest, ok := strings.CutPrefix(f.pairs[i].name, list.prefix)
		if !ok {
			break
		}
		digits, _, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseUint(digits, 10, 31)
		if err == nil && strconv.FormatUint(n, 10) == digits && !seen[int(n)] {
			seen[int(n)] = true
			positions = append(positions, int(n))
		}
	}
	slices.Sort(positions)
	return list, positions, present || positions != nil
}

// Strings reads a list of strings; nil if it is absent.
func (f Form) Strings(name, item string) []string {
	list, positions, present := f.elements(name, item)
	if !present {
		return nil
	}
	out := make([]string, 0, len(positions))
	for _, n := range positions {
		if s, ok := list.get(strconv.Itoa(n)); ok {
			out = append(out, s)
		}
	}
	return out
}

// StringMap reads a map of strings; entry is "" for a flattened map. It is
// nil if the map is absent.
func (f Form) StringMap(name, entry, key, value string) map[string]string {
	list, positions, present := f.elements(name, entry)
	if !present {
		return nil
	}
	out := map[string]string{}
	for _, n := range positions {
		pair := list.below(strconv.Itoa(n))
		if k, ok := pair.get(key); ok {
			out[k], _ = pair.get(value)
		}
	}
	return out
}

type formDecodable[T any] interface {
	*T
	DecodeForm(Form)
}

// FormStruct reads a structure; nil if no name lies under it.
func FormStruct[T any, P formDecodable[T]](f Form, name string) *T {
	below := f.below(name)
	if i := f.from(below.prefix); i == len(f.pairs) || !strings.HasPrefix(f.pairs[i].name, below.prefix) {
		return nil
	}
	x := new(T)
	P(x).DecodeForm(below)
	return x
}

// FormStructs reads a list of structures; nil if it is absent.
func FormStructs[T any, P formDecodable[T]](f Form, name, item string) []T {
	list, positions, present := f.elements(name, item)
	if !present {
		return nil
	}
	out := make([]T, len(positions))
	for i, n := range positions {
		P(&out[i]).DecodeForm(list.below(strconv.Itoa(n)))
	}
	return out
}
