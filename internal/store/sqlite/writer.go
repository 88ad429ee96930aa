package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/keyturn/keyturn/internal/store"
)

// maxBatch bounds the updates of one commit, and so the time that the
// first of them waits for the last.
const maxBatch = 256

// writer runs updates one after the other and commits in groups.
//
// There is no writer goroutine. Callers queue; the first of the queue
// leads: it takes everything that is queued at that moment as its batch,
// runs each function in turn inside one transaction, commits once, hands
// the lead to the first caller that queued meanwhile and wakes its batch.
// So a lone caller does all of its work itself without waiting, and under
// load the batch grows with the time that a commit takes.
type writer struct {
	db *sql.DB

	mu    sync.Mutex
	queue []*job
	led   bool

	conn *conn // the leader's; nil until it is needed
}

// job is one update waiting for its commit.
type job struct {
	ctx context.Context
	fn  func(store.Conn) error
	// wake is closed when the job is finished, or leads is set.
	wake  chan struct{}
	leads bool
	err   error
	// panicked is what fn panicked with.
	panicked *panicError
}

// panicError carries a panic of one caller's function from the leader's
// goroutine to the caller's.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", e.value, e.stack) }

var errExited = errors.New("an update's function ended the goroutine of its commit")

func (w *writer) update(ctx context.Context, fn func(store.Conn) error) error {
	j := &job{ctx: ctx, fn: fn, wake: make(chan struct{})}
	w.mu.Lock()
	w.queue = append(w.queue, j)
	first := !w.led
	if first {
		w.led, j.leads = true, true
	}
	w.mu.Unlock()
	if !first && !w.wait(j) {
		return ctx.Err()
	}
	if j.leads {
		w.lead()
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

// wait returns true once the job is finished or leads, and false when its
// context ended before any batch took it.
func (w *writer) wait(j *job) bool {
	select {
	case <-j.wake:
		return true
	case <-j.ctx.Done():
	}
	w.mu.Lock()
	i := slices.Index(w.queue, j)
	if i >= 0 && !j.leads {
		w.queue = slices.Delete(w.queue, i, i+1)
		w.mu.Unlock()
		return false
	}
	w.mu.Unlock()
	<-j.wake
	return true
}

// lead runs one batch and passes the lead on.
func (w *writer) lead() {
	w.mu.Lock()
	n := min(len(w.queue), maxBatch)
	batch := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	w.mu.Unlock()

	// A function that ends the goroutine unwinds through here; the
	// callers that wait must not notice.
	defer func() {
		w.mu.Lock()
		if len(w.queue) > 0 {
			next := w.queue[0]
			next.leads = true
			close(next.wake)
		} else {
			w.led = false
		}
		w.mu.Unlock()
		for _, j := range batch {
			if !j.leads {
				close(j.wake)
			}
		}
	}()
	w.commit(batch)
}

// commit brings every job of the batch to its end. When the transaction is
// lost to one job's failure the others run again without it.
//
// The first attempt sets no savepoints, which would cost a tenth of an
// update: few functions fail, and most of those before they wrote anything.
// The attempts after a failure that did cost the others their work set one
// for each job, so that further failures cost nobody else anything.
func (w *writer) commit(batch []*job) {
	unwinding := true
	defer func() {
		if !unwinding {
			return
		}
		w.drop()
		for _, j := range batch {
			if j.err == nil && j.panicked == nil {
				j.err = errExited
			}
		}
	}()
	for careful := false; len(batch) > 0; careful = true {
		lost := w.attempt(batch, careful && len(batch) > 1)
		if lost == nil {
			break
		}
		batch = slices.DeleteFunc(slices.Clone(batch), func(j *job) bool { return j == lost })
	}
	unwinding = false
}

// attempt runs the batch in one transaction. It returns the job whose
// failure cost the transaction, or nil when all jobs have their result.
func (w *writer) attempt(batch []*job, savepoints bool) (lost *job) {
	if err := w.begin(); err != nil {
		for _, j := range batch {
			j.err = err
		}
		return nil
	}
	for _, j := range batch {
		if !w.runJob(j, savepoints) {
			w.rollback()
			return j
		}
	}
	if err := w.conn.do(store.Commit); err != nil {
		w.rollback()
		for _, j := range batch {
			if j.err == nil && j.panicked == nil {
				j.err = &store.DriverError{Doing: store.Commit, Err: err}
			}
		}
	}
	return nil
}

func (w *writer) begin() error {
	if w.conn == nil {
		c, err := open(w.db)
		if err != nil {
			return &store.DriverError{Doing: "connecting", Err: err}
		}
		w.conn = c
	}
	if err := w.conn.do("BEGIN IMMEDIATE"); err != nil {
		w.drop()
		return &store.DriverError{Doing: "BEGIN IMMEDIATE", Err: err}
	}
	return nil
}

// rollback undoes the transaction. SQLite undoes it by itself after some
// errors, and then has none to roll back; a fresh connection is certain.
func (w *writer) rollback() {
	if w.conn.do("ROLLBACK") != nil {
		w.drop()
	}
}

// drop closes the connection, which undoes whatever is not committed.
func (w *writer) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// runJob calls the job's function and sets its result. It returns false
// when the transaction is lost.
func (w *writer) runJob(j *job, savepoints bool) bool {
	j.err, j.panicked = nil, nil
	c := &jobConn{conn: w.conn, savepoints: savepoints}
	j.err = j.call(c)
	if j.err == nil && j.panicked == nil {
		return !c.wrote || !savepoints || w.finish(j, "RELEASE job")
	}
	if _, failed := errors.AsType[*store.DriverError](j.err); failed {
		return false
	}
	return !c.wrote || savepoints && w.finish(j, "ROLLBACK TO job") && w.finish(j, "RELEASE job")
}

// finish ends the job's savepoint.
func (w *writer) finish(j *job, query string) bool {
	if err := w.conn.do(query); err != nil {
		if j.err == nil {
			j.err = &store.DriverError{Doing: query, Err: err}
		}
		return false
	}
	return true
}

// call runs fn and keeps its panic.
func (j *job) call(c store.Conn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			j.panicked = &panicError{v, debug.Stack()}
		}
	}()
	return j.fn(c)
}

// jobConn notes a job's first write, and sets a savepoint before it if it
// should.
type jobConn struct {
	*conn
	savepoints, wrote bool
}

// Exec implements store.Conn.
func (c *jobConn) Exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if c.savepoints && !c.wrote {
		if err := c.do("SAVEPOINT job"); err != nil {
			return nil, err
		}
	}
	c.wrote = true
	return c.conn.Exec(ctx, query, args)
}
