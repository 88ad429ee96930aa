package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

// TestStore runs the suite and then looks at the plan of every statement
// that it used: none may walk through a whole table.
func TestStore(t *testing.T) {
	var d storetest.Driver
	t.Run("Suite", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB) *store.Store {
			return openConfig(t, sqlite.Config{Dir: t.TempDir(), Wrap: d.Wrap})
		})
	})
	t.Run("Plans", func(t *testing.T) { checkPlans(t, d.Statements()) })
}

// checkPlans explains the statements on a database without statistics, as
// servers have them.
func checkPlans(t *testing.T, statements []string) {
	dir := t.TempDir()
	s := openConfig(t, sqlite.Config{Dir: dir})
	populate(t, s, 10)
	db, err := sql.Open("sqlite", filepath.Join(dir, "keyturn.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	slices.Sort(statements)
	explained := 0
	for _, query := range statements {
		if !isData(query) {
			continue
		}
		explained++
		for _, step := range explain(t, db, query) {
			if walks(step) {
				t.Errorf("%s\nwalks through everything: %s", strings.Join(strings.Fields(query), " "), step)
			}
			if strings.Contains(step, "TEMP B-TREE") && !sortsFew(query) {
				t.Errorf("%s\nsorts instead of using an index", strings.Join(strings.Fields(query), " "))
			}
		}
	}
	if explained < 50 {
		t.Errorf("explained %d statements only", explained)
	}
}

// isData reports whether a statement reads or writes records.
func isData(query string) bool {
	for _, verb := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		if strings.HasPrefix(query, verb) {
			return !strings.Contains(query, "schema_version")
		}
	}
	return false
}

// smallIndexes hold only rows that need work, or are read up to a limit.
var smallIndexes = []string{
	"rotation_running", "stack_operation_running", "replica_behind", "function_changing", "function_version_changing", "function_provisioned",
	"log_group_deleted", "log_stream_deleted", "function_event_due",
}

// walks reports whether a step of a plan visits every row of a table.
func walks(step string) bool {
	if strings.Contains(step, "AUTOMATIC") {
		return true // an index that is built for the query
	}
	what, found := strings.CutPrefix(step, "SCAN ")
	if !found || what == "CONSTANT ROW" || strings.HasSuffix(what, "-ROW VALUES CLAUSE") {
		return false
	}
	table, index, _ := strings.Cut(what, " USING ")
	index = strings.TrimPrefix(strings.TrimPrefix(index, "COVERING "), "INDEX ")
	switch {
	case slices.Contains(smallIndexes, index),
		table == "m",                          // the bounded count of matches
		table == "trail_event" && index == "", // by seq up to a limit, to drop the oldest
		table == "g":                          // all log groups, to trim them
		return false
	}
	return true
}

// sortsFew reports whether what the statement sorts is bounded: the replicas
// of a secret, the policies of a role, the few matches of a prefix, the code
// of one function, the rotations that run.
func sortsFew(query string) bool {
	return strings.HasPrefix(query, "SELECT DISTINCT sha256 FROM code_use WHERE holder") ||
		strings.Contains(query, "FROM replica WHERE secret_id") || strings.Contains(query, "FROM iam_attached_policy") ||
		strings.Contains(query, "s.id IN (SELECT m.id FROM secret m") || strings.Contains(query, "THEN 1 ELSE 0 END FROM rotation r WHERE r.state = 'running'")
}

func explain(t *testing.T, db *sql.DB, query string) (steps []string) {
	t.Helper()
	var nulls []any
	for strings.Contains(query, "?"+strconv.Itoa(len(nulls)+1)) {
		nulls = append(nulls, nil)
	}
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, nulls...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}
