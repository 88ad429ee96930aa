package rabbitmq_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rabbitmq"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// world makes targets on a server.
type world struct {
	*server
	encrypted bool
	// admins says that users are administrators, who change themselves.
	admins  bool
	proxies sync.Map // *rotatortest.Target to *rotatortest.Proxy
}

const (
	oddName  = "App \"é' \\ %s+/?#"
	oddVhost = "my/ vhost+%41"
)

// addUser makes a user with some of everything.
func (w *world) addUser(t testing.TB, name string) {
	tags := []string{"monitoring", "own tag"}
	if w.admins {
		tags = append(tags, "administrator")
	}
	w.must(t, "PUT", "/users/"+esc(name), map[string]any{"password": firstPassword, "tags": tags})
	w.must(t, "PUT", "/permissions/%2F/"+esc(name), map[string]any{"configure": "", "write": "^a.*", "read": ".*"})
	w.must(t, "PUT", "/permissions/"+esc(oddVhost)+"/"+esc(name), map[string]any{"configure": ".*", "write": ".*", "read": `\\d"`})
	for exchange, pattern := range map[string]string{"amq.topic": "^news", "": "x", "own exchange": "^{username}"} {
		w.must(t, "PUT", "/topic-permissions/"+esc(oddVhost)+"/"+esc(name), map[string]any{"exchange": exchange, "write": pattern, "read": ".*"})
	}
	w.must(t, "PUT", "/user-limits/"+esc(name)+"/max-connections", map[string]any{"value": 20})
}

func (w *world) target(t testing.TB) *rotatortest.Target {
	name := rotatortest.Unique(oddName)
	w.addUser(t, name)
	amqpPort, port := w.amqp, w.management
	if w.encrypted {
		amqpPort, port = w.amqps, w.secureMgmt
	}
	proxy := rotatortest.NewProxy(t, address(amqpPort))
	secret := func(user, password string) map[string]any {
		return map[string]any{
			"engine": "rabbitmq", "host": proxy.Host, "port": port, "amqpPort": proxy.Port, "vhost": oddVhost, "username": user, "password": password,
		}
	}
	target := &rotatortest.Target{Secret: secret(name, firstPassword), Grants: w.grants}
	if !w.admins {
		target.Superuser = secret("admin", adminPassword)
		target.Superuser["amqpPort"] = 0
		delete(target.Superuser, "vhost")
	}
	target.Login = func(_ context.Context, secret map[string]any) error {
		return w.login(w.encrypted, secret["username"].(string), secret["password"].(string), oddVhost)
	}
	w.proxies.Store(target, proxy)
	return target
}

func (w *world) proxyOf(target *rotatortest.Target) *rotatortest.Proxy {
	p, _ := w.proxies.Load(target)
	return p.(*rotatortest.Proxy)
}

func (w *world) loginFaults() []rotatortest.Fault {
	user := func(target *rotatortest.Target) string { return esc(target.Secret["username"].(string)) }
	return []rotatortest.Fault{{
		Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Text: "ACCESS_REFUSED", Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
	}, {
		Name: "missing user", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret["username"] = "nobody" },
	}, {
		Name: "missing vhost", Step: "setSecret", Cause: rotator.CauseDatabase, Text: "vhost nowhere not found", Alone: true,
		Change: func(secret map[string]any) { secret["vhost"] = "nowhere" },
	}, {
		Name: "unknown host", Step: "setSecret", Cause: rotator.CauseDNS, Alone: true,
		Change: func(secret map[string]any) { secret["host"] = "rabbit.invalid" },
	}, {
		Name: "refused port", Step: "setSecret", Cause: rotator.CauseTCP, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			w.proxyOf(target).Refuse()
			return func() { w.proxyOf(target).Forward(t) }
		},
	}, {
		Name: "black hole", Step: "setSecret", Cause: rotator.CauseTimeout, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			w.proxyOf(target).Swallow()
			return func() { w.proxyOf(target).Forward(t) }
		},
	}, {
		Name: "connection limit", Step: "setSecret", Cause: rotator.CauseConnections, Text: "user connection limit (0) is reached", Lockout: true, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			limit := "/user-limits/" + user(target) + "/max-connections"
			w.must(t, "PUT", limit, map[string]any{"value": 0})
			return func() { w.must(t, "PUT", limit, map[string]any{"value": 20}) }
		},
	}}
}

// noAdministrator takes the right to change itself from a user.
func (w *world) noAdministrator() rotatortest.Fault {
	return rotatortest.Fault{
		Name: "no administrator", Step: "setSecret", Cause: rotator.CausePermission, Text: "the user is no administrator", Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			name := target.Secret["username"].(string)
			set := func(tags ...string) {
				w.must(t, "PUT", "/users/"+esc(name), map[string]any{"password": firstPassword, "tags": tags})
			}
			set("management")
			return func() { set("monitoring", "own tag", "administrator") }
		},
	}
}

func (s *server) furnish(t testing.TB) { s.must(t, "PUT", "/vhosts/"+esc(oddVhost), nil) }

func TestContract(t *testing.T) {
	s := start(t, "")
	s.furnish(t)
	secure, plain, admins := &world{server: s, encrypted: true}, &world{server: s}, &world{server: s, encrypted: true, admins: true}
	for _, suite := range []rotatortest.Suite{
		{Rotator: "rabbitmq.single", New: admins.target, NoKills: true, Faults: []rotatortest.Fault{admins.noAdministrator()}},
		{Rotator: "rabbitmq.superuser", New: plain.target, NoKills: true},
		{
			Rotator: "rabbitmq.alternating", New: secure.target, Overlaps: true, Faults: secure.loginFaults(),
			Kill: func(testing.TB) { s.Kill() }, Revive: s.Revive,
		},
	} {
		suite.Environment = map[string]string{"KEYTURN_CA_BUNDLE": s.cert.Authority}
		suite.Run(t)
	}
}

// TestValidator: a server's rules for passwords count.
func TestValidator(t *testing.T) {
	s := start(t, "credential_validator.validation_backend = rabbit_credential_validator_min_password_length\ncredential_validator.min_length = 12\n")
	s.furnish(t)
	w := &world{server: s, admins: true}
	target := w.target(t)
	steps := rotatortest.NewSteps(rotator.NewSingleUser(rabbitmq.New()), target.Secret, nil, rotator.Settings{"PASSWORD_LENGTH": "8"})
	err := steps.Rotate(t.Context())
	if err == nil || !strings.Contains(err.Error(), string(rotator.CausePolicy)+": ") || !strings.Contains(err.Error(), "credential validator") {
		t.Errorf("got %v, want a refusal by the password policy", err)
	}
	if password := steps.Value(steps.ARN, "AWSPENDING")["password"].(string); strings.Contains(steps.Log.String(), password) {
		t.Error("the log holds the password")
	}
	if err := target.Login(t.Context(), target.Secret); err != nil {
		t.Errorf("AWSCURRENT does not log in: %v", err)
	}
}
