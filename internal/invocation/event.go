package invocation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
)

// eventPurpose separates sealed events from whatever else is sealed, and one
// from another.
func eventPurpose(requestID string) string { return "function-event/" + requestID }

// Enqueue accepts an event to be run later, after the checks of Invoke but
// for the concurrency. When it returns nil the event is stored and will be
// run, by this server or another. with, if not nil, runs in the same
// transaction.
func (i *Invoker) Enqueue(ctx context.Context, r Request, with func(*store.Tx) error) error {
	t, err := i.find(ctx, r)
	if err != nil {
		return err
	}
	if err := checkPayload(r.Payload, MaxAsyncPayload, "Event"); err != nil {
		return err
	}
	if r.RequestID == "" {
		r.RequestID = uuid.NewString()
	}
	ref, err := function.Resolve(r.Function, r.Qualifier, r.Region, r.Account)
	if err != nil {
		return err
	}
	sealed := i.cfg.Sealer.Seal(eventPurpose(r.RequestID), r.Payload)
	err = i.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.FunctionByID(t.function.ID); fault.Is(err, fault.NotFound) {
			return ref.NotFound()
		} else if err != nil {
			return err
		}
		now := i.cfg.Store.Now()
		err := tx.AddFunctionEvent(&function.Event{
			RequestID: r.RequestID, FunctionID: t.function.ID, Qualifier: ref.Qualifier,
			Payload: sealed, TraceHeader: r.TraceHeader, AcceptedAt: now, DueAt: now,
		})
		if err != nil || with == nil {
			return err
		}
		return with(tx)
	})
	if err == nil {
		wake(i.wakeEvents)
	}
	return err
}

// wake tells a loop to look at once.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is about to look anyway
	}
}

// pollInterval is the longest time between two looks for work that other
// nodes may have stored or left.
const pollInterval = 2 * time.Second

// every calls look when it is woken, and at the latest after the time that
// look returned, until ctx ends.
func every(ctx context.Context, woken <-chan struct{}, look func() time.Duration) {
	for {
		timer := time.NewTimer(look())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// runEvents works off waiting events until ctx ends, then waits for those
// that run.
func (i *Invoker) runEvents(ctx context.Context) error {
	var driving sync.WaitGroup
	defer driving.Wait()
	err := i.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.FreeFunctionEvents(i.cfg.Node, i.cfg.Store.Now()) })
	if err != nil && ctx.Err() == nil {
		i.cfg.Logger.Error("freeing the events of the last run", "error", err)
	}
	every(ctx, i.wakeEvents, func() time.Duration {
		next, err := i.claimEvents(ctx, &driving)
		if err != nil && ctx.Err() == nil {
			i.cfg.Logger.Error("claiming waiting events", "error", err)
		}
		if err != nil || next.IsZero() {
			return pollInterval
		}
		return min(max(next.Sub(i.cfg.Store.Now()), 0), pollInterval)
	})
	return nil
}

// claimEvents takes over as many due events as may run, drives each in a
// goroutine of its own, and returns when the next is due.
func (i *Invoker) claimEvents(ctx context.Context, driving *sync.WaitGroup) (next time.Time, err error) {
	free := cap(i.slots) - len(i.slots)
	if free == 0 {
		return time.Time{}, nil // a slot that comes free wakes us
	}
	var due time.Time
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		due, err = tx.NextFunctionEvent()
		return err
	})
	if err != nil || due.IsZero() || due.After(i.cfg.Store.Now()) {
		return due, err
	}
	var claimed []*function.Event
	err = i.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		now := i.cfg.Store.Now()
		if claimed, err = tx.ClaimFunctionEvents(i.cfg.Node, now, now.Add(i.cfg.Lease), free); err != nil {
			return err
		}
		next, err = tx.NextFunctionEvent()
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range claimed {
		i.slots <- struct{}{}
		driving.Go(func() {
			defer func() {
				<-i.slots
				wake(i.wakeEvents)
			}()
			i.drive(ctx, e)
		})
	}
	return next, nil
}

// errLost ends an attempt whose claim another node has.
var errLost = errors.New("another node has taken the event over")

// errStopped ends an attempt that outlives the server's grace.
var errStopped = errors.New("the server stops")

// drive makes one attempt of a claimed event and stores how it ended.
func (i *Invoker) drive(ctx context.Context, e *function.Event) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(i.cfg.Grace, func() { cancel(errStopped) })
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()
	renewing, renewed := context.WithCancel(work)
	var renewal sync.WaitGroup
	renewal.Go(func() { i.renew(renewing, *e, cancel) })
	result, err := i.attempt(work, e)
	cause := context.Cause(work)
	renewed()
	renewal.Wait()
	store, done := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer done()
	switch {
	case errors.Is(cause, errLost):
		return
	case errors.Is(cause, errStopped), ctx.Err() != nil && fault.Is(err, fault.Unavailable):
		err = i.release(store, e)
	case err == nil && result.FunctionError == "":
		err = i.settle(store, e, function.Done, nil)
	case err == nil:
		err = i.settle(store, e, function.FunctionFail, nil)
	default:
		err = i.settle(store, e, function.ServiceFail, err)
	}
	if err != nil && !fault.Is(err, fault.Conflict) {
		// The claim runs out and some node makes the attempt again.
		i.cfg.Logger.Error("storing the outcome of an event", "function", e.Name, "request", e.RequestID, "error", err)
	}
}

// attempt runs the event once.
func (i *Invoker) attempt(ctx context.Context, e *function.Event) (Result, error) {
	payload, err := i.cfg.Sealer.Open(eventPurpose(e.RequestID), e.Payload)
	if err != nil {
		return Result{}, err
	}
	r := Request{
		Function: e.Name, Qualifier: e.Qualifier, Account: e.Account, Region: e.Region,
		Payload: payload, RequestID: e.RequestID, TraceHeader: e.TraceHeader,
	}
	t, err := i.find(ctx, r)
	if err != nil {
		return Result{}, err
	}
	if t.function.ID != e.FunctionID {
		return Result{}, fault.New(fault.NotFound, "").For(e.Name) // deleted and made again
	}
	return i.run(ctx, t, r)
}

// renew extends the claim until ctx ends, and ends the attempt when the claim
// is lost.
func (i *Invoker) renew(ctx context.Context, e function.Event, end context.CancelCauseFunc) {
	tick := time.NewTicker(i.cfg.Lease / 3)
	defer tick.Stop()
	held := i.cfg.Store.Now().Add(i.cfg.Lease)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.DueAt = i.cfg.Store.Now().Add(i.cfg.Lease)
		err := i.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.SaveFunctionEvent(&e) })
		switch {
		case err == nil:
			held = e.DueAt
		case fault.Is(err, fault.Conflict), ctx.Err() == nil && !i.cfg.Store.Now().Before(held):
			end(errLost)
			return
		}
	}
}

// release gives a claim back, for another node or after a restart.
func (i *Invoker) release(ctx context.Context, e *function.Event) error {
	return i.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		e.Owner, e.DueAt = "", i.cfg.Store.Now()
		return tx.SaveFunctionEvent(e)
	})
}

// settle stores how an attempt ended: the event is done, waits for its next
// attempt, or is given up.
func (i *Invoker) settle(ctx context.Context, e *function.Event, o function.Outcome, cause error) error {
	gaveUp := false
	err := i.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		gaveUp = false
		if o == function.Done {
			return tx.RemoveFunctionEvent(e)
		}
		f, err := tx.FunctionByID(e.FunctionID)
		if err != nil {
			return ignoreNotFound(err) // the event went with its function
		}
		next := *e
		due, again := next.Next(o, f.AsyncOf(e.Qualifier), i.cfg.Store.Now())
		if !again || fault.Is(cause, fault.NotFound) {
			gaveUp = true
			return tx.RemoveFunctionEvent(e)
		}
		next.Owner, next.DueAt = "", due
		return tx.SaveFunctionEvent(&next)
	})
	if err == nil && gaveUp {
		i.cfg.Logger.Warn("giving up an asynchronous event", "function", e.Name, "request", e.RequestID, "outcome", o, "error", cause)
	}
	return err
}

func ignoreNotFound(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
