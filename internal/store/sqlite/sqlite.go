// Package sqlite keeps the records in one SQLite database inside a data
// folder: the backend for one machine.
//
// The database runs in WAL mode with synchronous=FULL, so an acknowledged
// update survives power loss. Reads use a pool of connections and never
// wait for a writer. Updates that come at the same time share one commit
// and so one fsync; a lone update waits for no other and for no timer.
//
// A data folder serves one process at a time, which a lock file enforces.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
)

// databaseName is the file inside the data folder.
const databaseName = "keyturn.db"

// Config says where the database is.
type Config struct {
	// Dir is the data folder, made if it is missing: see folder.Open.
	Dir string
	// Readers bounds the connections for reading; 0 means twice the
	// processors, at least 4.
	Readers int
	// Cache bounds the memory for cached records in bytes; 0 means
	// store.DefaultCache, less than 0 none.
	Cache int64
	// Wrap, if not nil, stands between database/sql and the driver, to
	// measure or to inject faults.
	Wrap func(driver.Connector) driver.Connector
}

// types are the column types of the schema files.
func types() *strings.Replacer {
	return strings.NewReplacer(
		"{text}", "TEXT",
		"{int}", "INTEGER",
		"{bytes}", "BLOB",
		"{serial}", "INTEGER",
		"{clustered}", " WITHOUT ROWID",
	)
}

// Open opens the database in the data folder, makes it if it is missing and
// migrates its schema. It fails when another process has the folder in use
// (*folder.InUseError), or when a newer version made it
// (*store.NewerSchemaError). Open starts no goroutine.
func Open(ctx context.Context, cfg Config) (_ *store.Store, err error) {
	held, err := folder.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	dir := held.Path
	b := &backend{folder: held}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := createPrivate(Path(dir)); err != nil {
		return nil, err
	}
	if b.writeDB, err = connect(dir, cfg.Wrap, writePragmas); err != nil {
		return nil, err
	}
	if b.readDB, err = connect(dir, cfg.Wrap, readPragmas); err != nil {
		return nil, err
	}
	if err := b.migrate(ctx); err != nil {
		return nil, refusal(dir, err)
	}
	b.writer = &writer{db: b.writeDB}
	readers := cfg.Readers
	if readers <= 0 {
		readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	b.readers = newPool(b.readDB, readers)
	return store.New(b, cfg.Cache), nil
}

// Path is the database's file in a data folder.
func Path(dir string) string { return filepath.Join(dir, databaseName) }

// refusal says why a data folder cannot be opened, and what to do.
func refusal(dir string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			return fmt.Errorf("%s is damaged (%w): restore a backup", Path(dir), err)
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
			return fmt.Errorf("opening data folder %s: %w: the disk is full, or fails, or does not let this user write", dir, err)
		}
	}
	return fmt.Errorf("opening data folder %s: %w", dir, err)
}

// createPrivate makes an empty file with mode 0600 unless it exists. SQLite
// gives its side files the mode of the database.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return f.Close()
}

// Pragmas of each connection. The cache sizes are in KiB when negative. The
// writer's holds the pages of a thousand secrets that are written in turn; it
// is no larger because a commit that rebalanced a tree walks through all of
// it. Checkpoints come after 32 MiB of log: a page that was changed many times
// meanwhile is written back once, and a start after a crash reads no more.
var (
	readPragmas  = []string{"busy_timeout(5000)", "foreign_keys(1)", "temp_store(2)", "cache_size(-4000)", "query_only(1)"}
	writePragmas = []string{
		"busy_timeout(5000)", "foreign_keys(1)", "temp_store(2)", "cache_size(-6000)",
		"journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(8000)", "journal_size_limit(67108864)",
	}
)

func connect(dir string, wrap func(driver.Connector) driver.Connector, pragmas []string) (*sql.DB, error) {
	return connectTo(Path(dir), wrap, pragmas)
}

func connectTo(path string, wrap func(driver.Connector) driver.Connector, pragmas []string) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	c, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if wrap != nil {
		c = wrap(c)
	}
	return sql.OpenDB(c), nil
}

// backend implements store.Backend.
type backend struct {
	folder          *folder.Folder
	writeDB, readDB *sql.DB
	writer          *writer
	readers         *pool
}

func (b *backend) migrate(ctx context.Context) error {
	c, err := b.writeDB.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return store.Migrate(ctx, c, types(), "BEGIN IMMEDIATE")
}

// View implements store.Backend.
func (b *backend) View(ctx context.Context, fn func(store.Conn) error) error {
	return b.readers.view(ctx, false, fn)
}

// Update implements store.Backend.
func (b *backend) Update(ctx context.Context, fn func(store.Conn) error) error {
	return b.writer.update(ctx, fn)
}

// Check implements store.Backend with SQLite's own checks of pages,
// indexes and foreign keys.
func (b *backend) Check(ctx context.Context) error {
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		var findings []string
		err := b.readers.view(ctx, true, func(c store.Conn) (err error) {
			findings, err = check(ctx, c, pragma)
			return err
		})
		if err != nil {
			return &store.DriverError{Doing: pragma, Err: err}
		}
		if findings != nil {
			return fmt.Errorf("the database is damaged: %s: %s", pragma, strings.Join(findings, "; "))
		}
	}
	return nil
}

// check runs a pragma that gives a row for each finding, or one row "ok",
// and returns the first column of the findings.
func check(ctx context.Context, c store.Conn, pragma string) (findings []string, err error) {
	rows, err := c.Query(ctx, "PRAGMA "+pragma, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	dest := make([]any, len(columns))
	for i := range dest {
		dest[i] = new(any)
	}
	var finding string
	dest[0] = &finding
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		if finding != "ok" {
			findings = append(findings, finding)
		}
	}
	return findings, rows.Err()
}

// Peers implements store.Backend: a data folder serves one process.
func (b *backend) Peers() *store.Peers { return nil }

// Close implements store.Backend.
func (b *backend) Close() error {
	var errs []error
	if b.writer != nil {
		b.writer.drop()
	}
	if b.readers != nil {
		b.readers.close()
	}
	for _, db := range []*sql.DB{b.readDB, b.writeDB} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, b.folder.Close())
	return errors.Join(errs...)
}

// Classify implements store.Backend.
func (b *backend) Classify(err error) store.Class {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return store.Other
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return store.Conflict
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
		return store.Full
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return store.Unavailable
	}
	return store.Other
}
