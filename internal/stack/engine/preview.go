package engine

import (
	"reflect"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/store"
)

// Preview is what a config would change of a stack.
type Preview struct {
	// Changes are of its resources.
	Changes []stack.Change
	// before and after are the stack's states.
	before, after stack.State
	// outputs says that the outputs, or settings that are no resource's,
	// change.
	outputs bool
	// shownBefore and shownAfter are the resources' properties without secrets.
	shownBefore, shownAfter map[string]map[string]any
}

// Empty reports whether nothing would change.
func (p *Preview) Empty() bool { return len(p.Changes) == 0 && !p.outputs }

// Shown returns the properties of a resource before and after as JSON, as far
// as they are known, with masks for what is not to be seen; "" where there
// are none.
func (p *Preview) Shown(logicalID string) (before, after string, err error) {
	for into, shown := range map[*string]map[string]map[string]any{&before: p.shownBefore, &after: p.shownAfter} {
		if properties, ok := shown[logicalID]; ok {
			if *into, err = encode(map[string]any{"Properties": properties}); err != nil {
				return "", "", err
			}
		}
	}
	return before, after, nil
}

// NewPreview compares a stack as it is with a config whose transforms have
// been applied. Errors of kind fault.Validation have AWS's texts.
func NewPreview(tx *store.Tx, sealer *key.Sealer, s *record.Stack, c *record.Config) (*Preview, error) {
	contents, err := s.Open(sealer)
	if err != nil {
		return nil, err
	}
	w := &previewer{tx: tx, sealer: sealer, stack: s, parts: map[string]*part{}}
	if err := w.load(); err != nil {
		return nil, err
	}
	p := &Preview{
		before:      stack.State{Properties: map[string]map[string]any{}, PhysicalIDs: map[string]string{}},
		shownBefore: map[string]map[string]any{}, shownAfter: map[string]map[string]any{},
	}
	var outputs []record.Output
	if s.Status != record.ReviewInProgress {
		if err := w.present(p, contents); err != nil {
			return nil, err
		}
	}
	if p.after, outputs, err = w.coming(c, p.shownAfter); err != nil {
		return nil, err
	}
	if p.before.Template != nil {
		if err := stack.CheckUpdate(p.before.Template, p.after.Template); err != nil {
			return nil, err
		}
	}
	p.Changes = stack.Diff(p.before, p.after, resource.Schema)
	now := &contents.Config
	p.outputs = !sameOutputs(contents.Outputs, outputs) || !reflect.DeepEqual(tagMap(now.Tags), tagMap(c.Tags)) ||
		len(now.NotificationARNs)+len(c.NotificationARNs) > 0 && !reflect.DeepEqual(now.NotificationARNs, c.NotificationARNs) ||
		s.Status.Failed()
	return p, nil
}

func sameOutputs(a, b []record.Output) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func tagMap(tags []record.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// previewer reads what a preview needs.
type previewer struct {
	tx     *store.Tx
	sealer *key.Sealer
	stack  *record.Stack
	parts  map[string]*part
}

func (w *previewer) load() error {
	list, err := w.tx.StackResources(w.stack.ID)
	if err != nil {
		return err
	}
	for _, r := range list {
		if !r.Current() {
			continue
		}
		state, err := r.Open(w.sealer)
		if err != nil {
			return err
		}
		w.parts[r.LogicalID] = &part{r, state}
	}
	return nil
}

// present is the stack as it is.
func (w *previewer) present(p *Preview, contents *record.Contents) error {
	t, args, err := contents.Config.Parse()
	if err != nil {
		return err
	}
	scope := ScopeOf(w.stack, args, contents.Config.NotificationARNs)
	conditions, err := t.Evaluate(scope)
	if err != nil {
		return err
	}
	p.before.Template, p.before.Arguments, p.before.Conditions = t, args, conditions
	p.before.Tags = tagMap(contents.Config.Tags)
	for id, made := range w.parts {
		p.before.PhysicalIDs[id] = made.PhysicalID
		if made.state.Now != nil {
			p.before.Properties[id], p.shownBefore[id] = made.state.Now.Declared, made.state.Now.Shown
		}
	}
	return nil
}

// coming is the stack as it will be, as far as that is known.
func (w *previewer) coming(c *record.Config, shown map[string]map[string]any) (state stack.State, outputs []record.Output, err error) {
	plan, err := newPlan(w.stack, c)
	if err != nil {
		return state, nil, err
	}
	scope := w.scope(plan.scope)
	state = stack.State{
		Template: plan.template, Conditions: scope.Conditions, Arguments: plan.args, Tags: tagMap(c.Tags),
		Properties: map[string]map[string]any{},
	}
	for _, id := range plan.active {
		properties, err := plan.template.ResolveProperties(id, scope)
		if err != nil {
			return state, nil, err
		}
		if schema := resource.Schema(plan.template.Resources[id].Type); schema != nil {
			properties = schema.Coerce(properties)
		}
		state.Properties[id] = properties
		if shown[id], err = plan.template.ResolveProperties(id, masked(scope)); err != nil {
			return state, nil, err
		}
	}
	for _, o := range plan.template.ActiveOutputs(scope.Conditions) {
		value, export, err := plan.template.ResolveOutput(o, scope)
		if err != nil {
			return state, nil, err
		}
		outputs = append(outputs, record.Output{Name: o.Name, Value: value, Description: o.Description, Export: export})
	}
	return state, outputs, nil
}

// scope knows the resources as they are, and exports.
func (w *previewer) scope(of *stack.Scope) *stack.Scope {
	s := *of
	s.Preview = true
	s.Ref = func(id string) (any, bool) {
		p := w.parts[id]
		if p == nil || p.state.Now == nil {
			return nil, false
		}
		return p.state.Ref, true
	}
	s.GetAtt = func(id, attribute string) (any, error) {
		p := w.parts[id]
		if p == nil || p.state.Now == nil {
			return stack.KnownAfterApply, nil
		}
		if v, err := attributeOf(p, attribute); err == nil {
			return v, nil
		}
		return stack.KnownAfterApply, nil
	}
	s.Import = func(name string) (string, error) {
		x, err := w.tx.Export(w.stack.Account, w.stack.Region, name)
		if fault.Is(err, fault.NotFound) {
			return "", noExport(name)
		}
		if err != nil {
			return "", err
		}
		return x.Value(w.sealer)
	}
	return &s
}

// equal compares plain trees.
func equal(a, b map[string]any) bool { return reflect.DeepEqual(a, b) }
