// Package redshift rotates the passwords of Amazon Redshift's users.
//
// Redshift speaks PostgreSQL's protocol and a dialect of its version 8: every
// statement is sent whole, with its values quoted as Redshift quotes them,
// and roles do not exist, so that a clone gets its privileges one by one.
package redshift

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
)

// Engine is Redshift, clusters and serverless.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// Kind implements rotator.Engine (AWS: the templates). Redshift takes
// passwords of 8 to 64 characters, with a capital, a small letter and a digit.
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "Redshift DB", Accepts: []string{"redshift"}, Port: 5439, Database: "dev",
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `/@"'\:`}, Service: rotator.Redshift,
	}
}

// Connect implements rotator.Engine.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	cfg, err := postgres.Configure(l, secure)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, postgres.LoginFailure(err, secure != nil)
	}
	return &session{conn: conn}, nil
}

type session struct {
	conn *pgconn.PgConn
	// advice is what CopyGrants could not copy.
	advice []string
}

// exec runs a statement.
func (s *session) exec(ctx context.Context, statement string) error {
	_, err := s.conn.Exec(ctx, statement).ReadAll()
	return postgres.Refusal(err)
}

// rows asks a query, whose answers are texts, "" where they are null.
func (s *session) rows(ctx context.Context, query string) ([][]string, error) {
	results, err := s.conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, postgres.Refusal(err)
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, v := range values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error { return s.exec(ctx, "SELECT NOW()") }

// Close implements rotator.Session.
func (s *session) Close(ctx context.Context) error { return s.conn.Close(ctx) }

// SetOwnPassword implements rotator.Session.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.SetPassword(ctx, l.Username, next)
}

// SetPassword implements rotator.Session. Redshift gets the clear text, whose
// rules it checks and which it hashes as its own settings say.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.password(ctx, "ALTER USER "+postgres.Name(user)+" WITH PASSWORD "+literal(next.RevealText()))
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	rows, err := s.rows(ctx, "SELECT usename FROM pg_user WHERE usename = "+literal(user))
	return len(rows) > 0, err
}

// CreateClone implements rotator.Session.
func (s *session) CreateClone(ctx context.Context, _ rotator.Login, to string, password plaintext.Value) error {
	return s.password(ctx, "CREATE USER "+postgres.Name(to)+" WITH PASSWORD "+literal(password.RevealText()))
}

// password runs a statement that sets one. Redshift has no code of its own for
// passwords that break its rules, but says the word.
func (s *session) password(ctx context.Context, statement string) error {
	_, err := s.conn.Exec(ctx, statement).ReadAll()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code != "42501" && strings.Contains(strings.ToLower(e.Message), "password") {
		return rotator.NewFailure(rotator.CausePolicy, e.Code, e.Message, err)
	}
	return postgres.PasswordRefusal(err, false)
}

// literal quotes a text as Redshift's QUOTE_LITERAL does: a backslash escapes.
func literal(s string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(s) + "'"
}
