// Package postgres keeps the records in a PostgreSQL database, 13 or newer,
// or one that speaks its protocol: the backend for several nodes.
//
// Updates run at isolation level SERIALIZABLE and start again after a
// serialization failure or a deadlock. Repeatable read with row locks would
// be cheaper by some predicate locks, but then every function given to
// Update would have to know which rows its decision rests on, also rows
// that do not exist yet, and would be right on SQLite, which runs updates
// one after the other, and wrong here. Under SERIALIZABLE the same function
// is right on both. Views run at REPEATABLE READ, read only: one snapshot,
// never a conflict.
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/keyturn/internal/store"
)

// Config says where the database is.
type Config struct {
	// URL is postgres://USER:PASSWORD@HOST:PORT/DATABASE with the usual
	// parameters (sslmode, sslrootcert, search_path …). Without sslmode
	// the connection uses TLS if the server offers it. The tables go into
	// the first schema of search_path, which is made if it is missing.
	URL string
	// Connections bounds the pool; 0 means 16.
	Connections int
	// Cache bounds the memory for cached records in bytes; 0 means
	// store.DefaultCache, less than 0 none.
	Cache int64
	// Wrap, if not nil, stands between database/sql and the driver, to
	// measure or to inject faults.
	Wrap func(driver.Connector) driver.Connector
	// Logger hears when the change feed is lost; nil means slog.Default().
	Logger *slog.Logger
}

// Times of a transaction.
const (
	retryFor    = 15 * time.Second // how long an update is started again after conflicts
	retryFirst  = time.Millisecond // the pause before the second start; doubles, with jitter
	retryMost   = 100 * time.Millisecond
	finishAfter = 10 * time.Second // bound of a commit or rollback
	idleFor     = 5 * time.Minute  // how long an idle connection is kept
)

// types are the column types of the schema files.
func types() *strings.Replacer {
	return strings.NewReplacer(
		"{text}", `text COLLATE "C"`,
		"{int}", "bigint",
		"{bytes}", "bytea",
		"{serial}", "bigint GENERATED ALWAYS AS IDENTITY",
		"{clustered}", "",
	)
}

// Open connects, migrates the schema and returns the store. Several nodes
// may open one database at the same time; one of them migrates. Open
// starts no goroutine of its own.
func Open(ctx context.Context, cfg Config) (_ *store.Store, err error) {
	config, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return nil, errors.New("the PostgreSQL URL is not valid: want postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	tune(config)
	connector := stdlib.GetConnector(*config)
	if cfg.Wrap != nil {
		connector = cfg.Wrap(connector)
	}
	db := sql.OpenDB(connector)
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	size := cfg.Connections
	if size <= 0 {
		size = 16
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(idleFor)
	if err := migrate(ctx, db, config.RuntimeParams["search_path"]); err != nil {
		return nil, fmt.Errorf("opening PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	var schema string
	var at time.Time
	if err := db.QueryRowContext(ctx, "SELECT current_schema(), clock_timestamp()").Scan(&schema, &at); err != nil {
		return nil, fmt.Errorf("opening PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	now := newClock(at)
	logger := cfg.Logger
	if logger == nil {
		logger = slog.Default()
	}
	listening := config.Copy()
	listening.RuntimeParams["application_name"] += " listening"
	return store.New(&backend{db, &listener{db, listening, channelOf(schema), logger, make(chan struct{}, 1), now}}, cfg.Cache), nil
}

// tune sets what every connection needs unless the URL says otherwise.
// Every statement of the store is meant to use an index: a plan that scans
// a small table would lock all of it against concurrent updates.
func tune(config *pgx.ConnConfig) {
	for name, value := range map[string]string{
		"application_name":                    "keyturn",
		"enable_seqscan":                      "off",
		"timezone":                            "UTC",
		"idle_in_transaction_session_timeout": "60000",
	} {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
}

// migrationLock is the advisory lock under which one node migrates: the
// bytes "keyturn" as a number.
const migrationLock = 0x6b65797475726e

func migrate(ctx context.Context, db *sql.DB, searchPath string) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := checkVersion(ctx, c); err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)", migrationLock)); err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishAfter)
		defer cancel()
		if _, err := c.ExecContext(bounded, fmt.Sprintf("SELECT pg_advisory_unlock(%d)", migrationLock)); err != nil {
			// The lock goes with the connection.
			_ = c.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	if err := makeSchema(ctx, c, searchPath); err != nil {
		return err
	}
	if err := store.Migrate(ctx, c, types(), "BEGIN"); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, changeTable)
	return err
}

// oldest is the first version with all that the store uses, as PostgreSQL
// counts them; databases that speak its protocol claim to be one.
const oldest = 130_000

// checkVersion refuses a server that would fail later, in the middle.
func checkVersion(ctx context.Context, c *sql.Conn) error {
	var number int
	var name string
	err := c.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &name)
	if err == nil && number < oldest {
		err = fmt.Errorf("PostgreSQL %s is too old: version 13 or newer is needed", name)
	}
	return err
}

// makeSchema makes the first schema of the search path if no schema of it
// exists.
func makeSchema(ctx context.Context, c *sql.Conn, searchPath string) error {
	var current sql.NullString
	if err := c.QueryRowContext(ctx, "SELECT current_schema()").Scan(&current); err != nil {
		return err
	}
	first, _, _ := strings.Cut(searchPath, ",")
	first = strings.Trim(strings.TrimSpace(first), `"`)
	if first == "" || first == "$user" || current.String == first {
		return nil
	}
	_, err := c.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{first}.Sanitize())
	return err
}

// backend implements store.Backend.
type backend struct {
	db       *sql.DB
	listener *listener
}

// Peers implements store.Backend.
func (b *backend) Peers() *store.Peers {
	return &store.Peers{Announce: b.listener.announce, Committed: b.listener.committed, Now: b.listener.clock.now, Follow: b.listener.follow}
}

// conn runs statements in a transaction.
type conn struct{ tx *transaction }

// Query implements store.Conn.
func (c conn) Query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return c.tx.QueryContext(ctx, query, storable(args)...)
}

// Exec implements store.Conn.
func (c conn) Exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	return c.tx.ExecContext(ctx, query, storable(args)...)
}

// storable replaces what PostgreSQL refuses in text, NUL and bytes that are
// not UTF-8, by the replacement character.
func storable(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok && (strings.IndexByte(s, 0) >= 0 || strings.ToValidUTF8(s, "") != s) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

// View implements store.Backend.
func (b *backend) View(ctx context.Context, fn func(store.Conn) error) error {
	return b.transaction(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
}

// Update implements store.Backend.
func (b *backend) Update(ctx context.Context, fn func(store.Conn) error) error {
	deadline := time.Now().Add(retryFor)
	pause := retryFirst
	for {
		err := b.transaction(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}, fn)
		failed, ok := errors.AsType[*store.DriverError](err)
		if !ok || b.Classify(failed.Err) != store.Conflict || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, retryMost)
	}
}

// transaction runs fn once. The transaction itself does not carry ctx: its
// end must be orderly also when ctx has ended.
func (b *backend) transaction(ctx context.Context, opts *sql.TxOptions, fn func(store.Conn) error) (err error) {
	tx, err := b.begin(ctx, opts)
	if err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed {
			_ = tx.Rollback()
		}
	}()
	if err := fn(conn{tx}); err != nil {
		return err
	}
	committed = true
	if err := tx.Commit(); err != nil {
		return &store.DriverError{Doing: store.Commit, Err: err}
	}
	return nil
}

// begin takes a connection and begins; it waits for a connection no longer
// than ctx lasts. A connection of the pool that has died, as all do when the
// server is restarted, is dropped for another: what only was to begin has done
// nothing.
func (b *backend) begin(ctx context.Context, opts *sql.TxOptions) (tx *transaction, err error) {
	for range 1 + b.db.Stats().MaxOpenConnections {
		if tx, err = b.tryBegin(ctx, opts); err == nil || ctx.Err() != nil {
			break
		}
		failed, ok := errors.AsType[*store.DriverError](err)
		if !ok || failed.Doing != beginning || b.Classify(failed.Err) != store.Unavailable {
			break
		}
	}
	return tx, err
}

// beginning is what an error was doing that came from a connection which was
// thought to be good.
const beginning = "BEGIN"

func (b *backend) tryBegin(ctx context.Context, opts *sql.TxOptions) (*transaction, error) {
	c, err := b.db.Conn(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &store.DriverError{Doing: "connecting", Err: err}
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	tx, err := c.BeginTx(own, opts)
	if err != nil {
		cancel()
		c.Close()
		return nil, &store.DriverError{Doing: beginning, Err: err}
	}
	return &transaction{Tx: tx, conn: c, cancel: cancel}, nil
}

// transaction is a transaction with its connection.
type transaction struct {
	*sql.Tx
	conn   *sql.Conn
	cancel context.CancelFunc
}

// Commit commits within finishAfter and gives the connection back.
func (t *transaction) Commit() error { return t.end(t.Tx.Commit) }

// Rollback rolls back within finishAfter and gives the connection back.
func (t *transaction) Rollback() error { return t.end(t.Tx.Rollback) }

func (t *transaction) end(finish func() error) error {
	bound := time.AfterFunc(finishAfter, t.cancel)
	err := finish()
	bound.Stop()
	t.cancel()
	return errors.Join(err, t.conn.Close())
}

// Check implements store.Backend: labels and versions must refer to what
// exists. PostgreSQL enforces it; a damaged index may not show it.
func (b *backend) Check(ctx context.Context) error {
	var stray int64
	err := b.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM label l LEFT JOIN version v ON v.secret_id = l.secret_id AND v.id = l.version_id WHERE v.id IS NULL)
		+ (SELECT count(*) FROM version v LEFT JOIN secret s ON s.id = v.secret_id WHERE s.id IS NULL)`).Scan(&stray)
	if err != nil {
		return &store.DriverError{Doing: "checking references", Err: err}
	}
	if stray > 0 {
		return fmt.Errorf("the database is damaged: %d labels or versions belong to nothing", stray)
	}
	return nil
}

// Close implements store.Backend.
func (b *backend) Close() error { return b.db.Close() }

// Classify implements store.Backend (PostgreSQL docs, appendix A).
func (b *backend) Classify(err error) store.Class {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40001", "40P01", "55P03":
			return store.Conflict
		case "53100", "25006":
			return store.Full
		case "53300", "57P01", "57P02", "57P03", "57P04":
			return store.Unavailable
		}
		if strings.HasPrefix(e.Code, "08") {
			return store.Unavailable
		}
		return store.Other
	}
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isNetwork(err) {
		return store.Unavailable
	}
	return store.Other
}
