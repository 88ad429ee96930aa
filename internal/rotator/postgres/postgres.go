// Package postgres rotates the passwords of PostgreSQL users, Aurora's too.
//
// Passwords reach the server as hashes where it would hash them the same way
// itself, so that no log of statements and no statistics hold them. The
// second of two alternating users is a member of the first, and has its
// attributes and settings, which members do not inherit.
package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is PostgreSQL.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// nameLimit is how long a role's name may be, in bytes: the server cuts the
// rest off without a word.
const nameLimit = 63

// Kind implements rotator.Engine (AWS: the templates).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "PostgreSQL DB", Accepts: []string{"postgres", "aurora-postgresql"}, Port: 5432, Database: "postgres",
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `:/@"'\`}, CloneLimit: nameLimit, CloneBytes: true, Service: rotator.Aurora,
	}
}

// Connect implements rotator.Engine. A server that asks for no password is
// refused: a login there proves nothing about one. A password is never sent in
// clear text over a plain connection that the secret does not ask for.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	cfg, err := Configure(l, secure)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, LoginFailure(err, secure != nil)
	}
	return &session{conn: conn, settings: l.Settings}, nil
}

// Configure makes the driver's settings: nothing but the login counts, no
// environment and no files of a user.
func Configure(l rotator.Login, secure *tls.Config) (*pgx.ConnConfig, error) {
	for _, text := range []string{l.Host, l.Database, l.Username, l.Password.RevealText()} {
		if strings.ContainsRune(text, 0) {
			return nil, rotator.NewFailure(rotator.CauseOther, "", "a member of the secret holds the character NUL, which PostgreSQL knows nowhere", nil)
		}
	}
	cfg, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, rotator.Classify(err)
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User = l.Host, uint16(l.Port), l.Database, l.Username
	cfg.Password, cfg.TLSConfig, cfg.Fallbacks = l.Password.RevealText(), secure, nil
	cfg.RuntimeParams = map[string]string{"application_name": "keyturn-rotator"}
	// No prepared statements: poolers hand connections around.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.RequireAuth = "scram-sha-256,md5,password"
	if secure == nil && l.TLS == rotator.PreferTLS {
		cfg.RequireAuth = "scram-sha-256,md5"
	}
	return cfg, nil
}

type session struct {
	conn     *pgx.Conn
	settings rotator.Settings
	// advice is what CopyGrants could not copy.
	advice []string
}

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "SELECT NOW()")
	return Refusal(err)
}

// leaving bounds the wait for the server to note that a session has ended.
const leaving = time.Second

// Close implements rotator.Session. It waits until the server no longer counts
// the connection, so that its limit holds for the next one.
func (s *session) Close(ctx context.Context) error {
	hijacked, err := s.conn.PgConn().Hijack()
	if err != nil { // not idle, or closed
		return s.conn.Close(ctx)
	}
	conn := hijacked.Conn
	until := time.Now().Add(leaving)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if conn.SetDeadline(until) == nil {
		if _, err := conn.Write([]byte{'X', 0, 0, 0, 4}); err == nil { // Terminate
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	return conn.Close()
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	var exists bool
	err := s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", user).Scan(&exists)
	return exists, Refusal(err)
}

// change runs statements as the user that logged in, all or none. They are
// written even where the user reads only by default, and are on disk when it
// returns even where the user does not wait for the disk: AWSCURRENT must not
// move to a password that a crash takes back.
func (s *session) change(ctx context.Context, do func(tx pgx.Tx) error) error {
	ctx, cancel := inTime(ctx)
	defer cancel()
	tx, err := s.conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite})
	if err != nil {
		return beginFailure(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after Commit it does nothing
	const prepare = "SET LOCAL ROLE NONE; " +
		"SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
	if _, err := tx.Exec(ctx, prepare); err != nil {
		return Refusal(err)
	}
	if err := do(tx); err != nil {
		return err
	}
	return Refusal(tx.Commit(ctx))
}

// inTime ends what is done early enough for the function to say why.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-time.Second))
	}
	return context.WithCancel(ctx)
}

// SetOwnPassword implements rotator.Session.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.SetPassword(ctx, l.Username, next)
}

// SetPassword implements rotator.Session.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.setPassword(ctx, user, next, "ALTER USER %s WITH PASSWORD %s")
}

// CreateClone implements rotator.Session.
func (s *session) CreateClone(ctx context.Context, _ rotator.Login, to string, password plaintext.Value) error {
	return s.setPassword(ctx, to, password, "CREATE ROLE %s WITH LOGIN INHERIT PASSWORD %s")
}

func (s *session) setPassword(ctx context.Context, user string, p plaintext.Value, statement string) error {
	return s.change(ctx, func(tx pgx.Tx) error {
		stored, hashed, err := s.stored(ctx, tx, user, p)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf(statement, Name(user), literal(stored)))
		return PasswordRefusal(err, hashed)
	})
}

// Name quotes the name of a role or of what it has.
func Name(s string) string { return pgx.Identifier{s}.Sanitize() }

// literal quotes a text so that it means the same whatever the server's
// standard_conforming_strings.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		quoted = " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
