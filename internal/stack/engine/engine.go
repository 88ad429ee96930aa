// Package engine runs the operations of stacks: it creates, updates, deletes
// and rolls back what templates describe, and works change sets out.
//
// All state is in the store. A node claims an operation with a lease and a
// fence that grows with every claim; what it writes later is refused once
// another node has claimed the operation. What is about to be done to a
// resource is stored before its handler is called, with the token from which
// names are generated, and what came of it afterwards. So after a crash the
// call that was running is repeated, which handlers allow, and the operation
// goes on, forward or back, as if nothing had happened.
package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what an Engine works with. Store, Sealer and Keyring are needed.
type Config struct {
	Store *store.Store
	// Sealer opens and seals what is kept of stacks.
	Sealer *key.Sealer
	// Keyring tells who asked for an operation and what they may do by now.
	Keyring *authz.Keyring
	// Node names this server among those of one store, the same after a
	// restart: what an earlier process of that name had claimed is free.
	Node string
	// Lease is how long a claim holds without renewal; 30 seconds if zero.
	Lease time.Duration
	// Poll is the longest time between two looks for work; 2 seconds if zero.
	// Work that this node knows of starts without waiting for it.
	Poll time.Duration
	// Parallel bounds the operations that this node runs at once, nested ones
	// aside, which others wait for; 16 if zero.
	Parallel int
	// Grace is how long running calls may go on after Run was told to stop;
	// 30 seconds if zero.
	Grace  time.Duration
	Logger *slog.Logger
}

// Engine runs operations. Use New, then Use.
type Engine struct {
	cfg     Config
	handler *wire.Handler
	wake    chan struct{}
	// slots holds a place for each operation that may run at once.
	slots chan struct{}
}

// New returns an Engine that does nothing until Run.
func New(cfg Config) *Engine {
	setDefault(&cfg.Lease, 30*time.Second)
	setDefault(&cfg.Poll, 2*time.Second)
	setDefault(&cfg.Grace, 30*time.Second)
	setDefault(&cfg.Parallel, 16)
	setDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	return &Engine{cfg: cfg, wake: make(chan struct{}, 1), slots: make(chan struct{}, cfg.Parallel)}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Use gives the engine the operations of the services, through which it
// works. It comes before Run.
func (e *Engine) Use(h *wire.Handler) { e.handler = h }

// Wake makes Run look for work at once, after an operation was stored.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run claims operations and drives them until ctx ends. It then begins
// nothing new, waits up to Grace for the calls that run, and gives its claims
// back so that the operations go on elsewhere, or here after a restart.
func (e *Engine) Run(ctx context.Context) error {
	err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.ReleaseOperations(e.cfg.Node) })
	if err != nil && ctx.Err() == nil { // their leases end anyway
		e.cfg.Logger.Warn("freeing the stack operations of an earlier run", "error", err)
	}
	var driving sync.WaitGroup
	defer driving.Wait()
	for {
		wait := e.cfg.Poll
		if err := e.claim(ctx, &driving); err != nil && ctx.Err() == nil {
			e.cfg.Logger.Error("looking for stack operations to run", "error", err)
			wait = min(wait, time.Second)
		}
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

// manyNested bounds the nested operations that one look takes on.
const manyNested = 100

// claim takes over as many operations as there are free slots, and all those
// that others wait for, and drives each in a goroutine of its own.
func (e *Engine) claim(ctx context.Context, driving *sync.WaitGroup) error {
	free := cap(e.slots) - len(e.slots)
	waiting, err := e.waiting(ctx)
	if err != nil || !waiting {
		return err
	}
	var list, nested []*record.Operation
	now := e.cfg.Store.Now()
	err = e.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if nested, err = tx.ClaimOperations(e.cfg.Node, true, now, now.Add(e.cfg.Lease), manyNested); err != nil || free == 0 {
			return err
		}
		list, err = tx.ClaimOperations(e.cfg.Node, false, now, now.Add(e.cfg.Lease), free)
		return err
	})
	if err != nil {
		return fault.Wrap(err, "claiming stack operations")
	}
	for _, op := range nested {
		driving.Go(func() { e.drive(ctx, op) })
	}
	for _, op := range list {
		e.slots <- struct{}{}
		driving.Go(func() {
			defer func() {
				<-e.slots
				e.Wake()
			}()
			e.drive(ctx, op)
		})
	}
	return nil
}

// waiting looks, without writing, whether there is anything to claim.
func (e *Engine) waiting(ctx context.Context) (found bool, err error) {
	err = e.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.OperationsWait(e.cfg.Store.Now(), e.cfg.Lease)
		return err
	})
	return found, err
}

// Purge removes stacks that were deleted before a time, up to limit at once,
// and returns how many those were.
func (e *Engine) Purge(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = e.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.PurgeStacks(before, limit)
		return err
	})
	return n, err
}
