package oidc

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Limits on what an issuer may make the server do (ours).
const (
	// patience bounds one discovery with its keys.
	patience = 5 * time.Second
	// maxAnswer bounds each answer, in bytes.
	maxAnswer = 1 << 20
	// maxKeys bounds the keys of an issuer.
	maxKeys = 200
	// maxIssuers bounds the issuers whose keys are kept.
	maxIssuers   = 100
	maxRedirects = 3
	// minRSA is the shortest RSA key that is trusted, in bits.
	minRSA = 2048
)

// Verifier verifies tokens. It keeps the keys of issuers for an hour. Safe for
// concurrent use.
type Verifier struct {
	client *http.Client
	logger *slog.Logger
	// life is how long keys are kept. pause is how long an issuer is not asked
	// again after it was asked in vain: it did not answer, or its keys did not
	// have the one that was looked for.
	life, pause time.Duration

	mu      sync.Mutex
	issuers map[string]*issuer
}

// issuer is what is known of one issuer.
type issuer struct {
	// busy holds a token while somebody asks the issuer or looks at the rest.
	busy chan struct{}
	keys []jose.JSONWebKey
	// fetched is when the keys came, asked when they were last asked for, and
	// failed how that ended.
	fetched, asked time.Time
	failed         error
}

// New returns a Verifier that trusts issuers with a certificate of these
// authorities; nil means the host's. The logger is told why keys cannot be had.
func New(authorities *x509.CertPool, logger *slog.Logger) *Verifier {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: patience, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
	}
	return &Verifier{
		client: &http.Client{Transport: transport, CheckRedirect: checkRedirect}, logger: logger,
		life: time.Hour, pause: 10 * time.Second, issuers: map[string]*issuer{},
	}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if r.URL.Scheme != "https" || len(via) > maxRedirects {
		return errors.New("the issuer redirects too often or away from HTTPS")
	}
	return nil
}

// Verify returns the claims of a token that its issuer signed and that is
// valid now. The caller must trust the issuer: it is asked for its keys.
// Errors are of the kinds Invalid, Expired, Rejected and Unreachable, or
// ctx's.
func (v *Verifier) Verify(ctx context.Context, t *Token, now time.Time) (*Claims, error) {
	keys, err := v.keys(ctx, t)
	if err != nil {
		return nil, err
	}
	return t.claims(keys, now)
}

// keys returns the keys of the token's issuer, asked for again if they are
// old or lack the token's.
func (v *Verifier) keys(ctx context.Context, t *Token) ([]jose.JSONWebKey, error) {
	i := v.issuer(t.issuer)
	select {
	case i.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-i.busy }()
	fresh := time.Since(i.fetched) < v.life
	if fresh && i.has(t.keyID()) {
		return i.keys, nil
	}
	if time.Since(i.asked) < v.pause {
		if fresh {
			return i.keys, nil // which do not have the key; say so
		}
		return nil, i.failed
	}
	keys, err := v.fetch(ctx, t.issuer)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	i.asked, i.failed = time.Now(), err
	if err == nil {
		i.keys, i.fetched = keys, i.asked
		return keys, nil
	}
	v.logger.Warn("asking an identity provider for its keys", "issuer", t.issuer, "error", err)
	if fresh {
		return i.keys, nil
	}
	return nil, err
}

// issuer returns what is kept of an issuer. When that is of too many, some
// other is forgotten.
func (v *Verifier) issuer(name string) *issuer {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.issuers[name]; i != nil {
		return i
	}
	for other := range v.issuers {
		if len(v.issuers) < maxIssuers {
			break
		}
		delete(v.issuers, other)
	}
	i := &issuer{busy: make(chan struct{}, 1)}
	v.issuers[name] = i
	return i
}

// has reports whether a key of the ID is there; "" stands for any.
func (i *issuer) has(keyID string) bool {
	for _, k := range i.keys {
		if keyID == "" || k.KeyID == keyID {
			return true
		}
	}
	return false
}

// fetch asks an issuer for its keys.
func (v *Verifier) fetch(ctx context.Context, name string) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address, ok := discovery(name)
	if !ok {
		return nil, errNoKey.Because(fmt.Errorf("%q is not a URL with HTTPS", name))
	}
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := v.get(ctx, address, &about); err != nil {
		return nil, err
	}
	if about.Issuer != name || !strings.HasPrefix(about.Keys, scheme) {
		return nil, errNoKey.Because(fmt.Errorf("%s describes the issuer %q with keys at %q", address, about.Issuer, about.Keys))
	}
	var set jose.JSONWebKeySet
	if err := v.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	keys := usable(set.Keys)
	if len(keys) == 0 {
		return nil, errNoKey.Because(fmt.Errorf("%s has no key for signatures", about.Keys))
	}
	return keys, nil
}

// get reads a JSON document.
func (v *Verifier) get(ctx context.Context, address string, to any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errNoKey.Because(err)
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	answer, err := v.client.Do(r)
	if _, distrusted := errors.AsType[*tls.CertificateVerificationError](err); distrusted {
		return errNoKey.Because(err)
	}
	if err != nil {
		return errUnreachable.Because(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return errUnreachable.Because(fmt.Errorf("reading %s: %w", address, err))
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests:
		return errUnreachable.Because(fmt.Errorf("%s answers %s", address, answer.Status))
	case answer.StatusCode != http.StatusOK:
		return errNoKey.Because(fmt.Errorf("%s answers %s", address, answer.Status))
	case len(body) > maxAnswer:
		return errNoKey.Because(fmt.Errorf("%s is larger than %d bytes", address, maxAnswer))
	}
	if err := json.Unmarshal(body, to); err != nil {
		return errNoKey.Because(fmt.Errorf("reading %s: %w", address, err))
	}
	return nil
}

// usable returns the public keys for signatures.
func usable(all []jose.JSONWebKey) []jose.JSONWebKey {
	var keys []jose.JSONWebKey
	for _, k := range all {
		r, isRSA := k.Key.(*rsa.PublicKey)
		if !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" || isRSA && r.N.BitLen() < minRSA {
			continue
		}
		if keys = append(keys, k); len(keys) == maxKeys {
			break
		}
	}
	return keys
}
