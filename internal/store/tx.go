package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// Tx is a transaction, valid until the function that got it returns. It is
// not safe for concurrent use. After a statement failed, every further
// method returns the same error and nothing is stored, whatever the
// function returns. Errors of kind NotFound, Exists and Conflict are
// answers, not failures: the transaction goes on.
type Tx struct {
	ctx      context.Context
	conn     Conn
	readOnly bool
	done     bool
	failed   error
	topics   []string // what Touch was told

	// memory is set for Read and for an update that runs alone; mark is before
	// the snapshot. While recalling there is no connection.
	memory    *memory
	mark      Mark
	recalling bool

	// found is the secret that was found last, and has as many versions.
	found         *secret.Secret
	foundVersions int64
	// saved are the secrets that the transaction leaves in memory.
	saved []savedSecret
}

// Context returns the context of the transaction.
func (tx *Tx) Context() context.Context { return tx.ctx }

var (
	errDone     = errors.New("the transaction is over")
	errReadOnly = errors.New("a view cannot write")
)

// over reports why nothing can be read any more.
func (tx *Tx) over() error {
	if tx.done {
		return &fault.Error{Kind: fault.Internal, Cause: errDone}
	}
	return tx.failed
}

// usable reports why no statement may run.
func (tx *Tx) usable() error {
	if err := tx.over(); err != nil {
		return err
	}
	if tx.recalling {
		tx.failed = errMissed
	} else {
		tx.failed = tx.ctx.Err()
	}
	return tx.failed
}

func (tx *Tx) fail(query string, err error) error {
	tx.failed = &DriverError{Doing: strings.Join(strings.Fields(query), " "), Err: err}
	return tx.failed
}

// exec runs a statement that returns no rows and returns how many rows it
// changed.
func (tx *Tx) exec(query string, args ...any) (changed int64, err error) {
	if err := tx.usable(); err != nil {
		return 0, err
	}
	if tx.readOnly {
		return 0, &fault.Error{Kind: fault.Internal, Cause: errReadOnly}
	}
	res, err := tx.conn.Exec(tx.ctx, query, args)
	if err != nil {
		return 0, tx.fail(query, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, tx.fail(query, err)
	}
	return n, nil
}

// errEnough, returned by the scan of each, ends the query without error.
var errEnough = errors.New("enough rows")

// each runs a query and calls scan at every row.
func (tx *Tx) each(scan func(*sql.Rows) error, query string, args ...any) error {
	if err := tx.usable(); err != nil {
		return err
	}
	rows, err := tx.conn.Query(tx.ctx, query, args)
	if err != nil {
		return tx.fail(query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); errors.Is(err, errEnough) {
			return rows.Close()
		} else if err != nil {
			return tx.fail(query, err)
		}
	}
	if err := rows.Err(); err != nil {
		return tx.fail(query, err)
	}
	if err := rows.Close(); err != nil {
		return tx.fail(query, err)
	}
	return nil
}

// one runs a query that gives at most one row and scans it into dest. It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) one(dest []any, query string, args ...any) error {
	found := false
	err := tx.each(func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dest...)
	}, query, args...)
	if err == nil && !found {
		return fault.New(fault.NotFound, "")
	}
	return err
}

// insert runs an INSERT … ON CONFLICT DO NOTHING and returns an error of
// kind Exists, without message, when the row was there already.
func (tx *Tx) insert(query string, args ...any) error {
	n, err := tx.exec(query, args...)
	if err == nil && n == 0 {
		return fault.New(fault.Exists, "")
	}
	return err
}

// change runs a statement that must change a row and returns an error of
// kind NotFound, without message, when it changed none.
func (tx *Tx) change(query string, args ...any) error {
	n, err := tx.exec(query, args...)
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "")
	}
	return err
}

// micros returns the stored form of a time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros reads the stored form of a time.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// bit returns the stored form of a truth value.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
