package store

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Cache holds what was read from a store for as long as the change feed says
// that it is true. A hit takes no lock and allocates nothing.
//
// On the process that made a change, no read that begins after the update
// returned gets what was true before. On others that is so once they heard
// of the change. While a process cannot hear of changes its caches give
// nothing and keep nothing.
//
// What a cache returned is not part of any transaction: an Update must read
// through its Tx what its decision rests on. (Tx may take it from the store's
// own cache, where no other update can run at the same time.)
type Cache[K comparable, V any] struct {
	feed  *Feed
	limit int64
	size  func(K, V) int64
	seed  maphash.Seed
	table atomic.Pointer[table[K, V]]

	// The rest is of who puts.
	mu    sync.Mutex
	used  int64
	count int
	queue item[K, V] // newer is the oldest entry, older the newest
}

// table is a hash table of chains that never change: who puts replaces them.
type table[K comparable, V any] []atomic.Pointer[link[K, V]]

type link[K comparable, V any] struct {
	*item[K, V]
	next *link[K, V]
}

// item is one entry, and stands in the queue of those that may have to go.
type item[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
	size  int64
	mark  Mark
	slots []uint32
	// hit is set by a hit, and saves the entry once.
	hit          atomic.Bool
	older, newer *item[K, V]
}

// itemOverhead is what an entry takes beside what size counts, in bytes.
const itemOverhead = 160

// firstBuckets is how many chains a new table has.
const firstBuckets = 64

// NewCache returns a cache of what is read from the store that holds up to
// limit bytes, as size counts an entry's key and value. Entries that were
// not hit for long go first. A limit of 0 makes a cache that holds nothing.
func NewCache[K comparable, V any](s *Store, limit int64, size func(K, V) int64) *Cache[K, V] {
	c := &Cache[K, V]{feed: s.feed, limit: limit, size: size, seed: maphash.MakeSeed()}
	c.table.Store(new(make(table[K, V], firstBuckets)))
	c.queue.older, c.queue.newer = &c.queue, &c.queue
	return c
}

// Get returns the value of the key, if it is known and still true. The value
// is shared: who gets it must not change it.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	e := c.table.Load().find(maphash.Comparable(c.seed, key), key)
	if e == nil || !c.feed.holds(e.mark, e.slots) {
		return value, false
	}
	if !e.hit.Load() {
		e.hit.Store(true)
	}
	return e.value, true
}

// Put adds a value that was read after the mark and is true until one of the
// topics is touched. It does nothing if that happened already.
func (c *Cache[K, V]) Put(m Mark, key K, value V, topics ...string) {
	size := c.size(key, value) + itemOverhead
	if size > c.limit {
		return
	}
	e := &item[K, V]{hash: maphash.Comparable(c.seed, key), key: key, value: value, size: size, mark: m}
	for _, t := range topics {
		e.slots = append(e.slots, c.feed.slot(t))
	}
	if !c.feed.holds(m, e.slots) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := *c.table.Load()
	if old := t.find(e.hash, key); old != nil {
		if old.mark > m {
			return // read later than this
		}
		c.unlink(old)
	}
	c.link(e)
	for c.used > c.limit {
		c.evict()
	}
}

// Bytes returns how much the cache holds, also of what is no longer true.
func (c *Cache[K, V]) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

func (t table[K, V]) bucket(hash uint64) *atomic.Pointer[link[K, V]] {
	return &t[hash&uint64(len(t)-1)]
}

func (t table[K, V]) find(hash uint64, key K) *item[K, V] {
	for l := t.bucket(hash).Load(); l != nil; l = l.next {
		if l.hash == hash && l.key == key {
			return l.item
		}
	}
	return nil
}

func (t table[K, V]) add(e *item[K, V]) {
	b := t.bucket(e.hash)
	b.Store(&link[K, V]{e, b.Load()})
}

// without returns the chain less one entry.
func (l *link[K, V]) without(e *item[K, V]) *link[K, V] {
	if l == nil || l.item == e {
		if l == nil {
			return nil
		}
		return l.next
	}
	return &link[K, V]{l.item, l.next.without(e)}
}

// link adds an entry to the queue and to the table, which grows when it is
// crowded.
func (c *Cache[K, V]) link(e *item[K, V]) {
	c.used += e.size
	c.count++
	c.enqueue(e)
	t := *c.table.Load()
	if c.count <= len(t) {
		t.add(e)
		return
	}
	grown := make(table[K, V], 2*len(t))
	for e := c.queue.newer; e != &c.queue; e = e.newer {
		grown.add(e)
	}
	c.table.Store(&grown)
}

func (c *Cache[K, V]) unlink(e *item[K, V]) {
	b := c.table.Load().bucket(e.hash)
	b.Store(b.Load().without(e))
	e.dequeue()
	c.used -= e.size
	c.count--
}

// enqueue makes the entry the newest.
func (c *Cache[K, V]) enqueue(e *item[K, V]) {
	e.older, e.newer = c.queue.older, &c.queue
	e.older.newer, e.newer.older = e, e
}

func (e *item[K, V]) dequeue() {
	e.older.newer, e.newer.older = e.newer, e.older
	e.older, e.newer = nil, nil
}

// maxSaved bounds how many entries one eviction spares.
const maxSaved = 32

// evict removes the oldest entry, but for those that were hit since their
// last turn and are still true: they become the newest.
func (c *Cache[K, V]) evict() {
	e := c.queue.newer
	for range maxSaved {
		if !e.hit.Load() || !c.feed.holds(e.mark, e.slots) {
			break
		}
		e.hit.Store(false)
		e.dequeue()
		c.enqueue(e)
		e = c.queue.newer
	}
	c.unlink(e)
}
