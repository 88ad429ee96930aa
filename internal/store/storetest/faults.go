package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
)

// OpenFaulty returns a fresh store whose driver is wrapped by d.
type OpenFaulty func(t testing.TB, d *Driver) *store.Store

// RunFaults runs the part of the suite that injects faults. conflict is an
// error that the backend classifies as a conflict; nil skips what needs it.
func RunFaults(t *testing.T, open OpenFaulty, conflict error) {
	t.Run("Commit", func(t *testing.T) { testCommitFault(t, open) })
	t.Run("CommitShared", func(t *testing.T) { testSharedCommitFault(t, open) })
	t.Run("Statement", func(t *testing.T) { testStatementFault(t, open) })
	t.Run("Rollback", func(t *testing.T) { testRollbackFault(t, open) })
	t.Run("Feed", func(t *testing.T) { testFeedFault(t, open) })
	t.Run("Recall", func(t *testing.T) { testRecall(t, open) })
	t.Run("Connect", func(t *testing.T) { testConnectFault(t, open) })
	if conflict != nil {
		t.Run("Conflict", func(t *testing.T) { testConflict(t, open, conflict) })
	}
}

// put stores a key and what it returned.
func put(t testing.TB, s *store.Store, key string) error {
	return s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SetMeta(key+"/a", "v"); err != nil {
			return err
		}
		return tx.SetMeta(key+"/b", "v")
	})
}

// wantPut fails the test unless both halves of a put are stored, or none.
func wantPut(t testing.TB, s *store.Store, key string, stored bool) {
	t.Helper()
	want := ""
	if stored {
		want = "v"
	}
	view(t, s, func(tx *store.Tx) error {
		for _, half := range []string{"/a", "/b"} {
			got, err := tx.Meta(key + half)
			if err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", key+half, got, want)
			}
		}
		return nil
	})
}

// testCommitFault fails a commit without and after applying it. The caller
// is told that the outcome is unknown, the update is whole or absent, and
// the store goes on.
func testCommitFault(t *testing.T, open OpenFaulty) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprint("applied=", applied), func(t *testing.T) {
			var d Driver
			s := open(t, &d)
			d.Fail(Fault{Statement: "COMMIT", Times: 1, Applied: applied})
			err := put(t, s, "first")
			wantKind(t, err, fault.Unavailable)
			if !errors.Is(err, ErrInjected) {
				t.Errorf("got error %v, want the injected one as its cause", err)
			}
			wantPut(t, s, "first", applied)
			if err := put(t, s, "second"); err != nil {
				t.Fatalf("an update after the fault: %v", err)
			}
			wantPut(t, s, "second", true)
		})
	}
}

// testSharedCommitFault fails commits that several callers may share: who
// was told of success finds the update stored.
func testSharedCommitFault(t *testing.T, open OpenFaulty) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprint("applied=", applied), func(t *testing.T) {
			var d Driver
			s := open(t, &d)
			d.Fail(Fault{Statement: "COMMIT", Times: 3, Applied: applied})
			const callers, times = 8, 5
			results := make([][times]error, callers)
			together(t, callers, func(i int) error {
				for j := range times {
					results[i][j] = put(t, s, fmt.Sprint(i, j))
				}
				return nil
			})
			failures := 0
			for i := range results {
				for j, err := range results[i] {
					if err != nil {
						failures++
						wantKind(t, err, fault.Unavailable)
					}
					wantPut(t, s, fmt.Sprint(i, j), err == nil || applied)
				}
			}
			if failures < 3 {
				t.Errorf("got %d failures, want at least the 3 injected", failures)
			}
		})
	}
}

// testStatementFault fails a statement of one caller, also such that the
// database undoes the transaction by itself: the others are stored.
func testStatementFault(t *testing.T, open OpenFaulty) {
	for _, instead := range []string{"", "ROLLBACK"} {
		t.Run("instead="+instead, func(t *testing.T) {
			var d Driver
			s := open(t, &d)
			const faults = 5
			d.Fail(Fault{Statement: "DELETE FROM meta", Times: faults, Instead: instead})
			const callers, times = 8, 5
			failures := make([]int, callers)
			together(t, callers, func(i int) error {
				for j := range times {
					key := fmt.Sprint(i, j)
					err := put(t, s, key)
					if err != nil {
						return err
					}
					if i%2 == 1 {
						continue
					}
					err = s.Update(t.Context(), func(tx *store.Tx) error {
						if err := tx.SetMeta(key+"/a", "changed"); err != nil {
							return err
						}
						_ = tx.SetMeta("none", "") // its failure is hidden on purpose
						return tx.SetMeta(key+"/a", "v")
					})
					if err != nil {
						failures[i]++
					}
				}
				return nil
			})
			total := 0
			for i := range callers {
				total += failures[i]
				for j := range times {
					wantPut(t, s, fmt.Sprint(i, j), true)
				}
			}
			if total != faults {
				t.Errorf("got %d failures, want the %d injected", total, faults)
			}
		})
	}
}

// testRollbackFault fails the rollback of an update that failed.
func testRollbackFault(t *testing.T, open OpenFaulty) {
	var d Driver
	s := open(t, &d)
	d.Fail(Fault{Statement: "ROLLBACK", Times: 1})
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SetMeta("first/a", "v"); err != nil {
			return err
		}
		return errOnPurpose
	})
	if !errors.Is(err, errOnPurpose) {
		t.Errorf("got error %v, want the function's own", err)
	}
	if err := put(t, s, "second"); err != nil {
		t.Fatalf("an update after the fault: %v", err)
	}
	wantPut(t, s, "first", false)
	wantPut(t, s, "second", true)
}

func testConnectFault(t *testing.T, open OpenFaulty) {
	var d Driver
	s := open(t, &d)
	d.Fail(Fault{Statement: "CONNECT", Times: 1})
	results := make(chan error, 8)
	together(t, cap(results), func(i int) error {
		results <- s.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Meta("k")
			return err
		})
		return nil
	})
	close(results)
	failures := 0
	for err := range results {
		if err != nil {
			failures++
		}
	}
	if failures > 1 {
		t.Errorf("got %d failures of one injected", failures)
	}
	if err := put(t, s, "after"); err != nil {
		t.Errorf("an update after the fault: %v", err)
	}
}

// testConflict makes statements and commits meet conflicts: the function
// runs again and its last run alone is stored.
func testConflict(t *testing.T, open OpenFaulty, conflict error) {
	for _, statement := range []string{"INSERT INTO meta", "COMMIT"} {
		t.Run(statement, func(t *testing.T) {
			var d Driver
			s := open(t, &d)
			d.Fail(Fault{Statement: statement, Times: 3, Err: conflict})
			runs := 0
			update(t, s, func(tx *store.Tx) error {
				runs++
				return tx.SetMeta("run", fmt.Sprint(runs))
			})
			if runs != 4 {
				t.Errorf("the function ran %d times, want 4", runs)
			}
			if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta("run") }); got != "4" {
				t.Errorf("got run %s stored, want 4", got)
			}
		})
	}
}
