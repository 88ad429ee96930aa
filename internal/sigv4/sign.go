package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Credentials are what a client signs with. They print without the secret and
// the token.
type Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// Format prints the access key ID alone, for every verb.
func (c Credentials) Format(f fmt.State, _ rune) {
	io.WriteString(f, "{"+c.AccessKeyID+" [redacted]}")
}

// MarshalText keeps secrets out of JSON and structured logs.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.AccessKeyID), nil }

// Sign sets X-Amz-Date, Authorization, and where they apply
// X-Amz-Security-Token and X-Amz-Content-Sha256 (S3) on an outgoing request.
// The signature covers the host, Content-Type and every X-Amz-* header; set
// those before. The error, of kind Mismatch, is for a query that no server
// could verify.
func Sign(r *http.Request, body []byte, c Credentials, region, service string, t time.Time) error {
	q := claim(r, c, region, service, t)
	h := r.Header
	h.Del("Authorization")
	h.Set("X-Amz-Date", q.timestamp)
	h.Del("X-Amz-Security-Token")
	if c.SessionToken != "" {
		h.Set("X-Amz-Security-Token", c.SessionToken)
	}
	if service == serviceS3 && h.Get("X-Amz-Content-Sha256") == "" {
		sum := sha256.Sum256(body)
		h.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	}
	q.SignedHeaders = signable(r)
	signature, err := q.sign(body, DeriveKey(c.SecretAccessKey, q.Scope))
	if err != nil {
		return err
	}
	h.Set("Authorization", algorithm+" Credential="+q.credential()+", SignedHeaders="+q.SignedHeaders+", Signature="+string(signature[:]))
	return nil
}

// Presign returns the URL of r with authentication in its query, good from t
// for expires (whole seconds, 1 to 604800). r itself is left alone; whoever
// uses the URL must send the same method, the same Content-Type and X-Amz-*
// headers, and no body (S3: any body). Errors are of kind fault.Parameter for
// expires, and as in Sign.
func Presign(r *http.Request, c Credentials, region, service string, t time.Time, expires time.Duration) (string, error) {
	seconds := int64(expires / time.Second)
	if seconds < 1 || seconds > maxLife {
		return "", fault.New(fault.Parameter, "expires must be between 1 and %d seconds", maxLife)
	}
	u := *r.URL
	copied := *r
	copied.URL, copied.Host = &u, host(r)
	q := claim(&copied, c, region, service, t)
	q.Presigned, q.SignedHeaders = true, signable(&copied)

	b := []byte(u.RawQuery)
	if len(b) > 0 {
		b = append(b, '&')
	}
	b = append(b, "X-Amz-Algorithm="+algorithm+"&X-Amz-Credential="...)
	b = appendEncoded(b, q.credential(), "")
	b = append(b, "&X-Amz-Date="+q.timestamp+"&X-Amz-Expires="...)
	b = strconv.AppendInt(b, seconds, 10)
	b = appendEncoded(append(b, "&X-Amz-SignedHeaders="...), q.SignedHeaders, "")
	if c.SessionToken != "" {
		b = appendEncoded(append(b, "&X-Amz-Security-Token="...), c.SessionToken, "")
	}
	u.RawQuery = string(b)
	signature, err := q.sign(nil, DeriveKey(c.SecretAccessKey, q.Scope))
	if err != nil {
		return "", err
	}
	u.RawQuery += "&X-Amz-Signature=" + string(signature[:])
	return u.String(), nil
}

// claim is the Request that a server will parse, but for the signature.
func claim(r *http.Request, c Credentials, region, service string, t time.Time) *Request {
	stamp := t.UTC().Format(basicTime)
	q := &Request{
		Scope: Scope{c.AccessKeyID, stamp[:8], region, service},
		Path:  r.URL.EscapedPath(),
		http:  r, timestamp: stamp,
	}
	if service != serviceS3 {
		q.Path = cleanPath(q.Path)
	}
	return q
}

func (q *Request) credential() string {
	s := q.Scope
	return s.AccessKeyID + "/" + s.Date + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// signable lists the headers that Sign and Presign cover.
func signable(r *http.Request) string {
	names := []string{"host"}
	for name, values := range r.Header {
		if len(values) > 0 && (isAmz(name) || name == "Content-Type") {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}
