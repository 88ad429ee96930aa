package invocation

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
)

// Logs takes what functions and the platform write; it is the pool's. It
// waits for nothing: entries are stored in batches, at the latest when their
// invocation ends or, with LogLater, within logInterval. What the function's role may not store is dropped, as on AWS
// (AWS docs).
func (i *Invoker) Logs(s environment.Spec, session environment.Credentials, name string, entries []environment.Entry) {
	i.logs.add(stream{s.Account, s.Region, s.LogGroup, name, session.AccessKeyID, session.SessionToken}, entries)
}

// FlushLogs stores what functions have written so far, so that it can be read.
func (i *Invoker) FlushLogs(ctx context.Context) {
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	i.logs.flush(flush)
}

const (
	// logInterval is how long an entry of a running invocation waits to be
	// stored, at most.
	logInterval = 250 * time.Millisecond
	// maxPending bounds the entries that wait, in bytes; more are dropped
	// and counted in the log itself.
	maxPending = 32 << 20
	// maxAttempts is how often a stream's entries are tried to store.
	maxAttempts = 3
)

// stream is one log stream, with the session that writes it.
type stream struct{ account, region, group, name, accessKeyID, token string }

// pendingEntry is an entry with the number of attempts to store it.
type pendingEntry struct {
	loggroup.Entry
	attempts int
}

// logbook holds entries until they are stored. Whoever flushes stores
// everything that waits, so that invocations that end together share one
// transaction.
type logbook struct {
	store  *store.Store
	logger *slog.Logger
	// permit decides whether a session may write a stream.
	permit permit
	// writing is held while entries are on their way into the store, which
	// keeps those of one stream in order.
	writing sync.Mutex
	// running says that whatever is added now will be flushed by run.
	running atomic.Bool

	mu      sync.Mutex
	pending map[stream][]pendingEntry
	bytes   int
	dropped int
}

func (b *logbook) add(s stream, entries []environment.Entry) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		size := len(e.Message) + loggroup.EntryOverhead
		if b.bytes+size > maxPending {
			b.dropped++
			continue
		}
		b.bytes += size
		b.pending[s] = append(b.pending[s], pendingEntry{Entry: loggroup.Entry{
			Time: e.Time, IngestedAt: now, Message: clean(e.Message),
		}})
	}
}

// clean makes text of what a process wrote: databases do not store bytes that
// are no UTF-8, or zeros.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// flush stores everything that waited when it was called. What cannot be
// stored waits for the next flush, a few times.
func (b *logbook) flush(ctx context.Context) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	batch, dropped := b.pending, b.dropped
	b.pending, b.bytes, b.dropped = map[stream][]pendingEntry{}, 0, 0
	b.mu.Unlock()
	if dropped > 0 {
		b.logger.Warn("functions write faster than the store takes it: log entries dropped", "entries", dropped)
	}
	if len(batch) == 0 || b.write(ctx, batch) == nil {
		return
	}
	// One stream may spoil the batch for the others.
	for s, entries := range batch {
		if err := b.write(ctx, map[stream][]pendingEntry{s: entries}); err != nil {
			b.putBack(s, entries, err)
		}
	}
}

func (b *logbook) write(ctx context.Context, batch map[stream][]pendingEntry) error {
	writers, err := b.permit.writers(ctx, batch)
	if err != nil {
		return err
	}
	var refused map[stream]error
	err = b.store.Update(ctx, func(tx *store.Tx) error {
		refused = map[stream]error{}
		for s, entries := range batch {
			err := b.permit.write(tx, s, writers[s])
			if fault.Is(err, fault.Denied) {
				refused[s] = err
				continue
			}
			if err != nil {
				return err
			}
			plain := make([]loggroup.Entry, len(entries))
			for i := range entries {
				plain[i] = entries[i].Entry
			}
			if err := tx.AppendLogEntries(s.account, s.region, s.group, s.name, plain); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for s, cause := range refused {
		b.permit.note(b.logger, s, cause)
	}
	return nil
}

func (b *logbook) putBack(s stream, entries []pendingEntry, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := entries[:0]
	for _, e := range entries {
		if e.attempts++; e.attempts < maxAttempts || fault.Is(cause, fault.Unavailable) && b.bytes < maxPending {
			kept = append(kept, e)
			b.bytes += len(e.Message) + loggroup.EntryOverhead
		}
	}
	b.logger.Error("storing the log of a function", "group", s.group, "stream", s.name, "dropped", len(entries)-len(kept), "error", cause)
	b.pending[s] = append(kept, b.pending[s]...)
}

// run stores the entries of invocations that go on for longer, and what is
// left when ctx ends.
func (b *logbook) run(ctx context.Context) error {
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	b.running.Store(true)
	for {
		select {
		case <-tick.C:
			b.flush(ctx)
		case <-ctx.Done():
			b.running.Store(false) // before the last flush, so that it finds what others left to it
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
			defer cancel()
			b.flush(last)
			return nil
		}
	}
}
