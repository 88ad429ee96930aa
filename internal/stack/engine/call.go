package engine

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

// replacement is how a change that cannot be made in place is made.
const replacement = stack.Replacement

// same compares what concerns no service.
func same(a, b *record.Applied) bool {
	return reflect.DeepEqual(a.Metadata, b.Metadata) && a.DeletionPolicy == b.DeletionPolicy && a.UpdateReplacePolicy == b.UpdateReplacePolicy &&
		reflect.DeepEqual(a.DependsOn, b.DependsOn) && reflect.DeepEqual(a.Imports, b.Imports)
}

// Faults of ours and of the store are tried again before they count.
const (
	tries    = 4
	tryPause = 500 * time.Millisecond
)

// perform calls a handler, again while the store cannot be reached. A call
// for an inner stack waits for another operation, which stops when this
// server does, so it does not outlast that.
func (d *driver) perform(work context.Context, p *part, r *resource.Request, fn func(context.Context, *resource.Request) (resource.Result, error)) (resource.Result, error) {
	if p.nested() {
		var cancel context.CancelFunc
		work, cancel = context.WithCancel(work)
		defer cancel()
		defer context.AfterFunc(d.stop, cancel)()
	}
	for try := 1; ; try++ {
		result, err := fn(work, r)
		if work.Err() != nil {
			return result, errStopped
		}
		if !fault.Is(err, fault.Unavailable) || try == tries {
			return result, err
		}
		r.Resumed = true
		select {
		case <-work.Done():
			return result, errStopped
		case <-time.After(tryPause << try):
		}
	}
}

// call creates or updates a resource, as its status says, and stores what
// came of it. It reports whether the others may go on.
func (d *driver) call(work context.Context, p *part, resumed bool, o *outcome) bool {
	h := resource.Lookup(p.Type)
	if h == nil {
		return o.fault(unknownType(p.Type))
	}
	req, err := d.request(work, p, resumed)
	if err != nil && fault.Is(err, fault.Unavailable) {
		return o.fault(err)
	}
	var result resource.Result
	if err == nil {
		req.Properties, req.Tags = p.state.Next.Properties(), d.tagsFor(p, p.state.Next)
		if p.state.Now == nil {
			req.Replaces = d.superseded(p)
			req.Initiated = func(id string) error { return d.initiated(work, p, id) }
			result, err = d.perform(work, p, req, h.Create)
		} else {
			req.Previous, req.PreviousTags = p.state.Now.Properties(), d.tagsFor(p, p.state.Now)
			result, err = d.perform(work, p, req, h.Update)
		}
	}
	if context.Cause(work) != nil {
		return o.fault(context.Cause(work)) // nobody knows what came of it
	}
	if errors.Is(err, errStopped) {
		return o.fault(errStopped)
	}
	if err != nil {
		return d.failed(work, d.seen(p), result, err, o)
	}
	return d.succeeded(work, d.seen(p), result, o)
}

// superseded is the physical ID of what a part stands in for; "" for nothing.
func (d *driver) superseded(p *part) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.parts {
		if other.LogicalID == p.LogicalID && other.ID != p.ID && other.Leaving == record.Superseded {
			return other.PhysicalID
		}
	}
	return ""
}

// seen is the part as it was stored last: a creation may have told its
// physical ID meanwhile.
func (d *driver) seen(p *part) *part {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.parts {
		if other.ID == p.ID {
			return other.copy()
		}
	}
	return p.copy()
}

// initiated stores the physical ID of a resource that is being made.
func (d *driver) initiated(work context.Context, p *part, physicalID string) error {
	p = d.seen(p)
	if p.PhysicalID == physicalID {
		return nil
	}
	p.PhysicalID = physicalID
	p.set(p.Status, "Resource creation Initiated")
	s := &step{save: []*part{p}}
	if err := d.tell(s, p, p.state.Next.Shown); err != nil {
		return err
	}
	return d.take(work, s)
}

// remember stores what a rollback of a resource will need, unless there is
// something from before: that leads back to where the stack was stable.
func (d *driver) remember(work context.Context, p *part, memory string) error {
	p = d.seen(p)
	if p.state.Memory != "" {
		return nil
	}
	p.state.Memory = memory
	return d.take(work, &step{save: []*part{p}})
}

// succeeded stores that a resource is as it should be. If another failed
// meanwhile, and everything is to be undone, it counts as cancelled.
func (d *driver) succeeded(work context.Context, p *part, r resource.Result, o *outcome) bool {
	s := &step{save: []*part{p}}
	created := p.state.Now == nil
	shown := p.state.Next.Shown
	if created && p.PhysicalID != r.PhysicalID {
		p.PhysicalID = r.PhysicalID
		p.set(p.Status, "Resource creation Initiated")
		if err := d.tell(s, p, shown); err != nil {
			return o.fault(err)
		}
	}
	if r.PhysicalID != "" {
		p.PhysicalID = r.PhysicalID
	}
	p.state.Now, p.state.Next = p.state.Next, nil
	p.state.Ref = r.RefValue()
	if created || r.Attributes != nil {
		p.state.Attributes = r.Attributes
	}
	status := record.UpdateComplete
	if p.Status == record.CreateInProgress {
		status = record.CreateComplete
	}
	p.set(status, "")
	if d.op.Phase == record.Undo {
		p.Place, p.state.Stable, p.state.Memory = record.Kept, nil, ""
	}
	if d.op.Phase == record.Apply && o.wrong() && d.op.Order.OnFailure != record.OnFailureDoNothing {
		p.cancel(status)
	}
	if err := d.tell(s, p, shown); err != nil {
		return o.fault(err)
	}
	if err := d.take(work, s); err != nil {
		return o.fault(err)
	}
	if p.Status == record.CreateFailed {
		return o.failed(&o.created, p.LogicalID)
	} else if p.Status == record.UpdateFailed {
		return o.failed(&o.updated, p.LogicalID)
	}
	return true
}

// cancel gives the part the status of one whose making was cut short.
func (p *part) cancel(done record.Status) {
	if done == record.CreateComplete {
		p.set(record.CreateFailed, "Resource creation cancelled")
	} else {
		p.set(record.UpdateFailed, record.UpdateCancelled)
	}
}

// failed stores that a call failed, and why in AWS's words. An update that
// failed may have been applied in part: Next keeps what it was about.
func (d *driver) failed(work context.Context, p *part, r resource.Result, cause error, o *outcome) bool {
	if fault.Is(cause, fault.Internal) || fault.Is(cause, fault.Unavailable) {
		d.cfg.Logger.Error("a stack's resource failed", "stack", d.stackID, "resource", p.LogicalID, "error", cause)
	}
	if r.PhysicalID != "" {
		p.PhysicalID = r.PhysicalID
	}
	list, status := &o.updated, record.UpdateFailed
	if p.Status == record.CreateInProgress {
		list, status = &o.created, record.CreateFailed
	}
	p.set(status, resource.Describe(cause, uuid.NewString()))
	s := &step{save: []*part{p}}
	if err := d.tell(s, p, p.state.Next.Shown); err != nil {
		return o.fault(err)
	}
	if err := d.take(work, s); err != nil {
		return o.fault(err)
	}
	return o.failed(list, p.LogicalID)
}
