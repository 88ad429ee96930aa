package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
	"github.com/keyturn/keyturn/internal/rotator/probe"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const (
	right = "right-Password-1"
	wrong = "wrong-Password-2"
)

// member is a secret's members.
type member = map[string]any

func version(t testing.TB, label string, value member) probe.Version {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return probe.Version{Label: label, ID: "id of " + label, Value: plaintext.New(text)}
}

// with is a copy with other members.
func with(value member, pairs ...any) member {
	all := member{}
	for k, v := range value {
		all[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
	}
	return all
}

// run probes versions, and demands that no result shows a password.
func run(t testing.TB, settings rotator.Settings, versions ...probe.Version) []probe.Result {
	t.Helper()
	return runFrom(t, probe.FromHere, settings, versions...)
}

// runFrom is run for one of the places.
func runFrom(t testing.TB, from string, settings rotator.Settings, versions ...probe.Version) []probe.Result {
	t.Helper()
	p := &probe.Prober{Engines: builtin.Engines(), Settings: settings, From: from}
	results := p.Run(t.Context(), versions)
	text, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{right, wrong} {
		if strings.Contains(string(text), secret) {
			t.Errorf("a result holds the password %s", secret)
		}
	}
	return results
}

// one is run for one version.
func one(t testing.TB, settings rotator.Settings, value member) probe.Result {
	t.Helper()
	return oneFrom(t, probe.FromHere, settings, value)
}

// oneFrom is runFrom for one version.
func oneFrom(t testing.TB, from string, settings rotator.Settings, value member) probe.Result {
	t.Helper()
	results := runFrom(t, from, settings, version(t, probe.Current, value))
	if len(results) != 1 {
		t.Fatalf("got %d results, want 1", len(results))
	}
	return results[0]
}

// trace is the stages as texts, such as "tcp", "tls!TLS".
func trace(r probe.Result) []string {
	var all []string
	for _, s := range r.Stages {
		text := s.Name
		if !s.OK {
			text += "!" + s.Cause
		}
		all = append(all, text)
	}
	return all
}

func start(t testing.TB, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	db, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("stopping PostgreSQL: %v", err)
		}
	})
	return db
}

func execute(t testing.TB, db *pgserver.Server, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func startEntrances(t testing.TB) *pgserver.Server {
	db := start(t, pgserver.Config{
		TLS: true, Settings: map[string]string{"listen_addresses": "127.0.0.1,127.0.0.2"},
		Access: []string{
			"host all postgres 127.0.0.0/8 scram-sha-256", "host all old 127.0.0.0/8 md5", "hostssl all encrypted 127.0.0.0/8 scram-sha-256",
			"hostnossl all unencrypted 127.0.0.0/8 scram-sha-256", "host all trusted 127.0.0.0/8 trust", "host all clear 127.0.0.0/8 password",
			"host all app 127.0.0.0/8 scram-sha-256",
		},
	})
	for _, user := range []string{"app", "encrypted", "unencrypted", "trusted", "clear", "outsider"} {
		execute(t, db, fmt.Sprintf("CREATE USER %s PASSWORD '%s'", user, right))
	}
	execute(t, db, "SET password_encryption = 'md5'; CREATE USER old PASSWORD '"+right+"'")
	execute(t, db, "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
	return db
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	db := startEntrances(t)
	trusting := rotator.Settings{"KEYTURN_CA_BUNDLE": db.CAFile}
	base := member{"engine": "postgres", "host": "127.0.0.1", "port": db.Port, "username": "app", "password": right, "dbname": "postgres"}
	for _, c := range []struct {
		name         string
		value        member
		settings     rotator.Settings
		stages       []string
		method       string
		plainRefused bool
		part         string // of the last stage's text
	}{
		{"SCRAM", base, trusting, []string{"tcp", "tls", "auth", "database"}, "SCRAM-SHA-256", false, ""},
		{"md5", with(base, "username", "old"), trusting, []string{"tcp", "tls", "auth", "database"}, "md5", false, ""},
		{"TLS demanded", with(base, "username", "encrypted"), trusting, []string{"tcp", "tls", "auth", "database"}, "SCRAM-SHA-256", true, ""},
		{"TLS demanded, ssl false", with(base, "username", "encrypted", "ssl", false), trusting, []string{"tcp", "tls!TLS required"}, "", true, "pg_hba.conf"},
		{"plain demanded", with(base, "username", "unencrypted"), trusting, []string{"tcp", "tls", "auth!access rules"}, "", false, "not tried unencrypted"},
		{"plain demanded, ssl true", with(base, "username", "unencrypted", "ssl", "true"), trusting, []string{"tcp", "tls", "auth!access rules"}, "", false, "pg_hba.conf"},
		{"plain", with(base, "ssl", false), trusting, []string{"tcp", "auth", "database"}, "SCRAM-SHA-256", false, ""},
		{"wrong password", with(base, "password", wrong), trusting, []string{"tcp", "tls", "auth!authentication"}, "SCRAM-SHA-256", false, "password authentication failed"},
		{"no such user", with(base, "username", "nobody"), trusting, []string{"tcp", "tls", "auth!access rules"}, "", false, "pg_hba.conf"},
		{"no such database", with(base, "dbname", "nowhere"), trusting, []string{"tcp", "tls", "auth", "database!database missing"}, "SCRAM-SHA-256", false, "nowhere"},
		{"closed database", with(base, "dbname", "closed"), trusting, []string{"tcp", "tls", "auth", "database!database missing"}, "SCRAM-SHA-256", false, "closed"},
		{"a name that resolves", with(base, "host", "localhost"), trusting, []string{"dns", "tcp", "tls", "auth", "database"}, "SCRAM-SHA-256", false, ""},
		{"another certificate name", with(base, "host", "127.0.0.2", "ssl", true), trusting, []string{"tcp", "tls!TLS"}, "SCRAM-SHA-256", false, "issued by CN=Keyturn private PostgreSQL CA"},
		{"unknown authority", with(base, "ssl", true), nil, []string{"tcp", "tls!TLS"}, "SCRAM-SHA-256", false, "unknown authority"},
		{"unknown authority, plain not taken", base, nil, []string{"tcp", "tls!TLS"}, "SCRAM-SHA-256", false, "not tried unencrypted"},
		{"no password asked", with(base, "username", "trusted", "ssl", true), trusting, []string{"tcp", "tls", "auth!access rules"}, "trust", false, "asks for no password"},
		{"in clear", with(base, "username", "clear"), trusting, []string{"tcp", "tls", "auth", "database"}, "password", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := one(t, c.settings, c.value)
			if !cmp.Equal(trace(got), c.stages) || got.LogsIn != !strings.Contains(c.stages[len(c.stages)-1], "!") {
				t.Errorf("got stages %v, logs in %v; want %v: %+v", trace(got), got.LogsIn, c.stages, got.Stages)
			}
			if c.method != "" && got.Method != c.method || got.PlainRefused != c.plainRefused || !got.TLSOffered || !strings.Contains(got.Names, "localhost") {
				t.Errorf("got method %q, plain refused %v, TLS offered %v for %q; want %q, %v", got.Method, got.PlainRefused, got.TLSOffered, got.Names, c.method, c.plainRefused)
			}
			if text := got.Stages[len(got.Stages)-1].Text; !strings.Contains(text, c.part) {
				t.Errorf("got %q, want %q in it", text, c.part)
			}
			if last := got.Stages[len(got.Stages)-1]; (last.Code == probe.UnknownAuthority) != strings.HasPrefix(c.name, "unknown authority") {
				t.Errorf("got code %q", last.Code)
			}
			if got.LogsIn && (!strings.HasPrefix(got.Server, "PostgreSQL ") || got.ReadOnly) {
				t.Errorf("got server %q, read-only %v", got.Server, got.ReadOnly)
			}
		})
	}
	for _, c := range []struct {
		name     string
		value    member
		settings rotator.Settings
		stages   []string
	}{
		{"plain demanded", with(base, "username", "unencrypted"), trusting, []string{"tcp", "tls", "auth", "database"}},
		{"unknown authority", base, nil, []string{"tcp", "auth", "database"}},
	} {
		t.Run(c.name+", in the function", func(t *testing.T) {
			t.Parallel()
			if got := oneFrom(t, probe.FromFunction, c.settings, c.value); !got.LogsIn || !cmp.Equal(trace(got), c.stages) {
				t.Errorf("got stages %v, logs in %v; want %v: %+v", trace(got), got.LogsIn, c.stages, got.Stages)
			}
		})
	}
	t.Run("superuser", func(t *testing.T) { testSuperuser(t, db, base) })
}

// testSuperuser looks at who may see what, and how passwords are kept.
func testSuperuser(t *testing.T, db *pgserver.Server, base member) {
	t.Parallel()
	trusting := rotator.Settings{"KEYTURN_CA_BUNDLE": db.CAFile}
	old := with(base, "username", "old")
	results := run(t, trusting, version(t, probe.Current, base), version(t, probe.Pending, with(base, "password", wrong)), version(t, probe.Previous, old),
		version(t, probe.Superuser, member{"engine": "postgres", "host": "127.0.0.1", "port": db.Port, "username": "postgres", "password": db.Password}))
	want := map[string]struct {
		logsIn   bool
		verifier string
	}{
		probe.Current: {true, "SCRAM-SHA-256"}, probe.Pending: {false, "SCRAM-SHA-256"}, probe.Previous: {true, "md5"}, probe.Superuser: {true, "SCRAM-SHA-256"},
	}
	if len(results) != len(want) {
		t.Fatalf("got %d results, want %d", len(results), len(want))
	}
	for _, r := range results {
		if w := want[r.Label]; r.LogsIn != w.logsIn || r.Verifier != w.verifier {
			t.Errorf("%s: got logs in %v, verifier %q; want %+v: %+v", r.Label, r.LogsIn, r.Verifier, w, r.Stages)
		}
	}
}

func TestPostgreSQLWithoutTLS(t *testing.T) {
	t.Parallel()
	db := start(t, pgserver.Config{})
	execute(t, db, "CREATE USER app PASSWORD '"+right+"'", "ALTER USER app SET default_transaction_read_only = on")
	base := member{"engine": "postgres", "host": db.Host, "port": db.Port, "username": "app", "password": right}
	got := oneFrom(t, probe.FromFunction, nil, base)
	if !got.LogsIn || got.TLSOffered || !got.ReadOnly || !cmp.Equal(trace(got), []string{"tcp", "auth", "database"}) {
		t.Errorf("ssl absent: got %+v", got)
	}
	got = one(t, nil, base)
	if got.LogsIn || !cmp.Equal(trace(got), []string{"tcp", "tls!TLS"}) || !strings.Contains(got.Stages[1].Text, "not enabled") {
		t.Errorf("ssl absent, from here: got %+v", got)
	}
	got = one(t, nil, with(base, "ssl", true))
	if got.LogsIn || !cmp.Equal(trace(got), []string{"tcp", "tls!TLS"}) || !strings.Contains(got.Stages[1].Text, "not enabled") {
		t.Errorf("ssl true: got %+v", got)
	}
}

// TestOnce tells a password that was not tried again by its time, which no
// second try would take to the microsecond.
func TestOnce(t *testing.T) {
	t.Parallel()
	db := start(t, pgserver.Config{})
	execute(t, db, "CREATE USER app PASSWORD '"+right+"'")
	base := member{"engine": "postgres", "host": db.Host, "port": db.Port, "username": "app", "password": wrong, "ssl": false}
	results := run(t, nil, version(t, probe.Current, base), version(t, probe.Pending, base), version(t, probe.Previous, with(base, "password", right)))
	if results[0].LogsIn || results[1].LogsIn || !results[2].LogsIn {
		t.Errorf("got %+v", results)
	}
	if a, b := results[0].Stages, results[1].Stages; !cmp.Equal(a, b) {
		t.Errorf("the same password was tried twice: got %+v and %+v", a, b)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, engine := range []string{"postgres", "mysql", "redis"} {
		base := member{"engine": engine, "host": "127.0.0.1", "port": rotatortest.FreePort(t), "username": "app", "password": right}
		for _, c := range []struct {
			name  string
			value member
			last  string
		}{
			{"nothing listens", base, "tcp!TCP"},
			{"no such name", with(base, "host", "db.nowhere.invalid"), "dns!DNS"},
			{"never answers", with(base, "port", silent.Addr().(*net.TCPAddr).Port), "!timeout"},
		} {
			t.Run(engine+", "+c.name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				got := one(t, nil, c.value)
				stages := trace(got)
				if got.LogsIn || len(stages) == 0 || !strings.HasSuffix(stages[len(stages)-1], c.last) {
					t.Errorf("got %v, want the end %q: %+v", stages, c.last, got.Stages)
				}
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

func TestNoTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &probe.Prober{Engines: builtin.Engines()}
	value := member{"engine": "postgres", "host": "127.0.0.1", "port": 1, "username": "app", "password": right}
	if got := p.Run(ctx, []probe.Version{version(t, probe.Current, value)}); len(got) != 1 || got[0].LogsIn {
		t.Errorf("got %+v, want one that does not log in", got)
	}
}

func TestWhatSaysTooLittle(t *testing.T) {
	t.Parallel()
	text := probe.Version{Label: probe.Current, Value: plaintext.Of(right)}
	results := run(t, nil, text, probe.Version{Label: probe.Pending, Missing: true}, version(t, probe.Previous, member{"engine": "cobol", "host": "x"}),
		// A superuser that does not say where its server is must not be sent where the current version is.
		version(t, probe.Superuser, member{"username": "postgres", "password": right}))
	if len(results) != 0 {
		t.Errorf("got %+v, want nothing to try", results)
	}
}

func TestEngines(t *testing.T) {
	t.Parallel()
	for _, name := range builtin.Names() {
		engine := builtin.EngineOf(name)
		known := slices.ContainsFunc(builtin.Engines(), func(e probe.Engine) bool { return e.Kind.Matches(engine) })
		without := slices.ContainsFunc([]string{"command", "directoryservice.", "elasticache."}, func(p string) bool { return strings.HasPrefix(name, p) })
		if known == without {
			t.Errorf("%s: got engine %q", name, engine)
		}
	}
}
