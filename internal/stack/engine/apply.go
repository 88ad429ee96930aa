package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/store"
)

// outcome gathers what went wrong in a phase.
type outcome struct {
	mu sync.Mutex
	// err is a fault that ends the drive, to be repeated.
	err error
	// created, updated and deleted are the logical IDs of what failed.
	created, updated, deleted []string
}

func (o *outcome) fault(err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return false
}

func (o *outcome) failed(list *[]string, id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(*list, id) {
		*list = append(*list, id)
	}
	return false
}

// wrong reports whether nothing more should begin.
func (o *outcome) wrong() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil || len(o.created)+len(o.updated)+len(o.deleted) > 0
}

// reason says which resources failed (AWS: recorded).
func (o *outcome) reason() string {
	text := ""
	for _, f := range []struct {
		what string
		ids  []string
	}{{"create", o.created}, {"update", o.updated}, {"delete", o.deleted}} {
		if len(f.ids) > 0 {
			slices.Sort(f.ids)
			text += "The following resource(s) failed to " + f.what + ": [" + strings.Join(f.ids, ", ") + "]. "
		}
	}
	return text
}

// apply brings about the config: it creates and updates what the template
// has. What it no longer has stays until everything else has succeeded.
func (d *driver) apply(work context.Context) error {
	if refusal := d.op.Order.Refusal; refusal != "" {
		return d.giveUp(work, refusal)
	}
	if asked := d.op.Order.Cancel; asked != "" && !d.underWay() {
		return d.cancelled(work, asked)
	}
	var err error
	if d.plan, err = newPlan(d.stack, &d.contents.Config); err != nil {
		if fault.Is(err, fault.Internal) {
			return err
		}
		return d.giveUp(work, message(err))
	}
	if err := d.rehearse(work); err != nil && !d.underWay() {
		return d.giveUpUnless(work, err)
	}
	result := &outcome{}
	d.takeUp(work, result)
	d.permitRemovals(work, result)
	walk(d.plan.graph.Order(), d.plan.graph, func() bool { return d.halted(result) }, func(id string) bool { return d.deploy(work, id, result) })
	asked := d.asked()
	switch {
	case result.err != nil:
		return result.err
	case context.Cause(work) != nil:
		return context.Cause(work)
	case asked != "":
		return d.cancelled(work, asked)
	case result.wrong():
		return d.giveUp(work, result.reason())
	case d.late():
		return d.giveUp(work, "Stack creation time exceeded the specified timeout. ")
	case d.stops():
		return errStopped
	}
	return d.complete(work)
}

// rehearse resolves everything as far as it is known, so that what cannot
// work fails before anything is done.
func (d *driver) rehearse(work context.Context) error {
	scope := d.scopeFor(work, &record.Applied{})
	scope.Preview = true
	get := scope.GetAtt
	scope.GetAtt = func(id, attribute string) (any, error) {
		if p := d.current(id); p == nil || p.state.Now == nil {
			return stack.KnownAfterApply, nil
		}
		return get(id, attribute)
	}
	for _, id := range d.plan.active {
		if _, err := d.plan.template.ResolveProperties(id, scope); err != nil {
			return err
		}
	}
	return nil
}

// permitRemovals holds the resources that the template no longer has against
// the stack policy.
func (d *driver) permitRemovals(work context.Context, o *outcome) {
	for _, p := range d.where(func(p *part) bool {
		return p.Current() && p.state.Now != nil && !slices.Contains(d.plan.active, p.LogicalID)
	}) {
		if err := d.allowed(p, "Delete"); err != nil && p.Operation != d.id {
			d.refuse(work, p.LogicalID, p, nil, err, o)
		}
	}
}

// halted reports whether an apply should begin nothing more.
func (d *driver) halted(o *outcome) bool {
	return o.wrong() || d.stops() || d.late() || d.asked() != ""
}

func (d *driver) asked() record.Phase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cancel
}

// late reports whether a creation has taken too long.
func (d *driver) late() bool {
	deadline := d.op.Order.Deadline
	return !deadline.IsZero() && time.Now().After(deadline)
}

// underWay reports whether a call was running when the operation was last
// interrupted.
func (d *driver) underWay() bool {
	return len(d.where(func(p *part) bool { return p.Operation == d.id && p.Status.InProgress() })) > 0
}

// takeUp repeats the calls that were running when the operation was
// interrupted: nobody knows what became of them. What had failed before
// counts.
func (d *driver) takeUp(work context.Context, o *outcome) {
	for _, p := range d.where(func(p *part) bool { return p.Operation == d.id && p.Current() && p.Status.Failed() }) {
		d.count(p, o)
	}
	var calls sync.WaitGroup
	for _, p := range d.where(func(p *part) bool { return p.Operation == d.id && p.Current() && p.Status.InProgress() }) {
		calls.Go(func() { d.call(work, p, true, o) })
	}
	calls.Wait()
}

func (d *driver) count(p *part, o *outcome) {
	if p.state.Now == nil && p.Status == record.CreateFailed {
		o.failed(&o.created, p.LogicalID)
	} else {
		o.failed(&o.updated, p.LogicalID)
	}
}

// deploy makes one resource what the template says, and reports whether the
// others may go on.
func (d *driver) deploy(work context.Context, id string, o *outcome) bool {
	old := d.current(id)
	if old != nil && old.Operation == d.id {
		return !old.Status.Failed() // done before an interruption
	}
	next, err := d.resolve(work, id)
	if err != nil {
		return d.refuse(work, id, old, next, err, o)
	}
	if old == nil {
		return d.start(work, d.newPart(id, d.plan.template.Resources[id].Type), nil, next, o)
	}
	if old.state.Now == nil { // its creation failed in an earlier operation
		back, err := d.takeBack(work, old, next)
		if err != nil {
			return o.fault(err)
		}
		if back == nil {
			return d.replace(work, old, next, o)
		}
		old = back
	}
	schema := resource.Schema(old.Type)
	changed, how := schema.Compare(old.state.Now.Declared, next.Declared)
	switch {
	case len(changed) > 0 && how == replacement:
		return d.replace(work, old, next, o)
	case len(changed) > 0, d.retagged(old, next):
		if err := d.allowed(old, "Modify"); err != nil {
			return d.refuse(work, id, old, next, err, o)
		}
		return d.update(work, old, next, o)
	case old.nested(), old.Status == record.UpdateFailed: // looked after, whether or not it comes to a change
		return d.update(work, old, next, o)
	case !same(old.state.Now, next):
		return d.note(work, old, next, o)
	}
	return true
}

// retagged reports whether the tags of the stack have changed for a resource
// that takes them.
func (d *driver) retagged(p *part, next *record.Applied) bool {
	return resource.Schema(p.Type).Taggable != "" && !slices.Equal(p.state.Now.Tags, next.Tags)
}

// update changes a resource where it stands.
func (d *driver) update(work context.Context, old *part, next *record.Applied, o *outcome) bool {
	p := old.copy()
	d.begin(p)
	p.leave(p.state.Now)
	return d.start(work, p, nil, next, o)
}

// leave notes what a rollback leads back to.
func (p *part) leave(stable *record.Applied) {
	if p.Place == record.Kept {
		p.Place, p.state.Stable = record.Updated, stable
	}
}

// replace makes another physical resource in the place of one.
func (d *driver) replace(work context.Context, old *part, next *record.Applied, o *outcome) bool {
	if old.state.Now != nil {
		if err := d.allowed(old, "Replace"); err != nil {
			return d.refuse(work, old.LogicalID, old, next, err, o)
		}
	}
	gone := old.copy()
	gone.Leaving = record.Superseded
	return d.start(work, d.newPart(old.LogicalID, d.plan.template.Resources[old.LogicalID].Type), gone, next, o)
}

// start stores what is about to be done to p and does it; gone, unless nil,
// is what p takes the place of.
func (d *driver) start(work context.Context, p, gone *part, next *record.Applied, o *outcome) bool {
	if err := d.fetch(work, p.LogicalID, next); err != nil {
		return d.refuse(work, p.LogicalID, gone.or(p), next, err, o)
	}
	p.suppose(next)
	p.state.Next = next
	s := &step{save: []*part{p}}
	switch {
	case p.state.Now != nil:
		p.set(record.UpdateInProgress, "")
	case gone != nil && gone.state.Now != nil:
		p.set(record.UpdateInProgress, "Requested update requires the creation of a new physical resource; hence creating one.")
	default:
		p.set(record.CreateInProgress, "")
	}
	if gone != nil {
		s.save = append([]*part{gone}, p)
	}
	if err := d.tell(s, p.shownFor(gone), next.Shown); err != nil {
		return o.fault(err)
	}
	s.also = func(tx *store.Tx) error { return d.use(tx, next) }
	if err := d.take(work, s); err != nil {
		if fault.Is(err, fault.Validation) { // an export that has just gone
			return d.refuse(work, p.LogicalID, gone.or(p), next, err, o)
		}
		return o.fault(err)
	}
	return d.call(work, p, false, o)
}

// or is the part, or if there is none the other if that exists already.
func (p *part) or(other *part) *part {
	if p != nil {
		return p
	}
	if other.state.Now == nil {
		return nil
	}
	return other
}

// shownFor is the part as the event of a replacement's beginning shows it:
// with the physical ID of what it replaces (AWS: recorded).
func (p *part) shownFor(gone *part) *part {
	if gone == nil {
		return p
	}
	shown := p.copy()
	shown.PhysicalID = gone.PhysicalID
	return shown
}

// use stores that the stack imports what a uses. The exports must still be
// there, with the values that were read, and not about to go with their stack.
func (d *driver) use(tx *store.Tx, a *record.Applied) error {
	for _, name := range a.Imports {
		x, err := tx.Export(d.stack.Account, d.stack.Region, name)
		if fault.Is(err, fault.NotFound) {
			return noExport(name)
		}
		if err != nil {
			return err
		}
		owner, err := tx.Stack(x.StackID)
		if err != nil {
			return err
		}
		if owner.Status == record.DeleteInProgress {
			return noExport(name)
		}
		value, err := x.Value(d.cfg.Sealer)
		if err != nil {
			return err
		}
		if value != a.Imported[name] {
			return exportChanged(name)
		}
		if err := tx.AddImport(d.stack.Account, d.stack.Region, name, d.stackID); err != nil {
			return err
		}
	}
	return nil
}

// note stores what has changed of a resource without concerning its service.
func (d *driver) note(work context.Context, old *part, next *record.Applied, o *outcome) bool {
	p := old.copy()
	p.Operation = d.id
	p.leave(p.state.Now)
	next.Resolved, next.Fetched = p.state.Now.Resolved, p.state.Now.Fetched
	p.state.Now = next
	s := &step{save: []*part{p}}
	for _, status := range []record.Status{record.UpdateInProgress, record.UpdateComplete} {
		p.set(status, "")
		if err := d.tell(s, p, next.Shown); err != nil {
			return o.fault(err)
		}
	}
	s.also = func(tx *store.Tx) error { return d.use(tx, next) }
	if err := d.take(work, s); fault.Is(err, fault.Validation) {
		return d.refuse(work, old.LogicalID, old, next, err, o)
	} else if err != nil {
		return o.fault(err)
	}
	return true
}

// refuse stores that a resource failed before anything was done to it.
func (d *driver) refuse(work context.Context, id string, old *part, next *record.Applied, cause error, o *outcome) bool {
	if kind := fault.KindOf(cause); kind == fault.Unavailable || context.Cause(work) != nil {
		return o.fault(cause)
	} else if kind == fault.Internal {
		d.cfg.Logger.Error("preparing a stack's resource", "stack", d.stackID, "resource", id, "error", cause)
	}
	var p *part
	failed := record.UpdateFailed
	if old == nil {
		p = d.newPart(id, d.plan.template.Resources[id].Type)
		failed = record.CreateFailed
	} else {
		p = old.copy()
		p.Leaving = record.Staying
		d.begin(p)
	}
	p.set(failed, message(cause))
	s := &step{save: []*part{p}}
	var shown map[string]any
	if next != nil {
		shown = next.Shown
	}
	if err := d.tell(s, p, shown); err != nil {
		return o.fault(err)
	}
	if err := d.take(work, s); err != nil {
		return o.fault(err)
	}
	d.count(p, o)
	return false
}

// allowed holds a change of a resource against the stack policy.
func (d *driver) allowed(p *part, what string) error {
	text := d.op.Order.Policy
	if text == "" {
		text = d.stack.Settings.Policy
	}
	return record.CheckPolicy(text, "Update:"+what, p.LogicalID, p.Type)
}
