package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Fingerprint is a digest of how the server keeps a role's password and of
// whether and until when it may log in, made by the server: it changes when
// any of them does. Only superusers may see pg_authid.
func (s *session) Fingerprint(ctx context.Context, user string) (string, error) {
	digest := ""
	const query = `SELECT coalesce((SELECT encode(sha256(convert_to(concat_ws('|', rolpassword, rolcanlogin, rolvaliduntil, rolsuper, rolcreaterole), 'UTF8')), 'hex')
		FROM pg_authid WHERE rolname = $1), '')`
	err := s.conn.QueryRow(ctx, query, user).Scan(&digest)
	return digest, Refusal(err)
}

// Powers names the attributes of a role that reach beyond its own objects.
func (s *session) Powers(ctx context.Context, user string) (powers []string, err error) {
	const query = `SELECT array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
		CASE WHEN rolreplication THEN 'REPLICATION' END], NULL) FROM pg_roles WHERE rolname = $1`
	err = s.conn.QueryRow(ctx, query, user).Scan(&powers)
	return powers, Refusal(err)
}

// Expire lets a role's password end within an hour by the server's clock, and
// not later than it would have.
func (s *session) Expire(ctx context.Context, user string) error {
	return s.change(ctx, func(tx pgx.Tx) error {
		until := ""
		const query = "SELECT least(rolvaliduntil, now() + interval '1 hour')::text FROM pg_roles WHERE rolname = $1"
		if err := tx.QueryRow(ctx, query, user).Scan(&until); err != nil {
			return Refusal(err)
		}
		_, err := tx.Exec(ctx, fmt.Sprintf("ALTER ROLE %s VALID UNTIL %s", Name(user), literal(until)))
		return Refusal(err)
	})
}
