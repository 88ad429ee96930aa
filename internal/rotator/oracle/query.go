package oracle

import (
	"context"
	"database/sql"

	"github.com/keyturn/keyturn/internal/rotator"
)

// secret runs a statement that holds a password.
func (s *session) secret(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return refusal(err, true)
}

// run runs a statement that holds none.
func (s *session) run(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return refusal(err, false)
}

// rows returns what a query finds, NULL as "".
func (s *session) rows(ctx context.Context, query string, columns int, args ...any) (found [][]string, err error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, refusal(err, false)
	}
	defer func() {
		if e := rows.Close(); err == nil && e != nil {
			err = refusal(e, false)
		}
	}()
	for rows.Next() {
		cells, into := make([]sql.NullString, columns), make([]any, columns)
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, rotator.Classify(err)
		}
		row := make([]string, columns)
		for i, c := range cells {
			row[i] = c.String
		}
		found = append(found, row)
	}
	return found, refusal(rows.Err(), false)
}

// text returns the only cell that a query finds; "" for none.
func (s *session) text(ctx context.Context, query string, args ...any) (string, error) {
	rows, err := s.rows(ctx, query, 1, args...)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0][0], nil
}
