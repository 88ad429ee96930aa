package postgres_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const firstPassword = "first-Password-1"

// world makes targets on a server.
type world struct {
	db, standby *pgserver.Server
	// limitedAdmin says that superusers' secrets hold users that may only
	// make roles.
	limitedAdmin bool
	places       sync.Map // *rotatortest.Target to *place
}

// place is what a target's faults need to know.
type place struct {
	proxy                 *rotatortest.Proxy
	user, admin, database string
}

func (w *world) placeOf(target *rotatortest.Target) *place {
	p, _ := w.places.Load(target)
	return p.(*place)
}

func ident(s string) string { return pgx.Identifier{s}.Sanitize() }

// as logs in directly, past every proxy.
func as(ctx context.Context, db *pgserver.Server, user, password, database string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(db.AdminURL())
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password, cfg.Database = user, password, database
	return pgx.ConnectConfig(ctx, cfg)
}

// exec runs statements as the server's superuser.
func (w *world) exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := as(ctx, w.db, pgserver.Superuser, w.db.Password, database)
	if err != nil {
		t.Fatalf("connecting to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (w *world) plain(t testing.TB) *rotatortest.Target {
	n := rotatortest.Unique("app")
	return w.target(t, n, n+"_data")
}

// odd makes names that break what is quoted badly.
func (w *world) odd(t testing.TB) *rotatortest.Target {
	n := rotatortest.Unique("n")
	return w.target(t, `App "é' \ %s `+n, `My 'data' %d "ü" \ `+n)
}

// target makes a user with privileges of all kinds in a database of its own.
func (w *world) target(t testing.TB, user, database string) *rotatortest.Target {
	t.Helper()
	p := &place{
		proxy: rotatortest.NewProxy(t, net.JoinHostPort(w.db.Host, strconv.Itoa(w.db.Port))),
		user:  user, admin: rotatortest.Unique("admin"), database: database,
	}
	w.populate(t, p)
	t.Cleanup(func() { w.exec(t, "postgres", "DROP DATABASE "+ident(database)+" WITH (FORCE)") })
	target := &rotatortest.Target{Secret: p.secret(user, firstPassword), Superuser: p.secret(p.admin, firstPassword), Grants: w.grantsOf(p)}
	target.Login = func(ctx context.Context, secret map[string]any) error {
		conn, err := as(ctx, w.db, secret["username"].(string), secret["password"].(string), secret["dbname"].(string))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	w.places.Store(target, p)
	return target
}

func (p *place) secret(user, password string) map[string]any {
	return map[string]any{
		"engine": "postgres", "host": p.proxy.Host, "port": p.proxy.Port, "dbname": p.database, "username": user, "password": password,
	}
}

// populate makes the users, the database and what is in it.
func (w *world) populate(t testing.TB, p *place) {
	t.Helper()
	kind := "SUPERUSER"
	if w.limitedAdmin {
		kind = "CREATEROLE"
	}
	user, database := ident(p.user), ident(p.database)
	w.exec(t, "postgres",
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' %s", p.admin, firstPassword, kind),
		"CREATE DATABASE "+database,
		"SET ROLE "+p.admin,
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", user, firstPassword),
		"RESET ROLE",
		fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT 20 VALID UNTIL '2099-01-01 12:00Z'", user),
		fmt.Sprintf(`ALTER ROLE %s SET search_path = "$user", 'Odd ''Schema''', public`, user),
		fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET work_mem = '8MB'", user, database),
		fmt.Sprintf("GRANT pg_read_all_settings TO %s", user),
		fmt.Sprintf("GRANT CREATE, TEMPORARY ON DATABASE %s TO %s", database, user))
	w.exec(t, p.database, fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s", user))
	if !w.limitedAdmin { // who could not give it to a clone
		w.exec(t, "postgres", fmt.Sprintf(`ALTER ROLE %s SET app.tenant = 'it''s \ %%s'`, user))
	}
	w.exec(t, p.database,
		`CREATE SCHEMA "Odd 'Schema'"`, `CREATE TABLE "Odd 'Schema'"."T t" (id int, secret text, seen text)`,
		`CREATE SEQUENCE numbers`, `CREATE TABLE public.hidden (id int)`,
		`CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `REVOKE ALL ON FUNCTION one() FROM PUBLIC`,
		fmt.Sprintf(`GRANT USAGE, CREATE ON SCHEMA "Odd 'Schema'" TO %s`, user),
		fmt.Sprintf(`GRANT INSERT, DELETE ON "Odd 'Schema'"."T t" TO %s`, user),
		fmt.Sprintf(`GRANT SELECT (id, seen), UPDATE (seen) ON "Odd 'Schema'"."T t" TO %s`, user),
		fmt.Sprintf(`GRANT USAGE, SELECT ON SEQUENCE numbers TO %s`, user),
		fmt.Sprintf(`GRANT EXECUTE ON FUNCTION one() TO %s`, user),
		fmt.Sprintf("CREATE TABLE owned (id int); ALTER TABLE owned OWNER TO %s", user))
}

// privileges asks for everything that a user may do, one row each.
const privileges = `
	SELECT 'table ' || c.oid::regclass || ' ' || p FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
		WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text !~ '^pg_|information' AND has_table_privilege($1::name, c.oid, p)
	UNION ALL SELECT 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || p FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid,
		unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) p
		WHERE c.relkind = 'r' AND a.attnum > 0 AND c.relnamespace::regnamespace::text !~ '^pg_|information' AND has_column_privilege($1::name, c.oid, a.attnum, p)
	UNION ALL SELECT 'sequence ' || c.oid::regclass || ' ' || p FROM pg_class c, unnest('{USAGE,SELECT,UPDATE}'::text[]) p
		WHERE c.relkind = 'S' AND has_sequence_privilege($1::name, c.oid, p)
	UNION ALL SELECT 'schema ' || n.nspname || ' ' || p FROM pg_namespace n, unnest('{USAGE,CREATE}'::text[]) p
		WHERE n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege($1::name, n.oid, p)
	UNION ALL SELECT 'function ' || f.oid::regprocedure FROM pg_proc f WHERE f.pronamespace = 'public'::regnamespace AND has_function_privilege($1::name, f.oid, 'EXECUTE')
	UNION ALL SELECT 'database ' || p FROM unnest('{CREATE,CONNECT,TEMPORARY}'::text[]) p WHERE has_database_privilege($1::name, current_database(), p)
	UNION ALL SELECT 'member of ' || r.rolname FROM pg_roles r WHERE r.rolname ~ '^pg_' AND pg_has_role($1::name, r.oid, 'USAGE')
	UNION ALL SELECT 'attributes ' || concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolconnlimit, coalesce(rolvaliduntil, 'infinity'))
		FROM pg_roles WHERE rolname = $1
	UNION ALL SELECT 'setting ' || coalesce(d.datname, 'anywhere') || ' ' || c FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
		LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c WHERE r.rolname = $1
	ORDER BY 1`

func (w *world) grantsOf(p *place) func(context.Context, string) (string, error) {
	return func(ctx context.Context, user string) (string, error) {
		conn, err := as(ctx, w.db, pgserver.Superuser, w.db.Password, p.database)
		if err != nil {
			return "", err
		}
		defer conn.Close(ctx)
		rows, err := conn.Query(ctx, privileges, user)
		if err != nil {
			return "", err
		}
		held, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err == nil && user == p.user && len(held) < 25 {
			err = fmt.Errorf("only %d privileges of %s are seen: %q", len(held), user, held)
		}
		return strings.Join(held, "\n"), err
	}
}
