// Package rotation runs rotations: it starts the ones that are due, calls
// the function for each step, and carries on after a crash of its own or of
// another node.
//
// All state is in the store. A node claims a run with a lease and a fence
// that grows with every claim; what it writes later is refused once another
// node has claimed the run. Each step's success is stored before the next
// step begins, so after a crash the step that was running is repeated, which
// the contract of rotation functions allows: steps are idempotent by token.
package rotation

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/tracing"
	"github.com/keyturn/keyturn/internal/trail"
)

// Config is what an Engine works with. Store, Invoke and Sealer are needed.
type Config struct {
	Store *store.Store
	// Invoke calls a function and waits for its result, as Invoker.Invoke
	// does: a function that failed has a Result, not an error.
	Invoke func(context.Context, invocation.Request) (invocation.Result, error)
	// Sealer opens the runs' RotationTokens, sealed for TokenPurpose.
	Sealer *key.Sealer
	// Node names this server among those of one store, the same after a
	// restart: what an earlier process of that name had claimed is free.
	Node string
	// Lease is how long a claim holds without renewal; 30 seconds if zero.
	// A node that dies is taken over within it.
	Lease time.Duration
	// Poll is the longest time between two looks for work; a third of Lease
	// if zero. Work that this node knows of starts without waiting for it.
	Poll time.Duration
	// Parallel bounds the rotations that this node runs at once; 64 if zero.
	Parallel int
	// Grace is how long a running step may go on after Run was told to stop;
	// 30 seconds if zero.
	Grace time.Duration
	// Observe is called when a run ends, with "succeeded", "failed",
	// "abandoned" or "cancelled", and for each failed attempt with "retried".
	Observe func(outcome string)
	// Diagnose, if set, tells why a step failed, before the failure is
	// stored. It gets diagnosisTime and may return nil for no finding; what it
	// does changes nothing in the rotation. It is called by as many rotations
	// at once as fail, so it bounds its own work.
	Diagnose func(context.Context, Case) *Finding
	Logger   *slog.Logger
	// Tracer makes spans of runs and their steps; nil for none.
	Tracer *tracing.Tracer
}

// TokenPurpose is the purpose under which RotationTokens are sealed.
const TokenPurpose = "rotation-token"

// Engine runs rotations. Use New.
type Engine struct {
	cfg  Config
	wake chan struct{}
	// slots holds a place for each rotation that may run at once.
	slots chan struct{}
	turns turns
	// refused is when a refusal was last diagnosed; round's alone.
	refused time.Time
}

// New returns an Engine that does nothing until Run.
func New(cfg Config) *Engine {
	setDefault(&cfg.Lease, 30*time.Second)
	setDefault(&cfg.Poll, cfg.Lease/3)
	setDefault(&cfg.Grace, 30*time.Second)
	setDefault(&cfg.Parallel, 64)
	setDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	return &Engine{
		cfg: cfg, wake: make(chan struct{}, 1), slots: make(chan struct{}, cfg.Parallel), turns: turns{queues: map[string]*queue{}},
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Wake makes Run look for work at once, after a run was stored.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run starts due rotations and drives claimed ones until ctx ends. It then
// takes on nothing new, waits up to Grace for the steps that run, and gives
// its claims back so that the runs go on elsewhere, or here after a restart.
func (e *Engine) Run(ctx context.Context) error {
	err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.ReleaseRuns(e.cfg.Node) })
	if err != nil && ctx.Err() == nil { // their leases end anyway
		e.cfg.Logger.Warn("freeing the rotations of an earlier run", "error", err)
	}
	var driving sync.WaitGroup
	defer driving.Wait()
	for {
		wait := e.round(ctx, &driving)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-e.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// storePause is how long a round waits after an error of the store.
const storePause = time.Second

// round looks for work once and returns how long to wait before the next
// look. Errors of the store are logged: the next round tries again.
func (e *Engine) round(ctx context.Context, driving *sync.WaitGroup) time.Duration {
	err := e.startDue(ctx)
	if err == nil {
		err = e.claim(ctx, driving)
	}
	var next time.Time
	if err == nil {
		next, err = e.nextDue(ctx)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		e.cfg.Logger.Error("looking for rotations to run", "error", err)
		return min(storePause, e.cfg.Poll)
	case next.IsZero():
		return e.cfg.Poll
	}
	return min(max(time.Until(next), 0), e.cfg.Poll)
}

// nextDue returns when the store next has something to do: a schedule that
// fires or an attempt whose wait is over. Zero means nothing is known.
func (e *Engine) nextDue(ctx context.Context) (next time.Time, err error) {
	err = e.cfg.Store.View(ctx, func(tx *store.Tx) error {
		next, err = tx.NextDue(time.Since(e.cfg.Store.Now()))
		return err
	})
	if free := cap(e.slots) - len(e.slots); free == 0 {
		next = time.Time{} // a slot that comes free wakes us
	}
	return next, fault.Wrap(err, "finding out what is due next")
}

// claim takes over as many runs as there are free slots and drives each in a
// goroutine of its own.
func (e *Engine) claim(ctx context.Context, driving *sync.WaitGroup) error {
	free := cap(e.slots) - len(e.slots)
	if free == 0 {
		return nil
	}
	var runs []secret.RotationRun
	began, now := time.Now(), e.cfg.Store.Now()
	err := e.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		runs, err = tx.ClaimRuns(e.cfg.Node, began, now, now.Add(e.cfg.Lease), free)
		return err
	})
	if err != nil {
		return fault.Wrap(err, "claiming rotations")
	}
	for _, run := range runs {
		e.slots <- struct{}{}
		driving.Go(func() {
			defer func() {
				<-e.slots
				e.Wake()
			}()
			e.drive(ctx, run, began.Add(e.cfg.Lease))
		})
	}
	return nil
}

// startDue begins the rotations whose schedule has fired.
func (e *Engine) startDue(ctx context.Context) error {
	const batch = 100
	for ctx.Err() == nil {
		var due []*secret.Secret
		err := e.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			due, err = tx.DueSecrets(time.Now(), batch)
			return err
		})
		if err != nil {
			return fault.Wrap(err, "reading which rotations are due")
		}
		for _, s := range due {
			if err := e.startOrPostpone(ctx, s); err != nil {
				return fault.Wrap(err, "starting the scheduled rotation of "+s.Name)
			}
		}
		if len(due) < batch {
			return nil
		}
	}
	return nil
}

// postponement is how long a secret waits whose scheduled rotation could not
// be started for a fault of ours.
const postponement = time.Hour

// startOrPostpone begins one scheduled rotation. One that cannot be started,
// though the store works, is logged and put off: it must not stand in the way
// of the others.
func (e *Engine) startOrPostpone(ctx context.Context, s *secret.Secret) error {
	err := e.startScheduled(ctx, s.ID, nil)
	if refusal, ok := errors.AsType[*refusal](err); ok {
		found := e.diagnoseRefusal(ctx, s, refusal.cause)
		err = e.startScheduled(ctx, s.ID, &found)
	}
	if err == nil || fault.Is(err, fault.Unavailable) {
		return err
	}
	e.cfg.Logger.Error("starting a scheduled rotation", "secret", s.ARN(), "again in", postponement, "error", err)
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		s, err := tx.SecretByID(s.ID)
		if err != nil {
			return ignoreNotFound(err)
		}
		after := s.Clone()
		after.Rotation.DueAt = time.Now().Add(postponement)
		return tx.SaveSecret(s, after)
	})
}

// startScheduled begins one scheduled rotation, or goes on with the one that
// an earlier window left unfinished. Its DueAt is cleared, so it is not
// started twice; the end of the run plans the next. A rotation that cannot
// begin is recorded as failed with what the doctor found; until that is given
// the error is a *refusal, and nothing is stored.
func (e *Engine) startScheduled(ctx context.Context, id string, found *Finding) error {
	token := newToken()
	sealed := e.cfg.Sealer.Seal(TokenPurpose, []byte(newToken()))
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now := time.Now()
		s, prev, err := load(tx, id)
		if err != nil {
			return ignoreNotFound(err)
		}
		if s.Rotation.DueAt.IsZero() || s.Rotation.DueAt.After(now) || s.Deleted() || s.IsReplica() {
			return nil // changed since it was listed
		}
		dates, err := s.PlanDates(prev)
		if err != nil {
			return err
		}
		after := s.Clone()
		after.Rotation.DueAt = time.Time{}
		run, err := begin(after, prev, secret.RotationStart{
			Token: token, FunctionARN: s.Rotation.FunctionARN, RotationToken: sealed,
			Scheduled: true, WindowEnd: dates.RetryUntil(now), Now: now,
		})
		if err != nil {
			return e.refuseScheduled(tx, s, after, err, found)
		}
		if err := tx.SaveSecret(s, after); err != nil || run == nil {
			return err
		}
		return tx.SaveRun(run, fenceOf(prev))
	})
}

// begin starts a new run, resumes an exhausted one, or returns nil when one
// is running already.
func begin(s *secret.Secret, prev *secret.RotationRun, start secret.RotationStart) (*secret.RotationRun, error) {
	if prev != nil && prev.State == secret.Running {
		return nil, nil
	}
	if prev != nil && s.Resume(prev, start.WindowEnd, start.Now) {
		return prev, nil
	}
	return s.BeginRotation(prev, start)
}

// refuseScheduled records that a scheduled rotation could not begin and
// leaves it for the next window.
func (e *Engine) refuseScheduled(tx *store.Tx, s, after *secret.Secret, cause error, found *Finding) error {
	kind := fault.KindOf(cause)
	if kind == fault.Internal || kind == fault.Unavailable {
		return cause
	}
	if found == nil {
		return &refusal{cause}
	}
	// The window counts as given up, whatever the secret's last run was.
	gaveUp := &secret.RotationRun{State: secret.Exhausted, FinishedAt: time.Now()}
	if err := after.Plan(gaveUp); err != nil {
		return err
	}
	if err := tx.SaveSecret(s, after); err != nil {
		return err
	}
	event := trail.SecretEvent("RotationFailed", s.ARN(), trail.RotationRequestID(s.ARN(), ""), message(cause))
	return tx.Record(event.Diagnosed(found.Code))
}

// jitter spreads retries.
func jitter() float64 { return rand.Float64() }
