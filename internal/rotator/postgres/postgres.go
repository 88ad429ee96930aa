// Package postgres rotates the passwords of PostgreSQL users, Aurora's too.
package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is PostgreSQL.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// Kind implements rotator.Engine (AWS: the templates).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "PostgreSQL DB", Accepts: []string{"postgres", "aurora-postgresql"}, Port: 5432, Database: "postgres",
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `:/@"'\`}, CloneLimit: 63, Service: rotator.Aurora,
	}
}

// Connect implements rotator.Engine.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	// Nothing but the login counts: no environment, no files of a user.
	cfg, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, rotator.Classify(err)
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User = l.Host, uint16(l.Port), l.Database, l.Username
	cfg.Password, cfg.TLSConfig, cfg.Fallbacks = l.Password.RevealText(), secure, nil
	cfg.RuntimeParams = map[string]string{"application_name": "keyturn-rotator"}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, classify(err)
	}
	return &session{conn}, nil
}

type session struct{ conn *pgx.Conn }

// Ping implements rotator.Session.
func (s *session) Ping(ctx context.Context) error { return s.exec(ctx, "SELECT NOW()") }

// Close implements rotator.Session.
func (s *session) Close(ctx context.Context) error { return s.conn.Close(ctx) }

// SetOwnPassword implements rotator.Session.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.SetPassword(ctx, l.Username, next)
}

// SetPassword implements rotator.Session.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.exec(ctx, "ALTER USER "+name(user)+" WITH PASSWORD "+literal(next.RevealText()))
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	var exists bool
	err := s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", user).Scan(&exists)
	return exists, refusal(err)
}

// CreateClone implements rotator.Session.
func (s *session) CreateClone(ctx context.Context, _ rotator.Login, to string, password plaintext.Value) error {
	return s.exec(ctx, "CREATE ROLE "+name(to)+" WITH LOGIN PASSWORD "+literal(password.RevealText()))
}

// CopyGrants implements rotator.Session: the clone becomes a member of the
// original role.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	return s.exec(ctx, "GRANT "+name(from.Username)+" TO "+name(to))
}

func (s *session) exec(ctx context.Context, statement string) error {
	_, err := s.conn.Exec(ctx, statement)
	return refusal(err)
}

func name(s string) string { return pgx.Identifier{s}.Sanitize() }

// literal quotes a text so that it means the same whatever the server's
// standard_conforming_strings.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		quoted = " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// refusal classifies the failure of a statement; nil stays nil.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	return classify(err)
}

// causes are the SQLSTATEs that say more than that something failed.
var causes = map[string]rotator.Cause{
	"28P01": rotator.CauseAuthentication, "28000": rotator.CauseAuthentication,
	"3D000": rotator.CauseDatabase, "53300": rotator.CauseConnections, "25006": rotator.CauseReadOnly,
	"42501": rotator.CausePermission, "42704": rotator.CauseMissingUser, "57P03": rotator.CauseUnavailable,
	"57P01": rotator.CauseUnavailable, "57P02": rotator.CauseUnavailable,
}

func classify(err error) *rotator.Failure {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if strings.Contains(err.Error(), "server refused TLS connection") {
			return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", err)
		}
		return rotator.Classify(err)
	}
	cause, ok := causes[e.Code]
	if !ok {
		cause = rotator.CauseOther
	}
	return rotator.NewFailure(cause, e.Code, e.Message, err)
}
