package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

// crowd holds one update inside its function while others queue behind it.
type crowd struct {
	s       *store.Store
	release chan struct{}
	wg      sync.WaitGroup
	first   error
}

func newCrowd(t *testing.T, s *store.Store) *crowd {
	c := &crowd{s: s, release: make(chan struct{})}
	inside := make(chan struct{})
	c.wg.Go(func() {
		var once sync.Once
		c.first = s.Update(t.Context(), func(tx *store.Tx) error {
			once.Do(func() { close(inside) })
			<-c.release
			return tx.SetMeta("first", "v")
		})
	})
	<-inside
	return c
}

// queued waits until n further updates have had the time to queue.
func (c *crowd) queued() { time.Sleep(50 * time.Millisecond) }

func value(t *testing.T, s *store.Store, key string) (v string) {
	t.Helper()
	if err := s.View(t.Context(), func(tx *store.Tx) (err error) {
		v, err = tx.Meta(key)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCommitsAreShared(t *testing.T) {
	var d storetest.Driver
	s := openConfig(t, sqlite.Config{Dir: t.TempDir(), Wrap: d.Wrap})
	before := d.Runs(store.Commit)
	c := newCrowd(t, s)
	const others = 30
	for i := range others {
		c.wg.Go(func() {
			err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprint("k", i), "v") })
			if err != nil {
				t.Error(err)
			}
		})
	}
	c.queued()
	close(c.release)
	c.wg.Wait()
	if got := d.Runs(store.Commit) - before; c.first != nil || got != 2 {
		t.Errorf("got %d commits and error %v, want one for the first update and one for the %d that queued", got, c.first, others)
	}
	for i := range others {
		if got := value(t, s, fmt.Sprint("k", i)); got != "v" {
			t.Errorf("update %d left %q", i, got)
		}
	}
}

func TestCancelledInTheQueue(t *testing.T) {
	s := open(t)
	c := newCrowd(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	ran := false
	err := s.Update(ctx, func(tx *store.Tx) error {
		ran = true
		return tx.SetMeta("queued", "v")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
	close(c.release)
	c.wg.Wait()
	if ran || value(t, s, "queued") != "" {
		t.Error("an update ran whose caller had left the queue")
	}
}

// TestFunctionEndsGoroutine ends the leader's goroutine inside a function:
// those who queued behind it get their turn.
func TestFunctionEndsGoroutine(t *testing.T) {
	s := open(t)
	c := newCrowd(t, s)
	const others = 8
	stored := make([]bool, others)
	for i := range others {
		c.wg.Go(func() {
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				if err := tx.SetMeta(fmt.Sprint("k", i), "v"); err != nil {
					return err
				}
				if i == 3 {
					runtime.Goexit()
				}
				return nil
			})
			stored[i] = err == nil
		})
	}
	c.queued()
	close(c.release)
	c.wg.Wait()
	for i := range others {
		if got := value(t, s, fmt.Sprint("k", i)); (got == "v") != stored[i] {
			t.Errorf("update %d returned success %v and left %q", i, stored[i], got)
		}
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("after", "v") }); err != nil {
		t.Errorf("an update afterwards: %v", err)
	}
}

// TestFailuresInSharedCommit lets updates of one batch fail after they
// wrote, fail before, and panic.
func TestFailuresInSharedCommit(t *testing.T) {
	s := open(t)
	c := newCrowd(t, s)
	onPurpose := errors.New("on purpose")
	const others = 24
	for i := range others {
		c.wg.Go(func() {
			defer func() {
				if r := recover(); (r != nil) != (i%4 == 3) {
					t.Errorf("update %d recovered %v", i, r)
				}
			}()
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				if i%4 == 1 {
					return onPurpose
				}
				if err := tx.SetMeta(fmt.Sprint("k", i), "v"); err != nil {
					return err
				}
				switch i % 4 {
				case 2:
					return onPurpose
				case 3:
					panic(onPurpose)
				}
				return nil
			})
			if errors.Is(err, onPurpose) != (i%4 > 0) {
				t.Errorf("update %d returned %v", i, err)
			}
		})
	}
	c.queued()
	close(c.release)
	c.wg.Wait()
	for i := range others {
		want := ""
		if i%4 == 0 {
			want = "v"
		}
		if got := value(t, s, fmt.Sprint("k", i)); got != want {
			t.Errorf("update %d left %q, want %q", i, got, want)
		}
	}
}
