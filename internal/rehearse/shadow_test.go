package rehearse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rehearse"
)

// shadowed is a live database with a real user that somebody works with.
type shadowed struct {
	db      *pgserver.Server
	user    apitest.User
	admin   *pgx.Conn
	session *pgx.Conn
}

func newShadowed(t *testing.T) *shadowed {
	t.Helper()
	s := &shadowed{db: apitest.Database(t)}
	s.user = apitest.NewUser(t, s.db)
	table := "orders_" + s.user.Name
	apitest.Exec(t, s.db, "CREATE TABLE "+table+" (id int); GRANT SELECT ON "+table+" TO "+s.user.Name)
	var err error
	if s.admin, err = pgx.Connect(t.Context(), s.db.AdminURL()); err != nil {
		t.Fatal(err)
	}
	if s.session, err = pgx.Connect(t.Context(), s.db.URL(s.user.Name, s.user.Password, "postgres")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.session.Close(context.Background())
		s.admin.Close(context.Background())
	})
	return s
}

// state is all that a rehearsal must leave as it is: the user's password hash,
// attributes, privileges, memberships and sessions.
func (s *shadowed) state(t *testing.T) string {
	t.Helper()
	const query = `SELECT concat_ws(E'\n',
		(SELECT rolpassword || to_jsonb(a)::text FROM pg_authid a WHERE rolname = $1),
		(SELECT string_agg(relname || relacl::text, ',' ORDER BY relname) FROM pg_class WHERE relname = 'orders_' || $1),
		(SELECT string_agg(m::text, ',') FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member OR r.oid = m.roleid WHERE r.rolname = $1),
		(SELECT string_agg(pid::text || backend_start::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE usename = $1))`
	var state string
	if err := s.admin.QueryRow(t.Context(), query, s.user.Name).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

// shadows are the users that rehearsals made and left.
func (s *shadowed) shadows(t *testing.T) (n int) {
	t.Helper()
	err := s.admin.QueryRow(context.Background(), "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kt\\_rehearse\\_%'").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lasting are the shadows whose passwords do not end by themselves within an
// hour.
func (s *shadowed) lasting(t *testing.T) (n int) {
	t.Helper()
	err := s.admin.QueryRow(context.Background(), `SELECT count(*) FROM pg_roles
		WHERE rolname LIKE 'kt\_rehearse\_%' AND coalesce(rolvaliduntil, 'infinity') > now() + interval '61 minutes'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *shadowed) options(t *testing.T, rotator, strategy string) rehearse.Options {
	t.Helper()
	o := options(t, rehearse.BuiltIn(rotator))
	o.Engine, o.Strategy = "", strategy
	o.Shadow = &rehearse.Shadow{Engine: "postgres", CAFile: s.db.CAFile, Superuser: map[string]any{
		"engine": "postgres", "host": s.db.Host, "port": s.db.Port, "username": pgserver.Superuser, "password": s.db.Password,
	}}
	if err := json.Unmarshal([]byte(s.user.Value("not-its-password")), &o.Shadow.Secret); err != nil {
		t.Fatal(err)
	}
	return o
}

// A rehearsal on shadow users leaves the real user, which has a session open,
// as it was, and no shadow behind.
func TestShadow(t *testing.T) {
	s := newShadowed(t)
	before := s.state(t)
	for _, strategy := range []string{"single", "alternating"} {
		o := s.options(t, "postgres."+strategy, strategy)
		o.Only = []string{"kill-after-*", "database-*", "timeout-database-set", "wrong-password-test", "foreign-put-set"}
		report := run(t, o)
		if !report.Passed {
			t.Errorf("%s: got the findings %v", strategy, report.Codes())
		}
		for _, r := range report.Results {
			want := rehearse.Passed
			if r.Fault == "database-slow" || r.Fault == "timeout-database-set" {
				want = rehearse.Skipped
			}
			if r.Outcome != want {
				t.Errorf("%s, %s: got %s (%s), want %s", strategy, r.Fault, r.Outcome, r.Note, want)
			}
		}
		if diff := cmp.Diff(before, s.state(t)); diff != "" {
			t.Errorf("%s: the real user (-before +after):\n%s", strategy, diff)
		}
		if n := s.shadows(t); n != 0 {
			t.Errorf("%s: %d shadow users are left", strategy, n)
		}
	}
	if err := s.user.Login(t.Context(), s.user.Password); err != nil {
		t.Errorf("the real user: %v", err)
	}
	var one int
	if err := s.session.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil {
		t.Errorf("the real user's session: %v", err)
	}
}

// A rehearsal that is interrupted removes its shadows too.
func TestShadowInterrupted(t *testing.T) {
	s := newShadowed(t)
	before := s.state(t)
	ctx, interrupt := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	o := s.options(t, "postgres.single", "single")
	seen := false
	o.Progress = func(line string) {
		if strings.HasPrefix(line, "none: ") {
			seen = s.shadows(t) > 0
			if n := s.lasting(t); n != 0 {
				t.Errorf("%d shadow users could log in for more than an hour", n)
			}
			interrupt(stop)
		}
	}
	if _, err := rehearse.Run(ctx, o); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it interrupted", err)
	}
	if !seen {
		t.Error("there was no shadow user to remove")
	}
	if n := s.shadows(t); n != 0 {
		t.Errorf("%d shadow users are left", n)
	}
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("the real user (-before +after):\n%s", diff)
	}
}

// What could touch the real user is refused.
func TestShadowRefuses(t *testing.T) {
	s := newShadowed(t)
	own := s.options(t, "postgres.single", "single")
	own.Shadow.Superuser = own.Shadow.Secret
	missing := s.options(t, "postgres.single", "single")
	missing.Shadow.Secret["username"] = "nobody_of_this_name"
	elsewhere := s.options(t, "postgres.single", "single")
	elsewhere.Shadow.Secret["host"] = "collector.test"
	unnamed := s.options(t, "postgres.single", "single")
	unnamed.Shadow.Secret["host"] = "collector.test"
	delete(unnamed.Shadow.Superuser, "host")
	port := s.options(t, "postgres.single", "single")
	port.Shadow.Superuser["port"] = s.db.Port + 1
	url := s.options(t, "postgres.single", "single")
	url.Shadow.Secret["extra"] = map[string]any{"jdbcUrl": "postgresql://app:other-password@db.test/app"}
	copied := s.options(t, "postgres.single", "single")
	copied.Shadow.Secret["old"] = "is not-its-password"
	variable := s.options(t, "postgres.single", "single")
	variable.Function.Environment = map[string]string{"DB_USER": s.user.Name}
	powerful := s.options(t, "postgres.single", "single")
	mighty := apitest.NewUser(t, s.db)
	apitest.Exec(t, s.db, "ALTER ROLE "+mighty.Name+" CREATEROLE REPLICATION")
	powerful.Shadow.Secret["username"] = mighty.Name
	for want, o := range map[string]rehearse.Options{
		"the superuser's secret is for " + s.db.Host:                          elsewhere,
		"does not say that it is for the host collector.test":                 unnamed,
		"the superuser's password is not sent to another server":              port,
		"the members extra.jdbcUrl of the user's secret":                      url,
		"the members old of the user's secret":                                copied,
		"the function's variables DB_USER name the real user":                 variable,
		"the user " + mighty.Name + " has CREATEROLE, REPLICATION, and a sha": powerful,
		"is of the user that is to be shadowed":                               own,
		"the database has no user nobody_of_this_name":                        missing,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := rehearse.Run(ctx, o)
		cancel()
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A function that changes the real user all the same is stopped, and the user
// is named.
func TestShadowTouched(t *testing.T) {
	s := newShadowed(t)
	o := s.options(t, "postgres.single", "single")
	o.Function = wrong(t, "changes-real-user")
	o.Only = []string{"kill-after-put", "fail-after-put"}
	report, err := rehearse.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "THE REAL USER WAS CHANGED") || !strings.Contains(err.Error(), s.user.Name) {
		t.Errorf("got %v, want the change of %s told", err, s.user.Name)
	}
	if report == nil || report.Passed || len(report.Results) == 0 || report.Results[0].Fault != "none" {
		t.Errorf("got the report %+v, want what was found until then, and that it did not pass", report)
	}
	if n := s.shadows(t); n != 0 {
		t.Errorf("%d shadow users are left", n)
	}
}
