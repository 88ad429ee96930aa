package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// A new table cannot be forgotten: a dump holds every table of the schema.
func TestDumpHoldsEveryTable(t *testing.T) {
	dir := t.TempDir()
	openConfig(t, sqlite.Config{Dir: dir})
	db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'schema_version' ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var have []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		have = append(have, name)
	}
	if diff := cmp.Diff(have, slices.Sorted(slices.Values(store.DumpTables()))); diff != "" {
		t.Errorf("the schema's tables -, those of a dump +:\n%s", diff)
	}
}

// Attach reads beside the process that has the folder, one snapshot a View.
func TestAttach(t *testing.T) {
	dir := t.TempDir()
	if _, err := sqlite.Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "holds no database") {
		t.Errorf("an empty folder: got %v", err)
	}
	s := openConfig(t, sqlite.Config{Dir: dir})
	set := func(value string) {
		if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", value) }); err != nil {
			t.Fatal(err)
		}
	}
	set("old")
	beside, err := sqlite.Attach(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	read := func(want string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			got, err := tx.Meta("k")
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return err
		}
	}
	err = beside.View(t.Context(), func(tx *store.Tx) error {
		if err := read("old")(tx); err != nil {
			return err
		}
		set("new")
		return read("old")(tx)
	})
	if err := errors.Join(err, beside.View(t.Context(), read("new"))); err != nil {
		t.Error(err)
	}
	if err := beside.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "x") }); err == nil {
		t.Error("a store that was opened for reading took an update")
	}
}

// Restore refuses a folder with a database, and leaves nothing of a filling
// that failed.
func TestRestoreRefusals(t *testing.T) {
	dir := t.TempDir()
	openConfig(t, sqlite.Config{Dir: dir})
	fail := errors.New("no more rows")
	fill := func(*store.Loader) error { return fail }
	if err := sqlite.Restore(t.Context(), &folder.Folder{Path: dir}, store.Schema(), fill); err == nil || errors.Is(err, fail) {
		t.Errorf("a folder with a database: got %v", err)
	}
	empty := t.TempDir()
	if err := sqlite.Restore(t.Context(), &folder.Folder{Path: empty}, store.Schema(), fill); !errors.Is(err, fail) {
		t.Errorf("got %v, want the error of the filling", err)
	}
	stray := func(l *store.Loader) error {
		return errors.Join(l.Table("label", []string{"secret_id", "label", "version_id"}), l.Row([]any{"none", "AWSCURRENT", "none"}))
	}
	if err := sqlite.Restore(t.Context(), &folder.Folder{Path: empty}, store.Schema(), stray); err == nil || !strings.Contains(err.Error(), "foreign_key_check") {
		t.Errorf("a label of no version: got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sqlite.Restore(ended, &folder.Folder{Path: empty}, store.Schema(), func(*store.Loader) error { return nil }); err == nil {
		t.Error("a context that ended: got no error")
	}
	if names, _ := os.ReadDir(empty); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}
