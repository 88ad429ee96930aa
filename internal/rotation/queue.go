package rotation

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/secret"
)

const (
	// patience is how long a step waits for a function that is at work on
	// others before that counts as a failed attempt. It holds one of the
	// node's places meanwhile.
	patience = 2 * time.Minute
	// The first of the steps that wait asks by itself after shortPause at
	// first, longPause at most: others than this engine invoke functions too.
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
	// waiting is in the order in which turns come.
	waiting []*turn
	// users counts the turns that are taken or waited for, arrived those that
	// ever were, ended the invocations that made room.
	users, arrived, ended int
}

// turn is one step's.
type turn struct {
	of       *turns
	q        *queue
	function string
	// A rotation that is further on goes first: between setSecret and
	// finishSecret nobody who reads the secret may be able to log in.
	step, number int
	// seen is how many invocations had ended when the step last tried.
	seen int
	// called has a value when the step is to try.
	called chan struct{}
}

var stepOrder = map[secret.Step]int{secret.CreateSecret: 0, secret.SetSecret: 1, secret.TestSecret: 2, secret.FinishSecret: 3}

// enter takes a place for a step of a function. mayTry is false when others
// wait who go first. leave is to be called in the end.
func (t *turns) enter(function string, step secret.Step) (m *turn, mayTry bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[function]
	if q == nil {
		q = &queue{}
		t.queues[function] = q
	}
	q.users++
	q.arrived++
	m = &turn{of: t, q: q, function: function, step: stepOrder[step], number: q.arrived, seen: q.ended, called: make(chan struct{}, 1)}
	if len(q.waiting) == 0 || m.before(q.waiting[0]) {
		return m, true
	}
	m.wait()
	return m, false
}

func (m *turn) before(o *turn) bool { return m.compare(o) < 0 }

func (m *turn) compare(o *turn) int {
	return cmp.Or(cmp.Compare(o.step, m.step), cmp.Compare(m.number, o.number))
}

func (m *turn) wait() {
	i, _ := slices.BinarySearchFunc(m.q.waiting, m, (*turn).compare)
	m.q.waiting = slices.Insert(m.q.waiting, i, m)
}

// refused puts the step among those that wait, unless an invocation ended
// while it tried.
func (m *turn) refused() (tryAgain bool) {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	if m.seen != m.q.ended {
		m.seen = m.q.ended
		return true
	}
	if len(m.called) == 0 {
		m.wait()
	}
	return false
}

// take takes the step out of those that wait, if it is the first of them or
// waits no longer.
func (m *turn) take(late bool) (taken bool) {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	i := slices.Index(m.q.waiting, m)
	if i < 0 || i > 0 && !late {
		return late
	}
	m.q.waiting = slices.Delete(m.q.waiting, i, i+1)
	m.seen = m.q.ended
	return true
}

// ended calls the next step to the room that an invocation leaves.
func (m *turn) ended() {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.callNext()
}

func (m *turn) callNext() {
	m.q.ended++
	if len(m.q.waiting) == 0 {
		return
	}
	next := m.q.waiting[0]
	m.q.waiting = slices.Delete(m.q.waiting, 0, 1)
	next.seen = m.q.ended
	next.called <- struct{}{}
}

// leave gives the place back. A step that was called and did not try passes
// the call on.
func (m *turn) leave() {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.q.waiting = slices.DeleteFunc(m.q.waiting, func(o *turn) bool { return o == m })
	select {
	case <-m.called:
		m.callNext()
	default:
	}
	if m.q.users--; m.q.users == 0 {
		delete(m.of.queues, m.function)
	}
}

// call invokes the function. While as many of its execution environments are
// at work as it may have, the step waits for its turn, so that a limit on a
// function, and with it on connections to a database, queues rotations and
// fails none. A function that may not run at all fails at once. The error is
// errStopped when the server stops meanwhile.
func (d *driver) call(work context.Context, step secret.Step, r invocation.Request) (invocation.Result, error) {
	m, try := d.turns.enter(r.Function, step)
	defer m.leave()
	ended := sync.OnceFunc(m.ended)
	r.Ended = ended
	until := time.Now().Add(patience)
	for pause := shortPause; ; pause = min(pause*3/2, longPause) {
		if !try {
			if err := d.await(work, m, pause, until); err != nil {
				return invocation.Result{}, err
			}
		}
		result, err := d.cfg.Invoke(work, r)
		if !fault.Is(err, fault.Throttled) || errors.Is(err, environment.ErrSwitchedOff) || time.Now().After(until) {
			ended()
			return result, err
		}
		try = m.refused()
	}
}

// await waits until the step may try: it is called, or is the first of those
// that wait and has waited for about the pause, or waits no longer.
func (d *driver) await(work context.Context, m *turn, pause time.Duration, until time.Time) error {
	for {
		timer := time.NewTimer(pause/2 + rand.N(pause))
		var err error
		try := false
		select {
		case <-work.Done():
			err = work.Err()
		case <-d.stopping:
			err = errStopped
		case <-m.called:
			try = true
		case <-timer.C:
			try = m.take(time.Now().After(until))
			pause = longPause
		}
		timer.Stop()
		if err != nil || try {
			return err
		}
	}
}
