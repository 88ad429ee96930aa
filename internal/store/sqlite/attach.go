package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
)

// Attach opens the database of a data folder for reading, beside the server
// that may have the folder: it takes no lock, migrates nothing, and refuses
// updates. A View of it holds one snapshot of the database; while it lasts,
// the server's write-ahead log grows by what is written.
func Attach(ctx context.Context, dir string) (*store.Store, error) {
	path := filepath.Join(dir, databaseName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no database of keyturn: give the data folder of the server with --data, or its PostgreSQL with --store", dir)
	} else if err != nil {
		return nil, fmt.Errorf("looking for the database: %w", err)
	}
	db, err := connect(dir, nil, readPragmas)
	if err != nil {
		return nil, err
	}
	c, err := db.Conn(ctx)
	if err == nil {
		err = errors.Join(store.CheckSchema(ctx, c), c.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening data folder %s: %w", dir, err), db.Close())
	}
	return store.New(&attached{backend{readDB: db, readers: newPool(db, 2)}}, -1), nil
}

// attached is a backend that only reads.
type attached struct{ backend }

// Update implements store.Backend.
func (a *attached) Update(context.Context, func(store.Conn) error) error {
	return errors.New("the database was opened for reading")
}

// Close implements store.Backend.
func (a *attached) Close() error {
	a.readers.close()
	return a.readDB.Close()
}

// loadingName is the database while it is being filled.
const loadingName = databaseName + ".restoring"

// Pragmas of the connection that fills a database: its file is thrown away
// unless all of it was written.
var loadPragmas = []string{"foreign_keys(0)", "temp_store(2)", "cache_size(-65536)", "journal_mode(OFF)", "synchronous(OFF)"}

// Restore makes the database of a data folder that has none, with the schema
// of the given number, which fill then fills; at last it brings the schema up
// to this program's. The caller holds the folder. The database is there,
// whole and on disk, when Restore returns nil, and otherwise not at all; what
// an earlier Restore left half done is thrown away.
func Restore(ctx context.Context, held *folder.Folder, schema int, fill func(*store.Loader) error) (err error) {
	dir := held.Path
	if _, err := os.Lstat(filepath.Join(dir, databaseName)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("data folder %s holds a database already: restore into an empty folder", dir), err)
	}
	loading := filepath.Join(dir, loadingName)
	for _, name := range []string{loading, loading + "-journal", loading + "-wal", loading + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what an earlier restore left: %w", err)
		}
	}
	if err := createPrivate(loading); err != nil {
		return err
	}
	if err := load(ctx, dir, schema, fill); err != nil {
		return errors.Join(err, os.Remove(loading))
	}
	if err := syncFile(loading); err != nil {
		return fmt.Errorf("writing the database to disk: %w", err)
	}
	if err := os.Rename(loading, filepath.Join(dir, databaseName)); err != nil {
		return fmt.Errorf("putting the database in place: %w", err)
	}
	if err := syncFile(dir); err != nil {
		return errors.Join(fmt.Errorf("putting the database in place: %w", err), os.Remove(filepath.Join(dir, databaseName)))
	}
	return nil
}

// load makes and fills the database in the file with loadingName.
func load(ctx context.Context, dir string, schema int, fill func(*store.Loader) error) (err error) {
	db, err := connectTo(filepath.Join(dir, loadingName), nil, loadPragmas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	c, err := open(db)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.do("BEGIN"); err != nil {
		return err
	}
	if err := store.Build(ctx, c.sql, types(), schema); err != nil {
		return err
	}
	l := store.NewLoader(ctx, c, "")
	if err := fill(l); err != nil {
		return err
	}
	if err := l.Flush(); err != nil {
		return err
	}
	if err := store.Build(ctx, c.sql, types(), store.Schema()); err != nil {
		return err
	}
	if err := c.do("COMMIT"); err != nil {
		return err
	}
	for _, pragma := range []string{"foreign_key_check", "quick_check"} {
		if findings, err := check(ctx, c, pragma); err != nil || findings != nil {
			return errors.Join(fmt.Errorf("the restored database does not agree with itself (%s): %q", pragma, findings), err)
		}
	}
	return nil
}

// syncFile makes what was written to a file or folder last.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
