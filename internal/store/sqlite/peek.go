package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"

	"github.com/keyturn/keyturn/internal/store"
)

// Peek looks at the database of a data folder, which a server may be using.
// An error that is fs.ErrNotExist says that there is none yet.
func Peek(ctx context.Context, dir string) (look store.Look, err error) {
	file := filepath.Join(dir, databaseName)
	if _, err := os.Stat(file); err != nil {
		return look, err
	}
	query := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)", "query_only(1)"}}
	c, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: file, RawQuery: query.Encode()}).String())
	if err != nil {
		return look, fmt.Errorf("opening the database: %w", err)
	}
	db := sql.OpenDB(c)
	defer func() { err = errors.Join(err, db.Close()) }()
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return look, fmt.Errorf("opening %s: %w", file, err)
	}
	look.Server = "SQLite " + version
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&look.Schema)
	if err != nil && strings.Contains(err.Error(), "no such table") {
		return look, nil
	}
	if err != nil {
		return look, fmt.Errorf("reading %s: %w", file, err)
	}
	return look, nil
}

// DatabaseFile is where the database of a data folder is.
func DatabaseFile(dir string) string { return filepath.Join(dir, databaseName) }

// IsMissing reports whether an error of Peek says that there is no database.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
