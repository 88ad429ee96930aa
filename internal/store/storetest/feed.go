package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// Follow runs the store until the test ends, and returns once it hears of
// every change.
func Follow(t testing.TB, s *store.Store) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("following: %v", err)
		}
	})
	Eventually(t, "the store hears of changes", s.Current)
}

// Eventually waits until ok, and fails the test if that takes long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Heard notes what a watcher hears.
type Heard struct {
	mu     sync.Mutex
	topics []string
}

// Hear is for Watch. It notes that everything may have changed as "*".
func (h *Heard) Hear(topics []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if topics == nil {
		topics = []string{"*"}
	}
	h.topics = append(h.topics, topics...)
}

// Take returns what was heard since the last Take, in order and once each.
func (h *Heard) Take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.topics
	h.topics = nil
	slices.Sort(list)
	return slices.Compact(list)
}

// testFeedTopics makes every change that caches have to know of and looks
// that watchers were told when the update returned.
func testFeedTopics(t *testing.T, open Open) {
	s := open(t)
	var heard Heard
	defer s.Watch(heard.Hear)()
	x := newSecret("x")
	before := func(tx *store.Tx) *secret.Secret {
		got, err := tx.SecretByID(x.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	role := &iam.Role{Account: account, Name: "r", TrustPolicy: "{}"}
	for _, tc := range []struct {
		name   string
		change func(tx *store.Tx) error
		want   []string
	}{
		{"nothing", func(tx *store.Tx) error { return tx.SetMeta("k", "v") }, nil},
		{"new secret", func(tx *store.Tx) error { return tx.SaveSecret(nil, x) }, []string{"secret/id-x"}},
		{"new label", func(tx *store.Tx) error {
			old := before(tx)
			after := old.Clone()
			after.Versions[0].Labels = append(after.Versions[0].Labels, "more")
			return tx.SaveSecret(old, after)
		}, []string{"secret/id-x"}},
		{"first read", func(tx *store.Tx) error { return tx.TouchSecret(x.ID, "v1", day0) }, []string{"secret/id-x"}},
		{"second read", func(tx *store.Tx) error { return tx.TouchSecret(x.ID, "v1", day0) }, nil},
		{"delete secret", func(tx *store.Tx) error { return tx.DeleteSecret(x.ID) }, []string{"secret/id-x"}},
		{"keys", func(tx *store.Tx) error {
			return errors.Join(tx.SaveKey(fullKey("k1")), tx.SaveKey(fullKey("k2")))
		}, []string{"key/k1", "key/k2"}},
		{"new alias", func(tx *store.Tx) error {
			return tx.SaveAlias(&key.Alias{Account: account, Region: region, Name: "alias/a", KeyID: "k1"})
		}, []string{"key/k1"}},
		{"moved alias", func(tx *store.Tx) error {
			return tx.SaveAlias(&key.Alias{Account: account, Region: region, Name: "alias/a", KeyID: "k2"})
		}, []string{"key/k1", "key/k2"}},
		{"delete alias", func(tx *store.Tx) error { return tx.DeleteAlias(account, region, "alias/a") }, []string{"key/k2"}},
		{"delete key", func(tx *store.Tx) error { return tx.DeleteKey(account, region, "k1") }, []string{"key/k1"}},
		{"new role", func(tx *store.Tx) error { return tx.SaveRole(nil, role) }, []string{"iam/" + account}},
		{"role", func(tx *store.Tx) error { return tx.SaveRole(role, role) }, []string{"iam/" + account}},
		{"delete role", func(tx *store.Tx) error { return tx.DeleteRole(account, "r") }, []string{"iam/" + account}},
	} {
		update(t, s, tc.change)
		if got := heard.Take(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: heard %q, want %q", tc.name, got, tc.want)
		}
	}
}

// testFeedFailure looks that updates which store nothing are not told.
func testFeedFailure(t *testing.T, open Open) {
	s := open(t)
	var heard Heard
	defer s.Watch(heard.Hear)()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SaveKey(fullKey("k1")); err != nil {
			return err
		}
		return errOnPurpose
	})
	if !errors.Is(err, errOnPurpose) {
		t.Errorf("got error %v, want the function's own", err)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { return tx.SaveKey(fullKey("k2")) }), fault.Internal)
	if got := heard.Take(); got != nil {
		t.Errorf("heard %q of what is not stored", got)
	}
}

// testFeedFault looks that updates whose outcome is unknown are told.
func testFeedFault(t *testing.T, open OpenFaulty) {
	for _, applied := range []bool{false, true} {
		var d Driver
		s := open(t, &d)
		var heard Heard
		defer s.Watch(heard.Hear)()
		d.Fail(Fault{Statement: "COMMIT", Times: 1, Applied: applied})
		wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveKey(fullKey("k1")) }), fault.Unavailable)
		if got, want := heard.Take(), []string{"key/k1"}; !slices.Equal(got, want) {
			t.Errorf("applied=%v: heard %q, want %q", applied, got, want)
		}
	}
}

func testFeedStops(t *testing.T, open Open) {
	s := open(t)
	var one, two Heard
	stop := s.Watch(one.Hear)
	defer s.Watch(two.Hear)()
	touch := func() { update(t, s, func(tx *store.Tx) error { tx.Touch("secret/x"); return nil }) }
	touch()
	if got := one.Take(); !slices.Equal(got, []string{"secret/x"}) {
		t.Errorf("heard %q, want secret/x", got)
	}
	stop()
	stop()
	touch()
	if got := one.Take(); got != nil {
		t.Errorf("heard %q after the watch ended", got)
	}
	if got := two.Take(); !slices.Equal(got, []string{"secret/x"}) {
		t.Errorf("the other watcher heard %q, want secret/x", got)
	}
}

// testCacheRace counts up while others read through a cache: nobody may see
// less than what was acknowledged before the read began.
func testCacheRace(t *testing.T, open Open) {
	s := open(t)
	Follow(t, s)
	const counters, writers, readers = 3, 3, 4
	cache := store.NewCache(s, 1<<20, func(string, int64) int64 { return 8 })
	var acknowledged [counters]atomic.Int64
	name := func(i int) string { return "counter" + strconv.Itoa(i) }
	var stop atomic.Bool
	var hits, misses atomic.Int64
	var reading sync.WaitGroup
	for r := range readers {
		reading.Go(func() {
			for i := r; !stop.Load(); i++ {
				i := i % counters
				want := acknowledged[i].Load()
				got, ok := cache.Get(name(i))
				if ok {
					hits.Add(1)
				} else {
					misses.Add(1)
					m := s.Mark()
					got = readCount(t, s, name(i))
					cache.Put(m, name(i), got, name(i))
				}
				if got < want {
					t.Errorf("%s: got %d (from the cache: %v), want at least %d", name(i), got, ok, want)
					return
				}
			}
		})
	}
	together(t, writers, func(w int) error {
		for range 60 {
			var now int64
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				text, err := tx.Meta(name(w))
				if err != nil {
					return err
				}
				now, _ = strconv.ParseInt(text, 10, 64)
				now++
				tx.Touch(name(w))
				return tx.SetMeta(name(w), strconv.FormatInt(now, 10))
			})
			if err != nil {
				return err
			}
			acknowledged[w].Store(now)
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	stop.Store(true)
	reading.Wait()
	if hits.Load() == 0 || misses.Load() == 0 {
		t.Errorf("got %d hits and %d misses, want both", hits.Load(), misses.Load())
	}
}

func readCount(t testing.TB, s *store.Store, name string) (n int64) {
	err := s.View(context.Background(), func(tx *store.Tx) error {
		text, err := tx.Meta(name)
		n, _ = strconv.ParseInt(text, 10, 64)
		return err
	})
	if err != nil {
		t.Errorf("reading %s: %v", name, err)
	}
	return n
}
