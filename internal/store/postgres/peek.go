package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/keyturn/internal/store"
)

// Peek looks at the database that a URL names, as Config has it.
func Peek(ctx context.Context, address string) (look store.Look, err error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return look, errors.New("the PostgreSQL URL is not valid: want postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	config.RuntimeParams["default_transaction_read_only"] = "on"
	db := sql.OpenDB(stdlib.GetConnector(*config))
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return look, fmt.Errorf("opening PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	var version string
	asked := time.Now()
	err = db.QueryRowContext(ctx, "SELECT current_setting('server_version'), clock_timestamp()").Scan(&version, &look.Clock)
	if err != nil {
		return look, fmt.Errorf("reading PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	look.Server, look.Error = "PostgreSQL "+version, time.Since(asked)
	var made bool
	err = db.QueryRowContext(ctx, "SELECT to_regclass('schema_version') IS NOT NULL").Scan(&made)
	if err == nil && made {
		err = db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&look.Schema)
	}
	if err != nil {
		return look, fmt.Errorf("reading PostgreSQL database %q on %s: %w", config.Database, config.Host, err)
	}
	return look, nil
}
