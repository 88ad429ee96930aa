package postgres_test

import (
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
)

// column runs a query on a schema and returns its one column.
func column(t *testing.T, url, query string) []string {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	return list
}

// A new table cannot be forgotten, nor a column that the database numbers.
func TestDumpHoldsEveryTable(t *testing.T) {
	url := newURL()
	openConfig(t, postgres.Config{URL: url})
	have := column(t, url, `SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()
		AND table_name NOT IN ('schema_version', 'change') ORDER BY table_name COLLATE "C"`)
	if diff := cmp.Diff(have, slices.Sorted(slices.Values(store.DumpTables()))); diff != "" {
		t.Errorf("the schema's tables -, those of a dump +:\n%s", diff)
	}
	have = column(t, url, `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'`)
	var want []string
	for _, table := range slices.Sorted(maps.Keys(store.SerialColumns())) {
		want = append(want, table+"."+store.SerialColumns()[table])
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(have)), want); diff != "" {
		t.Errorf("the schema's numbered columns -, ours +:\n%s", diff)
	}
}

func TestAttach(t *testing.T) {
	url := newURL()
	if _, err := postgres.Attach(t.Context(), url); err == nil {
		t.Error("a database without tables was taken")
	}
	s := openConfig(t, postgres.Config{URL: url})
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "v") }); err != nil {
		t.Fatal(err)
	}
	beside, err := postgres.Attach(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if err := beside.View(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Meta("k")
		if got != "v" {
			t.Errorf("got %q, want v", got)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := beside.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "x") }); err == nil {
		t.Error("a store that was opened for reading took an update")
	}
}

// Restore refuses a schema with tables, and leaves none when it fails.
func TestRestoreRefusals(t *testing.T) {
	url := newURL()
	openConfig(t, postgres.Config{URL: url})
	fail := errors.New("no more rows")
	fill := func(*store.Loader) error { return fail }
	if err := postgres.Restore(t.Context(), url, store.Schema(), fill); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a schema with tables: got %v", err)
	}
	empty := newURL()
	if err := postgres.Restore(t.Context(), empty, store.Schema(), fill); !errors.Is(err, fail) {
		t.Errorf("got %v, want the error of the filling", err)
	}
	if err := postgres.Restore(t.Context(), empty, store.Schema()+1, fill); err == nil || errors.Is(err, fail) {
		t.Errorf("a newer schema: got %v", err)
	}
	if left := column(t, server.AdminURL(), `SELECT nspname::text FROM pg_namespace WHERE nspname = '`+schemaIn(empty)+`'`); left != nil {
		t.Errorf("left behind: schema %v", left)
	}
	if err := postgres.Restore(t.Context(), empty, store.Schema(), func(*store.Loader) error { return nil }); err != nil {
		t.Errorf("the same schema again: %v", err)
	}
}

func schemaIn(url string) string {
	_, name, _ := strings.Cut(url, "search_path=")
	return name
}
