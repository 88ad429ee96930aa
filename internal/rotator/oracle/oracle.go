// Package oracle rotates the passwords of Oracle Database's users.
//
// Names are upper-case unless the secret quotes them, as in Oracle's own
// statements. The secret's dbname is the name of a service; where the
// listener does not know it, it is taken for a SID.
package oracle

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	goora "github.com/sijms/go-ora/v2"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is Oracle Database.
type Engine struct {
	open func(a address) (*sql.DB, error)
}

// New makes the engine.
func New() rotator.Engine { return Engine{open: address.open} }

// Kind implements rotator.Engine (AWS: the templates).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "Oracle DB", Accepts: []string{"oracle"}, Required: []string{"host", "username", "password", "dbname"}, Port: 1521,
		Passwords: rotator.PasswordRules{Length: 30, Exclude: `/@"'\`}, CloneSuffix: "_CLONE", CloneUpper: true, CloneLimit: 30,
		Service: rotator.RDS,
	}
}

// address is where and how to log in.
type address struct {
	login  rotator.Login
	secure *tls.Config
	sid    bool // the login's database is a SID
}

// databaseName is what may be put into a connect descriptor.
var databaseName = regexp.MustCompile(`^[A-Za-z0-9_$#.\-]+$`)

// Connect implements rotator.Engine. AWS's template always takes dbname for a
// SID on an encrypted connection, and for a service on a plain one.
func (e Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	if !databaseName.MatchString(l.Database) {
		return nil, rotator.NewFailure(rotator.CauseDatabase, "", "the member dbname is no name of a service or SID", nil)
	}
	s, err := e.enter(ctx, address{login: l, secure: secure})
	first, ok := err.(*rotator.Failure)
	if !ok || first.Code != codeUnknownService {
		return s, err
	}
	s, err = e.enter(ctx, address{login: l, secure: secure, sid: true})
	if second, ok := err.(*rotator.Failure); ok && second.Code == codeUnknownSID {
		return nil, rotator.NewFailure(rotator.CauseDatabase, first.Code,
			"the listener knows neither a service nor a SID of the name "+l.Database, second)
	}
	return s, err
}

// enter makes a session of one connection.
func (e Engine) enter(ctx context.Context, a address) (rotator.Session, error) {
	db, err := e.open(a)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close() // it has no connection
		return nil, refusedLogin(ctx, err, a.secure != nil)
	}
	return &session{db: db, conn: conn}, nil
}

// open opens nothing yet: the driver connects when it is asked for a
// connection.
func (a address) open() (*sql.DB, error) {
	options := url.Values{"CONNECTION TIMEOUT": {"30"}, "PROGRAM": {"keyturn-rotator"}}
	path := a.login.Database
	if a.sid {
		path = ""
		options.Set("SID", a.login.Database)
	}
	if a.secure != nil {
		options.Set("SSL", "true")
	}
	where := url.URL{
		Scheme: "oracle", User: url.UserPassword(a.login.Username, a.login.Password.RevealText()),
		Host: net.JoinHostPort(a.login.Host, strconv.Itoa(a.login.Port)), Path: "/" + path, RawQuery: options.Encode(),
	}
	if _, err := goora.ParseConfig(where.String()); err != nil {
		// What the driver says of it holds the password.
		return nil, rotator.NewFailure(rotator.CauseDNS, "", "the member host is no host's name", nil)
	}
	connector := goora.NewConnector(where.String()).(*goora.OracleConnector)
	if a.secure != nil {
		connector.WithTLSConfig(a.secure.Clone())
	}
	return sql.OpenDB(connector), nil
}

type session struct {
	db   *sql.DB
	conn *sql.Conn
}

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.rows(ctx, "SELECT SYSDATE FROM DUAL", 1)
	return err
}

// Close implements rotator.Session.
func (s *session) Close(context.Context) error { return errors.Join(s.conn.Close(), s.db.Close()) }

// SetOwnPassword implements rotator.Session. Where the user's profile checks
// passwords, the server demands the old one.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	user, secret, err := s.identified(ctx, l.Username, next)
	if err != nil {
		return err
	}
	statement := "ALTER USER " + user + secret
	err = s.secret(ctx, statement)
	if f, ok := err.(*rotator.Failure); ok && f.Code == codeOldPasswordNeeded {
		old, err := quoted(l.Password)
		if err != nil {
			return err
		}
		return s.secret(ctx, statement+" REPLACE "+old)
	}
	return err
}

// SetPassword implements rotator.Session.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	user, secret, err := s.identified(ctx, user, next)
	if err != nil {
		return err
	}
	return s.secret(ctx, "ALTER USER "+user+secret)
}

// identified quotes what a statement says of a user and its password.
func (s *session) identified(ctx context.Context, user string, password plaintext.Value) (name, clause string, err error) {
	secret, err := quoted(password)
	if err != nil {
		return "", "", err
	}
	name, err = s.enquote(ctx, user)
	return name, " IDENTIFIED BY " + secret, err
}

// quoted quotes a password, which cannot hold the quote itself.
func quoted(password plaintext.Value) (string, error) {
	text := password.RevealText()
	if strings.ContainsAny(text, "\"\x00") {
		return "", rotator.NewFailure(rotator.CausePolicy, "", "a password of Oracle Database cannot hold a double quote; exclude it by EXCLUDE_CHARACTERS", nil)
	}
	return `"` + text + `"`, nil
}

// enquote has the server quote a name, which makes it upper-case unless it is
// quoted already.
func (s *session) enquote(ctx context.Context, user string) (string, error) {
	return s.text(ctx, "SELECT sys.DBMS_ASSERT.ENQUOTE_NAME(:1) FROM DUAL", user)
}

// stored is a user's name as the server's tables hold it.
func (s *session) stored(ctx context.Context, user string) (string, error) {
	name, err := s.enquote(ctx, user)
	return strings.Trim(name, `"`), err
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	name, err := s.stored(ctx, user)
	if err != nil {
		return false, err
	}
	rows, err := s.rows(ctx, "SELECT USERNAME FROM DBA_USERS WHERE USERNAME = :1", 1, name)
	return len(rows) > 0, err
}

// CreateClone implements rotator.Session: the clone has the same tablespaces
// and profile.
func (s *session) CreateClone(ctx context.Context, from rotator.Login, to string, password plaintext.Value) error {
	original, err := s.stored(ctx, from.Username)
	if err != nil {
		return err
	}
	user, secret, err := s.identified(ctx, to, password)
	if err != nil {
		return err
	}
	rows, err := s.rows(ctx, "SELECT DEFAULT_TABLESPACE, TEMPORARY_TABLESPACE, PROFILE FROM DBA_USERS WHERE USERNAME = :1", 3, original)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return rotator.NewFailure(rotator.CauseMissingUser, "", "user "+original+" does not exist", nil)
	}
	statement := "CREATE USER " + user + secret
	for i, option := range []string{" DEFAULT TABLESPACE ", " TEMPORARY TABLESPACE ", " PROFILE "} {
		if rows[0][i] != "" {
			statement += option + `"` + rows[0][i] + `"`
		}
	}
	err = s.secret(ctx, statement)
	if f, ok := err.(*rotator.Failure); ok && f.Code == codeUserExists {
		return nil
	}
	return err
}
