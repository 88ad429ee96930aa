package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
)

// sentence ends a text, unless it ends by itself, and adds another.
func sentence(text, more string) string {
	if text = strings.TrimSpace(text); text != "" && !strings.HasSuffix(text, ".") {
		text += "."
	}
	return strings.TrimSpace(text + " " + more)
}

// giveUp stores that a creation or an update failed and how it goes on.
func (d *driver) giveUp(work context.Context, reason string) error {
	creation := d.contents.Stable == nil
	switch {
	case d.op.Order.OnFailure == record.OnFailureDoNothing && creation:
		return d.end(work, record.CreateFailed, reason, false)
	case d.op.Order.OnFailure == record.OnFailureDoNothing:
		return d.end(work, record.UpdateFailed, reason, false)
	case d.op.Order.OnFailure == record.OnFailureDelete && creation:
		return d.turn(work, record.DeleteInProgress, record.Delete, sentence(reason, "Delete requested by user."))
	case creation:
		return d.turn(work, record.RollbackInProgress, record.Undo, sentence(reason, "Rollback requested by user."))
	case strings.HasPrefix(reason, "The following resource(s)"):
		return d.turn(work, record.UpdateRollbackInProgress, record.Undo, reason)
	}
	return d.turn(work, record.UpdateRollbackInProgress, record.Undo, sentence(reason, "Rollback requested by user."))
}

// cancelled goes where a caller wants a running operation to go.
func (d *driver) cancelled(work context.Context, asked record.Phase) error {
	switch {
	case asked == record.Delete:
		return d.turn(work, record.DeleteInProgress, record.Delete, userInitiated)
	case d.contents.Stable == nil:
		return d.turn(work, record.RollbackInProgress, record.Undo, userInitiated)
	}
	return d.turn(work, record.UpdateRollbackInProgress, record.Undo, userInitiated)
}

// turn begins another phase.
func (d *driver) turn(work context.Context, status record.Status, phase record.Phase, reason string) error {
	reason = d.redacted(reason)
	return d.move(work, transition{status: status, reason: reason, edit: func(_ *record.Stack, _ *record.Contents, op *record.Operation) {
		op.Phase, op.Order.Reason, op.Order.Refusal = phase, reason, ""
		switch {
		case phase == record.Delete:
			op.BeginDeletion()
		case op.Order.Cancel == record.Undo:
			op.Order.Cancel = ""
		}
	}, also: func(tx *store.Tx, _ *record.Stack) error {
		return d.executed(tx, false)
	}})
}

// end stores that the operation is over.
func (d *driver) end(work context.Context, status record.Status, reason string, good bool) error {
	return d.move(work, transition{status: status, reason: reason, edit: func(_ *record.Stack, _ *record.Contents, op *record.Operation) {
		op.Done = true
	}, also: func(tx *store.Tx, _ *record.Stack) error {
		return d.executed(tx, good)
	}})
}

// executed tells the change set what came of its execution.
func (d *driver) executed(tx *store.Tx, good bool) error {
	if d.op.Order.ChangeSetID == "" {
		return nil
	}
	c, err := tx.ChangeSet(d.op.Order.ChangeSetID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || c.Execution != record.ExecuteInProgress {
		return err
	}
	if c.Execution = record.ExecuteFailed; good {
		c.Execution = record.ExecuteComplete
	}
	return tx.SaveChangeSet(c)
}

// complete stores that the config is what there is. An update goes on with
// what is left to delete.
func (d *driver) complete(work context.Context) error {
	outputs, used, err := d.outputs(work)
	if err != nil {
		return d.giveUpUnless(work, err)
	}
	settled := d.settle()
	creation := d.op.Kind == record.CreateStack
	t := transition{status: record.CreateComplete, edit: func(s *record.Stack, c *record.Contents, op *record.Operation) {
		c.Stable, c.Outputs, c.Imports = nil, outputs, used.Imports
		if op.Done = creation; !creation {
			op.Phase = record.Cleanup
		}
	}}
	if !creation {
		t.status = record.UpdateCleanup
	}
	t.also = func(tx *store.Tx, s *record.Stack) error {
		for _, p := range settled {
			if err := tx.SaveStackResource(p.Resource); err != nil {
				return err
			}
		}
		if err := d.use(tx, used); err != nil {
			return err
		}
		if err := d.export(tx, s, outputs); err != nil {
			return err
		}
		if err := tx.SetImports(s.Account, s.Region, s.ID, importsOf(settled, used.Imports)); err != nil {
			return err
		}
		return d.executed(tx, true)
	}
	for _, p := range settled {
		if err := p.Seal(d.cfg.Sealer, p.state); err != nil {
			return err
		}
	}
	if err := d.move(work, t); err != nil {
		return d.giveUpUnless(work, err)
	}
	return nil
}

// giveUpUnless gives up for an error that has a text for the user, and
// returns any other.
func (d *driver) giveUpUnless(work context.Context, err error) error {
	if !fault.Is(err, fault.Validation) {
		return err
	}
	return d.giveUp(work, message(err))
}

// settle returns every resource as it is once the config has been applied:
// what stays is stable, what the template does not have leaves.
func (d *driver) settle() []*part {
	var settled []*part
	for _, p := range d.where(func(p *part) bool { return !p.Status.Gone() }) {
		p = p.copy()
		if p.Leaving == record.Staying && !slices.Contains(d.plan.active, p.LogicalID) {
			p.Leaving = record.Removed
		}
		p.Place, p.state.Stable, p.state.Memory = record.Kept, nil, ""
		settled = append(settled, p)
	}
	return settled
}

// importsOf are the exports that the resources that stay, and the outputs,
// use.
func importsOf(parts []*part, imports []string) []string {
	names := slices.Clone(imports)
	for _, p := range parts {
		if p.Leaving == record.Staying && p.state.Now != nil {
			names = append(names, p.state.Now.Imports...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// outputs works out the template's outputs, and which exports they use.
func (d *driver) outputs(work context.Context) (list []record.Output, used *record.Applied, err error) {
	used = &record.Applied{}
	scope := d.scopeFor(work, used)
	for _, o := range d.plan.template.ActiveOutputs(scope.Conditions) {
		value, export, err := d.plan.template.ResolveOutput(o, scope)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, record.Output{Name: o.Name, Value: value, Description: o.Description, Export: export})
	}
	return list, used, nil
}

// export stores the stack's exports. A name that another stack exports, and
// one that is in use and would change or go, is refused in AWS's words.
func (d *driver) export(tx *store.Tx, s *record.Stack, outputs []record.Output) error {
	before, err := tx.ExportsOf(s.ID)
	if err != nil {
		return err
	}
	for _, x := range before {
		i := slices.IndexFunc(outputs, func(o record.Output) bool { return o.Export == x.Name })
		if i < 0 {
			if err := InUse(tx, x, "deleted"); err != nil {
				return err
			}
			if err := tx.DropExport(x); err != nil {
				return err
			}
			continue
		}
		value, err := x.Value(d.cfg.Sealer)
		if err != nil {
			return err
		}
		if value != outputs[i].Value {
			if err := InUse(tx, x, "updated"); err != nil {
				return err
			}
		}
	}
	for _, o := range outputs {
		if o.Export == "" {
			continue
		}
		if err := d.exportOne(tx, s, o); err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) exportOne(tx *store.Tx, s *record.Stack, o record.Output) error {
	x := &record.Export{Account: s.Account, Region: s.Region, Name: o.Export, StackID: s.ID}
	if err := x.Seal(d.cfg.Sealer, o.Value); err != nil {
		return err
	}
	err := tx.SaveExport(x)
	if !fault.Is(err, fault.Exists) {
		return err
	}
	other, err := tx.Export(s.Account, s.Region, o.Export)
	if err != nil {
		return err
	}
	owner, err := tx.Stack(other.StackID)
	if err != nil {
		return err
	}
	return fault.New(fault.Validation, "Export with name %s is already exported by stack %s", o.Export, owner.Name)
}

// InUse refuses a change of an export that other stacks import, in AWS's
// words; what is deleted or updated.
func InUse(tx *store.Tx, x *record.Export, what string) error {
	const shown = 10
	list, err := tx.Importers(x.Account, x.Region, x.Name, "", shown+1)
	if err != nil {
		return err
	}
	var names []string
	for _, id := range list {
		if id == x.StackID {
			continue
		}
		s, err := tx.Stack(id)
		if err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return fault.New(fault.Validation, "Export %s cannot be %s as it is in use by %s", x.Name, what, strings.Join(names, ", "))
}

// makeChangeSet works out what a config would change.
func (d *driver) makeChangeSet(work context.Context) error {
	var set *record.ChangeSet
	err := d.change(work, func(tx *store.Tx) (err error) {
		if set, err = tx.ChangeSet(d.op.Order.ChangeSetID); err != nil {
			return err
		}
		set.Status = record.ChangeSetInProgress
		return tx.SaveChangeSet(set)
	})
	if fault.Is(err, fault.NotFound) { // deleted meanwhile
		return d.done(work, nil)
	}
	if err != nil {
		return err
	}
	proposal, err := set.Open(d.cfg.Sealer)
	if err != nil {
		return err
	}
	d.hide(proposal.Config.Secrets()...)
	err = d.propose(work, proposal)
	set.Status, set.Execution = record.ChangeSetComplete, record.Available
	if err != nil {
		if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.Unavailable {
			return err
		}
		set.Status, set.Execution, set.StatusReason = record.ChangeSetFailed, record.Unavailable, d.redacted(message(err))
	}
	if err := set.Seal(d.cfg.Sealer, proposal); err != nil {
		return err
	}
	return d.done(work, set)
}

// done stores a change set, if it is still there, and that it is worked out.
func (d *driver) done(work context.Context, set *record.ChangeSet) error {
	err := d.change(work, func(tx *store.Tx) error {
		op, err := tx.StackOperation(d.id)
		if err != nil {
			return err
		}
		op.Done, op.Sealed = true, nil
		if set != nil {
			if err := tx.SaveChangeSet(set); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
		return tx.SaveOperation(op)
	})
	d.op.Done = err == nil
	return err
}

// errNoChanges is why a change set failed that would change nothing.
var errNoChanges = fault.New(fault.Validation, "The submitted information didn't contain changes. Submit different information to create a change set.")

// propose works out what a config would change.
func (d *driver) propose(work context.Context, proposal *record.Proposal) error {
	c := &proposal.Config
	if err := Expand(d.stack, c); err != nil {
		return err
	}
	t, _, err := c.Parse()
	if err != nil {
		return err
	}
	if err := Check(t); err != nil {
		return err
	}
	if err := t.Demand(c.Capabilities, false); err != nil {
		return err
	}
	var p *Preview
	err = d.cfg.Store.View(work, func(tx *store.Tx) (err error) {
		p, err = NewPreview(tx, d.cfg.Sealer, d.stack, c)
		return err
	})
	if err != nil {
		return err
	}
	if p.Empty() {
		return errNoChanges
	}
	proposal.Changes, proposal.Before, proposal.After = p.Changes, map[string]string{}, map[string]string{}
	for _, change := range p.Changes {
		id := change.LogicalID
		if proposal.Before[id], proposal.After[id], err = p.Shown(id); err != nil {
			return err
		}
	}
	return nil
}
