package mysql_test

import (
	"context"
	"database/sql"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mysql"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// quote is a text literal of the servers' default sql_mode.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// Passwords and names that need quoting everywhere.
const (
	firstPassword = `p'w"d\%/@ 1Aä`
	oddName       = "o'd\"D \\%`N"
)

func (s *server) secretOf(engine, user, password string) map[string]any {
	return map[string]any{
		"engine": engine, "host": "127.0.0.1", "port": s.port, "dbname": "mysql", "username": user, "password": password,
	}
}

// newTarget makes a user with an odd name and one of everything that it can
// be given, at the tests' address and at another.
func newTarget(t testing.TB, s *server, engine string) *rotatortest.Target {
	name := rotatortest.Unique(oddName)
	s.exec(t, s.privileges(name)...)
	secret := s.secretOf(engine, name, firstPassword)
	secret["dbname"] = "shop"
	target := &rotatortest.Target{
		Secret: secret, Superuser: s.secretOf(engine, "root", adminPassword), Grants: s.definition,
	}
	target.Login = func(ctx context.Context, secret map[string]any) error {
		conn, err := s.login(ctx, secret["username"].(string), secret["password"].(string))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return target
}

// furnish makes what privileges are on.
func (s *server) furnish(t testing.TB) {
	s.exec(t,
		"CREATE DATABASE shop", "CREATE TABLE shop.orders (id int, price int)", "CREATE PROCEDURE shop.work() SELECT 1",
		"CREATE FUNCTION shop.one() RETURNS int DETERMINISTIC RETURN 1", "CREATE DATABASE `to from`", "CREATE TABLE `to from`.` TO ``x`` FROM y` (id int)",
		"CREATE ROLE reader", "CREATE ROLE `role TO x`", "CREATE USER proxied IDENTIFIED BY 'x'",
		"GRANT reader TO root@127.0.0.1 WITH ADMIN OPTION", "GRANT `role TO x` TO root@127.0.0.1 WITH ADMIN OPTION",
	)
}

// privileges make a user.
func (s *server) privileges(name string) []string {
	user, elsewhere := quote(name)+"@'127.0.0.1'", quote(name)+"@'10.%'"
	all := []string{
		"CREATE USER " + user + " IDENTIFIED BY " + quote(firstPassword) + " REQUIRE SSL WITH MAX_USER_CONNECTIONS 20 MAX_QUERIES_PER_HOUR 9000",
		"CREATE USER " + elsewhere + " IDENTIFIED BY " + quote(firstPassword) + " REQUIRE ISSUER '/CN=it''s' AND SUBJECT '/CN=\\\"x'",
		"GRANT SELECT, INSERT ON shop.* TO " + user + " WITH GRANT OPTION",
		"GRANT ALL ON `to from`.* TO " + user,
		"GRANT UPDATE ON `to from`.` TO ``x`` FROM y` TO " + user,
		"GRANT SELECT (id), UPDATE (id, price) ON shop.orders TO " + user,
		"GRANT EXECUTE ON PROCEDURE shop.work TO " + user, "GRANT EXECUTE ON FUNCTION shop.one TO " + user,
		"GRANT DELETE ON `a\\_b%`.* TO " + user, "GRANT CREATE USER, PROCESS ON *.* TO " + user,
		"GRANT reader TO " + user, "GRANT `role TO x` TO " + user + " WITH ADMIN OPTION", "GRANT SELECT ON shop.* TO " + elsewhere,
	}
	if s.maria {
		return append(all, "GRANT BINLOG MONITOR ON *.* TO "+user, "SET DEFAULT ROLE `role TO x` FOR "+user,
			"ALTER USER "+user+" PASSWORD EXPIRE INTERVAL 90 DAY")
	}
	return append(all, "GRANT CONNECTION_ADMIN ON *.* TO "+user, "GRANT BACKUP_ADMIN ON *.* TO "+user+" WITH GRANT OPTION",
		"GRANT PROXY ON proxied TO "+user, "SET DEFAULT ROLE reader, `role TO x` TO "+user,
		"ALTER USER "+user+" PASSWORD EXPIRE INTERVAL 90 DAY PASSWORD HISTORY 2 FAILED_LOGIN_ATTEMPTS 100 PASSWORD_LOCK_TIME UNBOUNDED")
}

var storedPassword = regexp.MustCompile(`(BY PASSWORD|AS|USING) ('(\\.|''|[^'\\])*'|<secret>|0x[0-9A-F]*)`)

// definition lists all that the server says of a user's accounts, without
// name and password.
func (s *server) definition(ctx context.Context, name string) (string, error) {
	hosts, err := s.column(ctx, "SELECT Host FROM mysql.user WHERE User = ? ORDER BY Host", name)
	if err != nil {
		return "", err
	}
	var all []string
	for _, host := range hosts {
		account := quote(name) + "@" + quote(host)
		lines, err := s.column(ctx, "SHOW GRANTS FOR "+account)
		if err != nil {
			return "", err
		}
		slices.Sort(lines)
		created, err := s.column(ctx, "SHOW CREATE USER "+account)
		if err != nil {
			return "", err
		}
		all = append(all, append(lines, created...)...)
	}
	text := storedPassword.ReplaceAllString(strings.Join(all, "\n"), "$1 X")
	return strings.ReplaceAll(text, "`"+strings.ReplaceAll(name, "`", "``")+"`", "USER"), nil
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	s := startMariaDB(t)
	s.furnish(t)
	t.Run("sessions", func(t *testing.T) { sessions(t, s, mysql.NewMariaDB()) })
	t.Run("plugins", func(t *testing.T) { pluginsOfMariaDB(t, s) })
	contract(t, s, "mariadb", rotatortest.Fault{
		Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
		Break: s.setting("INSTALL SONAME 'simple_password_check'; SET GLOBAL simple_password_check_minimal_length = 64",
			"UNINSTALL SONAME 'simple_password_check'"),
	})
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	s := startMySQL(t)
	s.furnish(t)
	t.Run("sessions", func(t *testing.T) { sessions(t, s, mysql.New()) })
	t.Run("plugins", func(t *testing.T) { pluginsOfMySQL(t, s) })
	contract(t, s, "mysql", rotatortest.Fault{
		Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
		Break: s.setting("INSTALL COMPONENT 'file://component_validate_password'; SET GLOBAL validate_password.length = 64",
			"UNINSTALL COMPONENT 'file://component_validate_password'"),
	})
	retained := suiteOf(s, "mysql", "single")
	retained.Overlaps, retained.Environment["KEYTURN_RETAIN_PASSWORD"] = true, "true"
	retained.New = func(t testing.TB) *rotatortest.Target {
		target := newTarget(t, s, "mysql")
		s.exec(t, "GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO "+quote(target.Secret["username"].(string))+"@'127.0.0.1'")
		return target
	}
	t.Run("retained", func(t *testing.T) { retained.Run(t) })
}

// contract runs the suite for every strategy, with all faults for the first
// and kills for the last.
// Passwords may hold any character.
func contract(t *testing.T, s *server, engine string, policy rotatortest.Fault) {
	for _, strategy := range []string{"single", "superuser", "alternating"} {
		suite := suiteOf(s, engine, strategy)
		suite.Faults = s.changes()
		if strategy == "single" {
			suite.Faults = append(append(suite.Faults, policy), s.faults(t)...)
		}
		if strategy == "alternating" { // it does the most
			suite.NoKills = false
			suite.Kill, suite.Revive = func(t testing.TB) { s.kill(t) }, func(t testing.TB) { s.start(t) }
		}
		suite.Run(t)
	}
}

func suiteOf(s *server, engine, strategy string) rotatortest.Suite {
	return rotatortest.Suite{
		Rotator: engine + "." + strategy, Overlaps: strategy == "alternating", NoKills: true,
		New:         func(t testing.TB) *rotatortest.Target { return newTarget(t, s, engine) },
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": s.authority, "EXCLUDE_CHARACTERS": "", "USERNAME_CHARACTER_LIMIT": "32"},
	}
}

// setting breaks by statements of root and mends by others.
func (s *server) setting(wrong, right string) func(testing.TB, *rotatortest.Target) func() {
	return func(t testing.TB, _ *rotatortest.Target) func() {
		s.exec(t, strings.Split(wrong, "; ")...)
		return func() { s.exec(t, strings.Split(right, "; ")...) }
	}
}

// changes are secrets that are wrong.
func (s *server) changes() []rotatortest.Fault {
	return []rotatortest.Fault{
		{
			Name: "wrong password", Alone: true, Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
			Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
		},
		{
			Name: "read-only server", Step: "setSecret", Cause: rotator.CauseReadOnly,
			Break: s.setting("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
		},
	}
}

// faults are further ways to fail that do not depend on the strategy.
func (s *server) faults(t *testing.T) []rotatortest.Fault {
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	silent := hole.Addr().(*net.TCPAddr).Port
	all := []rotatortest.Fault{
		{
			Name: "missing user", Alone: true, Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
			Change: func(secret map[string]any) { secret["username"] = "nobody" },
		},
		{
			Name: "unknown database", Alone: true, Step: "setSecret", Cause: rotator.CauseDatabase,
			Change: func(secret map[string]any) { secret["dbname"] = "no such database" },
		},
		{
			Name: "DNS", Alone: true, Step: "setSecret", Cause: rotator.CauseDNS,
			Change: func(secret map[string]any) { secret["host"] = "keyturn.invalid" },
		},
		{
			Name: "refused port", Alone: true, Step: "setSecret", Cause: rotator.CauseTCP,
			Change: func(secret map[string]any) { secret["port"] = 1 },
		},
		{
			Name: "black hole", Alone: true, Timeout: 6, Step: "setSecret", Cause: rotator.CauseTimeout,
			Change: func(secret map[string]any) { secret["port"] = silent },
		},
		{
			Name: "TLS is on and not trusted", Alone: true, Step: "setSecret", Cause: rotator.CauseTLS,
			Change: func(secret map[string]any) { secret["host"], secret["ssl"] = "localhost", true },
		},
		{
			Name: "user's connections", Alone: true, Step: "setSecret", Cause: rotator.CauseConnections, Lockout: true,
			Break: func(t testing.TB, target *rotatortest.Target) func() {
				user := target.Secret["username"].(string)
				account := quote(user) + "@'127.0.0.1'"
				s.exec(t, "ALTER USER "+account+" WITH MAX_USER_CONNECTIONS 1")
				held := s.hold(t, 1, user, firstPassword)
				return func() {
					held()
					s.exec(t, "ALTER USER "+account+" WITH MAX_USER_CONNECTIONS 20")
				}
			},
		},
		{
			Name: "server's connections", Step: "setSecret", Cause: rotator.CauseConnections, Lockout: true,
			Break: func(t testing.TB, _ *rotatortest.Target) func() {
				s.exec(t, "SET GLOBAL max_connections = 10", "CREATE USER IF NOT EXISTS crowd IDENTIFIED BY 'Crowd-Password-1'")
				held := s.hold(t, 11, "crowd", "Crowd-Password-1")
				return func() {
					held()
					s.exec(t, "SET GLOBAL max_connections = 100")
				}
			},
		},
	}
	if !s.maria { // MySQL 9.7 now and then admits one more than its limit
		all = all[:len(all)-1]
	}
	return all
}

// hold opens connections, n at most, until the server goes on refusing: it
// takes a moment to note that others have gone. It returns what closes them,
// which waits until the server has taken note.
func (s *server) hold(t testing.TB, n int, user, password string) func() {
	t.Helper()
	var all []*sql.Conn
	for refused := 0; len(all) < n && refused < 10; {
		conn, err := s.login(t.Context(), user, password)
		if err != nil {
			refused++
			time.Sleep(30 * time.Millisecond)
			continue
		}
		all, refused = append(all, conn), 0
	}
	return func() {
		for _, conn := range all {
			conn.Close()
		}
		for left := []string{"?"}; len(left) > 0; time.Sleep(20 * time.Millisecond) {
			var err error
			if left, err = s.column(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?", user); err != nil {
				t.Fatal(err)
			}
		}
	}
}
