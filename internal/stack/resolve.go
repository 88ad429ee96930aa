package stack

import (
	"crypto/rand"
	"strings"
)

// noValue is what AWS::NoValue gives: the member that holds it goes away.
type noValue struct{}

// maxProduced bounds what the functions of one Resolve may produce, in bytes,
// so that nested Fn::Sub cannot double without end.
const maxProduced = 8 << 20

// resolver resolves one expression.
type resolver struct {
	t *Template
	s *Scope
	// conditions evaluates a condition by name.
	conditions func(name string) (bool, error)
	produced   int
	// mark, unless "", is put into the openings of dynamic references in what
	// the template and its parameters say. Nobody else can know it, so what
	// resources and other stacks give is never taken for a reference.
	mark string
}

// Resolve replaces every intrinsic function in v by its value, and every
// dynamic reference in the strings that result where the scope has Dynamic. A
// reference begins in the template or in a parameter; what resources and
// exports give may be a part of one, and is none itself.
// Members whose value is AWS::NoValue go away; AWS::NoValue itself gives nil.
// What it returns may share parts with v and with the scope.
func (t *Template) Resolve(v any, s *Scope) (any, error) {
	r := t.resolver(s)
	if s.Dynamic != nil {
		r.mark = rand.Text()
	}
	out, err := r.value(v)
	if err != nil {
		return nil, err
	}
	if out == (noValue{}) {
		return nil, nil
	}
	if s.Dynamic == nil {
		return out, nil
	}
	return replaceDynamic(out, r.mark, s.Dynamic)
}

// ResolveProperties is Resolve of a resource's properties.
func (t *Template) ResolveProperties(logicalID string, s *Scope) (map[string]any, error) {
	v, err := t.Resolve(t.Resources[logicalID].Properties, s)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok { // the properties as a whole were a function
		return nil, invalid("Template format error: [/Resources/%s/Properties] Properties must be an object.", logicalID)
	}
	return m, nil
}

// ResolveOutput returns an output's value and the name of its export, ""
// without one.
func (t *Template) ResolveOutput(o Output, s *Scope) (value, export string, err error) {
	for into, v := range map[*string]any{&value: o.Value, &export: o.Export} {
		if v == nil {
			continue
		}
		resolved, err := t.Resolve(v, s)
		if err != nil {
			return "", "", err
		}
		text, ok := scalarText(resolved)
		if !ok {
			return "", "", errOutputValue()
		}
		*into = text
	}
	return value, export, nil
}

func (t *Template) resolver(s *Scope) *resolver {
	return &resolver{t: t, s: s, conditions: func(name string) (bool, error) {
		value, ok := s.Conditions[name]
		if !ok {
			return false, errCondition(name)
		}
		return value, nil
	}}
}

// value resolves a tree.
func (r *resolver) value(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if name, arg, ok := call(v); ok {
			return r.call(name, arg)
		}
		return r.members(v)
	case []any:
		return r.list(v)
	case string:
		return r.own(v), nil
	default:
		return v, nil
	}
}

// own marks what the template or a parameter says.
func (r *resolver) own(v any) any {
	if r.mark == "" {
		return v
	}
	return markDynamic(v, r.mark)
}

func (r *resolver) members(m map[string]any) (any, error) {
	out := make(map[string]any, len(m))
	for k, e := range m {
		v, err := r.value(e)
		if err != nil {
			return nil, err
		}
		if v != (any)(noValue{}) {
			out[k] = v
		}
	}
	return out, nil
}

func (r *resolver) list(l []any) (any, error) {
	out := make([]any, 0, len(l))
	for _, e := range l {
		v, err := r.value(e)
		if err != nil {
			return nil, err
		}
		if v != (any)(noValue{}) {
			out = append(out, v)
		}
	}
	return out, nil
}

// grow accounts for a produced text.
func (r *resolver) grow(text string) (string, error) {
	if r.produced += len(text); r.produced > maxProduced {
		return "", invalid("Template may not exceed %d bytes in size.", MaxBytes)
	}
	return text, nil
}

// call returns the function and the argument of an object that is a call: it
// has one member, Ref or Fn::Something, in capitals or not.
func call(m map[string]any) (name string, arg any, ok bool) {
	if len(m) != 1 {
		return "", nil, false
	}
	for name, arg = range m {
	}
	return name, arg, name == fnRef || len(name) > 4 && strings.EqualFold(name[:4], "Fn::")
}

func isCall(v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	_, _, ok = call(m)
	return ok
}

// isUnknown reports whether a value is not known before the operation.
func isUnknown(v any) bool {
	s, ok := v.(string)
	return ok && strings.Contains(s, KnownAfterApply)
}
