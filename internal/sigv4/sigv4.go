// Package sigv4 verifies AWS Signature Version 4 on the server's side, and
// signs requests for the server's own links and clients.
//
// Verification comes in two steps, because the service that a request is for
// is known from its credential scope, before anything has been proved: Parse
// reads what the client claims; Verify (of Request, or of KeyCache with
// derived keys remembered) shows that the holder of the secret made exactly
// this request, for this service and region, just now. In between, the caller
// finds the secret of the access key, and compares the session token.
//
// What a good signature covers, and so what a caller may act on:
//
//   - method, path and the whole query. The path is covered in the form of
//     Request.Path; route on that and not on the path as sent. A query that
//     Go's decoder would not take whole is refused, so that no parameter can
//     vanish between the signature and the handler;
//   - the body, by its hash; S3 alone may leave it out;
//   - Host and every X-Amz-* header but three: X-Amz-User-Agent and
//     X-Amz-Cf-Id mean nothing to a server and are added by browsers and
//     proxies, and an unsigned X-Amz-Content-Sha256 is never read. Any other
//     X-Amz-* header that is present and unsigned fails the request, so that
//     nobody on the way can add or replace a session token, an operation
//     (X-Amz-Target) or an option (X-Amz-Invocation-Type). AWS demands the
//     same in its documents; how strictly each service checks is not recorded.
//   - no other header, unless the client chose so. Content-Type may be
//     unsigned: a service has one protocol, so it cannot turn a body into
//     another request.
//
// X-Amz-* headers, Content-Type, Date and Authorization may each come once.
package sigv4

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds on what Parse and Verify will work through. AWS's own are not known;
// SDK clients stay below a tenth of these.
const (
	maxAuthorization = 16 << 10 // bytes of the Authorization header
	maxSigned        = 128      // names in SignedHeaders
	maxPairs         = 1000     // query parameters
	maxKeyID         = 128      // bytes of an access key ID (IAM model)
)

// Values that SigV4 fixes.
const (
	algorithm   = "AWS4-HMAC-SHA256"
	terminator  = "aws4_request"
	basicTime   = "20060102T150405Z" // ISO 8601 basic format
	unsigned    = "UNSIGNED-PAYLOAD"
	serviceS3   = "s3"
	defaultLife = 15 * time.Minute // of a presigned request without X-Amz-Expires (AWS: recorded for STS)
	maxLife     = 604800           // seconds, X-Amz-Expires (AWS docs)
)

// Scope is a credential scope: whose key signed, and for which day
// (YYYYMMDD), region and service. It is what the client claims until the
// signature has been verified.
type Scope struct{ AccessKeyID, Date, Region, Service string }

// Request is the authentication that a request carries, as the client wrote
// it. It refers to the http.Request that it came from, which must not change
// before verification.
type Request struct {
	Scope Scope
	// SignedHeaders holds the names that the signature covers, lower-case,
	// joined by ";".
	SignedHeaders string
	// Signature is 64 hexadecimal digits.
	Signature string
	// Time is when the client says it signed, in UTC, whole seconds.
	Time time.Time
	// Token is the session token, or "".
	Token string
	// Presigned is true when the authentication came in the query.
	Presigned bool
	// Expires is how long after Time a presigned request is good.
	Expires time.Duration
	// Path is the escaped path that the signature covers: as sent, without
	// dot segments and empty segments (S3: as sent). Route on it.
	Path string

	http        *http.Request
	timestamp   string // Time in the basic format
	terminator  string // the last element of the scope
	contentHash string // X-Amz-Content-Sha256 of the query
	byDate      bool   // Time came from the Date header
	checked     bool   // Check passed
}

// Parse reads the authentication of a request, from the Authorization header
// or from the query, without verifying any of it. Errors are of the kinds
// Missing, Incomplete, Mismatch (authentication in both places) and
// UnknownKey (an access key ID that cannot exist).
func Parse(r *http.Request) (*Request, error) {
	header := r.Header["Authorization"]
	params, err := authParams(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	q := &Request{http: r}
	switch {
	case len(header) > 1:
		// Assumed: AWS's answer is not known.
		return nil, incomplete("Authorization header must be given once.")
	case len(header) == 1 && params != nil:
		return nil, mismatch("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case len(header) == 1:
		err = q.parseHeader(header[0])
	case params != nil:
		err = q.parseQuery(params)
	default:
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	q.Path = r.URL.EscapedPath()
	if q.Scope.Service != serviceS3 {
		q.Path = cleanPath(q.Path)
	}
	return q, nil
}

// parseHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…,
// Signature=…". The three may come in any order, with commas, blanks or both
// between them.
func (q *Request) parseHeader(header string) error {
	name, rest := strings.Trim(header, " \t"), ""
	if i := strings.IndexAny(name, " \t"); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	if !strings.HasPrefix(name, "AWS4-") {
		return ErrMissing
	}
	if len(header) > maxAuthorization {
		return incomplete("Authorization header is too long.")
	}
	p, err := splitParams(rest, header)
	if err != nil {
		return err
	}
	h := q.http.Header
	stamp := h.Get("X-Amz-Date")
	if stamp == "" {
		stamp, q.byDate = h.Get("Date"), true
	}
	if p.credential == "" || p.signature == "" || !p.listed || stamp == "" {
		return missingParts(p, stamp, header)
	}
	if name != algorithm {
		return unsupported(name)
	}
	q.SignedHeaders, q.Signature = p.signedHeaders, p.signature
	q.Token = h.Get("X-Amz-Security-Token")
	if err := q.setTime(stamp); err != nil {
		return err
	}
	return q.setCredential(p.credential)
}

// params are the parameters of an Authorization header. An empty
// SignedHeaders is present (AWS: recorded), hence listed.
type params struct {
	credential, signature, signedHeaders string
	listed                               bool
}

func splitParams(s, header string) (p params, err error) {
	for {
		s = strings.TrimLeft(s, ", \t")
		if s == "" {
			return p, nil
		}
		part := s
		if i := strings.IndexAny(s, ", \t"); i >= 0 {
			part = s[:i]
		}
		s = s[len(part):]
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return p, notPair(header)
		}
		var seen bool
		switch name {
		case "Credential":
			seen, p.credential = p.credential != "", value
		case "Signature":
			seen, p.signature = p.signature != "", value
		case "SignedHeaders":
			seen, p.signedHeaders, p.listed = p.listed, value, true
		}
		if seen {
			return p, incomplete("Authorization header must hold '%s' once.", name)
		}
	}
}

// authParams returns the query's parameters when they carry authentication,
// else nil. Requests with an ordinary query cost no decoding.
func authParams(raw string) (url.Values, error) {
	if !strings.Contains(raw, "X-Amz-") {
		return nil, nil
	}
	if strings.Count(raw, "&") >= maxPairs {
		return nil, incomplete("The query string has too many parameters.")
	}
	v, err := url.ParseQuery(raw)
	switch {
	case !v.Has("X-Amz-Algorithm") && !v.Has("X-Amz-Signature") && !v.Has("X-Amz-Credential"):
		return nil, nil
	case err != nil:
		return nil, incomplete("The query string is malformed.").Because(err)
	}
	return v, nil
}

// parseQuery reads the X-Amz-* parameters of a presigned request.
func (q *Request) parseQuery(v url.Values) error {
	q.Presigned = true
	var absent strings.Builder
	for _, name := range [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if v.Get(name) == "" {
			absent.WriteString("AWS query-string parameters must include '" + name + "'. ")
		}
	}
	if absent.Len() > 0 {
		return incomplete("%sRe-examine the query-string parameters.", absent.String())
	}
	for name, values := range v {
		if strings.HasPrefix(name, "X-Amz-") && len(values) > 1 {
			return incomplete("AWS query-string parameters must include '%s' once. Re-examine the query-string parameters.", name)
		}
	}
	if a := v.Get("X-Amz-Algorithm"); a != algorithm {
		return unsupported(a)
	}
	q.SignedHeaders, q.Signature = v.Get("X-Amz-SignedHeaders"), v.Get("X-Amz-Signature")
	q.contentHash = v.Get("X-Amz-Content-Sha256")
	if q.Token = v.Get("X-Amz-Security-Token"); q.Token == "" {
		q.Token = q.http.Header.Get("X-Amz-Security-Token")
	}
	if err := q.setTime(v.Get("X-Amz-Date")); err != nil {
		return err
	}
	if err := q.setCredential(v.Get("X-Amz-Credential")); err != nil {
		return err
	}
	return q.setExpires(v["X-Amz-Expires"])
}

// setExpires reads X-Amz-Expires: 1 to 604800 seconds. Absent means 15
// minutes, for the SDKs leave it out when they presign calls of STS.
func (q *Request) setExpires(values []string) error {
	if len(values) == 0 {
		q.Expires = defaultLife
		return nil
	}
	var n int64
	for _, c := range []byte(values[0]) {
		if c < '0' || c > '9' {
			return incomplete("X-Amz-Expires should be a number")
		}
		n = min(n*10+int64(c-'0'), maxLife+1)
	}
	switch {
	case n < 1:
		// Assumed: S3 admits 0 here, which no clock can meet.
		return incomplete("X-Amz-Expires must be at least 1 second")
	case n > maxLife:
		return incomplete("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	q.Expires = time.Duration(n) * time.Second
	return nil
}

// setTime reads the basic format, which a Date header may have too, or the
// formats of HTTP dates.
func (q *Request) setTime(s string) error {
	t, err := time.Parse(basicTime, s)
	switch {
	case err == nil && len(s) == len(basicTime):
		q.timestamp = s
	case q.byDate:
		if t, err = http.ParseTime(s); err != nil {
			return badDate(s)
		}
		t = t.UTC()
		q.timestamp = t.Format(basicTime)
	default:
		return badDate(s)
	}
	q.Time = t
	return nil
}

// setCredential splits keyid/date/region/service/term. Slashes at the end are
// ignored (AWS: recorded).
func (q *Request) setCredential(s string) error {
	rest := strings.TrimRight(s, "/")
	for i := range len(rest) {
		if rest[i] <= ' ' || rest[i] > '~' {
			return incomplete("Credential must hold printable ASCII characters only.")
		}
	}
	if strings.Count(rest, "/") != 4 {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", clip(s))
	}
	q.Scope.AccessKeyID, rest, _ = strings.Cut(rest, "/")
	q.Scope.Date, rest, _ = strings.Cut(rest, "/")
	q.Scope.Region, rest, _ = strings.Cut(rest, "/")
	q.Scope.Service, q.terminator, _ = strings.Cut(rest, "/")
	if q.Scope.AccessKeyID == "" || len(q.Scope.AccessKeyID) > maxKeyID {
		return ErrUnknownKey
	}
	return nil
}
