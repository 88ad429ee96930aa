package rotator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/rotator"
)

// TestWaysOfConnecting lists which ways are tried by what the secret says and
// how the first one ends.
func TestWaysOfConnecting(t *testing.T) {
	fails := func(cause rotator.Cause, text string) *rotator.Failure {
		return rotator.NewFailure(cause, "", text, nil)
	}
	noTLS := fails(rotator.CauseTLS, "SSL/TLS is not enabled on the server")
	for _, test := range []struct {
		name             string
		ssl              any // nil for absent
		oneTLS           bool
		encrypted, plain error
		want             []string
		fails            string
	}{
		{"absent, encrypted works", nil, false, nil, nil, []string{"encrypted"}, ""},
		{"absent, no TLS", nil, false, noTLS, nil, []string{"encrypted", "plain"}, ""},
		{"neither text nor boolean", 7, false, noTLS, nil, []string{"encrypted", "plain"}, ""},
		{"another text", "maybe", false, noTLS, nil, []string{"encrypted", "plain"}, ""},
		{"true, no TLS", true, false, noTLS, nil, []string{"encrypted"}, "TLS: SSL/TLS is not enabled"},
		{"text TRUE, no TLS", "TRUE", false, noTLS, nil, []string{"encrypted"}, "TLS: SSL/TLS is not enabled"},
		{"false", false, false, nil, nil, []string{"plain"}, ""},
		{"text False", "False", false, nil, nil, []string{"plain"}, ""},
		{"false, TLS demanded", "false", false, nil, fails(rotator.CauseTLSRequired, "encrypt"), []string{"plain"}, "TLS required: encrypt"},
		{"one way only", nil, true, noTLS, nil, []string{"encrypted"}, "TLS: SSL/TLS is not enabled"},
		{"access rules may differ", nil, false, fails(rotator.CauseAccess, "no entry"), nil, []string{"encrypted", "plain"}, ""},
		{"password is wrong", nil, false, fails(rotator.CauseAuthentication, "wrong"), nil, []string{"encrypted"}, "authentication: wrong"},
		{"host is unknown", nil, false, fails(rotator.CauseDNS, "no host"), nil, []string{"encrypted"}, "DNS: no host"},
		{"nothing answers", nil, false, fails(rotator.CauseTCP, "refused"), nil, []string{"encrypted"}, "TCP: refused"},
		{"both fail", nil, false, noTLS, fails(rotator.CauseAuthentication, "wrong"), []string{"encrypted", "plain"},
			"authentication: wrong; before, encrypted: SSL/TLS is not enabled"},
		{"certificate is not trusted, TLS demanded", nil, false, fails(rotator.CauseTLS, "unknown authority"), fails(rotator.CauseTLSRequired, "encrypt"),
			[]string{"encrypted", "plain"}, "TLS: unknown authority; and plain: encrypt"},
		{"not let in at all", nil, false, fails(rotator.CauseAccess, "no entry"), fails(rotator.CauseTLSRequired, "no plain entry"),
			[]string{"encrypted", "plain"}, "access rules: no entry; and plain: no plain entry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, s := newSteps("single", nil)
			d.kind.OneTLS = test.oneTLS
			d.refuse = func(_ context.Context, _, way string) error {
				if err := map[string]error{"encrypted": test.encrypted, "plain": test.plain}[way]; err != nil {
					return err
				}
				return nil
			}
			value := secret("app", "first-password")
			if test.ssl != nil {
				value["ssl"] = test.ssl
			}
			pending(s, value)
			err := s.Step(t.Context(), "testSecret")
			if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), ": "+test.fails) {
				t.Errorf("got %v, want %q", err, test.fails)
			}
			for i, way := range test.want {
				test.want[i] = "app " + way
			}
			if diff := cmp.Diff(test.want, d.attempts); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPreviousEncryptsAsCurrent keeps an old version from going plain where
// the current one may not.
func TestPreviousEncryptsAsCurrent(t *testing.T) {
	d, s := newSteps("single", nil)
	s.Put(arn, "first", secret("app", "first-password", "ssl", true), "AWSCURRENT")
	s.Put(arn, "before", secret("app", "password-before", "ssl", false), "AWSPREVIOUS")
	d.passwords["app"] = "password-before"
	must(t, s, "createSecret", "setSecret")
	if diff := cmp.Diff([]string{"app encrypted", "app encrypted", "app encrypted"}, d.attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestLinesAboutTLS(t *testing.T) {
	for _, test := range []struct {
		err  error
		ssl  bool
		want string
	}{
		{rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", nil), true,
			"Unable to establish SSL/TLS handshake, SSL/TLS is not enabled on the host: db.test"},
		{rotator.NewFailure(rotator.CauseTLSRequired, "", "no", nil), false,
			"Unable to establish SSL/TLS handshake, SSL/TLS is enforced on the host: db.test"},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "db.test"}, true,
			"Hostname verification failed when estlablishing SSL/TLS Handshake with host: db.test"},
	} {
		d, s := newSteps("single", nil)
		d.refuse = func(context.Context, string, string) error { return test.err }
		pending(s, secret("app", "first-password", "ssl", test.ssl))
		if s.Step(t.Context(), "testSecret") == nil {
			t.Fatal("testSecret succeeded")
		}
		if !strings.Contains(s.Log.String(), "\t"+test.want+"\n") {
			t.Errorf("got the log\n%s\nwant the line %q", s.Log.String(), test.want)
		}
	}
}

// silent is a server that takes connections and never answers.
func silent(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAttemptsFitTheDeadline gives functions of several timeouts a server that
// never answers: the step ends by itself, and says who waited.
func TestAttemptsFitTheDeadline(t *testing.T) {
	for _, test := range []struct {
		strategy string
		timeout  time.Duration
		logins   int
	}{
		{"single", 30 * time.Second, 3}, {"single", 10 * time.Second, 3}, {"single", 4 * time.Second, 3},
		{"superuser", 30 * time.Second, 3}, {"alternating", 30 * time.Second, 2}, {"alternating", 6 * time.Second, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			d, s := newSteps(test.strategy, nil)
			s.Put(arn, "before", secret("app", "password-before"), "AWSPREVIOUS")
			must(t, s, "createSecret")
			d.refuse = silent
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			defer cancel()
			began := time.Now()
			err := s.Step(ctx, "setSecret")
			took := time.Since(began)
			if err == nil || !strings.Contains(err.Error(), "timeout: ") || !strings.Contains(err.Error(), "the attempt with the current secret had ") {
				t.Errorf("%s in %s: got %v, want which attempts waited for how long", test.strategy, test.timeout, err)
			}
			if took > test.timeout-time.Second {
				t.Errorf("%s in %s: the step took %s", test.strategy, test.timeout, took)
			}
			if took > time.Duration(test.logins)*5*time.Second {
				t.Errorf("%s in %s: the step took %s for %d logins of 5s at most", test.strategy, test.timeout, took, test.logins)
			}
			if len(d.attempts) != test.logins {
				t.Errorf("%s in %s: got the attempts %q, want %d", test.strategy, test.timeout, d.attempts, test.logins)
			}
		})
	}
}

// TestQuickAttemptsLeaveTimeToSlowOnes has a server without TLS that is slow:
// what the refusals did not use is there for the login that works.
func TestQuickAttemptsLeaveTimeToSlowOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newSteps("single", nil)
		must(t, s, "createSecret")
		d.refuse = func(ctx context.Context, _, way string) error {
			if way == "encrypted" {
				return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", nil)
			}
			select {
			case <-time.After(1500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		if err := s.Step(ctx, "setSecret"); err != nil {
			t.Errorf("got %v, want success\n%s", err, s.Log.String())
		}
	})
}

// authority makes a certificate in PEM form.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCABundle(t *testing.T) {
	certificate := authority(t)
	good, empty := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "empty.pem")
	for name, text := range map[string][]byte{good: certificate, empty: []byte("nothing")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, bundle, fails string }{
		{"none", "", ""}, {"a file", good, ""}, {"two files", good + " , " + good, ""}, {"a certificate", "\n" + string(certificate), ""},
		{"a certificate with its key's text alone", "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----", "KEYTURN_CA_BUNDLE holds no certificate that can be read"},
		{"no such file", "/nowhere/ca.pem", "KEYTURN_CA_BUNDLE names a file that cannot be read"},
		{"no certificate in it", empty, "which the environment variable KEYTURN_CA_BUNDLE names, holds no certificate"},
	} {
		_, s := newSteps("single", rotator.Settings{"KEYTURN_CA_BUNDLE": test.bundle})
		pending(s, secret("app", "first-password"))
		err := s.Step(t.Context(), "testSecret")
		if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.fails)
		}
	}
}

func TestClassify(t *testing.T) {
	_, dns := net.DefaultResolver.LookupHost(t.Context(), "database.invalid")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, refused := net.Dial("tcp", l.Addr().String())
	_, late := (&net.Dialer{Deadline: time.Now().Add(-time.Second)}).Dial("tcp", l.Addr().String())
	for _, test := range []struct {
		err  error
		want rotator.Cause
	}{
		{dns, rotator.CauseDNS}, {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, rotator.CauseDNS},
		{refused, rotator.CauseTCP}, {late, rotator.CauseTimeout}, {context.DeadlineExceeded, rotator.CauseTimeout},
		{x509.UnknownAuthorityError{}, rotator.CauseTLS}, {x509.HostnameError{Certificate: &x509.Certificate{}}, rotator.CauseTLS},
		{net.ErrClosed, rotator.CauseUnavailable}, {bytes.ErrTooLarge, rotator.CauseOther},
	} {
		if got := rotator.Classify(test.err); got.Cause != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got.Cause, test.want)
		}
	}
}
