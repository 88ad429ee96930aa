package backup_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/backup"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// rootKey makes a root key from a byte.
func rootKey(t testing.TB, b byte) backup.Protection {
	t.Helper()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return backup.Protection{Keepers: keeper.NewSet(k)}
}

// fillTables adds rows to every table of the SQLite database in a folder. All
// values of a row follow from its number and the column's type, so what refers
// to another table finds it.
func fillTables(t testing.TB, dir string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db")+"?_pragma=foreign_keys(1)&_pragma=synchronous(off)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range store.DumpTables() {
		for i := range 3 {
			if err := fillRow(t.Context(), db, table, i); err != nil {
				t.Fatalf("filling %s: %v", table, err)
			}
		}
	}
}

// openTables is fillTables without what a root key wrapped.
func openTables(t testing.TB, dir string) {
	t.Helper()
	fillTables(t, dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db"))
	if err == nil {
		_, err = db.ExecContext(t.Context(), "DELETE FROM kms_material")
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fillRow(ctx context.Context, db *sql.DB, table string, i int) error {
	rows, err := db.QueryContext(ctx, `SELECT name, type, "notnull" FROM pragma_table_info(?)`, table)
	if err != nil {
		return err
	}
	defer rows.Close()
	var names, marks []string
	var values []any
	for rows.Next() {
		var name, kind string
		var notNull bool
		if err := rows.Scan(&name, &kind, &notNull); err != nil {
			return err
		}
		var v any
		switch kind {
		case "TEXT":
			v = []string{"row 1", "", "né \"3\"\n"}[i]
		case "INTEGER":
			v = []int64{1, 7, 1 << 53}[i]
		default:
			v = [][]byte{bytes.Repeat([]byte{0, 255, 10}, 50_000), {}, []byte("ab")}[i]
			if !notNull && i == 2 {
				v = nil
			}
		}
		names, marks, values = append(names, name), append(marks, "?"), append(values, v)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
	return err
}

// tables returns the rows of every table, in an order of their own. Claims,
// which a restore drops, are left out.
func tables(t testing.TB, s *store.Store) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := s.View(t.Context(), func(tx *store.Tx) error {
		for _, table := range store.DumpTables() {
			var names []string
			err := tx.DumpTable(table, func(columns []string) error { names = columns; return nil }, func(row []any) error {
				var text []string
				for i, v := range row {
					dropped := []string{"rotation.owner", "rotation.lease_until", "stack_operation.owner", "stack_operation.lease_until", "function_event.owner", "function_event.due_at"}
					if !slices.Contains(dropped, table+"."+names[i]) {
						text = append(text, fmt.Sprintf("%s=%T %.80q", names[i], v, fmt.Sprint(v)))
					}
				}
				all[table] = append(all[table], strings.Join(slices.Sorted(slices.Values(text)), ", "))
				return nil
			})
			if err != nil {
				return err
			}
			slices.Sort(all[table])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func attach(t testing.TB, dir, url string) *store.Store {
	t.Helper()
	s, err := sqlite.Attach(t.Context(), dir)
	if url != "" {
		s, err = postgres.Attach(t.Context(), url)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A backup goes from SQLite to SQLite, to PostgreSQL, and from there back:
// every row of every table is the same, whichever way it went.
func TestEveryTableBothWays(t *testing.T) {
	dir := t.TempDir()
	fillTables(t, dir)
	for name, text := range map[string]string{"20260101T000000.000000000.jsonl": "{}\n", "20260102T000000.000000000.jsonl": "half a li", "other.txt": "x"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "trail"), 0o700), os.WriteFile(filepath.Join(dir, "trail", name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want := tables(t, attach(t, dir, ""))
	if len(want) != len(store.DumpTables()) {
		t.Fatalf("only %d tables have rows", len(want))
	}
	url := apitest.StoreURL(t)
	for _, step := range []struct{ name, dir, url, toURL string }{
		{"SQLite to SQLite", dir, "", ""},
		{"SQLite to PostgreSQL", dir, "", url},
		{"PostgreSQL to SQLite", "", url, ""},
		{"PostgreSQL to PostgreSQL", "", url, apitest.StoreURL(t)},
	} {
		t.Run(step.name, func(t *testing.T) {
			var file bytes.Buffer
			wrote, err := backup.Write(t.Context(), backup.Source{Dir: step.dir, StoreURL: step.url, Protection: backup.Protection{Passphrase: []byte("pass")}}, &file)
			if err != nil {
				t.Fatal(err)
			}
			target := backup.Target{Dir: filepath.Join(t.TempDir(), "new"), StoreURL: step.toURL, Protection: backup.Protection{Passphrase: []byte("pass")}}
			restored, err := backup.Restore(t.Context(), target, bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wrote, restored); diff != "" {
				t.Errorf("what was written -, restored +:\n%s", diff)
			}
			if diff := cmp.Diff(want, tables(t, attach(t, target.Dir, target.StoreURL))); diff != "" {
				t.Errorf("before -, after +:\n%s", diff)
			}
			if target.StoreURL == "" || target.StoreURL != url { // that one is backed up next
				checkNumbers(t, target)
			}
			if step.dir == "" {
				return
			}
			names, err := filepath.Glob(filepath.Join(target.Dir, "trail", "*"))
			if err != nil || len(names) != 2 {
				t.Errorf("got trail files %v, want the two segments", names)
			}
		})
	}
}

// checkNumbers demands that the restored database numbers new rows behind
// those that are there, and that nobody owns what was running.
func checkNumbers(t *testing.T, target backup.Target) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: target.Dir})
	if target.StoreURL != "" {
		s, err = postgres.Open(t.Context(), postgres.Config{URL: target.StoreURL})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add := func(tx *store.Tx) error {
		return tx.AddRecord(trail.Record{EventID: "new", Account: "1", Region: "r", JSON: []byte("{}")})
	}
	if err := s.Update(t.Context(), add); err != nil {
		t.Fatalf("adding an event: %v", err)
	}
	if got := highestNumber(t, s, "trail_event", "seq"); got != 1<<53+1 {
		t.Errorf("the next event has number %d, want %d", got, 1<<53+1)
	}
	for table, columns := range map[string][]string{"rotation": {"owner", "lease_until"}, "stack_operation": {"owner", "lease_until"}, "function_event": {"owner"}} {
		for _, column := range columns {
			eachValue(t, s, table, column, func(v any) {
				if v != "" && v != int64(0) {
					t.Errorf("%s.%s: got %v, want that nobody has a claim", table, column, v)
				}
			})
		}
	}
}

// eachValue hands over a column.
func eachValue(t *testing.T, s *store.Store, table, column string, fn func(any)) {
	t.Helper()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		at := -1
		return tx.DumpTable(table, func(columns []string) error { at = slices.Index(columns, column); return nil }, func(row []any) error {
			fn(row[at])
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func highestNumber(t *testing.T, s *store.Store, table, column string) (highest int64) {
	t.Helper()
	eachValue(t, s, table, column, func(v any) { highest = max(highest, v.(int64)) })
	return highest
}
