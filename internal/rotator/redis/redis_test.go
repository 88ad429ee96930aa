package redis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/redis"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// world makes targets on one server or more.
type world struct {
	nodes     []*server
	encrypted bool
	// stranger is a server with a certificate that nobody trusts.
	stranger *server
	// plain says that secrets ask for no encryption.
	plain bool
	// selfMade says that users change themselves.
	selfMade bool
	proxies  sync.Map // *rotatortest.Target to *rotatortest.Proxy
}

// oddName holds whatever a name may hold in an ACL file.
const oddName = `App-é'%\{}:~#`

func (w *world) target(t testing.TB) *rotatortest.Target {
	name := rotatortest.Unique(oddName)
	rules := []any{"~" + "app:*", "&news", "+@read", "+set", "-keys"}
	if w.selfMade {
		rules = append(rules, "+acl|setuser", "+acl|save", "+config|rewrite")
	}
	for _, s := range w.nodes {
		s.addUser(t, name, rules...)
	}
	port := func(s *server) int {
		if w.encrypted {
			return s.tlsPort
		}
		return s.port
	}
	proxy := rotatortest.NewProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port(w.nodes[0]))))
	secret := func(user, password string) map[string]any {
		v := map[string]any{"engine": "redis", "host": proxy.Host, "port": proxy.Port, "username": user, "password": password}
		if w.plain {
			v["ssl"] = "False"
		}
		if len(w.nodes) > 1 {
			var nodes []string
			for _, s := range w.nodes[1:] {
				nodes = append(nodes, fmt.Sprintf("127.0.0.1:%d", port(s)))
			}
			v["nodes"] = nodes
		}
		return v
	}
	target := &rotatortest.Target{Secret: secret(name, firstPassword)}
	if !w.selfMade {
		target.Superuser = secret("admin", adminPassword)
	}
	target.Login = func(ctx context.Context, secret map[string]any) error {
		for _, s := range w.nodes {
			if err := s.login(ctx, w.encrypted, secret["username"].(string), secret["password"].(string)); err != nil {
				return err
			}
		}
		return nil
	}
	target.Grants = func(ctx context.Context, name string) (string, error) {
		var all []string
		for _, s := range w.nodes {
			r, err := s.rules(ctx, name)
			if err != nil {
				return "", err
			}
			all = append(all, r)
		}
		return strings.Join(all, "\n"), nil
	}
	w.proxies.Store(target, proxy)
	return target
}

func (w *world) proxyOf(target *rotatortest.Target) *rotatortest.Proxy {
	p, _ := w.proxies.Load(target)
	return p.(*rotatortest.Proxy)
}

// loginFaults keep the rotator from logging in.
func (w *world) loginFaults() []rotatortest.Fault {
	return []rotatortest.Fault{{
		Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Text: "WRONGPASS", Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
	}, {
		Name: "missing user", Step: "setSecret", Cause: rotator.CauseAuthentication, Text: "WRONGPASS", Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret["username"] = "nobody" },
	}, {
		Name: "unknown host", Step: "setSecret", Cause: rotator.CauseDNS, Alone: true,
		Change: func(secret map[string]any) { secret["host"] = "redis.invalid" },
	}, {
		Name: "refused port", Step: "setSecret", Cause: rotator.CauseTCP, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			w.proxyOf(target).Refuse()
			return func() { w.proxyOf(target).Forward(t) }
		},
	}, {
		Name: "black hole", Step: "setSecret", Cause: rotator.CauseTimeout, Text: "the attempt with the", Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			w.proxyOf(target).Swallow()
			return func() { w.proxyOf(target).Forward(t) }
		},
	}, {
		Name: "untrusted certificate", Step: "setSecret", Cause: rotator.CauseTLS, Text: "certificate signed by unknown authority", Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			w.proxyOf(target).Redirect(net.JoinHostPort("127.0.0.1", strconv.Itoa(w.stranger.tlsPort)))
			return func() {
				w.proxyOf(target).Redirect(net.JoinHostPort("127.0.0.1", strconv.Itoa(w.nodes[0].tlsPort)))
			}
		},
	}}
}

// serverFaults break the whole server.
func serverFaults(s *server) []rotatortest.Fault {
	return []rotatortest.Fault{{
		Name: "maxclients", Step: "setSecret", Cause: rotator.CauseUnavailable, Text: "maxclients", Lockout: true,
		Break: func(t testing.TB, _ *rotatortest.Target) func() {
			s.do(t, "CONFIG", "SET", "maxclients", 1)
			return func() { s.do(t, "CONFIG", "SET", "maxclients", 1000) }
		},
	}, {
		Name: "unwritable ACL file", Step: "setSecret", Cause: rotator.CauseReadOnly, Text: "would be lost when the server restarts",
		Break: func(t testing.TB, _ *rotatortest.Target) func() {
			dir := filepath.Join(s.dir, "acl")
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Rename(dir+".away", dir); err != nil {
					t.Error(err)
				}
			}
		},
	}, {
		Name: "no right to ACL SETUSER", Step: "setSecret", Cause: rotator.CausePermission, Text: "NOPERM", Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			s.do(t, "ACL", "SETUSER", target.Secret["username"], "-acl|setuser")
			return func() { s.do(t, "ACL", "SETUSER", target.Secret["username"], "+acl|setuser") }
		},
	}}
}

// TestContractSelf is of users that change themselves, over TLS, kept in an
// ACL file.
func TestContractSelf(t *testing.T) {
	s := start(t, options{aclFile: true})
	w := &world{nodes: []*server{s}, encrypted: true, selfMade: true, stranger: start(t, options{})}
	rotatortest.Suite{
		Rotator: "redis.overlap", Overlaps: true, New: w.target, Faults: append(w.loginFaults(), serverFaults(s)...),
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": s.cert.Authority},
		Kill:        func(testing.TB) { s.Kill() }, Revive: s.Revive,
	}.Run(t)
}

// TestContractNodes is of users on two nodes, changed by a superuser and kept
// in the configuration files.
func TestContractNodes(t *testing.T) {
	first, second := start(t, options{}), start(t, options{})
	w := &world{nodes: []*server{first, second}}
	faults := []rotatortest.Fault{{
		Name: "second node without the user", Step: "setSecret", Cause: rotator.CauseAuthentication, Text: "node 127.0.0.1:", Lockout: true, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			name := target.Secret["username"].(string)
			second.do(t, "ACL", "DELUSER", name)
			return func() { second.addUser(t, name, "~app:*", "&news", "+@read", "+set", "-keys") }
		},
	}, {
		Name: "no clients", Step: "setSecret", Cause: rotator.CauseConnections, Lockout: true,
		Break: func(t testing.TB, _ *rotatortest.Target) func() {
			first.do(t, "CONFIG", "SET", "maxclients", 1)
			return func() { first.do(t, "CONFIG", "SET", "maxclients", 1000) }
		},
	}}
	for _, s := range []rotatortest.Suite{
		{Rotator: "redis.overlap", Overlaps: true, Faults: faults},
		{Rotator: "redis.single"},
	} {
		s.New, s.NoKills = w.target, true
		w.plain = s.Overlaps // the other one finds out by itself
		s.Run(t)
	}
}

// steps makes a rotation on the server that runs in the test's process.
func steps(s *server, r rotator.Rotator, user, password string, super map[string]any) *rotatortest.Steps {
	return rotatortest.NewSteps(r, s.secret(user, password), super, nil)
}

func (s *server) secret(user, password string) map[string]any {
	return map[string]any{"engine": "valkey", "host": "127.0.0.1", "port": s.port, "username": user, "password": password, "ssl": false}
}

// TestTakesAnyPassword: a user that needs no password is not rotated, because
// whoever logs in with another one would be shut out.
func TestTakesAnyPassword(t *testing.T) {
	s := start(t, options{aclFile: true})
	s.addUser(t, "open", "nopass", "+@all")
	w := steps(s, rotator.NewOverlapPasswords(redis.New()), "open", firstPassword, nil)
	err := w.Rotate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nopass") {
		t.Fatalf("got %v, want a refusal that names nopass", err)
	}
	if err := s.login(t.Context(), false, "open", "anything"); err != nil {
		t.Errorf("the user was changed: %v", err)
	}
}

// TestDefaultUser: requirepass of the configuration file does not bring an
// old password back.
func TestDefaultUser(t *testing.T) {
	s := start(t, options{settings: "requirepass " + firstPassword})
	s.do(t, "ACL", "SETUSER", "default", "on", "~*", "&*", "+@all", "resetpass", ">"+firstPassword)
	s.do(t, "CONFIG", "REWRITE")
	w := steps(s, rotator.NewOverlapPasswords(redis.New()), "default", firstPassword, nil)
	for range 2 {
		if err := w.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill()
	s.Revive(t)
	for _, label := range []string{"AWSCURRENT", "AWSPREVIOUS"} {
		if err := s.login(t.Context(), false, "default", w.Value(w.ARN, label)["password"].(string)); err != nil {
			t.Errorf("after a restart %s does not log in: %v", label, err)
		}
	}
	if s.login(t.Context(), false, "default", firstPassword) == nil {
		t.Error("after a restart the first password logs in again")
	}
}

// TestKilledBeforeSave: a repeated setSecret makes a change last that an
// attempt before it could only make.
func TestKilledBeforeSave(t *testing.T) {
	s := start(t, options{aclFile: true})
	s.addUser(t, "app", "+@all")
	w := steps(s, rotator.NewOverlapPasswords(redis.New()), "app", firstPassword, nil)
	if err := w.Step(t.Context(), "createSecret"); err != nil {
		t.Fatal(err)
	}
	next := w.Value(w.ARN, "AWSPENDING")["password"].(string)
	s.do(t, "ACL", "SETUSER", "app", ">"+next) // and no ACL SAVE
	if err := w.Step(t.Context(), "setSecret"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Revive(t)
	if err := s.login(t.Context(), false, "app", next); err != nil {
		t.Errorf("after a restart the pending version does not log in: %v", err)
	}
	if n := s.passwords(t, "app"); n != 2 {
		t.Errorf("got %d passwords, want 2", n)
	}
}

// TestNoFile: where users cannot be kept, the log warns.
func TestNoFile(t *testing.T) {
	s := startWithoutFiles(t)
	s.do(t, "ACL", "SETUSER", "app", "on", ">"+firstPassword, "+@all")
	w := steps(s, rotator.NewOverlapPasswords(redis.New()), "app", firstPassword, nil)
	if err := w.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log := w.Log.String(); !strings.Contains(log, "[WARNING]") || !strings.Contains(log, "lost when the server restarts") {
		t.Errorf("got the log\n%s\nwant a warning", log)
	}
}

// TestSuperuserElsewhere: the superuser's password goes to no address that
// its own secret does not name.
func TestSuperuserElsewhere(t *testing.T) {
	s := start(t, options{aclFile: true})
	s.addUser(t, "app", "+@all")
	trap := rotatortest.NewProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	secret := s.secret("app", firstPassword)
	secret["nodes"] = []string{net.JoinHostPort(trap.Host, strconv.Itoa(trap.Port))}
	w := rotatortest.NewSteps(rotator.NewOverlapPasswords(redis.New()), secret, s.secret("admin", adminPassword), nil)
	err := w.Rotate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "must name the same nodes") {
		t.Errorf("got %v, want a refusal because of the nodes", err)
	}
}
