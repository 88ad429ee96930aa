// Package mysql rotates the passwords of MySQL and MariaDB users, Aurora's
// too. The server's version tells the two dialects apart, whatever the secret
// calls its engine.
//
// An account is a name and a host part. A login is of the one account that
// the server matches; what a superuser does to a user, it does to all
// accounts of the name, and a clone has the host parts of its original.
package mysql

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"io"
	"net"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is MySQL or MariaDB.
type Engine struct {
	kind     rotator.Kind
	settings rotator.Settings
}

// New makes the engine of MySQL secrets. The settings that only this package
// knows, KEYTURN_RETAIN_PASSWORD and KEYTURN_SYNC_PRIVILEGES, are those of
// the process's environment.
func New() rotator.Engine {
	// AWS: the templates, whose limit is that of MySQL 5.6; later ones
	// permit 32.
	return newEngine("MySQL DB", 16, "mysql", "aurora-mysql")
}

// NewMariaDB makes the engine of MariaDB secrets.
func NewMariaDB() rotator.Engine { return newEngine("MariaDB DB", 80, "mariadb") }

func newEngine(title string, limit int, accepts ...string) rotator.Engine {
	return Engine{
		kind: rotator.Kind{
			Title: title, Accepts: accepts, Port: 3306, Passwords: rotator.PasswordRules{Length: 32, Exclude: `/@"'\`},
			CloneLimit: limit, CloneLimitVariable: "USERNAME_CHARACTER_LIMIT", GrantsEachTime: true,
		},
		settings: rotator.Environment(),
	}
}

// Kind implements rotator.Engine (AWS: the templates).
func (e Engine) Kind() rotator.Kind { return e.kind }

// Connect implements rotator.Engine.
func (e Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
	cfg.User, cfg.Passwd, cfg.DBName, cfg.TLS = l.Username, l.Password.RevealText(), l.Database, secure
	cfg.Logger = &driver.NopLogger{}
	cfg.ConnectionAttributes = "program_name:keyturn-rotator"
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		// The driver would name what it was given.
		return nil, rotator.NewFailure(rotator.CauseOther, "", "the driver does not take the secret's login", nil)
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, refusedLogin(ctx, err, secure != nil)
	}
	s := &session{
		conn: conn, retain: e.settings.Flag("KEYTURN_RETAIN_PASSWORD", false), equal: e.settings.Flag("KEYTURN_SYNC_PRIVILEGES", false),
	}
	if err := s.begin(ctx); err != nil {
		_ = conn.Close() // the failure of the login is what counts
		return nil, err
	}
	return s, nil
}

// session is one connection, without a pool: whatever it sets holds for what
// follows, and a login is tried once.
type session struct {
	conn   sqldriver.Conn
	server version
	// retain keeps the password before valid too, equal takes privileges
	// away that the original does not have.
	retain, equal bool
}

// begin learns what the server is and brings the session into a state in
// which quoting is known: backslashes escape, double quotes are no
// identifiers, and no GRANT makes a user.
func (s *session) begin(ctx context.Context) error {
	rows, err := s.query(ctx, "SELECT VERSION()")
	if err != nil {
		return err
	}
	s.server = parseVersion(rows[0][0])
	mode := "STRICT_TRANS_TABLES"
	if s.server.maria || !s.server.atLeast(8, 0, 0) {
		mode += ",NO_AUTO_CREATE_USER"
	}
	return s.exec(ctx, "SET SESSION sql_mode = '"+mode+"', sql_quote_show_create = 1")
}

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.query(ctx, "SELECT NOW()")
	return err
}

// Close implements rotator.Session.
func (s *session) Close(context.Context) error { return s.conn.Close() }

// exec runs a statement that holds no password.
func (s *session) exec(ctx context.Context, statement string) error {
	return refusedStatement(ctx, s.run(ctx, statement), false)
}

// execSecret runs a statement that holds a password.
func (s *session) execSecret(ctx context.Context, statement string) error {
	return refusedStatement(ctx, s.run(ctx, statement), true)
}

func (s *session) run(ctx context.Context, statement string) error {
	_, err := s.conn.(sqldriver.ExecerContext).ExecContext(ctx, statement, nil)
	return err
}

// query returns the rows as the texts that the server sent; NULL is "".
func (s *session) query(ctx context.Context, statement string) ([][]string, error) {
	rows, err := s.conn.(sqldriver.QueryerContext).QueryContext(ctx, statement, nil)
	if err != nil {
		return nil, refusedStatement(ctx, err, false)
	}
	defer rows.Close()
	var all [][]string
	values := make([]sqldriver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(values); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, refusedStatement(ctx, err, false)
		}
		all = append(all, texts(values))
	}
}

func texts(values []sqldriver.Value) []string {
	row := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case []byte:
			row[i] = string(v)
		case int64:
			row[i] = strconv.FormatInt(v, 10)
		case uint64:
			row[i] = strconv.FormatUint(v, 10)
		case string:
			row[i] = v
		}
	}
	return row
}

// literal quotes a text for the session's sql_mode.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}

// version is a server's.
type version struct {
	maria               bool
	major, minor, patch int
}

// parseVersion reads what VERSION() returns: 9.7.4-2, 8.0.mysql_aurora.3.04.0
// or 10.11.19-MariaDB-log. A missing number counts as the highest.
func parseVersion(text string) version {
	v := version{maria: strings.Contains(strings.ToLower(text), "mariadb"), minor: 99, patch: 99}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '.' || r == '-' })
	for i, number := range []*int{&v.major, &v.minor, &v.patch} {
		if i >= len(parts) {
			break
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			break
		}
		*number = n
	}
	return v
}

func (v version) atLeast(major, minor, patch int) bool {
	if v.major != major {
		return v.major > major
	}
	if v.minor != minor {
		return v.minor > minor
	}
	return v.patch >= patch
}
