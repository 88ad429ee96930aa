package postgres_test

import (
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

// TestStore runs the suite and then looks at the plan of every statement
// that it used: none may read a whole table.
func TestStore(t *testing.T) {
	var d storetest.Driver
	t.Run("Suite", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB) *store.Store {
			return openConfig(t, postgres.Config{URL: newURL(), Connections: 8, Wrap: d.Wrap})
		})
	})
	t.Run("Plans", func(t *testing.T) { checkPlans(t, d.Statements()) })
}

var parameter = regexp.MustCompile(`\$(\d+)`)

func checkPlans(t *testing.T, statements []string) {
	url := newURL()
	openConfig(t, postgres.Config{URL: url})
	db, err := sql.Open("pgx", url+"&enable_seqscan=off&plan_cache_mode=force_generic_plan&default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	slices.Sort(statements)
	explained := 0
	for _, query := range statements {
		if !isData(query) {
			continue
		}
		plan := explain(t, db, fmt.Sprint("q", explained), query)
		explained++
		if slices.ContainsFunc(nodes(plan), readsAll) {
			t.Errorf("%s\nreads everything:\n%s", strings.Join(strings.Fields(query), " "), strings.Join(plan, "\n"))
		}
	}
	if explained < 50 {
		t.Errorf("explained %d statements only", explained)
	}
}

// isData reports whether a statement of the store reads or writes records.
func isData(query string) bool {
	for _, verb := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		if strings.HasPrefix(query, verb) {
			return parameter.MatchString(query)
		}
	}
	return false
}

// nodes joins the lines of each node of a plan.
func nodes(plan []string) (list []string) {
	for _, line := range plan {
		if len(list) == 0 || strings.Contains(line, "->") {
			list = append(list, line)
		} else {
			list[len(list)-1] += "\n" + line
		}
	}
	return list
}

// smallIndexes hold only rows that need work, or are read in their order up
// to a limit.
var smallIndexes = []string{
	"rotation_running", "stack_operation_running", "replica_behind", "trail_event_pkey", "function_changing", "function_version_changing",
	"function_provisioned", "log_group_deleted", "log_stream_deleted",
}

// readsAll reports whether a node of a plan visits every row of a table.
func readsAll(node string) bool {
	if strings.Contains(node, "Seq Scan") {
		return true
	}
	_, index, found := strings.Cut(node, "Scan using ")
	index, _, _ = strings.Cut(index, " ")
	return found && !strings.Contains(node, "Index Cond") && !slices.Contains(smallIndexes, index)
}

// explain returns the plan of a statement whatever its parameters are.
func explain(t *testing.T, db *sql.DB, name, query string) (steps []string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), "PREPARE "+name+" AS "+query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	n := 0
	for strings.Contains(query, fmt.Sprint("$", n+1)) {
		n++
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")
	rows, err := db.QueryContext(t.Context(), "EXPLAIN EXECUTE "+name+"("+nulls+")")
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var step string
		if err := rows.Scan(&step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}
