package redshift_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// These tests run against a PostgreSQL that stands in for Redshift: it has
// the catalogs and functions that the rotator uses, hashes by MD5, and takes
// backslashes as Redshift does. It has none of Redshift's rules for passwords,
// nor of its own statements.

func TestMain(m *testing.M) { rotatortest.Main(m) }

const firstPassword = "first-Password-1"

func startStandin(t testing.TB) *pgserver.Server {
	t.Helper()
	db, err := pgserver.Start(t.Context(), pgserver.Config{
		TLS: true, Settings: map[string]string{"password_encryption": "md5", "standard_conforming_strings": "off", "escape_string_warning": "off"},
		Access: []string{"hostssl all postgres 127.0.0.1/32 scram-sha-256", "hostssl all all 127.0.0.1/32 md5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func as(ctx context.Context, db *pgserver.Server, user, password string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(db.AdminURL())
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password = user, password
	return pgx.ConnectConfig(ctx, cfg)
}

func exec(t testing.TB, db *pgserver.Server, statements ...string) {
	t.Helper()
	conn, err := as(t.Context(), db, pgserver.Superuser, db.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var granting sync.Mutex

func ident(s string) string { return pgx.Identifier{s}.Sanitize() }

func secretOf(db *pgserver.Server, user, password string) map[string]any {
	return map[string]any{
		"engine": "redshift", "host": db.Host, "port": fmt.Sprint(db.Port), "dbname": "postgres", "username": user, "password": password,
	}
}

// newTarget makes a user with an odd name, in a group, with privileges of all
// kinds.
func newTarget(t testing.TB, db *pgserver.Server) *rotatortest.Target {
	granting.Lock() // the server refuses grants on a database at the same time
	defer granting.Unlock()
	n := rotatortest.Unique("n")
	name := `App "é' \ %s ` + n
	user, group, schema, admin := ident(name), ident(`Group ' `+n), ident(`Schema ' \ `+n), rotatortest.Unique("admin")
	exec(t, db,
		fmt.Sprintf("CREATE ROLE %s SUPERUSER LOGIN PASSWORD '%s'", admin, firstPassword),
		fmt.Sprintf("CREATE USER %s CREATEDB PASSWORD '%s' VALID UNTIL '2099-01-01 12:00Z'", user, firstPassword),
		fmt.Sprintf("CREATE GROUP %s USER %s", group, user),
		fmt.Sprintf(`ALTER USER %s SET search_path TO '$user', 'Odd \\ '' "name"', public`, user),
		fmt.Sprintf("ALTER USER %s SET statement_timeout TO 60000", user),
		"CREATE SCHEMA "+schema,
		fmt.Sprintf(`CREATE TABLE %[1]s."T t" (id int); CREATE TABLE %[1]s.grouped (id int); CREATE TABLE %[1]s.hidden (id int)`, schema),
		fmt.Sprintf(`CREATE VIEW %[1]s.v AS SELECT id FROM %[1]s."T t"`, schema),
		fmt.Sprintf("GRANT CREATE, TEMPORARY ON DATABASE postgres TO %s", user),
		fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s", schema, user),
		fmt.Sprintf(`GRANT SELECT, INSERT, REFERENCES ON %s."T t" TO %s`, schema, user),
		fmt.Sprintf("GRANT SELECT ON %s.v TO %s", schema, user),
		fmt.Sprintf("GRANT UPDATE, DELETE ON %s.grouped TO GROUP %s", schema, group))
	target := &rotatortest.Target{Secret: secretOf(db, name, firstPassword), Superuser: secretOf(db, admin, firstPassword)}
	target.Login = func(ctx context.Context, secret map[string]any) error {
		conn, err := as(ctx, db, secret["username"].(string), secret["password"].(string))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	target.Grants = func(ctx context.Context, user string) (string, error) { return privilegesOf(ctx, db, user) }
	return target
}

const privileges = `
	SELECT 'relation ' || c.oid::regclass || ' ' || p FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES}'::text[]) p
		WHERE c.relkind IN ('r', 'v') AND c.relnamespace::regnamespace::text !~ '^pg_|information' AND has_table_privilege($1::name, c.oid, p)
	UNION ALL SELECT 'schema ' || n.nspname || ' ' || p FROM pg_namespace n, unnest('{USAGE,CREATE}'::text[]) p
		WHERE n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege($1::name, n.oid, p)
	UNION ALL SELECT 'database ' || p FROM unnest('{CREATE,CONNECT,TEMPORARY}'::text[]) p WHERE has_database_privilege($1::name, current_database(), p)
	UNION ALL SELECT 'group ' || g.groname FROM pg_group g, pg_user u WHERE u.usename = $1 AND u.usesysid = ANY(g.grolist)
	UNION ALL SELECT 'user ' || concat_ws(' ', usecreatedb, usesuper, valuntil, useconfig) FROM pg_user WHERE usename = $1
	ORDER BY 1`

func privilegesOf(ctx context.Context, db *pgserver.Server, user string) (string, error) {
	conn, err := as(ctx, db, pgserver.Superuser, db.Password)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, privileges, user)
	if err != nil {
		return "", err
	}
	held, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(held) < 12 {
		err = fmt.Errorf("only %d privileges of %s are seen: %q", len(held), user, held)
	}
	return strings.Join(held, "\n"), err
}

func TestContractOnStandin(t *testing.T) {
	db := startStandin(t)
	for name, overlaps := range map[string]bool{"redshift.single": false, "redshift.superuser": false, "redshift.alternating": true} {
		s := rotatortest.Suite{
			Rotator: name, Overlaps: overlaps, NoKills: true,
			New:         func(t testing.TB) *rotatortest.Target { return newTarget(t, db) },
			Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)},
			Faults: []rotatortest.Fault{
				{
					Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true, Alone: true,
					Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
				},
				{
					Name: "no such database", Step: "setSecret", Cause: rotator.CauseDatabase, Alone: true,
					Change: func(secret map[string]any) { secret["dbname"] = "nowhere" },
				},
			},
		}
		if overlaps {
			s.Faults = append(s.Faults, rotatortest.Fault{
				Name: "superuser's wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Text: "admin secret", Alone: true,
				Break: func(t testing.TB, target *rotatortest.Target) func() {
					admin := ident(target.Superuser["username"].(string))
					exec(t, db, "ALTER ROLE "+admin+" PASSWORD 'another'")
					return func() { exec(t, db, "ALTER ROLE "+admin+" PASSWORD '"+firstPassword+"'") }
				},
			})
		}
		s.Run(t)
	}
}
