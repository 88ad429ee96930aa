package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/stack/transform"
	"github.com/keyturn/keyturn/internal/store"
)

// urlSuffix is AWS::URLSuffix.
func urlSuffix(region string) string {
	if arn.Partition(region) == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// ScopeOf is what the expressions of a stack's template are resolved against,
// before anything is known of its resources.
func ScopeOf(s *record.Stack, args stack.Arguments, notificationARNs []string) *stack.Scope {
	return &stack.Scope{
		Account: s.Account, Region: s.Region, Partition: arn.Partition(s.Region), URLSuffix: urlSuffix(s.Region),
		StackID: s.ID, StackName: s.Name, NotificationARNs: notificationARNs, Arguments: args,
	}
}

// Expand applies the transforms of a config's template; Processed stays ""
// for a template without. Errors of kind fault.Validation have AWS's texts.
func Expand(s *record.Stack, c *record.Config) error {
	tree, err := stack.Decode(c.Template)
	if err != nil {
		return err
	}
	if len(transform.Named(tree)) == 0 && !bytes.Contains([]byte(c.Template), []byte("Fn::Transform")) {
		return nil
	}
	_, args, err := c.Parse()
	if err != nil {
		return err
	}
	tree, err = transform.Expand(tree, transform.Environment{
		Account: s.Account, Region: s.Region, Partition: arn.Partition(s.Region), URLSuffix: urlSuffix(s.Region),
		StackName: s.Name, Parameters: args.ByName,
	})
	if err != nil {
		return err
	}
	t, err := stack.FromTree(tree)
	if err != nil {
		return err
	}
	scope := ScopeOf(s, args, c.NotificationARNs)
	if t.Declares(stack.LanguageExtensions) {
		if scope.Conditions, err = t.Evaluate(scope); err != nil {
			return err
		}
		if t, err = t.Expand(scope); err != nil {
			return err
		}
	}
	b, err := t.JSON()
	c.Processed = string(b)
	return err
}

// Check refuses what is wrong with a template before anything is done. Types
// that only a transform makes known ones of pass while it has not been
// applied.
func Check(t *stack.Template) error {
	waiting := func(kind string) bool { return len(t.Transforms) > 0 && strings.HasPrefix(kind, "AWS::Serverless::") }
	return t.Check(func(kind string) bool { return resource.Lookup(kind) != nil || waiting(kind) }, func(kind, attribute string) bool {
		schema := resource.Schema(kind)
		return schema == nil || schema.HasAttribute(attribute)
	})
}

// plan is a config, ready to be carried out.
type plan struct {
	template *stack.Template
	args     stack.Arguments
	scope    *stack.Scope
	active   []string
	graph    stack.Graph
}

// newPlan reads a config.
func newPlan(s *record.Stack, c *record.Config) (*plan, error) {
	t, args, err := c.Parse()
	if err != nil {
		return nil, err
	}
	p := &plan{template: t, args: args, scope: ScopeOf(s, args, c.NotificationARNs)}
	if p.scope.Conditions, err = t.Evaluate(p.scope); err != nil {
		return nil, err
	}
	p.active = t.Active(p.scope.Conditions)
	p.graph, err = t.Graph(p.scope.Conditions)
	return p, err
}

// masked is the scope as events show values: without those of NoEcho
// parameters.
func masked(s *stack.Scope) *stack.Scope {
	shown := *s
	byName := make(map[string]any, len(s.Arguments.ByName))
	for name, v := range s.Arguments.ByName {
		if s.Arguments.Secret(name) {
			v = stack.Mask
		}
		byName[name] = v
	}
	shown.Arguments.ByName = byName
	shown.Dynamic = nil
	if get := s.GetAtt; get != nil {
		shown.GetAtt = func(id, attribute string) (any, error) {
			v, err := get(id, attribute)
			if err == nil && strings.Contains(attribute, "Secret") && strings.HasSuffix(attribute, "Key") {
				v = stack.Mask // AWS::IAM::AccessKey's
			}
			return v, err
		}
	}
	return &shown
}

// scopeFor is the plan's scope with what is known of the resources. The
// exports that are used are noted in a.
func (d *driver) scopeFor(work context.Context, a *record.Applied) *stack.Scope {
	s := *d.plan.scope
	s.Ref = func(id string) (any, bool) {
		p := d.current(id)
		if p == nil || p.state.Now == nil {
			return nil, false
		}
		return p.state.Ref, true
	}
	s.GetAtt = func(id, attribute string) (any, error) {
		p := d.current(id)
		if p == nil || p.state.Now == nil {
			return nil, fault.New(fault.Validation, "Template error: resource %s is not there", id)
		}
		return attributeOf(p, attribute)
	}
	s.Import = func(name string) (string, error) {
		v, err := d.imported(work, name)
		if err != nil {
			return "", err
		}
		if a.Imported == nil {
			a.Imported = map[string]string{}
		}
		if before, ok := a.Imported[name]; ok && before != v {
			return "", exportChanged(name)
		}
		if a.Imported[name] = v; !slices.Contains(a.Imports, name) {
			a.Imports = append(a.Imports, name)
		}
		return v, nil
	}
	return &s
}

func attributeOf(p *part, attribute string) (any, error) {
	if v, ok := p.state.Attributes[attribute]; ok {
		return v, nil
	}
	return nil, fault.New(fault.Validation, "Requested attribute %s does not exist in schema for %s", attribute, p.Type)
}

// imported reads an export of another stack.
func (d *driver) imported(work context.Context, name string) (string, error) {
	var x *record.Export
	err := d.cfg.Store.View(work, func(tx *store.Tx) (err error) {
		x, err = tx.Export(d.stack.Account, d.stack.Region, name)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return "", noExport(name)
	}
	if err != nil {
		return "", err
	}
	return x.Value(d.cfg.Sealer)
}

func noExport(name string) error {
	return fault.New(fault.Validation, "No export named %s found", name)
}

// exportChanged refuses what would be made with two values of an export, or
// with one that is none any more (assumed).
func exportChanged(name string) error {
	return fault.New(fault.Validation, "Export %s was changed in the meantime", name)
}

// resolve works out what the template makes of a resource.
func (d *driver) resolve(work context.Context, id string) (*record.Applied, error) {
	t := d.plan.template
	r := t.Resources[id]
	schema := resource.Schema(r.Type)
	if schema == nil {
		return nil, unknownType(r.Type)
	}
	a := &record.Applied{
		Tags: d.contents.Config.Tags, Metadata: r.Metadata, DeletionPolicy: r.DeletionPolicy, UpdateReplacePolicy: r.UpdateReplacePolicy,
		DependsOn: d.plan.graph[id],
	}
	scope := d.scopeFor(work, a)
	declared, err := t.ResolveProperties(id, scope)
	if err != nil {
		return nil, err
	}
	if a.Shown, err = t.ResolveProperties(id, masked(scope)); err != nil {
		return nil, err
	}
	a.Declared = schema.Coerce(declared)
	if err := checkTags(schema, a.Declared); err != nil {
		return a, err
	}
	return a, schema.Check(a.Declared)
}

// fetch replaces the dynamic references in what is to be applied. A nested
// stack gets the references themselves as the values of its parameters, and
// resolves them where it uses these: a value would be one that it shows.
func (d *driver) fetch(work context.Context, id string, a *record.Applied) error {
	if !stack.HasDynamic(a.Declared) || d.plan.template.Resources[id].Type == record.Type {
		return nil
	}
	client, err := d.client(work)
	if err != nil {
		return err
	}
	scope := d.scopeFor(work, a)
	scope.Dynamic = func(ref stack.DynamicReference) (string, error) {
		value, err := dynamic(work, client, ref)
		if err == nil {
			a.Fetched = append(a.Fetched, value)
			d.hide(value)
		}
		return value, err
	}
	resolved, err := d.plan.template.ResolveProperties(id, scope)
	if err != nil {
		return err
	}
	schema := resource.Schema(d.plan.template.Resources[id].Type)
	a.Resolved = schema.Coerce(resolved)
	if err := checkTags(schema, a.Resolved); err != nil {
		return err
	}
	return schema.Check(a.Resolved)
}

// encode writes properties as JSON.
func encode(v map[string]any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), fault.Wrap(err, "encoding properties")
}

// decodeJSON reads JSON with its numbers as they are written.
func decodeJSON(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

// message is the public text of an error.
func message(err error) string {
	if f, ok := errors.AsType[*resource.Failure](err); ok && f.Message != "" {
		return f.Message
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Message != "" {
		return e.Message
	}
	return "Internal Failure"
}
