package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/rotator"
)

// dependent is the SQLSTATE of a role that something depends on.
const dependent = "2BP01"

// DropUser removes a role, and what it owns or was granted in this database.
func (s *session) DropUser(ctx context.Context, user string) error {
	drop := func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DROP ROLE IF EXISTS "+Name(user))
		return Refusal(err)
	}
	err := s.change(ctx, drop)
	if f, ok := errors.AsType[*rotator.Failure](err); !ok || f.Code != dependent {
		return err
	}
	return s.change(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DROP OWNED BY "+Name(user)); err != nil {
			return Refusal(err)
		}
		return drop(tx)
	})
}
