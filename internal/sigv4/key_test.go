package sigv4

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// signedAs returns a verified-to-be request of an access key.
func signedAs(t testing.TB, id string, at time.Time) (*http.Request, []byte) {
	r, body := read(t, "POST / HTTP/1.1\n"+jsonHead+"\n{}")
	if err := Sign(r, body, Credentials{AccessKeyID: id, SecretAccessKey: testSecret}, testRegion, "secretsmanager", at); err != nil {
		t.Fatal(err)
	}
	return r, body
}

func cached(c *KeyCache, r *http.Request, body []byte, at time.Time, secret func() (string, error)) error {
	q, err := Parse(r)
	if err != nil {
		return err
	}
	return c.Verify(q, body, at, Expected{Service: "secretsmanager"}, secret)
}

func TestKeyCache(t *testing.T) {
	c := NewKeyCache(8)
	asked := 0
	secret := func() (string, error) { asked++; return testSecret, nil }
	r, body := signedAs(t, testID, newYear)
	for range 3 {
		if err := cached(c, r, body, newYear, secret); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 || c.Len() != 1 {
		t.Errorf("asked %d times, holding %d keys, want 1 and 1", asked, c.Len())
	}
	if err := cached(c, r, []byte("[]"), newYear, secret); !fault.Is(err, Mismatch) {
		t.Errorf("another body: got %v, want a mismatch", err)
	}
	if err := cached(c, r, body, newYear.Add(time.Hour), secret); !fault.Is(err, Expired) {
		t.Errorf("an hour later: got %v, want kind %q", err, Expired)
	}
	next, body2 := signedAs(t, testID, newYear.Add(24*time.Hour))
	if err := cached(c, next, body2, newYear.Add(24*time.Hour), secret); err != nil || asked != 2 {
		t.Errorf("next day: got %v, asked %d times, want nil and 2", err, asked)
	}
	c.Forget("OTHER")
	if c.Len() != 2 {
		t.Errorf("Forget of another key left %d keys, want 2", c.Len())
	}
	c.Forget(testID)
	if c.Len() != 0 {
		t.Errorf("Forget left %d keys, want none", c.Len())
	}
}

func TestKeyCacheKeepsWhatVerifiedOnly(t *testing.T) {
	c := NewKeyCache(8)
	r, body := signedAs(t, testID, newYear)
	if err := cached(c, r, body, newYear, func() (string, error) { return "another", nil }); !fault.Is(err, Mismatch) {
		t.Errorf("got %v, want a mismatch", err)
	}
	gone := errors.New("gone")
	if err := cached(c, r, body, newYear, func() (string, error) { return "", gone }); err != gone {
		t.Errorf("got %v, want the secret's error", err)
	}
	if c.Len() != 0 {
		t.Errorf("holding %d keys, want none", c.Len())
	}
	// Forgotten while the secret was being read.
	if err := cached(c, r, body, newYear, func() (string, error) { c.Forget(testID); return testSecret, nil }); err != nil || c.Len() != 0 {
		t.Errorf("got %v, holding %d keys, want nil and none", err, c.Len())
	}
}

func TestKeyCacheBounded(t *testing.T) {
	c := NewKeyCache(10)
	hot := Scope{AccessKeyID: "HOT"}
	c.add(hot, Key{1}, 0)
	for i := range 1000 {
		c.add(Scope{AccessKeyID: fmt.Sprint(i)}, Key{}, 0)
		if c.Len() > 10 {
			t.Fatalf("holding %d keys, want 10 at most", c.Len())
		}
		if k, _, ok := c.find(hot); !ok || k != (Key{1}) {
			t.Fatalf("after %d other keys, the one in use was dropped", i+1)
		}
	}
	if _, _, ok := c.find(Scope{AccessKeyID: "0"}); ok {
		t.Error("a key that was never used again is still there")
	}
}

func TestKeyCacheConcurrent(t *testing.T) {
	c := NewKeyCache(4)
	var wg sync.WaitGroup
	for i := range 8 {
		r, body := signedAs(t, fmt.Sprint("KEY", i%5), newYear)
		wg.Go(func() {
			for n := range 200 {
				if err := cached(c, r, body, newYear, func() (string, error) { return testSecret, nil }); err != nil {
					t.Error(err)
				}
				if n%20 == 0 {
					c.Forget("KEY1")
				}
			}
		})
	}
	wg.Wait()
	if c.Len() > 4 {
		t.Errorf("holding %d keys, want 4 at most", c.Len())
	}
}

func TestRedaction(t *testing.T) {
	key := DeriveKey(testSecret, Scope{Date: "20260101", Region: testRegion, Service: "kms"})
	creds := Credentials{testID, "hunter2hunter2", "tok3n"}
	j, err := json.Marshal([]any{key, creds})
	if err != nil {
		t.Fatal(err)
	}
	text := string(j) + fmt.Sprintf("%v %+v %#v %x %s %q", key, &key, key, key, key, key) + fmt.Sprintf("%v %+v %#v %s %q", creds, &creds, creds, creds, creds)
	raw := fmt.Sprintf("%x", [32]byte(key))
	for _, hidden := range []string{raw, "hunter2", "tok3n", fmt.Sprint([32]byte(key))} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q shows in %s", hidden, text)
		}
	}
	if !strings.Contains(text, testID) {
		t.Errorf("the access key ID is not in %s", text)
	}
}

func BenchmarkVerify(b *testing.B) {
	c := NewKeyCache(8)
	secret := func() (string, error) { return testSecret, nil }
	want := Expected{Service: "secretsmanager", Region: func(s string) bool { return s == testRegion }}
	for _, bc := range []struct{ name, request, service string }{
		{"small POST", "POST / HTTP/1.1\n" + jsonHead + "User-Agent: aws-sdk-go-v2/1.47\nAccept-Encoding: gzip\n" +
			"Amz-Sdk-Request: attempt=1; max=3\n\n{}", "secretsmanager"},
		{"GET with query", "GET /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af?tagKeys=b&tagKeys=a HTTP/1.1\n" + bare + "\n", "secretsmanager"},
	} {
		r, body := read(b, bc.request)
		if err := Sign(r, body, Credentials{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: strings.Repeat("t", 400)}, testRegion, bc.service, newYear); err != nil {
			b.Fatal(err)
		}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q, err := Parse(r)
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Verify(q, body, newYear, want, secret); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestMatchAfterCheckOnly refuses requests that were not checked, or that
// failed the check.
func TestMatchAfterCheckOnly(t *testing.T) {
	c := NewKeyCache(8)
	secret := func() (string, error) { return testSecret, nil }
	r, body := signedAs(t, testID, newYear)
	q, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	want := Expected{Service: "secretsmanager"}
	if err := c.Match(q, body, secret); !fault.Is(err, Mismatch) {
		t.Errorf("unchecked: got %v, want a mismatch", err)
	}
	if err := q.Check(newYear, want); err != nil {
		t.Fatal(err)
	}
	if err := c.Match(q, body, secret); err != nil {
		t.Errorf("checked: %v", err)
	}
	if err := q.Check(newYear.Add(time.Hour), want); err == nil {
		t.Fatal("an old request passed the check")
	}
	if err := c.Match(q, body, secret); !fault.Is(err, Mismatch) {
		t.Errorf("after a failed check: got %v, want a mismatch", err)
	}
}
