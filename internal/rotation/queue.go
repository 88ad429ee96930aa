package rotation

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/invocation"
)

const (
	// patience is how long a step waits for a function that is at work on
	// others before that counts as a failed attempt. It holds one of the
	// node's places meanwhile.
	patience = 2 * time.Minute
	// A step that nobody gives its turn asks again after shortPause at first,
	// longPause at most: others than this engine invoke functions too.
	shortPause = 10 * time.Millisecond
	longPause  = 300 * time.Millisecond
)

// turns hands a function that has come free to one of the steps that wait for
// it.
type turns struct {
	mu     sync.Mutex
	queues map[string]*queue // by the function's ARN
}

// queue is of one function.
type queue struct {
	free chan struct{}
	// users counts the steps that are in call.
	users int
}

// enter returns the function's queue, and leave, to be called once.
func (t *turns) enter(function string) (q *queue, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q = t.queues[function]
	if q == nil {
		q = &queue{free: make(chan struct{}, 1)}
		t.queues[function] = q
	}
	q.users++
	return q, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(t.queues, function)
		}
		select {
		case q.free <- struct{}{}:
		default: // somebody is on the way already
		}
	}
}

// call invokes the function. While as many of its execution environments are
// at work as it may have, the step waits for its turn, so that a limit on a
// function, and with it on connections to a database, queues rotations and
// fails none. A function that may not run at all fails at once. The error is
// errStopped when the server stops meanwhile.
func (d *driver) call(work context.Context, r invocation.Request) (invocation.Result, error) {
	q, leave := d.turns.enter(r.Function)
	defer leave()
	until := time.Now().Add(patience)
	for pause := shortPause; ; pause = min(pause*3/2, longPause) {
		result, err := d.cfg.Invoke(work, r)
		if !fault.Is(err, fault.Throttled) || errors.Is(err, environment.ErrSwitchedOff) || time.Now().After(until) {
			return result, err
		}
		retry := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-work.Done():
			err = work.Err()
		case <-d.stopping:
			err = errStopped
		case <-q.free:
			err = nil
		case <-retry.C:
			err = nil
		}
		retry.Stop()
		if err != nil {
			return invocation.Result{}, err
		}
	}
}
