package probe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/probe"
)

// impostor takes whatever comes to a Redis server's port, and has no TLS.
type impostor struct {
	port int
	mu   sync.Mutex
	got  []byte
}

func newImpostor(t testing.TB) *impostor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	i := &impostor{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go i.serve(conn)
		}
	}()
	return i
}

func (i *impostor) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	said := make([]byte, 1024)
	for {
		n, err := conn.Read(said)
		if err != nil {
			return
		}
		i.mu.Lock()
		i.got = append(i.got, said[:n]...)
		i.mu.Unlock()
		if _, err := conn.Write([]byte("+OK\r\n")); err != nil {
			return
		}
	}
}

func (i *impostor) knows(secret string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return bytes.Contains(i.got, []byte(secret))
}

// TestImpostor lets somebody answer who is not the database.
func TestImpostor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, from string
		ssl        any
		told       bool
	}{
		{"from here", probe.FromHere, nil, false},
		{"from here, ssl true", probe.FromHere, true, false},
		{"from here, ssl false", probe.FromHere, false, true},
		{"in the function, as the templates do", probe.FromFunction, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := newImpostor(t)
			value := member{"engine": "redis", "host": "127.0.0.1", "port": i.port, "username": "app", "password": right}
			if c.ssl != nil {
				value["ssl"] = c.ssl
			}
			results := runFrom(t, c.from, nil, version(t, probe.Current, value), version(t, probe.Superuser, with(value, "username", "postgres")))
			if got := i.knows(right); got != c.told {
				t.Errorf("the server was told the password: %v, want %v: %+v", got, c.told, results)
			}
		})
	}
}

// counted is a kind of server that counts the passwords it is sent.
type counted struct {
	mu      sync.Mutex
	sent    []string
	refusal map[string]rotator.Cause // by password; none lets in
}

func (c *counted) engine() probe.Engine {
	kind := rotator.Kind{Accepts: []string{"counted"}, Required: []string{"host", "username", "password"}}
	return probe.Engine{Kind: kind, Enter: func(_ context.Context, l rotator.Login, _ *tls.Config) (probe.Visit, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, l.Username+"/"+l.Password.RevealText())
		if cause, refused := c.refusal[l.Password.RevealText()]; refused {
			return nil, rotator.NewFailure(cause, "", "refused", nil)
		}
		return welcome{}, nil
	}}
}

type welcome struct{}

func (welcome) Ping(context.Context) error  { return nil }
func (welcome) Close(context.Context) error { return nil }

// TestFailedLogins counts what a probe may cost.
func TestFailedLogins(t *testing.T) {
	t.Parallel()
	const cur, next, old = "current-1", "pending-1", "previous-1"
	for _, c := range []struct {
		name    string
		refusal map[string]rotator.Cause
		sent    []string
		labels  []string
	}{
		{
			"the current one is right", map[string]rotator.Cause{next: rotator.CauseAuthentication, old: rotator.CauseAuthentication},
			[]string{"app/" + cur, "app/" + next}, []string{probe.Current, probe.Pending},
		},
		{
			"the current one is wrong", map[string]rotator.Cause{cur: rotator.CauseAuthentication},
			[]string{"app/" + cur, "app/" + next, "app/" + old}, []string{probe.Current, probe.Pending, probe.Previous},
		},
		{
			"the current one is not known", map[string]rotator.Cause{cur: rotator.CauseTimeout},
			[]string{"app/" + cur, "app/" + next, "app/" + old}, []string{probe.Current, probe.Pending, probe.Previous},
		},
		{
			"no database for the current one", map[string]rotator.Cause{cur: rotator.CauseDatabase},
			[]string{"app/" + cur, "app/" + next}, []string{probe.Current, probe.Pending},
		},
		{
			"the account is locked", map[string]rotator.Cause{cur: rotator.CauseLocked},
			[]string{"app/" + cur}, []string{probe.Current, probe.Pending, probe.Previous},
		},
		{
			"the account becomes locked", map[string]rotator.Cause{cur: rotator.CauseAuthentication, next: rotator.CauseLocked},
			[]string{"app/" + cur, "app/" + next}, []string{probe.Current, probe.Pending, probe.Previous},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := &counted{refusal: c.refusal}
			p := &probe.Prober{Engines: []probe.Engine{server.engine()}, From: probe.FromFunction}
			value := func(password string) member {
				return member{"engine": "counted", "host": "127.0.0.1", "username": "app", "password": password}
			}
			results := p.Run(t.Context(), []probe.Version{
				version(t, probe.Current, value(cur)), version(t, probe.Pending, value(next)), version(t, probe.Previous, value(old)),
			})
			var labels []string
			for _, r := range results {
				labels = append(labels, r.Label)
				if last := r.Stages[len(r.Stages)-1]; r.LogsIn != last.OK {
					t.Errorf("%s: got logs in %v after %+v", r.Label, r.LogsIn, r.Stages)
				}
			}
			if diff := cmp.Diff(c.sent, server.sent); diff != "" {
				t.Errorf("passwords that were sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.labels, labels); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}
