package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

func TestFolderIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openConfig(t, sqlite.Config{Dir: dir})
	_, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	want := fmt.Sprintf("data folder %s is in use by another keyturn server (pid %d)", dir, os.Getpid())
	if inUse, ok := errors.AsType[*folder.InUseError](err); !ok || inUse.Error() != want {
		t.Fatalf("got error %v, want %s", err, want)
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "kept") }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openConfig(t, sqlite.Config{Dir: dir})
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		if got, err := tx.Meta("k"); got != "kept" || err != nil {
			t.Errorf("got %q and error %v from the folder opened again, want kept", got, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFolderModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	s := openConfig(t, sqlite.Config{Dir: dir})
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "v") }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got folder mode %v and error %v, want 0700", info.Mode().Perm(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v and error %v of %s, want 0600", info.Mode().Perm(), err, f.Name())
		}
	}
	if len(files) < 3 {
		t.Errorf("got %d files, want the database, its log and the lock", len(files))
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openConfig(t, sqlite.Config{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)"); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	newer, ok := errors.AsType[*store.NewerSchemaError](err)
	if !ok || newer.Found != 999 || !strings.Contains(err.Error(), "newer keyturn") {
		t.Fatalf("got error %v, want a NewerSchemaError", err)
	}
	// The refusal gave the lock back.
	if _, err := db.Exec("DELETE FROM schema_version WHERE version = 999"); err != nil {
		t.Fatal(err)
	}
	openConfig(t, sqlite.Config{Dir: dir})
}

// TestOddFolderNames opens folders whose names mean something in a URI.
func TestOddFolderNames(t *testing.T) {
	for _, name := range []string{"with space", "q?x=1", "100%25", "#1", "ünï"} {
		dir := filepath.Join(t.TempDir(), name)
		openConfig(t, sqlite.Config{Dir: dir})
		if _, err := os.Stat(filepath.Join(dir, "keyturn.db")); err != nil {
			t.Error(err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	for name, damage := range map[string]string{
		"label without record":   "PRAGMA foreign_keys = 0; UPDATE label SET label = 'other'",
		"label of no version":    "PRAGMA foreign_keys = 0; DELETE FROM version",
		"record cut":             "UPDATE secret SET body = substr(body, 1, 20)",
		"format from the future": "UPDATE secret SET body = x'ff'",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openConfig(t, sqlite.Config{Dir: dir})
			populate(t, s, 1)
			if err := s.Check(t.Context()); err != nil {
				t.Fatalf("a sound database fails its check: %v", err)
			}
			db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(damage); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); err == nil {
				t.Error("the check passes a damaged database")
			}
		})
	}
}
