package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// The schema: files numbered from 0001 without gaps, applied in order and
// never changed once released. They spell column types in braces, which a
// dialect replaces: {text}, {int}, {bytes}, {serial} and, after a table,
// {clustered}.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// NewerSchemaError tells that a newer program migrated the database.
type NewerSchemaError struct {
	// Found is the schema number of the database; Known is the highest
	// that this program has.
	Found, Known int
}

// Error says what to do about it.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the database was made by a newer keyturn (its schema is number %d, this program knows %d): use that version, or restore a backup", e.Found, e.Known)
}

// Migrate brings the schema up to date on the connection, each step in a
// transaction of its own. types replaces the braces of the schema files;
// begin is the statement that starts a transaction. The caller keeps other
// migrations out. A *NewerSchemaError refuses a database from the future.
func Migrate(ctx context.Context, c *sql.Conn, types *strings.Replacer, begin string) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY, applied_at bigint NOT NULL)`); err != nil {
		return fmt.Errorf("preparing the schema: %w", err)
	}
	var found int
	if err := c.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&found); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if found > len(steps) {
		return &NewerSchemaError{Found: found, Known: len(steps)}
	}
	for i, step := range steps[found:] {
		if err := apply(ctx, c, types.Replace(step), begin, found+i+1); err != nil {
			return fmt.Errorf("migrating the schema to version %d: %w", found+i+1, err)
		}
	}
	return nil
}

// Schema returns the number of the schema that this program makes: that of
// its last migration.
func Schema() int {
	steps, err := migrations()
	if err != nil {
		panic(err) // the files are part of the program
	}
	return len(steps)
}

// migrations returns the text of every schema file in order.
func migrations() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []string
	for i, name := range names {
		if !strings.HasPrefix(name, fmt.Sprintf("schema/%04d_", i+1)) {
			return nil, fmt.Errorf("schema file %s is out of sequence", name)
		}
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(text))
	}
	return steps, nil
}

func apply(ctx context.Context, c *sql.Conn, step, begin string, version int) (err error) {
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if _, err := c.ExecContext(ctx, step); err != nil {
		return err
	}
	record := fmt.Sprintf(`INSERT INTO schema_version (version, applied_at) VALUES (%d, %d)`, version, time.Now().UnixMicro())
	if _, err := c.ExecContext(ctx, record); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}
