package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// signedBy finishes an Authorization header over a given canonical request.
func signedBy(q *Request, canonical []byte) string {
	sum := sha256.Sum256(canonical)
	text := bytes.Join([][]byte{[]byte(algorithm), []byte(q.timestamp),
		[]byte(strings.TrimPrefix(q.credential(), q.Scope.AccessKeyID+"/")), hex.AppendEncode(nil, sum[:])}, []byte("\n"))
	mac := DeriveKey(testSecret, q.Scope).mac(text)
	return algorithm + " Credential=" + q.credential() + ", SignedHeaders=" + q.SignedHeaders + ", Signature=" + hex.EncodeToString(mac[:])
}

// check compares an error with a kind and, where text is not "", the message.
func check(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Errorf("got %v, want kind %q", err, kind)
		return
	}
	if e, ok := err.(*fault.Error); ok && text != "" && e.Message != text {
		t.Errorf("got  %q\nwant %q", e.Message, text)
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		name    string
		now     time.Time
		service string
		kind    fault.Kind
		text    string
	}{
		{"exact", newYear, "kms", "", ""},
		{"5 minutes old", newYear.Add(5 * time.Minute), "kms", "", ""},
		{"5 minutes and a bit old", newYear.Add(5*time.Minute + 999*time.Millisecond), "kms", "", ""},
		{"too old", newYear.Add(10 * time.Minute), "kms", Expired,
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z (20260101T001000Z - 5 min.)"},
		{"5 minutes ahead", newYear.Add(-5 * time.Minute), "kms", "", ""},
		{"too far ahead", newYear.Add(-10 * time.Minute), "kms", NotYetCurrent,
			"Signature not yet current: 20260101T000000Z is still later than 20251231T235500Z (20251231T235000Z + 5 min.)"},
		{"another zone", newYear.Add(time.Minute).In(time.FixedZone("", 7200)), "kms", "", ""},
		{"object, 15 minutes old", newYear.Add(15 * time.Minute), "s3", "", ""},
		{"object, too old", newYear.Add(16 * time.Minute), "s3", Expired, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := read(t, "POST / HTTP/1.1\n"+bare+"\n")
			if err := Sign(r, body, Credentials{AccessKeyID: testID, SecretAccessKey: testSecret}, testRegion, tc.service, newYear); err != nil {
				t.Fatal(err)
			}
			check(t, verify(r, body, tc.now, tc.service), tc.kind, tc.text)
		})
	}
}

func TestDateHeader(t *testing.T) {
	for date, want := range map[string]fault.Kind{
		"Thu, 01 Jan 2026 00:00:00 GMT": "",
		"20260101T000000Z":              "",
		"Thu, 01 Jan 2026 00:00:01 GMT": Mismatch,
		"yesterday":                     Incomplete,
	} {
		r, body := read(t, "POST / HTTP/1.1\nHost: h\nDate: "+date+"\n\n")
		q := claim(r, Credentials{AccessKeyID: testID}, testRegion, "kms", newYear)
		q.SignedHeaders = "date;host"
		signature, err := q.sign(body, DeriveKey(testSecret, q.Scope))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", strings.TrimSpace(strings.TrimPrefix(authorization("kms", q.SignedHeaders, string(signature[:])), "Authorization: ")))
		check(t, verify(r, body, newYear, "kms"), want, "")
	}
	r, body := read(t, "POST / HTTP/1.1\nHost: h\nDate: Thu, 01 Jan 2026 00:00:00 GMT\n"+authorization("kms", "host", "ab")+"\n")
	check(t, verify(r, body, newYear, "kms"), Mismatch, "'X-Amz-Date' or 'Date' must be a 'SignedHeader' in the AWS Authorization.")
}

func TestTexts(t *testing.T) {
	const (
		cred = "Credential=AKIDEXAMPLE/20260101/us-east-1/kms/aws4_request"
		rest = ", SignedHeaders=host;x-amz-date, Signature=ab"
	)
	hash := func(s string) string {
		return "(Hashed with SHA-256 and encoded with Base64) Authorization=" + hashed(s)
	}
	for _, tc := range []struct {
		name, header, authorization string
		kind                        fault.Kind
		text                        string
	}{
		{"other scheme", bare, "Bearer abc", Missing, "Missing Authentication Token"},
		{"version 2", bare, "AWS AKID:abc", Missing, "Missing Authentication Token"},
		{"nothing", "Host: h\n", "AWS4-HMAC-SHA256", Incomplete, "Authorization header requires 'Credential' parameter. " +
			"Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. " +
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. " + hash("AWS4-HMAC-SHA256")},
		{"no credential", bare, "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=ab", Incomplete,
			"Authorization header requires 'Credential' parameter. " + hash("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=ab")},
		{"no date", "Host: h\n", "AWS4-HMAC-SHA256 " + cred + rest, Incomplete,
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. " + hash("AWS4-HMAC-SHA256 "+cred+rest)},
		{"no equals sign", bare, "AWS4-HMAC-SHA256 Credential" + rest, Incomplete,
			"Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '" +
				hashed("AWS4-HMAC-SHA256 Credential"+rest) + "'."},
		{"twice", bare, "AWS4-HMAC-SHA256 " + cred + ", " + cred + rest, Incomplete, "Authorization header must hold 'Credential' once."},
		{"algorithm", bare, "AWS4-HMAC-SHA512 " + cred + rest, Incomplete,
			"Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now). "},
		{"four elements", bare, "AWS4-HMAC-SHA256 Credential=a/b/c/d" + rest, Incomplete,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d'"},
		{"six elements", bare, "AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f" + rest, Incomplete, ""},
		{"no key id", bare, "AWS4-HMAC-SHA256 Credential=/20260101/us-east-1/kms/aws4_request" + rest, UnknownKey,
			"The security token included in the request is invalid."},
		{"date format", "Host: h\nX-Amz-Date: 201\n", "AWS4-HMAC-SHA256 " + cred + rest, Incomplete,
			"Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"date with fraction", "Host: h\nX-Amz-Date: 20260101T000000.5Z\n", "AWS4-HMAC-SHA256 " + cred + rest, Incomplete, ""},
		{"no signed headers", bare, "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=, Signature=ab", Mismatch,
			"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"unsigned target", bare + "X-Amz-Target: TrentService.Encrypt\n", "AWS4-HMAC-SHA256 " + cred + rest, Mismatch,
			"'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"signature", bare, "AWS4-HMAC-SHA256 " + cred + rest, Mismatch,
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. " +
				"Consult the service documentation for details."},
		{"region", bare, "AWS4-HMAC-SHA256 Credential=a/20260101/mars/kms/aws4_request" + rest, BadScope,
			"Credential should be scoped to a valid region. "},
		{"no region", bare, "AWS4-HMAC-SHA256 Credential=a/20260101//kms/aws4_request" + rest, BadScope,
			"Credential should be scoped to a valid region. "},
		{"service", bare, "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sts/aws4_request" + rest, BadScope,
			"Credential should be scoped to correct service: 'kms'. "},
		{"scope date", bare, "AWS4-HMAC-SHA256 Credential=a/20260102/us-east-1/kms/aws4_request" + rest, BadScope,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: " +
				"'20260102' != '20260101', from '20260101T000000Z'."},
		{"everything", bare, "AWS4-HMAC-SHA256 Credential=a/b/c/d/e" + rest, BadScope,
			"Credential should be scoped to a valid region. Credential should be scoped to correct service: 'kms'. " +
				"Credential should be scoped with a valid terminator: 'aws4_request'. " +
				"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: 'b' != '20260101', from '20260101T000000Z'."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := read(t, "POST / HTTP/1.1\n"+tc.header+"Authorization: "+tc.authorization+"\n\n")
			check(t, verify(r, body, newYear, "kms"), tc.kind, tc.text)
		})
	}
	r, body := read(t, "POST / HTTP/1.1\n"+bare+"\n")
	check(t, verify(r, body, newYear, "kms"), Missing, "Missing Authentication Token")
}

func TestHugeHeadersBounded(t *testing.T) {
	r, body := read(t, "POST / HTTP/1.1\n"+bare+authorization("kms", "host;x-amz-date", strings.Repeat("a", 1<<20))+"\n")
	check(t, verify(r, body, newYear, "kms"), Incomplete, "")
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, "X-Amz-Meta-%d: 1\n", i)
	}
	r, body = read(t, "POST / HTTP/1.1\n"+bare+many.String()+"\n")
	if err := Sign(r, body, Credentials{AccessKeyID: testID, SecretAccessKey: testSecret}, testRegion, "kms", newYear); err != nil {
		t.Fatal(err)
	}
	check(t, verify(r, body, newYear, "kms"), Mismatch, "The request has too many signed headers.")
	r, body = read(t, "GET /?X-Amz-Algorithm=a"+strings.Repeat("&a", 2000)+" HTTP/1.1\n"+bare+"\n")
	check(t, verify(r, body, newYear, "kms"), Incomplete, "")
}

func TestPresigned(t *testing.T) {
	presign := func(t *testing.T, service string, life time.Duration) *http.Request {
		r, err := http.NewRequest("GET", "http://127.0.0.1:1/code/f%2Fg?versionId=a+b", nil)
		if err != nil {
			t.Fatal(err)
		}
		creds := Credentials{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: "T/+="}
		s, err := Presign(r, creds, testRegion, service, newYear, life)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, "GET "+u.RequestURI()+" HTTP/1.1\nHost: "+u.Host+"\n\n")
		return got
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			v := r.URL.Query()
			if v.Del(name); value != "" {
				v.Set(name, value)
			}
			r.URL.RawQuery = v.Encode()
		}
	}
	for _, tc := range []struct {
		name   string
		at     time.Duration
		tamper func(*http.Request)
		kind   fault.Kind
		text   string
	}{
		{"at once", 0, nil, "", ""},
		{"at the end", 10 * time.Minute, nil, "", ""},
		{"late", 11 * time.Minute, nil, Expired,
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z (20260101T001100Z - 10 min.)"},
		{"early", -6 * time.Minute, nil, NotYetCurrent, ""},
		{"longer life", 11 * time.Minute, set("X-Amz-Expires", "3600"), Mismatch, ""},
		{"life removed", 0, set("X-Amz-Expires", ""), Mismatch, ""},
		{"no life", 0, set("X-Amz-Expires", "0"), Incomplete, "X-Amz-Expires must be at least 1 second"},
		{"life too long", 0, set("X-Amz-Expires", "604801"), Incomplete,
			"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		{"endless life", 0, set("X-Amz-Expires", "99999999999999999999"), Incomplete, ""},
		{"odd life", 0, set("X-Amz-Expires", "-1"), Incomplete, "X-Amz-Expires should be a number"},
		{"token", 0, set("X-Amz-Security-Token", "U"), Mismatch, ""},
		{"parameter", 0, set("versionId", "b"), Mismatch, ""},
		{"algorithm", 0, set("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"), Incomplete,
			"Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). "},
		{"no credential", 0, set("X-Amz-Credential", ""), Incomplete,
			"AWS query-string parameters must include 'X-Amz-Credential'. Re-examine the query-string parameters."},
		{"line feed in the scope", 0, set("X-Amz-Credential", "a\nb/20260101/us-east-1/lambda/aws4_request"), Incomplete, ""},
		{"two signatures", 0, func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=ab" }, Incomplete, ""},
		{"header as well", 0, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 a=b") }, Mismatch,
			"Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"unsigned token header", 0, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "U") }, Mismatch, ""},
		{"unsigned date header", 0, func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260101T000000Z") }, Mismatch, ""},
		{"method", 0, func(r *http.Request) { r.Method = "PUT" }, Mismatch, ""},
		{"broken escape", 0, func(r *http.Request) { r.URL.RawQuery += "&a=%zz" }, Incomplete, "The query string is malformed."},
		{"semicolon", 0, func(r *http.Request) { r.URL.RawQuery += "&a=;" }, Incomplete, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := presign(t, "lambda", 10*time.Minute)
			if tc.tamper != nil {
				tc.tamper(r)
			}
			check(t, verify(r, nil, newYear.Add(tc.at), "lambda"), tc.kind, tc.text)
		})
	}
	t.Run("body", func(t *testing.T) {
		check(t, verify(presign(t, "lambda", time.Minute), []byte("x"), newYear, "lambda"), Mismatch, "")
		check(t, verify(presign(t, "s3", time.Minute), []byte("x"), newYear, "s3"), "", "")
	})
	t.Run("claims", func(t *testing.T) {
		q, err := Parse(presign(t, "lambda", 90*time.Second))
		if err != nil || !q.Presigned || q.Expires != 90*time.Second || q.Token != "T/+=" || q.Path != "/code/f%2Fg" {
			t.Errorf("got %+v, %v", q, err)
		}
		check(t, q.Check(newYear.Add(91*time.Second), Expected{Service: "lambda"}), Expired,
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000001Z (20260101T000131Z - 90 sec.)")
	})
	for _, life := range []time.Duration{0, time.Millisecond, -time.Second, 8 * 24 * time.Hour} {
		r, _ := http.NewRequest("GET", "http://h/", nil)
		if _, err := Presign(r, Credentials{}, testRegion, "s3", newYear, life); !fault.Is(err, fault.Parameter) {
			t.Errorf("Presign for %v: got %v, want kind %q", life, err, fault.Parameter)
		}
	}
}

func TestNoServiceExpected(t *testing.T) {
	r, body := read(t, "POST / HTTP/1.1\n"+bare+authorization("", "host;x-amz-date", "ab")+"\n")
	check(t, verify(r, body, newYear, ""), fault.Internal, "")
}
