package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// together runs fn n times at once and reports errors.
func together(t testing.TB, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("caller %d: %v", i, err)
		}
	}
}

// testLostUpdate lets many callers count up: no count may be lost.
func testLostUpdate(t *testing.T, open Open) {
	s := open(t)
	const callers, times = 16, 10
	save(t, s, nil, newSecret("counter"))
	together(t, callers, func(int) error {
		for range times {
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				before, err := tx.SecretByID("id-counter")
				if err != nil {
					return err
				}
				after := before.Clone()
				n, _ := strconv.Atoi(before.Description)
				after.Description = strconv.Itoa(n + 1)
				return tx.SaveSecret(before, after)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	got := byID(t, s, "id-counter")
	if want := strconv.Itoa(callers * times); got.Description != want || got.Revision != callers*times+1 {
		t.Errorf("counted to %s in revision %d, want %s", got.Description, got.Revision, want)
	}
}

// testWriteSkew lets callers each insert if the others did not: a check of
// what is not there must hold until the commit.
func testWriteSkew(t *testing.T, open Open) {
	s := open(t)
	made := make([]bool, 8)
	together(t, len(made), func(i int) error {
		return s.Update(t.Context(), func(tx *store.Tx) error {
			made[i] = false
			for j := range made {
				if v, err := tx.Meta(fmt.Sprint("leader", j)); err != nil || v != "" {
					return err
				}
			}
			made[i] = true
			return tx.SetMeta(fmt.Sprint("leader", i), "me")
		})
	})
	leaders := 0
	for _, m := range made {
		if m {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("got %d leaders, want 1", leaders)
	}
}

// testSnapshot reads twice in one view around a change.
func testSnapshot(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error { return tx.SetMeta("k", "old") })
	view(t, s, func(tx *store.Tx) error {
		first, err := tx.Meta("k")
		if err != nil {
			return err
		}
		update(t, s, func(tx *store.Tx) error { return tx.SetMeta("k", "new") })
		second, err := tx.Meta("k")
		if first != "old" || second != "old" {
			t.Errorf("got %q and then %q in one view, want old both times", first, second)
		}
		return err
	})
	if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta("k") }); got != "new" {
		t.Errorf("got %q afterwards, want new", got)
	}
}

func testOwnWrites(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SetMeta("k", "mine"); err != nil {
			return err
		}
		got, err := tx.Meta("k")
		if got != "mine" {
			t.Errorf("an update reads %q, want what it wrote", got)
		}
		return err
	})
}

func testViewCannotWrite(t *testing.T, open Open) {
	s := open(t)
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "v") }), fault.Internal)
	if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta("k") }); got != "" {
		t.Errorf("a view wrote %q", got)
	}
}

// testFailuresAlone mixes updates that fail with updates that do not: each
// is whole or absent, whatever shares its commit.
func testFailuresAlone(t *testing.T, open Open) {
	s := open(t)
	const callers, times = 12, 8
	together(t, callers, func(i int) error {
		for j := range times {
			name := fmt.Sprintf("%d/%d", i, j)
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				if err := tx.SetMeta(name+"/a", "x"); err != nil {
					return err
				}
				if (i+j)%3 == 0 {
					return errOnPurpose
				}
				return tx.SetMeta(name+"/b", "x")
			})
			if want := (i+j)%3 == 0; errors.Is(err, errOnPurpose) != want || err != nil && !want {
				return fmt.Errorf("update %s returned %v", name, err)
			}
		}
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		for i := range callers {
			for j := range times {
				a, errA := tx.Meta(fmt.Sprintf("%d/%d/a", i, j))
				b, errB := tx.Meta(fmt.Sprintf("%d/%d/b", i, j))
				want := "x"
				if (i+j)%3 == 0 {
					want = ""
				}
				if a != want || b != want || errA != nil || errB != nil {
					t.Errorf("update %d/%d left %q and %q, want %q", i, j, a, b, want)
				}
			}
		}
		return nil
	})
}

// testFailedStatement fails a statement and hides the error: nothing of the
// update may be stored, and the others are not touched.
func testFailedStatement(t *testing.T, open Open) {
	s := open(t)
	together(t, 8, func(i int) error {
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.SetMeta(fmt.Sprint("k", i), "v"); err != nil {
				return err
			}
			if i%2 == 0 {
				_ = tx.SaveRun(&secret.RotationRun{SecretID: "no such secret"}, 0)
			}
			return nil
		})
		if fault.Is(err, fault.Internal) != (i%2 == 0) {
			return fmt.Errorf("update %d returned %v", i, err)
		}
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		for i := range 8 {
			got, err := tx.Meta(fmt.Sprint("k", i))
			if want := []string{"", "v"}[i%2]; got != want || err != nil {
				t.Errorf("update %d left %q and error %v, want %q", i, got, err, want)
			}
		}
		return nil
	})
}

func testPanic(t *testing.T, open Open) {
	s := open(t)
	together(t, 6, func(i int) (err error) {
		defer func() {
			if r := recover(); (r != nil) != (i%2 == 0) {
				err = fmt.Errorf("caller %d recovered %v", i, r)
			}
		}()
		return s.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.SetMeta(fmt.Sprint("k", i), "v"); err != nil {
				return err
			}
			if i%2 == 0 {
				panic("on purpose")
			}
			return nil
		})
	})
	func() {
		defer func() { _ = recover() }()
		_ = s.View(t.Context(), func(*store.Tx) error { panic("on purpose") })
	}()
	for i := range 6 {
		want := []string{"", "v"}[i%2]
		if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta(fmt.Sprint("k", i)) }); got != want {
			t.Errorf("caller %d left %q, want %q", i, got, want)
		}
	}
	update(t, s, func(tx *store.Tx) error { return tx.SetMeta("after", "v") })
}

func testCancelled(t *testing.T, open Open) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	for _, err := range []error{
		s.Update(ctx, func(*store.Tx) error { ran = true; return nil }),
		s.View(ctx, func(*store.Tx) error { ran = true; return nil }),
	} {
		wantKind(t, err, fault.Unavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want one that is context.Canceled", err)
		}
	}
	if ran {
		t.Error("a function ran under a context that had ended")
	}
	// A context that ends between two statements undoes the first.
	ctx, cancel = context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SetMeta("half", "done"); err != nil {
			return err
		}
		cancel()
		return tx.SetMeta("other half", "done")
	})
	wantKind(t, err, fault.Unavailable)
	if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta("half") }); got != "" {
		t.Errorf("a cancelled update left %q", got)
	}
	update(t, s, func(tx *store.Tx) error { return tx.SetMeta("after", "v") })
}

// testCancelStorm ends contexts at arbitrary moments: an update that
// returned nil is stored, one that returned an error is not.
func testCancelStorm(t *testing.T, open Open) {
	s := open(t)
	const callers, times = 8, 12
	stored := make([][]bool, callers)
	together(t, callers, func(i int) error {
		for j := range times {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i*13+j*29)%40)*100*time.Microsecond)
			err := s.Update(ctx, func(tx *store.Tx) error {
				if err := tx.SetMeta(fmt.Sprintf("%d/%d/a", i, j), "v"); err != nil {
					return err
				}
				return tx.SetMeta(fmt.Sprintf("%d/%d/b", i, j), "v")
			})
			cancel()
			if err != nil && !fault.Is(err, fault.Unavailable) {
				return fmt.Errorf("got error %w, want none or one of kind Unavailable", err)
			}
			stored[i] = append(stored[i], err == nil)
		}
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		for i, list := range stored {
			for j, ok := range list {
				want := ""
				if ok {
					want = "v"
				}
				for _, half := range []string{"a", "b"} {
					if got, err := tx.Meta(fmt.Sprintf("%d/%d/%s", i, j, half)); got != want || err != nil {
						t.Errorf("update %d/%d: got %q and error %v, want %q", i, j, got, err, want)
					}
				}
			}
		}
		return nil
	})
}

func testUseAfterEnd(t *testing.T, open Open) {
	s := open(t)
	var kept *store.Tx
	update(t, s, func(tx *store.Tx) error {
		kept = tx
		return nil
	})
	wantKind(t, kept.SetMeta("k", "v"), fault.Internal)
	view(t, s, func(tx *store.Tx) error {
		kept = tx
		return nil
	})
	_, err := kept.Meta("k")
	wantKind(t, err, fault.Internal)
}

func testUseAfterClose(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error { return tx.SetMeta("k", "v") })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Update": s.Update(t.Context(), func(*store.Tx) error { return nil }),
		"View":   s.View(t.Context(), func(*store.Tx) error { return nil }),
		"Check":  s.Check(t.Context()),
	} {
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close returned %v, want ErrClosed of kind Unavailable", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// testCloseUnderLoad closes while updates run: each is stored whole or
// refused, and Close returns.
func testCloseUnderLoad(t *testing.T, open Open) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ; j++ {
				err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprint(i, j), "v") })
				if err == nil {
					err = s.View(t.Context(), func(tx *store.Tx) error {
						if v, err := tx.Meta(fmt.Sprint(i, j)); err != nil || v != "v" {
							return fmt.Errorf("got %q: %w", v, err)
						}
						return nil
					})
				}
				if err != nil {
					if !fault.Is(err, fault.Unavailable) {
						t.Errorf("got error %v, want one of kind Unavailable", err)
					}
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
