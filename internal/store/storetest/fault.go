package storetest

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
)

// ErrInjected is the error of an injected fault.
var ErrInjected = errors.New("injected fault")

// Driver stands between database/sql and a driver. It notes every statement
// and makes chosen ones fail. It works for statements that run prepared, or
// by ExecContext and QueryContext of the connection, and for transactions
// that the driver begins and ends itself.
type Driver struct {
	mu    sync.Mutex
	runs  map[string]int
	rules []*Fault
}

// Fault makes statements fail.
type Fault struct {
	// Statement is the beginning of the statements that fail; a commit
	// or rollback of the driver's own is "COMMIT" or "ROLLBACK".
	Statement string
	// Times is how many of them fail.
	Times int
	// Applied executes the statement before the error is returned.
	Applied bool
	// Instead, if not empty, is executed before the error is returned.
	Instead string
	// Err is the error; nil means ErrInjected.
	Err error
}

// Fail adds a fault.
func (d *Driver) Fail(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append(d.rules, &f)
}

// Statements returns every statement that was prepared or run.
func (d *Driver) Statements() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for q := range d.runs {
		list = append(list, q)
	}
	return list
}

// Runs returns how often a statement was run, or would have been but for a
// fault.
func (d *Driver) Runs(statement string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs[statement]
}

// Wrap is for the Wrap member of a backend's Config.
func (d *Driver) Wrap(c driver.Connector) driver.Connector { return &faultConnector{c, d} }

func (d *Driver) note(query string, runs int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runs == nil {
		d.runs = map[string]int{}
	}
	d.runs[query] += runs
}

// match takes the fault that a statement meets now, or nil.
func (d *Driver) match(query string) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.rules {
		if f.Times > 0 && strings.HasPrefix(query, f.Statement) {
			f.Times--
			return f
		}
	}
	return nil
}

func (f *Fault) error() error {
	if f.Err != nil {
		return f.Err
	}
	return ErrInjected
}

type faultConnector struct {
	driver.Connector
	d *Driver
}

func (c *faultConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if f := c.d.match("CONNECT"); f != nil {
		return nil, f.error()
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &faultConn{conn, c.d}, nil
}

// faultConn passes on what both drivers implement.
type faultConn struct {
	driver.Conn
	d *Driver
}

// run calls apply unless a fault prevents it.
func (c *faultConn) run(query string, apply func() error) error {
	c.d.note(query, 1)
	f := c.d.match(query)
	if f == nil {
		return apply()
	}
	if f.Instead != "" {
		if _, err := c.Conn.(driver.ExecerContext).ExecContext(context.Background(), f.Instead, nil); err != nil {
			return errors.Join(f.error(), err)
		}
	}
	if f.Applied {
		if err := apply(); err != nil {
			return errors.Join(f.error(), err)
		}
	}
	return f.error()
}

func (c *faultConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.d.note(query, 0)
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &faultStmt{s, c, query}, nil
}

func (c *faultConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.run(query, func() (err error) {
		r, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *faultConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.run(query, func() (err error) {
		r, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *faultConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &faultTx{tx, c}, nil
}

func (c *faultConn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *faultConn) IsValid() bool {
	if v, ok := c.Conn.(driver.Validator); ok {
		return v.IsValid()
	}
	return true
}

func (c *faultConn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type faultTx struct {
	tx driver.Tx
	c  *faultConn
}

func (t *faultTx) Commit() error   { return t.c.run("COMMIT", t.tx.Commit) }
func (t *faultTx) Rollback() error { return t.c.run("ROLLBACK", t.tx.Rollback) }

type faultStmt struct {
	driver.Stmt
	c     *faultConn
	query string
}

func (s *faultStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.c.run(s.query, func() (err error) {
		r, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return r, err
}

func (s *faultStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.c.run(s.query, func() (err error) {
		r, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return err
	})
	return r, err
}
