package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/store"
)

// Deletion policies (AWS docs).
const (
	retain         = "Retain"
	retainExceptOn = "RetainExceptOnCreate"
)

// removal is how resources are deleted.
type removal struct {
	// keep tells what stays, though the stack gives it up.
	keep func(*part) bool
	// drop forgets what is deleted; otherwise it stays on record.
	drop bool
	// force gives up what cannot be deleted.
	force bool
}

// removeAll deletes resources, each after those that depend on it.
func (d *driver) removeAll(work context.Context, parts []*part, how removal, o *outcome) {
	byID, needs := map[string]*part{}, map[string][]string{}
	nodes := make([]string, len(parts))
	for i, p := range parts {
		nodes[i], byID[p.ID] = p.ID, p
		for _, other := range parts {
			if other.ID != p.ID && slices.Contains(p.applied().DependsOn, other.LogicalID) {
				needs[other.ID] = append(needs[other.ID], p.ID)
			}
		}
	}
	halted := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.err != nil || d.stops()
	}
	var mu sync.Mutex
	walk(nodes, needs, halted, func(id string) bool {
		mu.Lock()
		p := byID[id]
		delete(byID, id)
		mu.Unlock()
		return d.removeOne(work, p, how, o)
	})
	if o.wrong() || d.stops() {
		return
	}
	// What is from before an update and what is from after it may depend on
	// each other in a circle.
	left := slices.Collect(maps.Keys(byID))
	walk(left, nil, halted, func(id string) bool { return d.removeOne(work, byID[id], how, o) })
}

// removeOne deletes one resource, and reports whether those that it depends
// on may be deleted too.
func (d *driver) removeOne(work context.Context, p *part, how removal, o *outcome) bool {
	resumed := p.Operation == d.id && p.Status == record.DeleteInProgress
	p = p.copy()
	switch {
	case how.keep(p):
		return d.gone(work, p, record.DeleteSkipped, "", how, o)
	case p.PhysicalID == "" && p.state.Now == nil: // nothing was ever made
		return d.gone(work, p, record.DeleteComplete, "", how, o)
	case !resumed:
		d.begin(p)
		p.set(record.DeleteInProgress, "")
		s := &step{save: []*part{p}}
		if err := d.tell(s, p, nil); err != nil {
			return o.fault(err)
		}
		if err := d.take(work, s); err != nil {
			return o.fault(err)
		}
	}
	err := d.destroy(work, p, resumed)
	if context.Cause(work) != nil {
		return o.fault(context.Cause(work))
	}
	if errors.Is(err, errStopped) {
		return o.fault(errStopped)
	}
	if err == nil {
		return d.gone(work, p.copy(), record.DeleteComplete, "", how, o)
	}
	reason := resource.Describe(err, uuid.NewString())
	if how.force {
		return d.gone(work, p.copy(), record.DeleteSkipped, reason, how, o)
	}
	d.gone(work, p.copy(), record.DeleteFailed, reason, removal{}, o)
	return o.failed(&o.deleted, p.LogicalID)
}

// destroy calls the handler.
func (d *driver) destroy(work context.Context, p *part, resumed bool) error {
	h := resource.Lookup(p.Type)
	if h == nil {
		return unknownType(p.Type)
	}
	req, err := d.request(work, p, resumed)
	if err != nil {
		return err
	}
	req.Properties, req.Tags = p.applied().Properties(), d.tagsFor(p, p.applied())
	_, err = d.perform(work, p, req, func(ctx context.Context, r *resource.Request) (resource.Result, error) {
		return resource.Result{}, h.Delete(ctx, r)
	})
	return err
}

// gone stores what became of a resource that was to be deleted.
func (d *driver) gone(work context.Context, p *part, status record.Status, reason string, how removal, o *outcome) bool {
	p.set(status, reason)
	p.Operation = d.id
	s := &step{}
	if how.drop {
		s.drop = []string{p.ID}
	} else {
		if status.Gone() {
			p.state = &record.State{}
		}
		s.save = []*part{p}
	}
	if err := d.tell(s, p, nil); err != nil {
		return o.fault(err)
	}
	if err := d.take(work, s); err != nil {
		return o.fault(err)
	}
	return true
}

// keptByPolicy tells what a deletion of the stack, or an update that removes
// a resource, leaves alone.
func keptByPolicy(p *part) bool {
	policy := p.applied().DeletionPolicy
	if p.Leaving == record.Superseded {
		policy = p.applied().UpdateReplacePolicy
	}
	return policy == retain || policy == retainExceptOn
}

// keptOnRollback tells what a rollback leaves alone of what it had made
// itself.
func (d *driver) keptOnRollback(p *part) bool {
	return p.applied().DeletionPolicy == retain && !d.op.Order.RetainExceptOnCreate && p.state.Now != nil
}

// ended is the error of a phase whose walk was cut short; nil if it was not.
func (d *driver) ended(work context.Context, o *outcome) error {
	switch {
	case o.err != nil:
		return o.err
	case context.Cause(work) != nil:
		return context.Cause(work)
	case d.stops(): // what failed is tried again with the rest
		return errStopped
	}
	return nil
}

// cleanup deletes what an update has replaced and removed. What cannot be
// deleted is given up.
func (d *driver) cleanup(work context.Context) error {
	o := &outcome{}
	d.removeAll(work, d.where(func(p *part) bool { return p.Leaving != record.Staying && !p.Status.Gone() }), removal{keep: keptByPolicy, drop: true}, o)
	if err := d.ended(work, o); err != nil {
		return err
	}
	reason := ""
	if o.wrong() {
		reason = "Update successful. One or more resources could not be deleted."
	}
	return d.finish(work, record.UpdateComplete, reason, func(p *part) bool { return p.Leaving != record.Staying })
}

// finish ends an update once everything is in its place, and forgets the
// resources that could not be deleted.
func (d *driver) finish(work context.Context, status record.Status, reason string, given func(*part) bool) error {
	left := d.where(given)
	return d.move(work, transition{status: status, reason: reason, edit: func(_ *record.Stack, _ *record.Contents, op *record.Operation) {
		op.Done = true
	}, also: func(tx *store.Tx, _ *record.Stack) error {
		for _, p := range left {
			if err := tx.DropStackResource(p.ID); err != nil {
				return err
			}
		}
		return nil
	}})
}

// delete deletes the stack.
func (d *driver) delete(work context.Context) error {
	o := &outcome{}
	creation := d.op.Kind != record.DeleteStack
	keep := func(p *part) bool {
		if creation {
			return d.keptOnRollback(p)
		}
		return keptByPolicy(p) || slices.Contains(d.op.Order.RetainResources, p.LogicalID)
	}
	parts := d.where(func(p *part) bool { return !p.Status.Gone() })
	if err := d.settleCreation(work, parts); err != nil {
		return err
	}
	parts = d.where(func(p *part) bool { return !p.Status.Gone() })
	d.removeAll(work, parts, removal{keep: keep, force: d.op.Order.Force}, o)
	if err := d.ended(work, o); err != nil {
		return err
	}
	if o.wrong() {
		return d.end(work, record.DeleteFailed, o.reason(), false)
	}
	return d.move(work, transition{status: record.DeleteComplete, edit: func(s *record.Stack, c *record.Contents, op *record.Operation) {
		op.Done, s.DeletedAt, c.Stable = true, time.Now(), nil
	}, also: d.forget})
}

// settleCreation does nothing for resources whose creation has ended one way
// or the other. A creation of which nobody knows what became of it is
// repeated, so that what it made can be deleted.
func (d *driver) settleCreation(work context.Context, parts []*part) error {
	for _, p := range parts {
		if p.Status != record.CreateInProgress && (p.Status != record.UpdateInProgress || p.state.Now != nil) || p.state.Next == nil {
			continue
		}
		result := &outcome{} // a failure is what the deletion is for
		d.call(work, p.copy(), true, result)
		if cause := context.Cause(work); cause != nil {
			return cause
		}
		if result.err != nil {
			return result.err
		}
	}
	return nil
}

// forget removes what a deleted stack gave to others and took from them.
func (d *driver) forget(tx *store.Tx, s *record.Stack) error {
	list, err := tx.ExportsOf(s.ID)
	if err != nil {
		return err
	}
	for _, x := range list {
		if err := tx.DropExport(x); err != nil {
			return err
		}
	}
	if err := tx.KeepChangeSet(s.ID, ""); err != nil {
		return err
	}
	return tx.SetImports(s.Account, s.Region, s.ID, nil)
}

// undo leads back to the stable config: a creation's resources are deleted,
// an update's changed back.
func (d *driver) undo(work context.Context) error {
	if d.contents.Stable == nil {
		return d.undoCreation(work)
	}
	o := &outcome{}
	d.restore(work, o)
	if err := d.ended(work, o); err != nil {
		return err
	}
	if o.wrong() {
		return d.end(work, record.UpdateRollbackFailed, o.reason(), false)
	}
	stable := d.contents.Stable
	imports := importsOf(d.where(func(p *part) bool { return p.Place != record.Created && !p.Status.Gone() }), d.contents.Imports)
	return d.move(work, transition{status: record.UpdateRollbackCleanup, edit: func(s *record.Stack, c *record.Contents, op *record.Operation) {
		s.Use(stable)
		c.Config, c.Stable = *stable, nil
		op.Phase = record.UndoCleanup
	}, also: func(tx *store.Tx, s *record.Stack) error {
		return tx.SetImports(s.Account, s.Region, s.ID, imports)
	}})
}

// undoCreation deletes everything.
func (d *driver) undoCreation(work context.Context) error {
	o := &outcome{}
	d.removeAll(work, d.where(func(p *part) bool { return !p.Status.Gone() }), removal{keep: d.keptOnRollback}, o)
	if err := d.ended(work, o); err != nil {
		return err
	}
	if o.wrong() {
		return d.end(work, record.RollbackFailed, o.reason(), false)
	}
	return d.move(work, transition{status: record.RollbackComplete, edit: func(_ *record.Stack, c *record.Contents, op *record.Operation) {
		op.Done, c.Outputs = true, nil
	}, also: func(tx *store.Tx, s *record.Stack) error { return tx.SetImports(s.Account, s.Region, s.ID, nil) }})
}

// undoCleanup deletes what an update that failed had made.
func (d *driver) undoCleanup(work context.Context) error {
	o := &outcome{}
	made := func(p *part) bool { return p.Place == record.Created && !p.Status.Gone() }
	d.removeAll(work, d.where(made), removal{keep: d.keptOnRollback, drop: true}, o)
	if err := d.ended(work, o); err != nil {
		return err
	}
	reason := ""
	if o.wrong() {
		reason = "Rollback successful. One or more resources could not be deleted."
	}
	return d.finish(work, record.UpdateRollbackComplete, reason, func(p *part) bool { return p.Place == record.Created })
}

// restore gives every resource that an update had touched its stable state
// back, each after those that it depends on.
func (d *driver) restore(work context.Context, o *outcome) {
	parts := d.where(func(p *part) bool {
		return p.Place != record.Created && !p.Status.Gone() &&
			(p.Place == record.Updated || p.Leaving != record.Staying || p.Status.Failed())
	})
	byID, needs := map[string]*part{}, map[string][]string{}
	nodes := make([]string, len(parts))
	for i, p := range parts {
		nodes[i], byID[p.ID] = p.ID, p
		for _, other := range parts {
			if slices.Contains(p.stable().DependsOn, other.LogicalID) && other.ID != p.ID {
				needs[p.ID] = append(needs[p.ID], other.ID)
			}
		}
	}
	halted := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.err != nil || d.stops()
	}
	walk(nodes, needs, halted, func(id string) bool { return d.restoreOne(work, byID[id], o) })
}

// stable is what a rollback leads back to.
func (p *part) stable() *record.Applied {
	if p.state.Stable != nil {
		return p.state.Stable
	}
	return p.applied()
}

// restoreOne gives one resource its stable state back.
func (d *driver) restoreOne(work context.Context, old *part, o *outcome) bool {
	if old.Operation == d.id && old.Status == record.UpdateInProgress && old.Leaving == record.Staying && d.restoring(old) {
		return d.call(work, old.copy(), true, o)
	}
	p := old.copy()
	s := &step{}
	if p.Leaving != record.Staying {
		for _, other := range d.where(func(q *part) bool { return q.LogicalID == p.LogicalID && q.ID != p.ID && q.Current() }) {
			other = other.copy()
			other.Leaving = record.Superseded
			s.save = append(s.save, other)
		}
		p.Leaving = record.Staying
	}
	s.save = append(s.save, p)
	touched := p.Place == record.Updated && d.differs(p) && !slices.Contains(d.op.Order.Skip, p.LogicalID)
	if !touched {
		p.Place, p.state.Now, p.state.Stable, p.state.Next, p.state.Memory, p.Operation = record.Kept, p.stable(), nil, nil, "", d.id
		p.set(record.UpdateComplete, "")
	} else {
		d.begin(p)
		p.suppose(p.state.Stable)
		p.state.Next = p.state.Stable
		p.set(record.UpdateInProgress, "")
	}
	if err := d.tell(s, p, p.stable().Shown); err != nil {
		return o.fault(err)
	}
	if err := d.take(work, s); err != nil {
		return o.fault(err)
	}
	if !touched {
		return true
	}
	return d.call(work, p, false, o)
}

// differs reports whether the resource's service has to change something to
// lead back.
func (d *driver) differs(p *part) bool {
	if p.nested() {
		return true
	}
	schema := resource.Schema(p.Type)
	if schema == nil {
		return false
	}
	supposed := p.copy()
	supposed.suppose(p.state.Stable)
	now := supposed.state.Now
	changed, _ := schema.Compare(now.Properties(), p.state.Stable.Properties())
	return len(changed) > 0 || schema.Taggable != "" && !slices.Equal(now.Tags, p.state.Stable.Tags)
}
