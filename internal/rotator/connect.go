package rotator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// attemptLimit is the most that one login may take (AWS: the templates).
	attemptLimit = 5 * time.Second
	// attemptFloor is the least that is worth trying.
	attemptFloor = 200 * time.Millisecond
	// reserve is what the logins of a step leave of the function's time for
	// everything else.
	reserve = 2 * time.Second
)

// Plan says how many logins the step may try at most, each encrypted and
// plain: the function's time is shared among them.
func (r *Rotation) Plan(logins int) { r.attempts = 2 * logins }

// Connect logs in as the login says: encrypted first and then plain, unless
// the secret's ssl member or the engine leaves one way only. A plain
// connection is not tried where it could not do better: after a password was
// refused, or when the server cannot be reached. The error is a *Failure
// about both ways. label names the login in its text.
func (r *Rotation) Connect(ctx context.Context, engine Engine, l Login, label string) (Session, error) {
	l.Settings = r.Settings
	if l.TLS == NoTLS {
		r.attempts--
		return r.attempt(ctx, engine, l, label, false)
	}
	s, err := r.attempt(ctx, engine, l, label, true)
	failed, _ := errors.AsType[*Failure](err)
	if failed == nil || !failed.ofEncryption() || l.TLS == RequireTLS || engine.Kind().OneTLS {
		r.attempts--
		return s, err
	}
	r.Warnf("%s; trying a plain connection, because the secret's ssl member does not say true", failed.Text)
	s, err = r.attempt(ctx, engine, l, label, false)
	if plain, ok := errors.AsType[*Failure](err); ok {
		return nil, bothWays(failed, plain)
	}
	return s, err
}

// bothWays makes one failure of those of an encrypted and of a plain attempt.
// Where the server takes nothing plain, the first is the one that matters.
func bothWays(encrypted, plain *Failure) *Failure {
	if plain.Cause == CauseTLSRequired {
		return NewFailure(encrypted.Cause, encrypted.Code, fmt.Sprintf("%s; and plain: %s", encrypted.Text, plain.Text), encrypted)
	}
	return NewFailure(plain.Cause, plain.Code, fmt.Sprintf("%s; before, encrypted: %s", plain.Text, encrypted.Text), plain)
}

// attempt logs in once, one way.
func (r *Rotation) attempt(ctx context.Context, engine Engine, l Login, label string, encrypted bool) (Session, error) {
	limit := r.limit(ctx)
	r.attempts--
	var secure *tls.Config
	way := "non SSL/TLS"
	if encrypted {
		var err error
		if secure, err = r.TLSConfig(l.Host); err != nil {
			return nil, err
		}
		way = "SSL/TLS"
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := engine.Connect(within, l, secure)
	if err == nil {
		r.journal.info("Successfully established %s connection as user '%s' with host: '%s'", way, l.Username, l.Host)
		return s, nil
	}
	f := Classify(err)
	if f.Cause == CauseTimeout || within.Err() != nil {
		f = NewFailure(f.Cause, f.Code, fmt.Sprintf("%s: the attempt with the %s secret had %s and used %s",
			f.Text, label, limit.Round(time.Millisecond), time.Since(began).Round(time.Millisecond)), f)
	}
	r.hint(f, l, encrypted)
	r.Logf("Login with the %s secret failed (%s, user '%s', host '%s'): %v", label, way, l.Username, l.Host, f)
	return nil, f
}

// limit is the time of the next attempt.
func (r *Rotation) limit(ctx context.Context) time.Duration { return r.Share(ctx, r.attempts) }

// Share is the time that the next of so many attempts may take: its share of
// what the function has left, within bounds.
func (r *Rotation) Share(ctx context.Context, attempts int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return attemptLimit
	}
	share := (time.Until(deadline) - reserve) / time.Duration(max(attempts, 1))
	return min(max(share, attemptFloor), attemptLimit)
}

// hint writes the lines about TLS that operators know from AWS's templates.
func (r *Rotation) hint(f *Failure, l Login, encrypted bool) {
	_, mismatch := errors.AsType[x509.HostnameError](f)
	switch {
	case mismatch:
		r.journal.error("Hostname verification failed when estlablishing SSL/TLS Handshake with host: %s", l.Host)
	case f.Cause == CauseTLS && strings.Contains(f.Text, "not enabled"):
		r.journal.error("Unable to establish SSL/TLS handshake, SSL/TLS is not enabled on the host: %s", l.Host)
	case f.Cause == CauseTLSRequired && !encrypted:
		r.journal.error("Unable to establish SSL/TLS handshake, SSL/TLS is enforced on the host: %s", l.Host)
	}
}

// TLSConfig verifies a server's certificate and name against the system's
// roots and those of KEYTURN_CA_BUNDLE: files, separated by commas, or
// certificates in PEM form themselves.
func (r *Rotation) TLSConfig(host string) (*tls.Config, error) {
	roots, err := r.trust.authorities(r.Settings.Text("KEYTURN_CA_BUNDLE", ""))
	if err != nil {
		return nil, err
	}
	return &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// trust keeps the authorities that a process trusts, which are read once.
type trust struct {
	mu    sync.Mutex
	roots *x509.CertPool
}

// authorities returns the pool, which nobody may change.
func (t *trust) authorities(bundle string) (*x509.CertPool, error) {
	if t == nil {
		return readAuthorities(bundle)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.roots == nil {
		t.roots, err = readAuthorities(bundle)
	}
	return t.roots, err
}

func readAuthorities(bundle string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without roots trusts what the bundle holds
	}
	if strings.HasPrefix(strings.TrimSpace(bundle), "-----BEGIN") {
		if !roots.AppendCertsFromPEM([]byte(bundle)) {
			return nil, Invalid("The environment variable KEYTURN_CA_BUNDLE holds no certificate that can be read")
		}
		bundle = ""
	}
	for name := range strings.SplitSeq(bundle, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, Invalid("The environment variable KEYTURN_CA_BUNDLE names a file that cannot be read: %v", err)
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, Invalid("%s, which the environment variable KEYTURN_CA_BUNDLE names, holds no certificate", name)
		}
	}
	return roots, nil
}
