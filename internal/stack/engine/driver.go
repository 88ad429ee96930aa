package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
)

var (
	// errStopped ends a drive between two calls, errCut one in a call that
	// took longer than the grace.
	errStopped = errors.New("the server stops")
	errCut     = errors.New("the server stopped in the middle of a call")
	errLost    = errors.New("another node has taken the operation over")
)

// driver carries one claimed operation to its end.
type driver struct {
	*Engine
	id, stackID string
	// stop ends when the server stops.
	stop context.Context
	// fence is what this node's writes are made under.
	fence int64

	// What follows is loaded when a phase begins. mu guards parts and cancel,
	// which the calls that run in parallel change.
	op       *record.Operation
	stack    *record.Stack
	contents *record.Contents
	plan     *plan
	mu       sync.Mutex
	parts    []*part
	cancel   record.Phase
	// secrets are what no reason may tell; mu guards them too.
	secrets []string
}

// part is a resource with its state opened.
type part struct {
	*record.Resource
	state *record.State
}

// drive runs phase after phase until the operation ends, is claimed
// elsewhere, or ctx ends.
func (e *Engine) drive(ctx context.Context, op *record.Operation) {
	d := &driver{Engine: e, id: op.ID, stackID: op.StackID, fence: op.Fence, stop: ctx}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	// Calls that run when ctx ends get their grace; a lost lease ends them.
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.cfg.Grace, func() { cancel(errCut) })
		context.AfterFunc(work, func() { timer.Stop() })
	})()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		d.renew(work, cancel, op.LeaseUntil)
	}()
	err := d.phases(work)
	cause := context.Cause(work)
	cancel(nil)
	<-renewed
	switch {
	case err == nil:
		e.Wake() // who waits for this one may go on
	case errors.Is(cause, errLost), fault.Is(err, fault.Conflict):
		e.cfg.Logger.Warn("stack operation ended or taken over by another node", "stack", d.stackID, "operation", d.id)
	case errors.Is(err, errStopped):
		d.release()
	case errors.Is(cause, errCut):
		e.cfg.Logger.Warn("stack operation cut off", "stack", d.stackID, "operation", d.id)
	default:
		// The claim runs out and some node repeats the phase.
		e.cfg.Logger.Error("stack operation interrupted", "stack", d.stackID, "operation", d.id, "error", err)
	}
}

// renew extends the lease, which holds until the given time by the store's
// clock, until work ends. It ends work when the lease is lost, or has run out because the store could
// not be reached.
func (d *driver) renew(work context.Context, cancel context.CancelCauseFunc, held time.Time) {
	expiry := time.AfterFunc(held.Sub(d.cfg.Store.Now()), func() { cancel(errLost) })
	defer expiry.Stop()
	tick := time.NewTicker(d.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-work.Done():
			return
		case <-tick.C:
		}
		until := d.cfg.Store.Now().Add(d.cfg.Lease)
		err := d.cfg.Store.Update(work, func(tx *store.Tx) error {
			return tx.RenewOperation(d.id, d.cfg.Node, d.fence, until)
		})
		switch {
		case err == nil:
			expiry.Reset(until.Sub(d.cfg.Store.Now()))
		case fault.Is(err, fault.Conflict):
			cancel(errLost)
			return
		}
	}
}

// release gives the claim back so that the operation goes on without waiting
// for the lease to end.
func (d *driver) release() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.RenewOperation(d.id, d.cfg.Node, d.fence, time.Time{})
	})
	if err != nil {
		d.cfg.Logger.Warn("giving a stack operation back", "stack", d.stackID, "error", err)
	}
}

// phases runs one phase after another until the operation is done.
func (d *driver) phases(work context.Context) error {
	for {
		if err := d.load(work); err != nil {
			return err
		}
		run := map[record.Phase]func(context.Context) error{
			record.Apply: d.apply, record.Cleanup: d.cleanup, record.Undo: d.undo, record.UndoCleanup: d.undoCleanup, record.Delete: d.delete,
		}[d.op.Phase]
		if d.op.Kind == record.MakeChangeSet {
			run = d.makeChangeSet
		}
		if run == nil {
			return fault.New(fault.Internal, "").Because(errors.New("an operation without a phase")).For(d.id)
		}
		if err := run(work); err != nil {
			if cause := context.Cause(work); cause != nil {
				return cause
			}
			return err
		}
		if d.op.Done {
			return nil
		}
		if d.stops() {
			return errStopped
		}
	}
}

// stops reports whether the server is stopping.
func (d *driver) stops() bool { return d.stop.Err() != nil }

// load reads everything of the stack afresh.
func (d *driver) load(work context.Context) error {
	var list []*record.Resource
	err := d.cfg.Store.View(work, func(tx *store.Tx) (err error) {
		if d.op, err = tx.CheckFence(d.id, d.fence); err != nil {
			return err
		}
		if d.stack, err = tx.Stack(d.stackID); err != nil {
			return err
		}
		list, err = tx.StackResources(d.stackID)
		return err
	})
	if err != nil {
		return err
	}
	if d.contents, err = d.stack.Open(d.cfg.Sealer); err != nil {
		return err
	}
	d.hide(d.contents.Config.Secrets()...)
	if d.contents.Stable != nil {
		d.hide(d.contents.Stable.Secrets()...)
	}
	d.plan = nil
	d.parts = make([]*part, len(list))
	d.cancel = d.op.Order.Cancel
	for i, r := range list {
		state, err := r.Open(d.cfg.Sealer)
		if err != nil {
			return err
		}
		d.parts[i] = &part{r, state}
		for _, a := range []*record.Applied{state.Now, state.Stable, state.Next} {
			if a != nil {
				d.hide(a.Fetched...)
			}
		}
	}
	return nil
}

// hide keeps values out of the reasons that are stored from now on.
func (d *driver) hide(values ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range values {
		if !slices.Contains(d.secrets, v) {
			d.secrets = append(d.secrets, v)
		}
	}
}

// redacted is a reason as it may be stored and shown: a service's words may
// quote what it was given.
func (d *driver) redacted(reason string) string {
	if reason == "" {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return stack.Redact(reason, d.secrets)
}

// change runs fn in a transaction under the claim. fn may run twice.
func (d *driver) change(work context.Context, fn func(tx *store.Tx) error) error {
	var asked record.Phase
	err := d.cfg.Store.Update(work, func(tx *store.Tx) error {
		op, err := tx.CheckFence(d.id, d.fence)
		if err != nil {
			return err
		}
		asked = op.Order.Cancel
		return fn(tx)
	})
	if err == nil && asked != "" {
		d.mu.Lock()
		d.cancel = asked
		d.mu.Unlock()
	}
	return err
}

// transition gives the stack another status, tells of it, and lets edit
// change stack, contents and operation with it. also, unless nil, adds to the
// transaction.
type transition struct {
	status record.Status
	reason string
	edit   func(s *record.Stack, c *record.Contents, op *record.Operation)
	also   func(tx *store.Tx, s *record.Stack) error
}

// move makes a transition.
func (d *driver) move(work context.Context, t transition) error {
	var s *record.Stack
	var op *record.Operation
	var contents *record.Contents
	err := d.change(work, func(tx *store.Tx) (err error) {
		if s, err = tx.Stack(d.stackID); err != nil {
			return err
		}
		if op, err = tx.StackOperation(d.id); err != nil {
			return err
		}
		if contents, err = s.Open(d.cfg.Sealer); err != nil {
			return err
		}
		s.Status, s.StatusReason = t.status, d.redacted(t.reason)
		if t.edit != nil {
			t.edit(s, contents, op)
		}
		divert(s, op)
		if op.Done {
			op.Sealed = nil
		}
		if err := s.Seal(d.cfg.Sealer, contents); err != nil {
			return err
		}
		if t.also != nil {
			if err := t.also(tx, s); err != nil {
				return err
			}
		}
		if err := tx.AddStackEvent(record.NewStackEvent(s, op, time.Now())); err != nil {
			return err
		}
		if err := tx.SaveStack(s); err != nil {
			return err
		}
		return tx.SaveOperation(op)
	})
	if err == nil {
		d.stack, d.op, d.contents = s, op, contents
	}
	return err
}

// divert makes an operation go on with the deletion that a caller has asked
// for meanwhile, as that caller.
func divert(s *record.Stack, op *record.Operation) {
	if op.Order.Cancel == record.Delete && s.Status != record.DeleteComplete {
		op.BeginDeletion()
		s.Status, s.StatusReason = record.DeleteInProgress, userInitiated
	}
}

// userInitiated is the reason of what a caller has asked for (AWS: recorded).
const userInitiated = "User Initiated"

// current is what a logical ID stands for, or nil.
func (d *driver) current(logicalID string) *part {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.parts {
		if p.LogicalID == logicalID && p.Current() {
			return p
		}
	}
	return nil
}

// where lists the parts that are as asked.
func (d *driver) where(as func(*part) bool) []*part {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*part
	for _, p := range d.parts {
		if as(p) {
			list = append(list, p)
		}
	}
	return list
}

// step is something that happens to resources: it is stored whole, with its
// events.
type step struct {
	save   []*part
	drop   []string
	events []*record.Event
	also   func(tx *store.Tx) error
}

// tell adds an event of a part as it stands; properties, unless nil, are
// shown in it.
func (d *driver) tell(s *step, p *part, properties map[string]any) error {
	p.StatusReason = d.redacted(p.StatusReason)
	e := record.NewResourceEvent(p.Resource, d.op)
	if properties != nil {
		text, err := encode(properties)
		if err != nil {
			return err
		}
		if err := e.SealProperties(d.cfg.Sealer, text); err != nil {
			return err
		}
	}
	s.events = append(s.events, e)
	return nil
}

// take stores a step and then shows it to the rest of the driver.
func (d *driver) take(work context.Context, s *step) error {
	for _, p := range s.save {
		p.StatusReason = d.redacted(p.StatusReason)
		if err := p.Seal(d.cfg.Sealer, p.state); err != nil {
			return err
		}
	}
	err := d.change(work, func(tx *store.Tx) error {
		for _, p := range s.save {
			if err := tx.SaveStackResource(p.Resource); err != nil {
				return err
			}
		}
		for _, id := range s.drop {
			if err := tx.DropStackResource(id); err != nil {
				return err
			}
		}
		for _, e := range s.events {
			if err := tx.AddStackEvent(e); err != nil {
				return err
			}
		}
		if s.also != nil {
			return s.also(tx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range s.save {
		d.put(p)
	}
	for _, id := range s.drop {
		d.remove(id)
	}
	return nil
}

func (d *driver) put(p *part) {
	for i, old := range d.parts {
		if old.ID == p.ID {
			d.parts[i] = p
			return
		}
	}
	d.parts = append(d.parts, p)
}

func (d *driver) remove(id string) {
	for i, p := range d.parts {
		if p.ID == id {
			d.parts = append(d.parts[:i:i], d.parts[i+1:]...)
			return
		}
	}
}

// copy is a part that can be changed without being seen.
func (p *part) copy() *part {
	r, s := *p.Resource, *p.state
	return &part{&r, &s}
}

// set gives the part another status. Its times differ by a millisecond at
// least: clients tell events apart by IDs that hold them.
func (p *part) set(status record.Status, reason string) {
	now := time.Now()
	if first := p.ChangedAt.Truncate(time.Millisecond).Add(time.Millisecond); now.Before(first) {
		now = first
	}
	p.Status, p.StatusReason, p.ChangedAt = status, reason, now
}

// newPart is a resource that is to be made.
func (d *driver) newPart(logicalID, kind string) *part {
	return &part{&record.Resource{
		ID: uuid.NewString(), StackID: d.stackID, LogicalID: logicalID, Type: kind, Place: record.Created, Operation: d.id, Token: uuid.NewString(),
	}, &record.State{}}
}

// begin marks a part as one that the operation works on, with a token of its
// own.
func (d *driver) begin(p *part) { p.Operation, p.Token = d.id, uuid.NewString() }

// applied is what the part has, or is to get.
func (p *part) applied() *record.Applied {
	switch {
	case p.state.Now != nil:
		return p.state.Now
	case p.state.Next != nil:
		return p.state.Next
	}
	return &record.Applied{}
}

// nested reports whether the part is a stack.
func (p *part) nested() bool { return p.Type == record.Type }

func unknownType(kind string) error {
	return fault.New(fault.Validation, "Template format error: Unrecognized resource types: [%s]", kind)
}
