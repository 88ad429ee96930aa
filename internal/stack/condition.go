package stack

import (
	"maps"
	"reflect"
	"slices"
)

// ifElse resolves Fn::If: the chosen branch alone.
func (r *resolver) ifElse(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) != 3 {
		return nil, errIf()
	}
	name, ok := args[0].(string)
	if !ok {
		return nil, errIf()
	}
	chosen, err := r.conditions(name)
	if err != nil {
		return nil, err
	}
	if chosen {
		return r.value(args[1])
	}
	return r.value(args[2])
}

// condition evaluates a condition function.
func (r *resolver) condition(v any) (bool, error) {
	m, _ := v.(map[string]any)
	name, arg, ok := call(m)
	if !ok {
		if name, ok := m[fnCondition].(string); ok && len(m) == 1 {
			return r.conditions(name)
		}
		return false, errFunction(firstKey(m), nil)
	}
	switch name {
	case fnAnd, fnOr:
		return r.andOr(name, arg)
	case fnNot:
		list, _ := arg.([]any)
		if len(list) != 1 {
			return false, errNot()
		}
		b, err := r.truth(list[0], errNot)
		return !b, err
	case fnEquals:
		return r.equals(arg)
	default:
		return r.truth(v, func() error { return errFunction(name, arg) })
	}
}

func firstKey(m map[string]any) string {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		return k
	}
	return ""
}

// truth evaluates an argument of And, Or and Not: a condition function, or a
// value that is true or false.
func (r *resolver) truth(v any, refusal func() error) (bool, error) {
	if m, ok := v.(map[string]any); ok {
		switch name, _, isCall := call(m); {
		case isCall && slices.Contains([]string{fnAnd, fnOr, fnNot, fnEquals}, name), !isCall:
			return r.condition(v)
		}
	}
	text, err := r.text(v, refusal)
	if err != nil {
		return false, err
	}
	if text != "true" && text != "false" {
		return false, refusal()
	}
	return text == "true", nil
}

// andOr looks at every argument, so that an error in the last shows.
func (r *resolver) andOr(name string, arg any) (bool, error) {
	refusal := func() error { return errAndOr(name) }
	list, _ := arg.([]any)
	if len(list) < 2 || len(list) > 10 {
		return false, refusal()
	}
	result := name == fnAnd
	for _, e := range list {
		b, err := r.truth(e, refusal)
		if err != nil {
			return false, err
		}
		if name == fnAnd {
			result = result && b
		} else {
			result = result || b
		}
	}
	return result, nil
}

// equals compares scalars by their text.
func (r *resolver) equals(arg any) (bool, error) {
	list, _ := arg.([]any)
	if len(list) != 2 {
		return false, errEquals()
	}
	var sides [2]any
	for i, e := range list {
		v, err := r.value(e)
		if err != nil {
			return false, err
		}
		if text, ok := scalarText(v); ok {
			v = text
		}
		sides[i] = v
	}
	return reflect.DeepEqual(sides[0], sides[1]), nil
}

// Evaluate decides every condition of the template, except those that a loop
// has yet to make. Of the scope it needs the arguments and the pseudo
// parameters.
func (t *Template) Evaluate(s *Scope) (map[string]bool, error) {
	done := map[string]bool{}
	open := map[string]bool{}
	r := &resolver{t: t, s: s}
	r.conditions = func(name string) (bool, error) {
		if b, ok := done[name]; ok {
			return b, nil
		}
		expression, ok := t.Conditions[name]
		if !ok {
			return false, invalid("Template format error: Unresolved condition dependency %s", name)
		}
		if open[name] {
			return false, errConditionCycle(slices.Sorted(maps.Keys(open)))
		}
		open[name] = true
		b, err := r.condition(expression)
		delete(open, name)
		if err == nil {
			done[name] = b
		}
		return b, err
	}
	for _, name := range slices.Sorted(maps.Keys(t.Conditions)) {
		if t.isLoop(name) {
			continue
		}
		if _, err := r.conditions(name); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// Active returns, in the template's order, the resources that exist under the
// conditions.
func (t *Template) Active(conditions map[string]bool) []string {
	var ids []string
	for _, id := range t.ids {
		if c := t.Resources[id].Condition; c == "" || conditions[c] {
			ids = append(ids, id)
		}
	}
	return ids
}

// ActiveOutputs returns, in the template's order, the outputs that exist
// under the conditions.
func (t *Template) ActiveOutputs(conditions map[string]bool) []Output {
	var outputs []Output
	for _, o := range t.Outputs {
		if o.Condition == "" || conditions[o.Condition] {
			outputs = append(outputs, o)
		}
	}
	return outputs
}
