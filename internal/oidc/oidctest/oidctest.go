// Package oidctest runs an OpenID Connect issuer in the test's own process: a
// TLS server with discovery and keys, and what it takes to sign tokens.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer is a running issuer. It ends with the test.
type Issuer struct {
	t      testing.TB
	server *httptest.Server

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	about map[string]any
	// asked counts the requests for keys.
	asked  int
	status int
}

// Key is a key that signs tokens.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// New starts an issuer that publishes the keys.
func New(t testing.TB, keys ...Key) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cluster/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { i.answer(w, i.describe()) })
	mux.HandleFunc("GET /cluster/keys", func(w http.ResponseWriter, _ *http.Request) { i.answer(w, i.published()) })
	i.server = httptest.NewTLSServer(mux)
	t.Cleanup(i.server.Close)
	i.about = map[string]any{"issuer": i.URL(), "jwks_uri": i.URL() + "/keys"}
	i.Publish(keys...)
	return i
}

// URL is the issuer's name, which has a path.
func (i *Issuer) URL() string { return i.server.URL + "/cluster" }

// Publish replaces the keys.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, k := range keys {
		i.keys = append(i.keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	}
}

// Describe changes a member of the discovery document.
func (i *Issuer) Describe(member string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.about[member] = value
}

// Fail makes the issuer answer with a status; 0 ends that.
func (i *Issuer) Fail(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = status
}

// Close makes the issuer unreachable.
func (i *Issuer) Close() { i.server.Close() }

// Asked tells how often the keys were asked for.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *Issuer) describe() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.about
}

func (i *Issuer) published() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	return jose.JSONWebKeySet{Keys: i.keys}
}

func (i *Issuer) answer(w http.ResponseWriter, document any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.status != 0 {
		w.WriteHeader(i.status)
		return
	}
	if err := json.NewEncoder(w).Encode(document); err != nil {
		i.t.Errorf("answering: %v", err)
	}
}

// Authorities returns the pool that the issuer's certificate belongs to.
func (i *Issuer) Authorities() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.server.Certificate())
	return pool
}

// Bundle writes the authority into a PEM file.
func (i *Issuer) Bundle() string {
	i.t.Helper()
	path := filepath.Join(i.t.TempDir(), "authority.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// Claims returns the claims of a good token for a subject and an audience,
// valid for an hour.
func (i *Issuer) Claims(subject, audience string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.URL(), "sub": subject, "aud": audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// RSA makes a key of 2048 bits for RS256.
func RSA(t testing.TB, id string) Key {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, jose.RS256, k}
}

// EC makes a key for ES256.
func EC(t testing.TB, id string) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, jose.ES256, k}
}

// Sign makes a token of the claims.
func (k Key) Sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID}}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
