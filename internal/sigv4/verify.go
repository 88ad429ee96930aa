package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Skew is how far a client's clock may be off, both ways (AWS: recorded).
const Skew = 5 * time.Minute

// skewS3 is the same for S3 (AWS docs).
const skewS3 = 15 * time.Minute

// Expected says which credential scopes the addressed service takes.
type Expected struct {
	// Service is the signing name. It must be given: no request is verified
	// for "".
	Service string
	// Region reports whether a region is one that the service answers in;
	// nil admits any name that is not empty.
	Region func(region string) bool
}

// Check judges everything that needs no secret, in AWS's order: the time, the
// list of signed headers, the scope. Verify does it too; a caller who checks
// before looking the access key up answers late requests as AWS does, whether
// the key exists or not. Errors are of the kinds Expired, NotYetCurrent,
// Mismatch, Incomplete and BadScope.
func (q *Request) Check(now time.Time, want Expected) error {
	q.checked = false
	if err := q.checkTime(now.UTC().Truncate(time.Second)); err != nil {
		return err
	}
	if err := q.checkSigned(); err != nil {
		return err
	}
	if err := q.checkHeaders(); err != nil {
		return err
	}
	err := q.checkScope(want)
	q.checked = err == nil
	return err
}

// Verify reports whether the holder of the key signed this request with this
// body for the expected service, neither too long ago nor in the future. Nil
// means yes. It does not judge the session token: the caller must compare
// Token with the one that belongs to the access key, and refuse a token for a
// key that has none. The error of a wrong signature is ErrMismatch with a
// cause for the log.
func (q *Request) Verify(body []byte, key Key, now time.Time, want Expected) error {
	if err := q.Check(now, want); err != nil {
		return err
	}
	return q.match(body, key)
}

func (q *Request) match(body []byte, key Key) error {
	got, err := q.sign(body, key)
	if err != nil {
		return err
	}
	if !hmac.Equal(got[:], []byte(q.Signature)) {
		return because("another secret, or the request changed on its way")
	}
	return nil
}

// sign returns the signature of the request in hexadecimal digits.
func (q *Request) sign(body []byte, key Key) (signature [2 * sha256.Size]byte, err error) {
	var payload [2 * sha256.Size]byte
	hash, err := q.appendPayload(payload[:0], body)
	if err != nil {
		return signature, err
	}
	b, err := q.appendCanonical(make([]byte, 0, 1024), hash)
	if err != nil {
		return signature, err
	}
	sum := sha256.Sum256(b)
	b = append(append(b[:0], algorithm+"\n"...), q.timestamp...)
	for _, part := range [...]string{"\n", q.Scope.Date, "/", q.Scope.Region, "/", q.Scope.Service, "/" + terminator + "\n"} {
		b = append(b, part...)
	}
	mac := key.mac(hex.AppendEncode(b, sum[:]))
	hex.Encode(signature[:], mac[:])
	return signature, nil
}

// appendPayload appends the last line of the canonical request: the hash of
// the body. A hash that the client states under its signature must be the
// body's; only S3 clients may sign without the body.
func (q *Request) appendPayload(dst, body []byte) ([]byte, error) {
	stated := q.contentHash
	if stated == "" && q.signs("x-amz-content-sha256") {
		stated = q.http.Header.Get("X-Amz-Content-Sha256")
	}
	if q.Scope.Service == serviceS3 && (stated == unsigned || stated == "" && q.Presigned) {
		return append(dst, unsigned...), nil
	}
	sum := sha256.Sum256(body)
	dst = hex.AppendEncode(dst, sum[:])
	if stated != "" && stated != string(dst) {
		return nil, because("X-Amz-Content-Sha256 is not the body's hash")
	}
	return dst, nil
}

// signs reports whether the signature covers the header; name is compared
// without regard to case.
func (q *Request) signs(name string) bool {
	for n := range strings.SplitSeq(q.SignedHeaders, ";") {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// checkTime compares whole seconds, as its texts do.
func (q *Request) checkTime(now time.Time) error {
	skew := Skew
	if q.Scope.Service == serviceS3 {
		skew = skewS3
	}
	life := skew
	if q.Presigned {
		life = q.Expires
	}
	if limit := now.Add(-life); q.Time.Before(limit) {
		return fault.New(Expired, "Signature expired: %s is now earlier than %s (%s - %s)",
			q.timestamp, limit.Format(basicTime), now.Format(basicTime), minutes(life))
	}
	if limit := now.Add(skew); q.Time.After(limit) {
		return fault.New(NotYetCurrent, "Signature not yet current: %s is still later than %s (%s + %s)",
			q.timestamp, limit.Format(basicTime), now.Format(basicTime), minutes(skew))
	}
	return nil
}

// minutes prints "5 min."; the unit for what is no whole minute is assumed.
func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d sec.", d/time.Second)
}

// checkSigned wants SignedHeaders sorted, without repetition, and with the
// host in it.
func (q *Request) checkSigned() error {
	last, hosts, n := "", 0, 0
	for name := range strings.SplitSeq(q.SignedHeaders, ";") {
		if n++; n > maxSigned {
			return mismatch("The request has too many signed headers.")
		}
		if name == "host" || name == ":authority" {
			hosts++
		}
		if name <= last && n > 1 || !isLowerName(name) && q.SignedHeaders != "" {
			return because("SignedHeaders is not a sorted list of lower-case names")
		}
		last = name
	}
	if hosts == 0 {
		return notSigned("'Host' or ':authority'")
	}
	return nil
}

func isLowerName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case strings.IndexByte("-_.!#$%&'*+^`|~", c) >= 0:
		case c == ':' && name == ":authority":
		default:
			return false
		}
	}
	return name != ""
}

// checkHeaders refuses what a handler would read but the signature does not
// cover, and headers of which a handler would read the first and the
// signature cover all. Looking through SignedHeaders for each is bounded: the
// first that is not there ends it.
func (q *Request) checkHeaders() error {
	if q.byDate && !q.signs("date") {
		return notSigned("'X-Amz-Date' or 'Date'")
	}
	for name, values := range q.http.Header {
		amz := isAmz(name)
		if !amz && name != "Content-Type" && name != "Date" {
			continue
		}
		if len(values) > 1 {
			return incomplete("'%s' header must be given once.", name)
		}
		if amz && !mayBeUnsigned(name) && !q.signs(name) {
			return notSigned("'" + name + "'")
		}
	}
	return nil
}

func isAmz(name string) bool {
	const prefix = "X-Amz-"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

func mayBeUnsigned(name string) bool {
	return name == "X-Amz-User-Agent" || name == "X-Amz-Cf-Id" || name == "X-Amz-Content-Sha256"
}

// checkScope says everything that is wrong at once, each sentence with a
// blank behind it but the last kind (AWS: recorded).
func (q *Request) checkScope(want Expected) error {
	if want.Service == "" {
		return &fault.Error{Kind: fault.Internal, Cause: errors.New("sigv4: no expected service")}
	}
	region := q.Scope.Region != "" && (want.Region == nil || want.Region(q.Scope.Region))
	if region && q.Scope.Service == want.Service && q.terminator == terminator && q.Scope.Date == q.timestamp[:8] {
		return nil
	}
	var b strings.Builder
	if !region {
		b.WriteString("Credential should be scoped to a valid region. ")
	}
	if q.Scope.Service != want.Service {
		fmt.Fprintf(&b, "Credential should be scoped to correct service: '%s'. ", want.Service)
	}
	if q.terminator != terminator {
		b.WriteString("Credential should be scoped with a valid terminator: '" + terminator + "'. ")
	}
	if q.Scope.Date != q.timestamp[:8] {
		fmt.Fprintf(&b, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			q.Scope.Date, q.timestamp[:8], q.timestamp)
	}
	return fault.New(BadScope, "%s", b.String())
}
