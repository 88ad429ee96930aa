// Package servicetest runs single services in process, behind the real wire
// handler and on a real store, for tests with real AWS clients.
package servicetest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// The account and the region of the root user's clients.
const (
	Account = "123456789012"
	Region  = "us-east-1"
)

// Parts are what services are made of, on an empty store in a temporary
// folder. They end with the test.
type Parts struct {
	Store    *store.Store
	Keeper   key.Keeper
	Sealer   *key.Sealer
	Keyring  *authz.Keyring
	Guard    *authz.Guard
	Recorder *trail.Recorder
	// Handler has the services of Serve.
	Handler *wire.Handler

	root authz.Root
	url  string
	// strangers are the principals of As by access key.
	strangers sync.Map
}

// NewParts makes Parts.
func NewParts(t testing.TB) *Parts {
	t.Helper()
	dir := t.TempDir()
	p := &Parts{root: authz.NewRoot(Account)}
	var err error
	if p.Store, err = sqlite.Open(t.Context(), sqlite.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if p.Recorder, err = trail.NewRecorder(filepath.Join(dir, "trail")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Recorder.Close(); err != nil {
			t.Errorf("closing the trail: %v", err)
		}
		if err := p.Store.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	if p.Keeper, err = keeper.NewEnvironment(base64.StdEncoding.EncodeToString(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	wrapped, err := key.NewSealerKey(t.Context(), p.Keeper)
	if err != nil {
		t.Fatal(err)
	}
	if p.Sealer, err = key.NewSealer(t.Context(), p.Keeper, wrapped); err != nil {
		t.Fatal(err)
	}
	p.Keyring = authz.NewKeyring(authz.KeyringConfig{Root: p.root, Store: p.Store, Sealer: p.Sealer})
	p.Guard = authz.NewGuard(p.Store, p.Keeper)
	return p
}

// Serve serves the services on a loopback port and returns the configuration
// of the root user's clients, which do not retry.
func (p *Parts) Serve(t testing.TB, services ...*wire.Service) (endpoint string, cfg aws.Config) {
	t.Helper()
	p.Handler = wire.NewHandler(wire.Config{
		Services: services, Authenticate: p.authenticate, Region: Region, Record: p.Recorder.Record,
	})
	s := httptest.NewServer(p.Handler)
	t.Cleanup(s.Close)
	p.url = s.URL
	return s.URL, aws.Config{
		Region: Region, BaseEndpoint: &s.URL, RetryMaxAttempts: 1, HTTPClient: HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider(p.root.AccessKeyID, p.root.SecretAccessKey, ""),
	}
}

// HTTPClient returns a client for SDKs whose calls do not fail by the race
// described at plainBody.
func HTTPClient() *http.Client { return &http.Client{Transport: plainBody{}} }

// plainBody hides from net/http that a request's body implements
// io.WriterTo. The SDK's body, closed as soon as the answer begins, fails
// WriteTo after that; when net/http then looks whether there is more to send,
// it drops the connection with the rest of the answer.
type plainBody struct{}

// RoundTrip implements http.RoundTripper.
func (plainBody) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// WantError demands that a client's call was refused with a code, a status and
// a text.
func WantError(t testing.TB, what string, err error, code string, status int, text string) {
	t.Helper()
	api, known := errors.AsType[smithy.APIError](err)
	res, answered := errors.AsType[*smithyhttp.ResponseError](err)
	if !known || !answered {
		t.Errorf("%s: got %v, want %s", what, err, code)
		return
	}
	if api.ErrorCode() != code || res.HTTPStatusCode() != status || api.ErrorMessage() != text {
		t.Errorf("%s:\ngot  %s %d %q\nwant %s %d %q", what, api.ErrorCode(), res.HTTPStatusCode(), api.ErrorMessage(), code, status, text)
	}
}

func (p *Parts) authenticate(ctx context.Context, q *sigv4.Request, body []byte, service string) (iam.Principal, error) {
	now := time.Now()
	if principal, ok := p.strangers.Load(q.Scope.AccessKeyID); ok {
		return principal.(iam.Principal), q.Verify(body, sigv4.DeriveKey(strangerSecret, q.Scope), now, sigv4.Expected{Service: service})
	}
	secret, principal, err := p.Keyring.Secret(ctx, q.Scope.AccessKeyID, q.Token, now)
	if err != nil {
		return iam.Principal{}, err
	}
	return principal, q.Verify(body, sigv4.DeriveKey(secret, q.Scope), now, sigv4.Expected{Service: service})
}

// Root returns the root user's principal, for calls that do not go over
// HTTP.
func (p *Parts) Root() iam.Principal { return authz.RootPrincipal(Account, p.root.AccessKeyID) }
