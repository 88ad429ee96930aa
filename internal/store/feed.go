package store

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Topics of the change feed. What a transaction touches is named by what
// caches hold, not by the rows that it writes.

// IdentityTopic covers everything about who callers of an account are and
// what they may do: users, groups, roles, policies, access keys.
func IdentityTopic(account string) string { return "iam/" + account }

// KeyTopic covers a KMS key with its material, and what resolves to it.
func KeyTopic(id string) string { return "key/" + id }

// NetworkTopic covers what an account has of VPCs in a region.
func NetworkTopic(account, region string) string { return "network/" + account + "/" + region }

// SecretTopic covers a secret with its versions, labels and replicas.
func SecretTopic(id string) string { return "secret/" + id }

// Touch says that the transaction changes what caches hold under the topic.
// Every function of Tx that saves or deletes secrets, keys, aliases and
// identities does so itself.
func (tx *Tx) Touch(topic string) {
	if !slices.Contains(tx.topics, topic) {
		tx.topics = append(tx.topics, topic)
	}
	tx.saved = slices.DeleteFunc(tx.saved, func(s savedSecret) bool { return s.topic == topic })
}

// Watch calls fn with the topics of every update: of those of this process
// before Update returns, if it succeeded or its outcome is unknown; of those
// of other processes once this one hears of them. A nil list means that
// everything may have changed. fn is called from many goroutines; it must be
// quick and must not call the store. Once stop returned, fn is not called.
//
// A watcher that caches must not do so while Current is false, and must not
// keep what was read before a call of fn that came during the read. Cache
// does both.
func (s *Store) Watch(fn func(topics []string)) (stop func()) { return s.feed.watch(fn) }

// Current reports whether this process hears of the updates of all others.
// It is always true of a database that one process owns. Of a shared one it
// is true while Run runs and has proof, not older than the bound that the
// backend states, that changes reach it.
func (s *Store) Current() bool { return s.feed.current() }

// Run follows what other processes change, until ctx ends. Without it, the
// caches on a shared database hold nothing.
func (s *Store) Run(ctx context.Context) error {
	if s.peers == nil {
		<-ctx.Done()
		return nil
	}
	defer s.feed.Lose()
	return s.peers.Follow(ctx, s.feed)
}

// Peers connects the processes that share one database.
type Peers struct {
	// Announce makes the transaction tell the others, if it commits, what
	// it touched.
	Announce func(ctx context.Context, c Conn, topics []string) error
	// Committed is called when a transaction that announced something may
	// have been committed. It must not wait.
	Committed func()
	// Now is the time by the database's clock.
	Now func() time.Time
	// Follow tells the feed what others announce, until ctx ends.
	Follow func(ctx context.Context, feed *Feed) error
}

// stamps is how many topics the feed tells apart. Topics that share a stamp
// are changed together, which costs a miss now and then.
const stamps = 1 << 15

// forever is the end of a proof that needs none.
const forever = 1<<63 - 1

// Feed carries changes to the caches and watchers of one process. It counts
// them, and remembers by a hash of the topic which was the last to touch it:
// so a cache can tell by itself whether what it holds is still true, and
// nobody has to keep lists of who holds what.
type Feed struct {
	count atomic.Uint64
	// floor is the count before which nothing can be known to be true.
	floor atomic.Uint64
	// until is when the proof ends that changes arrive, since start.
	until atomic.Int64
	// proved is when that was proved last, since start; 0 for never.
	proved atomic.Int64
	start  time.Time
	seed   maphash.Seed
	last   [stamps]atomic.Uint64
	// doubt counts the updates of this process that touch the topic and may
	// or may not be stored yet.
	doubt [stamps]atomic.Int32
	// begun is the count at which the topic was put in doubt last.
	begun [stamps]atomic.Uint64

	mu       sync.RWMutex
	watchers []*func([]string)
}

// NewFeed returns the feed of a process: one that owns its database alone is
// always current, another once Prove is called.
func NewFeed(alone bool) *Feed {
	f := &Feed{start: time.Now(), seed: maphash.MakeSeed()}
	if alone {
		f.until.Store(forever)
	}
	return f
}

// Changed tells that the topics were touched; nil means all. What is read from
// now on may be put into a Cache under the mark that it returns.
func (f *Feed) Changed(topics []string) Mark {
	now := f.count.Add(1)
	if topics == nil {
		raise(&f.floor, now)
	}
	for _, t := range topics {
		raise(&f.last[f.slot(t)], now)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, fn := range f.watchers {
		(*fn)(topics)
	}
	return Mark(now)
}

// begin puts the topics in doubt: their changes are about to be stored, so
// that some readers will see them while others find what was before in
// caches. It returns a number by which latest knows the update again.
func (f *Feed) begin(topics []string) uint64 {
	if len(topics) == 0 {
		return 0
	}
	for _, t := range topics {
		f.doubt[f.slot(t)].Add(1)
	}
	now := f.count.Add(1)
	for _, t := range topics {
		f.begun[f.slot(t)].Store(now)
	}
	return now
}

// latest reports whether no other update has put the topic in doubt since.
func (f *Feed) latest(begun uint64, topic string) bool {
	return f.begun[f.slot(topic)].Load() == begun
}

// end takes the topics out of doubt, after Changed.
func (f *Feed) end(topics []string) {
	for _, t := range topics {
		f.doubt[f.slot(t)].Add(-1)
	}
}

// raise sets v to n unless it is higher.
func raise(v *atomic.Uint64, n uint64) {
	for {
		old := v.Load()
		if old >= n || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// Prove tells that the process has heard of every change that was committed
// before now, and may count on it until then: the bound on how old what
// caches give can be.
func (f *Feed) Prove(until time.Time) {
	f.proved.Store(int64(time.Since(f.start)))
	f.until.Store(int64(until.Sub(f.start)))
}

// Lose tells that changes may have been missed.
func (f *Feed) Lose() {
	f.until.Store(0)
	f.Changed(nil)
}

func (f *Feed) current() bool {
	until := f.until.Load()
	return until == forever || int64(time.Since(f.start)) < until
}

func (f *Feed) slot(topic string) uint32 {
	return uint32(maphash.String(f.seed, topic) % stamps)
}

// holds reports whether what was read after the mark is still true, as far
// as the topics of the slots go.
func (f *Feed) holds(m Mark, slots []uint32) bool {
	if uint64(m) < f.floor.Load() || !f.current() {
		return false
	}
	for _, s := range slots {
		if f.doubt[s].Load() != 0 || f.last[s].Load() > uint64(m) {
			return false
		}
	}
	return true
}

func (f *Feed) watch(fn func([]string)) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers = append(f.watchers, &fn)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if i := slices.Index(f.watchers, &fn); i >= 0 {
			f.watchers = slices.Delete(f.watchers, i, i+1)
		}
	}
}

// Mark is a moment in the feed, taken before a read.
type Mark uint64

// Mark returns the moment now. What a View that begins after it reads may be
// put into a Cache under it.
func (s *Store) Mark() Mark { return Mark(s.feed.count.Load()) }

// mayBeStored reports whether an update with this result changed anything:
// it succeeded, or its outcome is unknown.
func mayBeStored(err error) bool {
	failed, ok := errors.AsType[*DriverError](err)
	return err == nil || ok && failed.Doing == Commit
}
