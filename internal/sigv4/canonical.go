package sigv4

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// appendCanonical appends the canonical request, of which the payload is the
// last line. It fails where the request has no canonical form, or where
// SignedHeaders names a header that did not come.
func (q *Request) appendCanonical(dst, payload []byte) ([]byte, error) {
	r := q.http
	dst = append(append(dst, cmp.Or(r.Method, http.MethodGet)...), '\n')
	if q.Scope.Service == serviceS3 {
		dst = appendObjectPath(dst, q.Path)
	} else {
		dst = appendEncoded(dst, q.Path, "/")
	}
	dst = append(dst, '\n')
	dst, ok := appendQuery(dst, r.URL.RawQuery, q.Presigned)
	if !ok {
		return nil, because("the query string is malformed")
	}
	dst = append(dst, '\n')
	for name := range strings.SplitSeq(q.SignedHeaders, ";") {
		dst = append(append(dst, name...), ':')
		if dst, ok = appendHeader(dst, r, name); !ok {
			return nil, because("a signed header is absent: " + name)
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	dst = append(append(dst, q.SignedHeaders...), '\n')
	return append(dst, payload...), nil
}

// cleanPath removes dot segments and empty segments from an escaped path, as
// the SDKs do before they sign: a slash at the end stays, but not for its own
// sake ("/a/." is "/a"). An escaped dot is no dot segment.
func cleanPath(path string) string {
	if path == "" {
		return "/"
	}
	if isClean(path) {
		return path
	}
	var out []string
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "" || segment == ".":
		case segment == "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, segment)
		}
	}
	clean := "/" + strings.Join(out, "/")
	if len(out) > 0 && strings.HasSuffix(path, "/") {
		clean += "/"
	}
	return clean
}

func isClean(path string) bool {
	return path[0] == '/' && !strings.Contains(path, "//") && !strings.Contains(path, "/./") && !strings.Contains(path, "/../") &&
		!strings.HasSuffix(path, "/.") && !strings.HasSuffix(path, "/..")
}

// appendEncoded appends s with every byte as %XX that is neither unreserved
// nor in safe. Applied to a path that is already escaped, that is the second
// encoding which every service but S3 wants.
func appendEncoded(dst []byte, s, safe string) []byte {
	for i := range len(s) {
		if c := s[i]; unreserved(c) || strings.IndexByte(safe, c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

// appendObjectPath appends an S3 path: encoded once, with an escaped slash
// kept apart from a plain one.
func appendObjectPath(dst []byte, path string) []byte {
	if path == "" {
		return append(dst, '/')
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		escaped := c == '%' && i+2 < len(path)
		if escaped {
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if escaped = hi >= 0 && lo >= 0; escaped {
				c = byte(hi<<4 | lo)
				i += 2
			}
		}
		if unreserved(c) || c == '/' && !escaped {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst
}

// appendQuery appends the canonical query: parameters decoded, encoded again
// and sorted by name, then by value; without X-Amz-Signature when it is the
// query that is authenticated. It takes what url.ParseQuery takes and nothing
// else, so that a handler sees every parameter that was signed: ok is false
// for a bad escape, a raw semicolon, or too many parameters.
func appendQuery(dst []byte, raw string, presigned bool) (_ []byte, ok bool) {
	if raw == "" {
		return dst, true
	}
	n := strings.Count(raw, "&") + 1
	if n > maxPairs {
		return dst, false
	}
	type pair struct{ name, value []byte }
	pairs := make([]pair, 0, n)
	// An encoded byte is three times as long at most.
	buf := make([]byte, 0, 3*len(raw))
	for field := range strings.SplitSeq(raw, "&") {
		if field == "" {
			continue
		}
		name, value, _ := strings.Cut(field, "=")
		start := len(buf)
		if buf, ok = appendRecoded(buf, name); !ok {
			return dst, false
		}
		middle := len(buf)
		if buf, ok = appendRecoded(buf, value); !ok {
			return dst, false
		}
		if p := (pair{buf[start:middle], buf[middle:]}); !presigned || string(p.name) != "X-Amz-Signature" {
			pairs = append(pairs, p)
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := bytes.Compare(a.name, b.name); c != 0 {
			return c
		}
		return bytes.Compare(a.value, b.value)
	})
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(append(append(dst, p.name...), '='), p.value...)
	}
	return dst, true
}

// appendRecoded appends a decoded and encoded part of a query. A plus is a
// blank, as it is to url.ParseQuery and in the SDKs' signers.
func appendRecoded(dst []byte, s string) (_ []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case ';':
			return dst, false
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return dst, false
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return dst, false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		if unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst, true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendHeader appends the canonical value of the header with the lower-case
// name: blanks trimmed, runs of blanks made one, several values joined by
// commas. net/http keeps Host, Transfer-Encoding and, in requests that it did
// not read itself, Content-Length outside of the header map.
func appendHeader(dst []byte, r *http.Request, name string) (_ []byte, ok bool) {
	values := headerValues(r.Header, name)
	switch {
	case name == "host" || name == ":authority":
		h := host(r)
		return append(dst, h...), h != ""
	case name == "content-length" && len(values) == 0:
		return strconv.AppendInt(dst, r.ContentLength, 10), r.ContentLength >= 0
	case name == "transfer-encoding" && len(values) == 0:
		values = r.TransferEncoding
	}
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTrimmed(dst, v)
	}
	return dst, len(values) > 0
}

// host is the Host header as it came, or as net/http will send it.
func host(r *http.Request) string {
	if r.Host == "" {
		return r.URL.Host
	}
	return r.Host
}

// headerValues looks a lower-case name up without allocating.
func headerValues(h http.Header, name string) []string {
	var key [64]byte
	if len(name) > len(key) {
		return h[http.CanonicalHeaderKey(name)]
	}
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		key[i] = c
		upper = c == '-'
	}
	return h[string(key[:len(name)])]
}

func appendTrimmed(dst []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for {
		i := strings.Index(v, "  ")
		if i < 0 {
			return append(dst, v...)
		}
		dst = append(dst, v[:i+1]...)
		v = strings.TrimLeft(v[i:], " ")
	}
}
