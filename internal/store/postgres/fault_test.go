package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

func TestFaults(t *testing.T) {
	storetest.RunFaults(t, func(t testing.TB, d *storetest.Driver) *store.Store {
		return openConfig(t, postgres.Config{URL: newURL(), Connections: 8, Wrap: d.Wrap})
	}, &pgconn.PgError{Code: "40001", Message: "injected serialization failure"})
}
