package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func touch(t testing.TB, s *store.Store, topic string) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx *store.Tx) error { tx.Touch(topic); return nil }); err != nil {
		t.Fatal(err)
	}
}

// place is a key as those of real caches are.
type place struct{ account, name string }

func newCache(s *store.Store, limit int64) *store.Cache[place, string] {
	return store.NewCache(s, limit, func(_ place, v string) int64 { return int64(len(v)) })
}

func wantCached(t testing.TB, c *store.Cache[place, string], key place, want string) {
	t.Helper()
	got, ok := c.Get(key)
	if got != want || ok != (want != "") {
		t.Errorf("%v: got %q, %v, want %q", key, got, ok, want)
	}
}

func TestCacheTopics(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 1<<20)
	a, b := place{"1", "a"}, place{"1", "b"}
	wantCached(t, c, a, "")
	c.Put(s.Mark(), a, "of a", "secret/a", "key/k")
	c.Put(s.Mark(), b, "of b", "secret/b", "key/k")
	wantCached(t, c, a, "of a")
	wantCached(t, c, b, "of b")
	touch(t, s, "secret/a")
	wantCached(t, c, a, "")
	wantCached(t, c, b, "of b")
	c.Put(s.Mark(), a, "of a again", "secret/a", "key/k")
	wantCached(t, c, a, "of a again")
	touch(t, s, "key/k")
	wantCached(t, c, a, "")
	wantCached(t, c, b, "")
}

// TestCacheLateReader puts what was read before a change, after it.
func TestCacheLateReader(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 1<<20)
	key := place{"1", "a"}
	old := s.Mark()
	touch(t, s, "secret/a")
	c.Put(old, key, "old", "secret/a")
	wantCached(t, c, key, "")
	recent := s.Mark()
	c.Put(recent, key, "new", "secret/a")
	c.Put(old, key, "old", "secret/b")
	wantCached(t, c, key, "new")
}

func TestCacheLimit(t *testing.T) {
	s := openStore(t)
	const limit = 100 << 10
	c := newCache(s, limit)
	value := string(make([]byte, 1000))
	used := place{"1", "used"}
	c.Put(s.Mark(), used, value, "t")
	for i := range 1000 {
		c.Put(s.Mark(), place{"1", fmt.Sprint(i)}, value, "t")
		if i%10 == 0 {
			wantCached(t, c, used, value)
		}
		if n := c.Bytes(); n > limit {
			t.Fatalf("%d bytes after %d entries, want at most %d", n, i, limit)
		}
	}
	found := 0
	for i := range 1000 {
		if _, ok := c.Get(place{"1", fmt.Sprint(i)}); ok {
			found++
		}
	}
	if found < 80 || found > 100 {
		t.Errorf("%d of 1000 entries are cached, want some 85", found)
	}
	wantCached(t, c, place{"1", "999"}, value)
	c.Put(s.Mark(), place{"1", "huge"}, string(make([]byte, limit)), "t")
	wantCached(t, c, place{"1", "huge"}, "")
}

// TestCacheRewrite changes one entry many times: what it was before takes no
// space.
func TestCacheRewrite(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 1<<20)
	key := place{"1", "a"}
	for i := range 100 {
		touch(t, s, "t")
		c.Put(s.Mark(), key, fmt.Sprint("value ", i), "t")
	}
	wantCached(t, c, key, "value 99")
	if n := c.Bytes(); n > 1000 {
		t.Errorf("%d bytes for one entry", n)
	}
}

func TestCacheOfNothing(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 0)
	c.Put(s.Mark(), place{"1", "a"}, "v", "t")
	wantCached(t, c, place{"1", "a"}, "")
}

func TestCacheHitAllocates(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 1<<20)
	for i := range 500 {
		c.Put(s.Mark(), place{"123456789012", fmt.Sprint(i)}, "value", "secret/a", "key/k")
	}
	key := place{"123456789012", "77"}
	wantCached(t, c, key, "value")
	if n := testing.AllocsPerRun(100, func() { c.Get(key) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

// TestCacheTogether reads, puts and evicts from many goroutines: a value is
// always that of its key.
func TestCacheTogether(t *testing.T) {
	s := openStore(t)
	c := newCache(s, 20<<10)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				n := (i*7 + g*13) % 200
				key := place{"1", fmt.Sprint(n)}
				if got, ok := c.Get(key); ok && got != "value of "+key.name {
					t.Errorf("got %q for key %s", got, key.name)
				} else if !ok {
					c.Put(s.Mark(), key, "value of "+key.name, "t")
				}
			}
		})
	}
	for range 20 {
		touch(t, s, "t")
	}
	wg.Wait()
}

func BenchmarkCacheHit(b *testing.B) {
	s := openStore(b)
	c := newCache(s, 1<<20)
	for i := range 1000 {
		c.Put(s.Mark(), place{"123456789012", fmt.Sprint(i)}, "value", "secret/a", "key/k")
	}
	key := place{"123456789012", "77"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := c.Get(key); !ok {
				b.Fatal("missed")
			}
		}
	})
}
