package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

// The store tells the time of the database, however that differs from this
// machine's: here by an hour, which a function of the database adds.
func TestClock(t *testing.T) {
	url := newURL()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, schema, _ := strings.Cut(url, "search_path=")
	for _, statement := range []string{
		"CREATE SCHEMA %[1]s",
		"CREATE FUNCTION %[1]s.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT pg_catalog.clock_timestamp() + interval '1 hour'$$",
	} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(statement, schema)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url + ",pg_catalog"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ahead := func() time.Duration {
		var at time.Time
		if err := conn.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&at); err != nil {
			t.Fatal(err)
		}
		return s.Now().Sub(at)
	}
	near := func(got, want time.Duration) bool { return (got - want).Abs() < 10*time.Second }
	if got := ahead(); !near(got, time.Hour) {
		t.Errorf("the store is %v ahead when it was opened, want an hour", got)
	}
	storetest.Follow(t, s)
	replaced := fmt.Sprintf("CREATE OR REPLACE FUNCTION %s.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT pg_catalog.clock_timestamp() - interval '1 minute'$$", schema)
	if _, err := conn.Exec(t.Context(), replaced); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the store follows the database's clock", func() bool { return near(ahead(), -time.Minute) })
}
