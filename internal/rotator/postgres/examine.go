package postgres

import (
	"context"

	"github.com/keyturn/keyturn/internal/rotator"
)

// Examine implements rotator.Examiner.
func (s *session) Examine(ctx context.Context) (rotator.Examination, error) {
	e := rotator.Examination{}
	const query = "SELECT 'PostgreSQL ' || current_setting('server_version'), pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
	err := s.conn.QueryRow(ctx, query).Scan(&e.Server, &e.ReadOnly)
	return e, Refusal(err)
}

// Verifier implements rotator.Examiner. Only superusers may see pg_authid.
func (s *session) Verifier(ctx context.Context, user string) (string, error) {
	kind := ""
	const query = `SELECT coalesce((SELECT CASE WHEN rolpassword IS NULL THEN 'none' WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'SCRAM-SHA-256'
		WHEN rolpassword LIKE 'md5%' THEN 'md5' ELSE 'other' END FROM pg_authid WHERE rolname = $1), '')`
	err := s.conn.QueryRow(ctx, query, user).Scan(&kind)
	return kind, Refusal(err)
}
