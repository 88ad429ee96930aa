// Package store holds every record of the server and all of its SQL.
//
// One SQL body serves SQLite and PostgreSQL. Packages store/sqlite and
// store/postgres open a database, migrate its schema and implement Backend:
// how a transaction runs there and what its errors mean. Callers see Store
// alone.
//
// All work happens in two kinds of transaction. View reads one consistent
// snapshot. Update reads and writes, serially: it behaves as if no other
// Update ran at the same time, and once it returned nil the change survives
// a crash of the process and of the machine. The function given to either
// may run more than once, because a conflict, or the failure of another
// update in the same commit, makes the store start it again. So it must
// take everything it needs from its Tx, change nothing outside but
// variables that it sets anew each time, not wait for the network, and not
// call View or Update of the same store.
//
// Rows keep times as microseconds since 1970 UTC, 0 for the zero time, and
// lists as JSON text. Text is ordered by its bytes on both databases.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	backend Backend
	feed    *Feed
	peers   *Peers
	memory  memory
	shut    atomic.Bool // closed, for who takes no lock

	counters counters

	mu      sync.Mutex
	running int // transactions under way
	closed  bool
	idle    sync.Cond // signalled when running falls to zero
}

// Backend runs transactions on one database. Packages store/sqlite and
// store/postgres implement it.
type Backend interface {
	// View runs fn on a connection in a read-only transaction with one
	// snapshot.
	View(ctx context.Context, fn func(Conn) error) error
	// Update runs fn in a serial read-write transaction and returns nil
	// once that is durable. It runs fn again after an error that Classify
	// calls Conflict. A *DriverError from fn means that a statement failed
	// and the transaction is lost; any other error undoes fn alone.
	Update(ctx context.Context, fn func(Conn) error) error
	// Classify says what an error of the driver means.
	Classify(err error) Class
	// Check verifies the integrity of the database as far as the database
	// itself can.
	Check(ctx context.Context) error
	// Peers connects the processes that share the database; nil when it
	// belongs to this one.
	Peers() *Peers
	// Close closes the database; no transaction is under way or follows.
	Close() error
}

// Conn executes statements on a connection inside a transaction.
// Parameters are written $1, $2 and so on, each once or more.
type Conn interface {
	Query(ctx context.Context, query string, args []any) (*sql.Rows, error)
	Exec(ctx context.Context, query string, args []any) (sql.Result, error)
}

// New returns a Store on the backend, whose schema must be migrated. What it
// caches takes up to cache bytes; 0 means DefaultCache, less than 0 none.
func New(b Backend, cache int64) *Store {
	s := &Store{backend: b, peers: b.Peers()}
	s.feed = NewFeed(s.peers == nil)
	if cache == 0 {
		cache = DefaultCache
	}
	s.memory = newMemory(s, cache)
	s.idle.L = &s.mu
	return s
}

// ErrClosed is the cause of the error that every call returns after Close.
var ErrClosed = errors.New("the store is closed")

// View calls fn with one consistent read-only snapshot. fn may run more
// than once. View returns fn's error, or a *fault.Error of kind Unavailable
// when the database cannot be reached or ctx ended, or Internal.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.view(ctx, Tx{}, fn)
}

// view runs fn on copies of the given Tx.
func (s *Store) view(ctx context.Context, like Tx, fn func(*Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	return s.explain(ctx, s.backend.View(ctx, func(c Conn) error {
		tx := like
		tx.ctx, tx.conn, tx.readOnly, tx.mark = ctx, c, true, s.Mark()
		return run(&tx, fn)
	}))
}

// Update calls fn in a serial read-write transaction. fn may run more than
// once. When Update returns nil the change is durable; when it returns an
// error nothing of fn's work is stored, with one exception: after an error
// of kind Unavailable the commit may have been applied, as the connection
// or the disk failed while it was in progress. fn's own errors come back
// unchanged. A context that ends before the commit undoes everything; one
// that ends during the commit is ignored.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	began := time.Now()
	var u update
	defer func() { s.settle(&u) }()
	err := s.backend.Update(ctx, func(c Conn) error {
		s.feed.end(u.topics)
		u = update{}
		tx := &Tx{ctx: ctx, conn: c}
		if s.peers == nil {
			tx.memory = &s.memory
		}
		if err := run(tx, fn); err != nil {
			return err
		}
		if err := s.announce(ctx, c, tx.topics); err != nil {
			return err
		}
		u = update{topics: tx.topics, saved: tx.saved, begun: s.feed.begin(tx.topics)}
		return nil
	})
	if len(u.topics) > 0 && mayBeStored(err) {
		mark := s.feed.Changed(u.topics)
		if err == nil {
			u.mark = mark
		}
		if s.peers != nil {
			s.peers.Committed()
		}
	}
	s.updated(began, err)
	return s.explain(ctx, err)
}

// update is what a run of an update's function left behind.
type update struct {
	topics []string
	saved  []savedSecret
	begun  uint64
	mark   Mark // of its change; 0 until it is known to be stored
}

// settle takes the topics of an update out of doubt, and puts what it saved
// into memory if it is stored and no update came after it.
func (s *Store) settle(u *update) {
	s.feed.end(u.topics)
	if u.mark == 0 {
		return
	}
	for _, one := range u.saved {
		if s.feed.latest(u.begun, one.topic) {
			s.memory.secrets.Put(u.mark, one.place, one.heldSecret, one.topic)
		}
	}
}

// Now is the time by the clock that the processes of one database share: the
// database's own, or, of a database that belongs to one process, this
// machine's. Leases are counted by it, so that the clocks of nodes may differ.
// It is never ahead of that clock, and lags by as long as a question to the
// database takes, a second at most. It asks nothing itself.
func (s *Store) Now() time.Time {
	if s.peers == nil {
		return time.Now()
	}
	return s.peers.Now()
}

// announce makes the update tell other processes of the topics.
func (s *Store) announce(ctx context.Context, c Conn, topics []string) error {
	if s.peers == nil || len(topics) == 0 {
		return nil
	}
	if err := s.peers.Announce(ctx, c, topics); err != nil {
		return &DriverError{Doing: "announcing changes", Err: err}
	}
	return nil
}

// run calls fn and lets the error of a failed statement win over what fn
// made of it, so that the backend sees it even if fn hid it.
func run(tx *Tx, fn func(*Tx) error) error {
	defer func() { tx.done = true }()
	err := fn(tx)
	if tx.failed != nil {
		return tx.failed
	}
	return err
}

func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fault.New(fault.Unavailable, "").Because(ErrClosed)
	}
	s.running++
	return nil
}

func (s *Store) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running == 0 {
		s.idle.Broadcast()
	}
}

// Check verifies the database's integrity: what the database can check
// itself, that every secret's record reads, and that the rows of its labels
// and versions agree with it. It reads everything and takes its time.
func (s *Store) Check(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if err := s.explain(ctx, s.backend.Check(ctx)); err != nil {
		return err
	}
	const page = 1000
	for after := ""; ; {
		var list []*secret.Secret
		err := s.View(ctx, func(tx *Tx) (err error) {
			list, err = tx.secrets(`SELECT `+secretColumns+` FROM secret s WHERE s.id > $1 ORDER BY s.id LIMIT $2`, after, page)
			for _, x := range list {
				if err == nil {
					err = tx.checkLabels(x)
				}
			}
			return err
		})
		if err != nil || len(list) < page {
			return err
		}
		after = list[page-1].ID
	}
}

// Close waits for transactions that run, then closes the database. Later
// calls of any other method return an error of kind Unavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.shut.Store(true)
	for s.running > 0 {
		s.idle.Wait()
	}
	return s.backend.Close()
}

// explain turns an error of the driver into a *fault.Error.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	failed, ok := errors.AsType[*DriverError](err)
	if !ok {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return ended(err)
		}
		return err
	}
	if failed.Doing == Commit || s.backend.Classify(failed.Err) != Other {
		return fault.New(fault.Unavailable, "").Because(failed)
	}
	if ctx.Err() != nil && errors.Is(failed, ctx.Err()) {
		return ended(failed)
	}
	return &fault.Error{Kind: fault.Internal, Cause: failed}
}

func ended(cause error) error {
	if fault.Is(cause, fault.Unavailable) {
		return cause
	}
	return fault.New(fault.Unavailable, "").Because(cause)
}

// Class is the meaning of a driver's error.
type Class int

// The classes.
const (
	Other       Class = iota // a fault of ours or of the database
	Conflict                 // not applied; running the transaction again may succeed
	Unavailable              // the database does not answer; whether a commit was applied is unknown
	Full                     // the disk is full or read-only; not applied
)

// Commit is what a DriverError was doing when the outcome of a transaction
// may be unknown.
const Commit = "COMMIT"

// DriverError is the failure of one statement, or of a begin or commit.
// The text of a statement is logged, its arguments never are.
type DriverError struct {
	// Doing is the statement, Commit, or a verb phrase.
	Doing string
	// Err comes from the driver.
	Err error
}

// Error returns what was done and why it failed.
func (e *DriverError) Error() string { return fmt.Sprintf("%s: %v", e.Doing, e.Err) }

// Unwrap returns the driver's error.
func (e *DriverError) Unwrap() error { return e.Err }
