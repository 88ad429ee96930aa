package store

import (
	"context"
	"sync/atomic"
	"time"
)

// counters are what a Store counts for Stat.
type counters struct {
	hits, misses               atomic.Uint64
	updates, failed, updateFor atomic.Uint64
}

// Stat is what a Store has done and holds.
type Stat struct {
	// CacheHits are Reads that took no statement, CacheMisses the others.
	CacheHits, CacheMisses uint64
	// CacheBytes is what the cached records take, CacheLimit what they may.
	CacheBytes, CacheLimit int64
	// Updates are those that ended, FailedUpdates those of them that did not
	// store anything for sure. UpdateTime is what all took together.
	Updates, FailedUpdates uint64
	UpdateTime             time.Duration
	// Current says that the changes of other processes reach this one, and
	// Proof is the age of the last proof of that, 0 for a database that one
	// process owns or before the first proof.
	Current bool
	Proof   time.Duration
}

// Stat returns what the store has done since it was opened. It asks the
// database nothing.
func (s *Store) Stat() Stat {
	c := &s.counters
	st := Stat{
		CacheHits: c.hits.Load(), CacheMisses: c.misses.Load(), Updates: c.updates.Load(), FailedUpdates: c.failed.Load(),
		UpdateTime: time.Duration(c.updateFor.Load()), Current: s.feed.current(),
		CacheBytes: s.memory.secrets.Bytes() + s.memory.keys.Bytes() + s.memory.grants.Bytes(),
		CacheLimit: s.memory.secrets.limit + s.memory.keys.limit + s.memory.grants.limit,
	}
	if proved := s.feed.proved.Load(); proved > 0 {
		st.Proof = time.Since(s.feed.start) - time.Duration(proved)
	}
	return st
}

// updated counts an update that began at a time.
func (s *Store) updated(began time.Time, err error) {
	s.counters.updates.Add(1)
	s.counters.updateFor.Add(uint64(time.Since(began)))
	if err != nil {
		s.counters.failed.Add(1)
	}
}

// Backlog is what there is to do for a rotation engine.
type Backlog struct {
	// Due are rotations whose schedule fired more than a minute ago and that
	// nobody has started; OldestDue is the first of them, zero for none.
	Due       int
	OldestDue time.Time
	// Running are rotations under way, also of other nodes, and Retrying
	// those of them whose first attempt failed.
	Running, Retrying int
}

// late is when a due rotation counts as overdue.
const late = time.Minute

// Backlog looks at what is due. It reads indexes of what is due or runs
// alone.
func (s *Store) Backlog(ctx context.Context) (b Backlog, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		var oldest int64
		err := tx.one([]any{&b.Due, &oldest}, `SELECT count(*), coalesce(min(s.due_at), 0) FROM secret s
			WHERE s.due_at > 0 AND s.delete_at = 0 AND s.due_at < $1`, micros(time.Now().Add(-late)))
		if err != nil {
			return err
		}
		b.OldestDue = fromMicros(oldest)
		return tx.one([]any{&b.Running, &b.Retrying}, `SELECT count(*), coalesce(sum(CASE WHEN r.attempt > 1 THEN 1 ELSE 0 END), 0)
			FROM rotation r WHERE r.state = 'running'`)
	})
	return b, err
}
