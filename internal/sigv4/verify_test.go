package sigv4

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

const (
	testID     = "AKIDEXAMPLE"
	testSecret = "secret"
	testRegion = "us-east-1"
)

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// read parses a request as net/http's server does. Lines end in "\n" here.
func read(t testing.TB, raw string) (*http.Request, []byte) {
	t.Helper()
	head, body, _ := strings.Cut(raw, "\n\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatalf("reading %q: %v", raw, err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// verify is what a server does, with one known key.
func verify(r *http.Request, body []byte, now time.Time, service string) error {
	q, err := Parse(r)
	if err != nil {
		return err
	}
	want := Expected{Service: service, Region: func(s string) bool { return s == testRegion }}
	return q.Verify(body, DeriveKey(testSecret, q.Scope), now, want)
}

// authorization is the header of the vectors.
func authorization(service, signed, signature string) string {
	return "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/" + service +
		"/aws4_request, SignedHeaders=" + signed + ", Signature=" + signature + "\n"
}

const (
	jsonSigned = "content-type;host;x-amz-date;x-amz-target"
	jsonHead   = "Host: 127.0.0.1:1\nX-Amz-Date: 20260101T000000Z\nContent-Type: application/x-amz-json-1.1\n" +
		"X-Amz-Target: secretsmanager.ListSecrets\nContent-Length: 2\n"
	bare = "Host: 127.0.0.1:1\nX-Amz-Date: 20260101T000000Z\n"
)

// Signatures made by botocore and by the Go SDK for the same requests.
func TestVectors(t *testing.T) {
	for _, tc := range []struct{ name, service, request string }{
		{"root path", "secretsmanager", "POST / HTTP/1.1\n" + jsonHead +
			authorization("secretsmanager", jsonSigned, "fa08b1469b8f29dd344913c48ab387c364907f9bf77bfa66aaabc50cb79a501a") + "\n{}"},
		{"encoded ARN in path", "secretsmanager", "POST /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af HTTP/1.1\n" + jsonHead +
			authorization("secretsmanager", jsonSigned, "48b11b360a5bfd2577628e1ce52ea2b9aeff52421f4ce696edfbb8ede82e0119") + "\n{}"},
		{"content-length signed", "secretsmanager", "POST / HTTP/1.1\n" + jsonHead +
			authorization("secretsmanager", "content-length;"+jsonSigned, "06a0b3a4f78b60114c69d7ba5ee48602a5131163dcb7f06f9a0f8f95e2ce1d8e") + "\n{}"},
		{"dot and empty segments", "lambda", "GET /a/./b/../c//d/ HTTP/1.1\n" + bare +
			authorization("lambda", "host;x-amz-date", "48021468378093afb8b1407e525221543a5165d73c0ebcdb32402345a2ce244d") + "\n"},
		{"above the root", "lambda", "GET /../a/. HTTP/1.1\n" + bare +
			authorization("lambda", "host;x-amz-date", "8024ef4f6b90d06b8f083dfa374ead5ef0d1566bb1283d262f9e8f1a2c0dc37b") + "\n"},
		{"repeated query keys", "lambda", "GET /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af" +
			"?tagKeys=b&tagKeys=a&a-b=1&a=2&tagKeys=%C3%A9%20x HTTP/1.1\n" + bare +
			authorization("lambda", "host;x-amz-date", "362fe8a08596874b746219529125d7878709c6be1267019dc4db3976d17f28c1") + "\n"},
		{"session token and blanks", "secretsmanager", "POST / HTTP/1.1\n" + jsonHead + "X-Amz-Security-Token: TOKEN/+=\nX-Custom:   a    b \t\n" +
			authorization("secretsmanager", "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-custom",
				"07e5fea61d63df64aed3d1f12dd03ba6e5e6238b6c45a4168f5ff371aae2970d") + "\n{}"},
		{"presigned GetCallerIdentity", "sts", "GET /?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
			"&X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=600" +
			"&X-Amz-SignedHeaders=host&X-Amz-Security-Token=TOKEN%2F%2B%3D" +
			"&X-Amz-Signature=bf86c93f8fe133091361d3fddede1581cecadcd7cb31811f36b8fb4c1535dc83 HTTP/1.1\nHost: 127.0.0.1:1\n\n"},
		{"presigned object", "s3", "GET /bucket/code%2Bx/a%20b?versionId=1&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
			"&X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=600" +
			"&X-Amz-SignedHeaders=host&X-Amz-Signature=aadaec043aacc6db1003b2adc256242db6d060af7c4630a5cf5d56b657d3846b HTTP/1.1\nHost: 127.0.0.1:1\n\n"},
		{"object path kept", "s3", "PUT /bucket/a//b/../c%20d HTTP/1.1\n" + bare +
			"Content-Length: 4\nX-Amz-Content-Sha256: 3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7\n" +
			authorization("s3", "host;x-amz-content-sha256;x-amz-date", "15f56383e3d1cea32bad2544e64151545b0e65b2f9129a6571037bd8d70e797e") + "\ndata"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := read(t, tc.request)
			if err := verify(r, body, newYear.Add(time.Minute), tc.service); err != nil {
				t.Errorf("got %v, want verified", err)
			}
		})
	}
}

// A path encoded once only gives a signature that no service but S3 takes.
func TestSingleEncodingRefused(t *testing.T) {
	r, body := read(t, "POST /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af HTTP/1.1\n"+jsonHead+
		authorization("secretsmanager", jsonSigned, "e0335552"+strings.Repeat("0", 56))+"\n{}")
	q, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.sign(body, DeriveKey(testSecret, q.Scope))
	if err != nil || strings.HasPrefix(string(got[:]), "e0335552") {
		t.Errorf("signature is %s, %v: the path was encoded once", got, err)
	}
	q.Path = strings.ReplaceAll(q.Path, "%3A", ":") // now encoding gives %3A
	if got, _ = q.sign(body, DeriveKey(testSecret, q.Scope)); !strings.HasPrefix(string(got[:]), "e0335552") {
		t.Errorf("got %s, want e0335552…: the vector is not about encoding", got)
	}
}

func TestHeaderOrderAndSpacing(t *testing.T) {
	const (
		cred = "Credential=AKIDEXAMPLE/20260101/us-east-1/secretsmanager/aws4_request"
		list = "SignedHeaders=" + jsonSigned
		sig  = "Signature=fa08b1469b8f29dd344913c48ab387c364907f9bf77bfa66aaabc50cb79a501a"
	)
	for _, header := range []string{
		"AWS4-HMAC-SHA256 " + cred + "," + list + "," + sig,
		"AWS4-HMAC-SHA256 " + sig + ", " + list + ", " + cred,
		"AWS4-HMAC-SHA256   " + list + " ,\t" + cred + "  " + sig + ",",
		"\tAWS4-HMAC-SHA256\t" + list + "," + cred + "/," + sig + " ",
	} {
		r, body := read(t, "POST / HTTP/1.1\n"+jsonHead+"authorization:"+header+"\n\n{}")
		if err := verify(r, body, newYear, "secretsmanager"); err != nil {
			t.Errorf("%q: got %v, want verified", header, err)
		}
	}
}

func TestParseScope(t *testing.T) {
	r, _ := read(t, "POST / HTTP/1.1\n"+jsonHead+"X-Amz-Security-Token: T\n"+authorization("logs", jsonSigned, "ab")+"\n{}")
	q, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Scope{testID, "20260101", testRegion, "logs"}); q.Scope != want {
		t.Errorf("scope is %v, want %v", q.Scope, want)
	}
	if q.SignedHeaders != jsonSigned || q.Signature != "ab" || q.Token != "T" || q.Presigned || !q.Time.Equal(newYear) || q.Path != "/" {
		t.Errorf("got %+v", q)
	}
}

// Each part of a good request changed on its way.
func TestTampering(t *testing.T) {
	const good = "GET /2015-03-31/functions/f%2Fg?Marker=a&MaxItems=1 HTTP/1.1\n" + bare + "X-Amz-Client-Context: e30\nContent-Length: 2\n\n{}"
	sign := func(t *testing.T) (*http.Request, []byte) {
		r, body := read(t, good)
		if err := Sign(r, body, Credentials{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: "T"}, testRegion, "lambda", newYear); err != nil {
			t.Fatal(err)
		}
		return r, body
	}
	if r, body := sign(t); verify(r, body, newYear, "lambda") != nil {
		t.Fatalf("untouched: got %v, want verified", verify(r, body, newYear, "lambda"))
	}
	edit := func(old, changed string) func(*http.Request, []byte) {
		return func(r *http.Request, _ []byte) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, old) {
				panic("no " + old + " in " + h)
			}
			r.Header.Set("Authorization", strings.Replace(h, old, changed, 1))
		}
	}
	for _, tc := range []struct {
		name   string
		tamper func(*http.Request, []byte)
		want   fault.Kind
	}{
		{"method", func(r *http.Request, _ []byte) { r.Method = "DELETE" }, Mismatch},
		{"path", func(r *http.Request, _ []byte) { r.URL.Path, r.URL.RawPath = "/2015-03-31/functions/h", "" }, Mismatch},
		{"path escape", func(r *http.Request, _ []byte) { r.URL.Path, r.URL.RawPath = "/2015-03-31/functions/f/g", "" }, Mismatch},
		{"query value", func(r *http.Request, _ []byte) { r.URL.RawQuery = "Marker=b&MaxItems=1" }, Mismatch},
		{"query added", func(r *http.Request, _ []byte) { r.URL.RawQuery += "&Qualifier=1" }, Mismatch},
		{"query removed", func(r *http.Request, _ []byte) { r.URL.RawQuery = "Marker=a" }, Mismatch},
		{"query key dropped by Go", func(r *http.Request, _ []byte) { r.URL.RawQuery = "Marker=a;&MaxItems=1" }, Mismatch},
		{"signature in query", func(r *http.Request, _ []byte) { r.URL.RawQuery += "&X-Amz-Signature=a" }, Mismatch},
		{"host", func(r *http.Request, _ []byte) { r.Host = "127.0.0.1:2" }, Mismatch},
		{"no host", func(r *http.Request, _ []byte) { r.Host = "" }, Mismatch},
		{"signed header", func(r *http.Request, _ []byte) { r.Header.Set("X-Amz-Client-Context", "e31") }, Mismatch},
		{"signed header removed", func(r *http.Request, _ []byte) { r.Header.Del("X-Amz-Client-Context") }, Mismatch},
		{"signed header repeated", func(r *http.Request, _ []byte) { r.Header.Add("X-Amz-Client-Context", "e31") }, Incomplete},
		{"token", func(r *http.Request, _ []byte) { r.Header.Set("X-Amz-Security-Token", "U") }, Mismatch},
		{"target added", func(r *http.Request, _ []byte) { r.Header.Set("X-Amz-Target", "a.B") }, Mismatch},
		{"option added", func(r *http.Request, _ []byte) { r.Header["x-amz-log-type"] = []string{"Tail"} }, Mismatch},
		{"two content types", func(r *http.Request, _ []byte) { r.Header["Content-Type"] = []string{"a/b", "c/d"} }, Incomplete},
		{"body", func(_ *http.Request, b []byte) { b[0] = '[' }, Mismatch},
		{"date within the skew", func(r *http.Request, _ []byte) { r.Header.Set("X-Amz-Date", "20260101T000001Z") }, Mismatch},
		{"date of tomorrow", func(r *http.Request, _ []byte) { r.Header.Set("X-Amz-Date", "20260102T000001Z") }, NotYetCurrent},
		{"date removed", func(r *http.Request, _ []byte) { r.Header.Del("X-Amz-Date") }, Incomplete},
		{"scope date", edit("/20260101/", "/20251231/"), BadScope},
		{"scope region", edit("/us-east-1/", "/eu-west-1/"), BadScope},
		{"scope service", edit("/lambda/", "/secretsmanager/"), BadScope},
		{"scope service s3", edit("/lambda/", "/s3/"), BadScope},
		{"terminator", edit("/aws4_request", "/aws4_requests"), BadScope},
		{"signature", edit("Signature=", "Signature=0"), Mismatch},
		{"signature cut", func(r *http.Request, _ []byte) {
			h := r.Header.Get("Authorization")
			r.Header.Set("Authorization", h[:len(h)-1])
		}, Mismatch},
		{"signed list lacks host", edit("host;", ""), Mismatch},
		{"signed list lacks token", edit(";x-amz-security-token", ""), Mismatch},
		{"signed list lacks date", edit(";x-amz-date", ""), Mismatch},
		{"signed list reordered", edit("host;x-amz-client-context", "x-amz-client-context;host"), Mismatch},
		{"signed list repeated", edit("host;", "host;host;"), Mismatch},
		{"signed list names what is absent", edit("host;", "host;range;"), Mismatch},
		{"signed list in upper case", edit("host;", "Host;"), Mismatch},
		{"signed list empty", edit("host;x-amz-client-context;x-amz-date;x-amz-security-token", ""), Mismatch},
		{"signed list huge", edit("host;", "host;"+strings.Repeat("i;", 500)), Mismatch},
		{"two Authorization headers", func(r *http.Request, _ []byte) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, Incomplete},
		{"no Authorization header", func(r *http.Request, _ []byte) { r.Header.Del("Authorization") }, Missing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := sign(t)
			tc.tamper(r, body)
			if err := verify(r, body, newYear, "lambda"); !fault.Is(err, tc.want) {
				t.Errorf("got %v, want kind %q", err, tc.want)
			}
		})
	}
}

// Headers that proxies and browsers add do no harm.
func TestUnsignedHeadersAdmitted(t *testing.T) {
	r, body := read(t, "POST / HTTP/1.1\n"+jsonHead+
		"X-Amz-User-Agent: a\nX-Amz-Cf-Id: b\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\nX-Amzn-Trace-Id: c\nAmz-Sdk-Request: attempt=1\n"+
		authorization("secretsmanager", jsonSigned, "fa08b1469b8f29dd344913c48ab387c364907f9bf77bfa66aaabc50cb79a501a")+"\n{}")
	if err := verify(r, body, newYear, "secretsmanager"); err != nil {
		t.Errorf("got %v, want verified", err)
	}
	body[0] = '['
	if err := verify(r, body, newYear, "secretsmanager"); !fault.Is(err, Mismatch) {
		t.Errorf("changed body behind an unsigned X-Amz-Content-Sha256: got %v, want a mismatch", err)
	}
}

func TestContentHash(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	creds := Credentials{AccessKeyID: testID, SecretAccessKey: testSecret}
	for _, tc := range []struct {
		service, stated, body string
		want                  fault.Kind
	}{
		{"lambda", empty, "", ""},
		{"lambda", empty, "x", Mismatch},
		{"lambda", "UNSIGNED-PAYLOAD", "", Mismatch},
		{"lambda", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", Mismatch},
		{"s3", empty, "", ""},
		{"s3", empty, "x", Mismatch},
		{"s3", "UNSIGNED-PAYLOAD", "x", ""},
		{"s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x", Mismatch},
	} {
		r, _ := read(t, "PUT /a HTTP/1.1\n"+bare+"X-Amz-Content-Sha256: "+tc.stated+"\n\n")
		// Sign by hand: Sign itself refuses to state a wrong hash.
		q := claim(r, creds, testRegion, tc.service, newYear)
		q.SignedHeaders = signable(r)
		b, err := q.appendCanonical(nil, []byte(tc.stated))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", signedBy(q, b))
		if err := verify(r, []byte(tc.body), newYear, tc.service); fault.KindOf(err) != tc.want {
			t.Errorf("%s, %s, body %q: got %v, want kind %q", tc.service, tc.stated, tc.body, err, tc.want)
		}
	}
}

// Clients that sign something else than what they send, consistently.
func TestInconsistentClients(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tc := range []struct{ name, head, canonicalHeaders, signed, hash string }{
		{"sound", bare, "host:127.0.0.1:1\nx-amz-date:20260101T000000Z\n", "host;x-amz-date", empty},
		{"absent header signed as empty", bare, "host:127.0.0.1:1\nrange:\nx-amz-date:20260101T000000Z\n", "host;range;x-amz-date", empty},
		{"no host", "X-Amz-Date: 20260101T000000Z\n", "host:\nx-amz-date:20260101T000000Z\n", "host;x-amz-date", empty},
		{"hash stated is not the hash signed", bare + "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\n",
			"host:127.0.0.1:1\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20260101T000000Z\n", "host;x-amz-content-sha256;x-amz-date", empty},
		{"unsorted", bare, "x-amz-date:20260101T000000Z\nhost:127.0.0.1:1\n", "x-amz-date;host", empty},
		{"host twice", bare, "host:127.0.0.1:1\nhost:127.0.0.1:1\nx-amz-date:20260101T000000Z\n", "host;host;x-amz-date", empty},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := read(t, "POST / HTTP/1.0\n"+tc.head+"\n")
			q := claim(r, Credentials{AccessKeyID: testID}, testRegion, "kms", newYear)
			q.SignedHeaders = tc.signed
			r.Header.Set("Authorization", signedBy(q, []byte("POST\n/\n\n"+tc.canonicalHeaders+"\n"+tc.signed+"\n"+tc.hash)))
			want := Mismatch
			if tc.name == "sound" {
				want = ""
			}
			if err := verify(r, body, newYear, "kms"); fault.KindOf(err) != want {
				t.Errorf("got %v, want kind %q", err, want)
			}
		})
	}
}
