// Package sqlserver rotates the passwords of SQL Server's logins and of the
// users of contained databases. It needs SQL Server 2012 or later.
//
// A name that the database of the secret keeps a password for is a contained
// user, as SQL Server itself decides at login; any other is a login of the
// server.
package sqlserver

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"strings"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is SQL Server.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// Kind implements rotator.Engine (AWS: the templates).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "SQL Server DB", Accepts: []string{"sqlserver"}, Port: 1433, Database: "master",
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `/@"'\`}, CloneLimit: 128,
		Service: rotator.RDS,
	}
}

// Connect implements rotator.Engine. On a plain connection the login itself
// is still encrypted, unverified, if the server can, and everything is if the
// server demands it: so do all clients of SQL Server.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	if strings.Contains(l.Username, `\`) {
		// The driver would log in by Windows' protocols.
		return nil, rotator.NewFailure(rotator.CauseAuthentication, "",
			"user "+l.Username+" is one of Windows, whose password SQL Server does not keep", nil)
	}
	d := &dialer{host: l.Host}
	cfg := msdsn.Config{
		Host: l.Host, Port: uint64(l.Port), Database: l.Database, User: l.Username, Password: l.Password.RevealText(),
		Protocols: []string{"tcp"}, AppName: "keyturn-rotator", DialTimeout: -1, DisableRetry: true, NoTraceID: true,
		Encryption: msdsn.EncryptionOff, TLSConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}
	if secure != nil {
		cfg.Encryption, cfg.TLSConfig = msdsn.EncryptionRequired, d.verifying(secure)
	}
	connector := mssql.NewConnectorConfig(cfg)
	connector.Dialer = d
	s, err := open(ctx, sql.OpenDB(connector))
	if err != nil {
		return nil, d.classify(ctx, err)
	}
	if err := d.established(); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// open makes a session of one connection.
func open(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &session{db: db, conn: conn}, nil
}

type session struct {
	db   *sql.DB
	conn *sql.Conn
}

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.text(ctx, "SELECT @@VERSION")
	return err
}

// Close implements rotator.Session.
func (s *session) Close(context.Context) error { return errors.Join(s.conn.Close(), s.db.Close()) }

// SetOwnPassword implements rotator.Session. It proves the password that
// logged in, which AWS's template gets wrong for the previous one.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.alter(ctx, l.Username, "PASSWORD = "+literal(next)+" OLD_PASSWORD = "+literal(l.Password))
}

// SetPassword implements rotator.Session.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.alter(ctx, user, "PASSWORD = "+literal(next))
}

func (s *session) alter(ctx context.Context, user, with string) error {
	contained, err := s.contained(ctx, user)
	if err != nil {
		return err
	}
	kind := "LOGIN "
	if contained {
		kind = "USER "
	}
	return s.secret(ctx, "ALTER "+kind+name(user)+" WITH "+with)
}

// contained tells whether the database itself keeps a password for the name.
func (s *session) contained(ctx context.Context, user string) (bool, error) {
	return s.found(ctx, "SELECT name FROM sys.database_principals WHERE name = @p1 AND type = 'S' AND authentication_type = 2", user)
}

func (s *session) login(ctx context.Context, user string) (bool, error) {
	return s.found(ctx, "SELECT name FROM sys.server_principals WHERE name = @p1 AND type = 'S'", user)
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	exists, err := s.contained(ctx, user)
	if exists || err != nil {
		return exists, err
	}
	return s.login(ctx, user)
}

// CreateClone implements rotator.Session. A login's clone obeys the same
// policies and begins in the same database.
func (s *session) CreateClone(ctx context.Context, from rotator.Login, to string, password plaintext.Value) error {
	contained, err := s.contained(ctx, from.Username)
	if err != nil {
		return err
	}
	if exists, err := s.UserExists(ctx, to); exists || err != nil {
		return err
	}
	if contained {
		schema, err := s.defaultSchema(ctx, from.Username)
		if err != nil {
			return err
		}
		return s.secret(ctx, "CREATE USER "+name(to)+" WITH PASSWORD = "+literal(password)+prefixed(", ", schema))
	}
	rules, err := s.loginRules(ctx, from.Username)
	if err != nil {
		return err
	}
	return s.secret(ctx, "CREATE LOGIN "+name(to)+" WITH PASSWORD = "+literal(password)+rules)
}

// loginRules are the options of CREATE LOGIN that a login was made with.
func (s *session) loginRules(ctx context.Context, login string) (string, error) {
	rows, err := s.rows(ctx, "SELECT default_database_name, default_language_name, is_expiration_checked, is_policy_checked"+
		" FROM sys.sql_logins WHERE name = @p1", 4, login)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	row, rules := rows[0], ""
	if row[0] != "" {
		rules += ", DEFAULT_DATABASE = " + name(row[0])
	}
	if row[1] != "" {
		rules += ", DEFAULT_LANGUAGE = " + name(row[1])
	}
	return rules + ", CHECK_EXPIRATION = " + onOff(row[2]) + ", CHECK_POLICY = " + onOff(row[3]), nil
}

func onOff(bit string) string {
	if bit == "true" || bit == "1" {
		return "ON"
	}
	return "OFF"
}

// defaultSchema is the option for the default schema of a database's user.
func (s *session) defaultSchema(ctx context.Context, user string) (string, error) {
	rows, err := s.rows(ctx, "SELECT default_schema_name FROM sys.database_principals WHERE name = @p1", 1, user)
	if err != nil || len(rows) == 0 || rows[0][0] == "" {
		return "", err
	}
	return "DEFAULT_SCHEMA = " + name(rows[0][0]), nil
}

// name quotes an identifier as QUOTENAME does.
func name(s string) string { return "[" + strings.ReplaceAll(s, "]", "]]") + "]" }

// literal quotes a password.
func literal(v plaintext.Value) string {
	return "N'" + strings.ReplaceAll(v.RevealText(), "'", "''") + "'"
}

// prefixed puts something before a text unless that is empty.
func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}
