package sigv4

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

// Whatever the header holds, Parse answers with a scope or with one of its
// kinds, and no guess is ever verified.
func FuzzParseAuthorization(f *testing.F) {
	for _, s := range []string{
		"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab",
		"AWS4-HMAC-SHA256 Signature=ab,SignedHeaders=,Credential=a/b/c/d/e/", "AWS4-HMAC-SHA256", "AWS4-", "Basic YTpi", "",
		"AWS4-HMAC-SHA256 Credential,Signature", "AWS4-HMAC-SHA256 ,,,=,==", "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature==",
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20260101%2Fus-east-1%2Fkms%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=ab",
	} {
		f.Add(s, "20260101T000000Z")
	}
	f.Fuzz(func(t *testing.T, s, date string) {
		for _, r := range []*http.Request{
			{Method: "GET", Host: "h", URL: &url.URL{Path: "/"}, Header: http.Header{"Authorization": {s}, "X-Amz-Date": {date}}},
			{Method: "GET", Host: "h", URL: &url.URL{Path: "/", RawQuery: s}, Header: http.Header{}},
		} {
			q, err := Parse(r)
			if err != nil {
				switch fault.KindOf(err) {
				case Missing, Incomplete, Mismatch, UnknownKey:
				default:
					t.Fatalf("%q: %v", s, err)
				}
				continue
			}
			if strings.ContainsAny(q.Scope.AccessKeyID+q.Scope.Date+q.Scope.Region+q.Scope.Service, "/\n ") {
				t.Fatalf("%q: scope %+v", s, q.Scope)
			}
			if q.Verify(nil, Key{}, newYear, Expected{Service: "kms"}) == nil {
				t.Fatalf("%q was verified with a key that signed nothing", s)
			}
		}
	})
}

// The canonical URI is a path that cleaning does not change, which decodes
// once to the clean path, and never twice to the same text for two paths.
func FuzzCanonicalURI(f *testing.F) {
	for _, s := range []string{"", "/", "//", "/a", "/a/", "/a//b", "/a/./b", "/a/../b", "/..", "/a/..", "/.", "/a/.", "/%2e%2e/a", "/arn%3Aaws", "/a b", "/é", "a", "%", "/%zz"} {
		f.Add(s, "/a")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ca, cb := cleanPath(a), cleanPath(b)
		if cleanPath(ca) != ca || !strings.HasPrefix(ca, "/") {
			t.Fatalf("cleanPath(%q) = %q, which is not clean", a, ca)
		}
		if strings.HasPrefix(a, "/") && path.Clean(a) != strings.TrimSuffix(ca, "/") && ca != "/" {
			t.Fatalf("cleanPath(%q) = %q, path.Clean says %q", a, ca, path.Clean(a))
		}
		ua, ub := string(appendEncoded(nil, ca, "/")), string(appendEncoded(nil, cb, "/"))
		if back, err := url.PathUnescape(ua); err != nil || back != ca {
			t.Fatalf("%q encodes to %q, which decodes to %q, %v", ca, ua, back, err)
		}
		if ua == ub != (ca == cb) {
			t.Fatalf("%q and %q encode to %q and %q", ca, cb, ua, ub)
		}
		appendObjectPath(nil, a)
	})
}

// The canonical query holds what url.ParseQuery gives a handler: no more, no
// less, and nothing that it would refuse.
func FuzzCanonicalQuery(f *testing.F) {
	for _, s := range []string{"", "a", "a=", "=a", "&&", "a=b&a=a", "a+b=%20", "a=%zz", "a=%", "a;b=c", "a-b=1&a=2", "X-Amz-Signature=1&x=%C3%A9", "a=b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		want, err := url.ParseQuery(raw)
		got, ok := appendQuery(nil, raw, false)
		if ok != (err == nil) {
			t.Fatalf("%q: accepted %t, but url.ParseQuery says %v", raw, ok, err)
		}
		if !ok {
			return
		}
		again, err := url.ParseQuery(string(got))
		if err != nil || len(again) != len(want) {
			t.Fatalf("%q: canonical %q means %v, want %v (%v)", raw, got, again, want, err)
		}
		for name, values := range want {
			if len(again[name]) != len(values) {
				t.Fatalf("%q: canonical %q has %q for %q, want %q", raw, got, again[name], name, values)
			}
		}
		if twice, ok := appendQuery(nil, string(got), false); !ok || string(twice) != string(got) {
			t.Fatalf("%q: canonical %q is canonical %q again", raw, got, twice)
		}
	})
}
