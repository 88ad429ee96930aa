package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/keyturn/internal/store"
)

// Attach opens the database for reading, beside the servers that use it: it
// migrates nothing and refuses updates. Its connections have the
// application_name "keyturn reading" unless the URL says otherwise.
func Attach(ctx context.Context, url string) (*store.Store, error) {
	config, db, err := openFor(url, map[string]string{
		"application_name": "keyturn reading", "timezone": "UTC", "default_transaction_read_only": "on",
	})
	if err != nil {
		return nil, err
	}
	c, err := db.Conn(ctx)
	if err == nil {
		err = errors.Join(store.CheckSchema(ctx, c), c.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening PostgreSQL database %q on %s: %w", config.Database, config.Host, err), db.Close())
	}
	return store.New(&attached{backend{db: db}}, -1), nil
}

// openFor opens a pool of two connections with parameters that the URL may
// overrule.
func openFor(url string, parameters map[string]string) (*pgx.ConnConfig, *sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, errors.New("the PostgreSQL URL is not valid: want postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	for name, value := range parameters {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
	db := sql.OpenDB(stdlib.GetConnector(*config))
	db.SetMaxOpenConns(2)
	return config, db, nil
}

// attached is a backend that only reads.
type attached struct{ backend }

// Update implements store.Backend.
func (a *attached) Update(context.Context, func(store.Conn) error) error {
	return errors.New("the database was opened for reading")
}

// Peers implements store.Backend: this process caches nothing.
func (a *attached) Peers() *store.Peers { return nil }

// Restore makes the tables, with the schema of the given number, in a
// database that has none in the URL's schema; fill then fills them, and at
// last the schema is brought up to this program's. All of it is one
// transaction: a Restore that fails or is killed leaves nothing. Servers that
// start on the database meanwhile wait for its end.
func Restore(ctx context.Context, url string, schema int, fill func(*store.Loader) error) error {
	config, db, err := openFor(url, map[string]string{"application_name": "keyturn restoring", "timezone": "UTC"})
	if err != nil {
		return err
	}
	c, err := db.Conn(ctx)
	if err == nil {
		err = errors.Join(restore(ctx, c, config.RuntimeParams["search_path"], schema, fill), c.Close())
	}
	if err != nil {
		err = fmt.Errorf("restoring into PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	return errors.Join(err, db.Close())
}

func restore(ctx context.Context, c *sql.Conn, searchPath string, schema int, fill func(*store.Loader) error) (err error) {
	// The lock is the transaction's, so it goes with it in any case.
	if _, err := c.ExecContext(ctx, fmt.Sprintf("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(%d)", migrationLock)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishAfter)
			defer cancel()
			_, _ = c.ExecContext(bounded, "ROLLBACK") // it goes with the connection otherwise
		}
	}()
	if err := makeSchema(ctx, c, searchPath); err != nil {
		return err
	}
	if err := checkEmpty(ctx, c); err != nil {
		return err
	}
	if err := store.Build(ctx, c, types(), schema); err != nil {
		return err
	}
	l := store.NewLoader(ctx, filling{c}, " OVERRIDING SYSTEM VALUE")
	if err := fill(l); err != nil {
		return err
	}
	if err := l.Flush(); err != nil {
		return err
	}
	if err := store.Build(ctx, c, types(), store.Schema()); err != nil {
		return err
	}
	for table, column := range store.SerialColumns() {
		if _, err := c.ExecContext(ctx, fmt.Sprintf(`SELECT setval(pg_get_serial_sequence('%[1]s', '%[2]s'), coalesce(max(%[2]s), 0) + 1, false) FROM %[1]s`, table, column)); err != nil {
			return fmt.Errorf("numbering table %s: %w", table, err)
		}
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}

// checkEmpty refuses a schema that has tables.
func checkEmpty(ctx context.Context, c *sql.Conn) error {
	var schema string
	var n int
	err := c.QueryRowContext(ctx, `SELECT current_schema(), (SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema())`).Scan(&schema, &n)
	if err == nil && n > 0 {
		err = fmt.Errorf("its schema %q is not empty: it has %d tables; a backup is restored into an empty one only, so make another database, or name another schema with search_path in the URL", schema, n)
	}
	return err
}

// filling runs a Loader's statements in the connection's transaction.
type filling struct{ c *sql.Conn }

// Query implements store.Conn.
func (f filling) Query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return f.c.QueryContext(ctx, query, storable(args)...)
}

// Exec implements store.Conn.
func (f filling) Exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	return f.c.ExecContext(ctx, query, storable(args)...)
}
