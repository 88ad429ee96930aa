package wire

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Rest is one rest-json request, from which the generated DecodeREST methods
// fill their members. The first error sticks.
type Rest struct {
	labels []pair
	query  url.Values
	header http.Header
	body   []byte
	err    error
}

// Err returns the first error.
func (r *Rest) Err() error { return r.err }

// Label reads a part of the path.
func (r *Rest) Label(name string) *string {
	for i := range r.labels {
		if r.labels[i].name == name {
			return &r.labels[i].value
		}
	}
	return nil
}

// LabelLong reads an integer from the path.
func (r *Rest) LabelLong(name string) *int64 { return restParsed(r, r.Label(name), "Long", parseLong) }

// Query reads a query parameter; nil if it is absent. Of a repeated one the
// first counts.
func (r *Rest) Query(name string) *string {
	if v := r.query[name]; len(v) > 0 {
		return &v[0]
	}
	return nil
}

// QueryLong reads an integer; nil if it is absent.
func (r *Rest) QueryLong(name string) *int64 {
	return restParsed(r, r.Query(name), "Long", parseLong)
}

// QueryBool reads true or false; nil if it is absent.
func (r *Rest) QueryBool(name string) *bool {
	return restParsed(r, r.Query(name), "Boolean", parseBool)
}

// QueryTime reads a timestamp, as ISO 8601 text or epoch seconds; nil if it
// is absent.
func (r *Rest) QueryTime(name string) *time.Time {
	return restParsed(r, r.Query(name), "Timestamp", func(s string) (time.Time, error) {
		t, ok := parseTime(s)
		if !ok {
			return t, strconv.ErrSyntax
		}
		return t, nil
	})
}

// QueryStrings reads a repeated parameter; nil if it is absent.
func (r *Rest) QueryStrings(name string) []string { return r.query[name] }

// QueryMap reads every parameter that is not one of except.
func (r *Rest) QueryMap(except ...string) map[string]string {
	m := map[string]string{}
	for name, v := range r.query {
		m[name] = v[0]
	}
	for _, name := range except {
		delete(m, name)
	}
	return m
}

// Header reads a header; nil if it is absent.
func (r *Rest) Header(name string) *string {
	if v := r.header.Values(name); len(v) > 0 {
		return &v[0]
	}
	return nil
}

// HeaderLong reads an integer; nil if it is absent.
func (r *Rest) HeaderLong(name string) *int64 {
	return restParsed(r, r.Header(name), "Long", parseLong)
}

// HeaderBool reads true or false; nil if it is absent.
func (r *Rest) HeaderBool(name string) *bool {
	return restParsed(r, r.Header(name), "Boolean", parseBool)
}

// HeaderMap reads the headers that start with prefix, by the rest of their
// name in lower case.
func (r *Rest) HeaderMap(prefix string) map[string]string {
	m := map[string]string{}
	prefix = strings.ToLower(prefix)
	for name, v := range r.header {
		if rest, ok := strings.CutPrefix(strings.ToLower(name), prefix); ok && len(v) > 0 {
			m[rest] = v[0]
		}
	}
	return m
}

// Payload returns a copy of the body; nil if it is empty.
func (r *Rest) Payload() []byte {
	if len(r.body) == 0 {
		return nil
	}
	return append([]byte(nil), r.body...)
}

// JSON decodes the body's members into x. An empty body has none.
func (r *Rest) JSON(x interface{ DecodeJSON(*Decoder) }) {
	if len(r.body) > 0 && r.err == nil {
		r.err = Unmarshal(r.body, x)
	}
}

func parseLong(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

func restParsed[T any](r *Rest, s *string, want string, parse func(string) (T, error)) *T {
	if s == nil {
		return nil
	}
	v, err := parse(*s)
	if err != nil {
		if r.err == nil {
			r.err = fault.New(Serialization, "STRING_VALUE can not be converted to an %s", want)
		}
		return nil
	}
	return &v
}

// RestAnswer is one rest-json answer, which the generated EncodeREST methods
// fill. Its body is JSON unless there is a payload.
type RestAnswer struct {
	status int
	header http.Header
	enc    *Encoder
	body   []byte
	raw    bool
}

// Status sets the HTTP status, unless v is nil.
func (a *RestAnswer) Status(v *int64) {
	if v != nil {
		a.status = int(*v)
	}
}

// Header sets a header, unless v is nil.
func (a *RestAnswer) Header(name string, v *string) {
	if v != nil {
		a.header.Set(name, *v)
	}
}

// HeaderLong sets a header, unless v is nil.
func (a *RestAnswer) HeaderLong(name string, v *int64) {
	if v != nil {
		a.header.Set(name, strconv.FormatInt(*v, 10))
	}
}

// HeaderBool sets a header, unless v is nil.
func (a *RestAnswer) HeaderBool(name string, v *bool) {
	if v != nil {
		a.header.Set(name, strconv.FormatBool(*v))
	}
}

// HeaderBlob sets a header to base64 text, unless v is nil.
func (a *RestAnswer) HeaderBlob(name string, v []byte) {
	if v != nil {
		a.header.Set(name, base64.StdEncoding.EncodeToString(v))
	}
}

// Payload makes b the body as it is.
func (a *RestAnswer) Payload(b []byte) { a.body, a.raw = b, true }

// JSON makes x's members the body.
func (a *RestAnswer) JSON(x interface{ EncodeJSON(*Encoder) }) {
	x.EncodeJSON(a.enc)
	a.body = a.enc.Bytes()
}
