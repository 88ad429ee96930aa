package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/keyturn/keyturn/internal/fault"
)

// seen is one request as a real server got and judged it.
type seen struct {
	err error
	q   *Request
}

// listen serves requests for one signing name and reports on each.
func listen(t *testing.T, service string) (base string, got <-chan seen) {
	ch := make(chan seen, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		q, err := Parse(r)
		if err == nil {
			err = q.Verify(body, DeriveKey(testSecret, q.Scope), time.Now(), Expected{Service: service})
		}
		ch <- seen{err, q}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s.URL, ch
}

func verified(t *testing.T, got <-chan seen) *Request {
	t.Helper()
	s := <-got
	if s.err != nil {
		t.Fatalf("got %v, want verified", s.err)
	}
	return s.q
}

var sdkCreds = aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: testSecret, SessionToken: "token/with+signs=="}

func sdkConfig(base string) aws.Config {
	return aws.Config{Region: testRegion, BaseEndpoint: &base, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return sdkCreds, nil })}
}

// What the SDK's own clients send, through a real server. Their answers do
// not matter here.
func TestSDKClients(t *testing.T) {
	ctx := t.Context()
	t.Run("JSON", func(t *testing.T) {
		base, got := listen(t, "secretsmanager")
		secretsmanager.NewFromConfig(sdkConfig(base)).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: new("a/b")})
		q := verified(t, got)
		if q.Token != sdkCreds.SessionToken || !q.signs("content-length") || !q.signs("x-amz-target") {
			t.Errorf("token %q, signed headers %q", q.Token, q.SignedHeaders)
		}
	})
	t.Run("form", func(t *testing.T) {
		base, got := listen(t, "iam")
		iam.NewFromConfig(sdkConfig(base)).GetUser(ctx, &iam.GetUserInput{UserName: new("a b+c")})
		verified(t, got)
	})
	t.Run("ARN in path and repeated keys", func(t *testing.T) {
		base, got := listen(t, "lambda")
		lambda.NewFromConfig(sdkConfig(base)).UntagResource(ctx, &lambda.UntagResourceInput{
			Resource: new("arn:aws:lambda:us-east-1:123456789012:function:f"), TagKeys: []string{"b", "a", "ü &;=+/", "a"}})
		q := verified(t, got)
		if want := "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af"; q.Path != want {
			t.Errorf("path is %q, want %q", q.Path, want)
		}
	})
	t.Run("invoke", func(t *testing.T) {
		base, got := listen(t, "lambda")
		lambda.NewFromConfig(sdkConfig(base)).Invoke(ctx, &lambda.InvokeInput{FunctionName: new("f"), InvocationType: "Event", Payload: []byte("{}")})
		if q := verified(t, got); !q.signs("x-amz-invocation-type") {
			t.Errorf("signed headers %q", q.SignedHeaders)
		}
	})
	t.Run("presigned GetCallerIdentity", func(t *testing.T) {
		base, got := listen(t, "sts")
		p, err := sts.NewPresignClient(sts.NewFromConfig(sdkConfig(base))).PresignGetCallerIdentity(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		fetch(t, p.Method, p.URL, p.SignedHeader, "")
		if q := verified(t, got); !q.Presigned || q.Expires != 15*time.Minute || q.Token != sdkCreds.SessionToken {
			t.Errorf("presigned %t for %v, token %q", q.Presigned, q.Expires, q.Token)
		}
	})
}

func fetch(t *testing.T, method, url string, h http.Header, body string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// The SDK's signer on its own, and the same requests signed by Sign: both
// must verify, and agree on the signature where they sign the same headers.
func TestSDKSigner(t *testing.T) {
	for _, tc := range []struct{ name, service, method, path, body, contentType string }{
		{"JSON", "secretsmanager", "POST", "/", `{"SecretId":"a"}`, "application/x-amz-json-1.1"},
		{"form", "iam", "POST", "/", "Action=GetUser&Version=2010-05-08", "application/x-www-form-urlencoded; charset=utf-8"},
		{"encoded path and query", "serverlessrepo", "GET", "/applications/arn%3Aaws%3Aserverlessrepo%3A%2Fx/changesets?b=2&a=%2F&a=+&c", "", ""},
		{"unusual characters", "lambda", "DELETE", "/a:b@c/$&'()*,=!/~%20", "", ""},
		{"no body", "kms", "POST", "/", "", "application/x-amz-json-1.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base, got := listen(t, tc.service)
			build := func() *http.Request {
				r, err := http.NewRequest(tc.method, base+tc.path, strings.NewReader(tc.body))
				if err != nil {
					t.Fatal(err)
				}
				if tc.contentType != "" {
					r.Header.Set("Content-Type", tc.contentType)
				}
				r.Header.Set("X-Amz-Custom", "  a    b  ")
				return r
			}
			theirs, ours, now := build(), build(), time.Now()
			sum := sha256.Sum256([]byte(tc.body))
			if err := v4.NewSigner().SignHTTP(t.Context(), sdkCreds, theirs, hex.EncodeToString(sum[:]), tc.service, testRegion, now); err != nil {
				t.Fatal(err)
			}
			if err := Sign(ours, []byte(tc.body), credentials(sdkCreds), testRegion, tc.service, now); err != nil {
				t.Fatal(err)
			}
			for _, r := range []*http.Request{theirs, ours} {
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				verified(t, got)
			}
			if tc.body == "" && theirs.Header.Get("Authorization") != ours.Header.Get("Authorization") {
				t.Errorf("SDK: %s\nours: %s", theirs.Header.Get("Authorization"), ours.Header.Get("Authorization"))
			}
		})
	}
}

func credentials(c aws.Credentials) Credentials {
	return Credentials{c.AccessKeyID, c.SecretAccessKey, c.SessionToken}
}

func TestSDKPresigner(t *testing.T) {
	for _, tc := range []struct {
		service, hash, body string
		s3                  bool
	}{
		{"lambda", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "", false},
		{"s3", "UNSIGNED-PAYLOAD", "anything", true},
	} {
		base, got := listen(t, tc.service)
		r, err := http.NewRequest("GET", base+"/a%2Fb/c?X-Amz-Expires=600&z=1&y=%20", nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		theirs, _, err := v4.NewSigner().PresignHTTP(t.Context(), sdkCreds, r.Clone(t.Context()), tc.hash, tc.service, testRegion, now,
			func(o *v4.SignerOptions) { o.DisableURIPathEscaping = tc.s3 })
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = "z=1&y=%20"
		ours, err := Presign(r, credentials(sdkCreds), testRegion, tc.service, now, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range []string{ours, theirs} {
			fetch(t, "GET", u, http.Header{}, tc.body)
			if q := verified(t, got); q.Expires != 10*time.Minute {
				t.Errorf("%s: good for %v, want 10m", u, q.Expires)
			}
		}
	}
}

// A request that was recorded on the wire and sent again, at once and late.
func TestReplay(t *testing.T) {
	ch := make(chan error, 4)
	now := newYear
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		ch <- verify(r, body, now, "secretsmanager")
	}))
	defer s.Close()
	raw := strings.ReplaceAll("POST / HTTP/1.1\n"+jsonHead+"user-agent:  a  b \nconnection: close\n"+
		authorization("secretsmanager", "content-length;"+jsonSigned, "06a0b3a4f78b60114c69d7ba5ee48602a5131163dcb7f06f9a0f8f95e2ce1d8e")+"\n", "\n", "\r\n") + "{}"
	send := func(raw string) error {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, raw)
		io.Copy(io.Discard, c)
		return <-ch
	}
	if err := send(raw); err != nil {
		t.Errorf("got %v, want verified", err)
	}
	if err := send(strings.Replace(raw, "X-Amz-Target: ", "x-amz-TARGET:\t  ", 1)); err != nil {
		t.Errorf("other spacing and case: got %v, want verified", err)
	}
	now = newYear.Add(5*time.Minute + time.Second)
	if err := send(raw); !fault.Is(err, Expired) {
		t.Errorf("late: got %v, want kind %q", err, Expired)
	}
}
