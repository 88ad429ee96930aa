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

// versionTable tells which schema files were applied.
const versionTable = `CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY, applied_at bigint NOT NULL)`

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

// Migrate brings the schema up to date on the connection, all missing steps in
// one transaction. types replaces the braces of the schema files; begin is the
// statement that starts a transaction. The caller keeps other migrations out.
// A *NewerSchemaError refuses a database from the future.
func Migrate(ctx context.Context, c *sql.Conn, types *strings.Replacer, begin string) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, versionTable); err != nil {
		return fmt.Errorf("preparing the schema: %w", err)
	}
	var found int
	if err := c.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&found); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if found > len(steps) {
		return &NewerSchemaError{Found: found, Known: len(steps)}
	}
	if found == len(steps) {
		return nil
	}
	return migrateAll(ctx, c, types, begin, len(steps))
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

// CheckSchema refuses a database whose schema is not this program's: one from
// the future with a *NewerSchemaError. It changes nothing.
func CheckSchema(ctx context.Context, c *sql.Conn) error {
	var found int
	if err := c.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&found); err != nil {
		return fmt.Errorf("reading the schema's version, which a server makes when it first starts: %w", err)
	}
	switch known := Schema(); {
	case found > known:
		return &NewerSchemaError{Found: found, Known: known}
	case found < known:
		return fmt.Errorf("the database's schema is number %d, and this program's is %d: start the server of this version once, or use the program that serves", found, known)
	}
	return nil
}

// Build makes the schema with the number in an empty database, or brings one
// up to it, inside the transaction that the connection is in.
func Build(ctx context.Context, c *sql.Conn, types *strings.Replacer, number int) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	if number < 1 || number > len(steps) {
		return &NewerSchemaError{Found: number, Known: len(steps)}
	}
	if _, err := c.ExecContext(ctx, versionTable); err != nil {
		return fmt.Errorf("preparing the schema: %w", err)
	}
	var found int
	if err := c.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&found); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if found > number {
		return &NewerSchemaError{Found: found, Known: number}
	}
	return climb(ctx, c, steps[found:number], found, types)
}

// climb applies the steps that follow version number found.
func climb(ctx context.Context, c *sql.Conn, steps []string, found int, types *strings.Replacer) error {
	for i, text := range steps {
		if err := step(ctx, c, types.Replace(text), found+i+1); err != nil {
			return fmt.Errorf("migrating the schema to version %d: %w", found+i+1, err)
		}
	}
	return nil
}

// step applies one schema file and notes that.
func step(ctx context.Context, c *sql.Conn, text string, version int) error {
	if _, err := c.ExecContext(ctx, text); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, fmt.Sprintf(`INSERT INTO schema_version (version, applied_at) VALUES (%d, %d)`, version, time.Now().UnixMicro()))
	return err
}

// migrateAll applies what is missing up to the number.
func migrateAll(ctx context.Context, c *sql.Conn, types *strings.Replacer, begin string, number int) (err error) {
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return fmt.Errorf("migrating the schema: %w", err)
	}
	defer func() {
		if err != nil {
			_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if err := Build(ctx, c, types, number); err != nil {
		return fmt.Errorf("migrating the schema: %w", err)
	}
	if _, err = c.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("migrating the schema: %w", err)
	}
	return nil
}
