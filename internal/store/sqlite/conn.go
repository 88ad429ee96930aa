package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"

	"github.com/keyturn/keyturn/internal/store"
)

// conn is one connection with its prepared statements. Statements are
// short, so they run without the caller's context, which would cost two
// goroutines each: store.Tx looks at the context before every statement.
type conn struct {
	sql   *sql.Conn
	stmts map[string]*sql.Stmt
}

// maxStmts bounds the prepared statements of one connection. Few forms of
// statement exist; this is a guard, not a working size.
const maxStmts = 512

func open(db *sql.DB) (*conn, error) {
	c, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{sql: c, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		c.forget()
	}
	s, err := c.sql.PrepareContext(context.Background(), rebind(query))
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

func (c *conn) forget() {
	for _, s := range c.stmts {
		s.Close()
	}
	clear(c.stmts)
}

// Query implements store.Conn.
func (c *conn) Query(_ context.Context, query string, args []any) (*sql.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

// Exec implements store.Conn.
func (c *conn) Exec(_ context.Context, query string, args []any) (sql.Result, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), args...)
}

// do runs a statement of transaction control.
func (c *conn) do(query string) error {
	_, err := c.Exec(context.Background(), query, nil)
	return err
}

// close closes the connection for good; the sql.DB would keep it otherwise,
// with whatever transaction it is in.
func (c *conn) close() {
	c.forget()
	_ = c.sql.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.sql.Close()
}

// rebinder turns $1 into ?1, because SQLite reads $1 as a name and numbers
// names by first appearance. It hides limits from SQLite's planner, which
// would compile a statement anew for each value that is bound as one.
var rebinder = strings.NewReplacer("LIMIT $", "LIMIT 0+?", "$", "?")

func rebind(query string) string { return rebinder.Replace(query) }

// pool holds the connections for reading. The one used last is given out
// first, as its page cache is warm.
type pool struct {
	db    *sql.DB
	slots chan struct{} // one per connection in use

	mu   sync.Mutex
	free []*conn
}

func newPool(db *sql.DB, size int) *pool {
	return &pool{db: db, slots: make(chan struct{}, size)}
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	c, err := open(p.db)
	if err != nil {
		<-p.slots
		return nil, &store.DriverError{Doing: "connecting", Err: err}
	}
	return c, nil
}

// put takes a connection back; one that is not healthy is closed.
func (p *pool) put(c *conn, healthy bool) {
	if healthy {
		p.mu.Lock()
		p.free = append(p.free, c)
		p.mu.Unlock()
	} else {
		c.close()
	}
	<-p.slots
}

// close closes all connections; none is in use.
func (p *pool) close() {
	for _, c := range p.free {
		c.close()
	}
}

// view runs fn on a connection, in a read transaction unless it is single.
func (p *pool) view(ctx context.Context, single bool, fn func(store.Conn) error) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	healthy := false
	defer func() { p.put(c, healthy) }()
	if single {
		err := fn(c)
		healthy = true
		return err
	}
	if err := c.do("BEGIN"); err != nil {
		return &store.DriverError{Doing: "BEGIN", Err: err}
	}
	defer func() { healthy = c.do("ROLLBACK") == nil }()
	return fn(c)
}
