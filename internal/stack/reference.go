package stack

import (
	"iter"
	"strings"
)

// Reference is one mention of a parameter, a pseudo parameter or a resource
// in an expression.
type Reference struct {
	Name string
	// Attribute is that of Fn::GetAtt; "" for Ref. It is "*" where a function
	// computes the attribute.
	Attribute string
}

// String is what a change set names as causing entity.
func (r Reference) String() string {
	if r.Attribute == "" {
		return r.Name
	}
	return r.Name + "." + r.Attribute
}

// references yields every mention in an expression. With conditions, only the
// chosen branch of a Fn::If is looked at. What is not well-formed is passed
// over.
func references(v any, conditions map[string]bool) iter.Seq[Reference] {
	return func(yield func(Reference) bool) {
		w := walker{conditions: conditions, yield: yield}
		w.walk(v)
	}
}

type walker struct {
	conditions map[string]bool
	yield      func(Reference) bool
	stopped    bool
}

func (w *walker) found(r Reference) {
	w.stopped = w.stopped || !w.yield(r)
}

func (w *walker) walk(v any) {
	switch v := v.(type) {
	case map[string]any:
		if name, arg, ok := call(v); ok {
			w.call(name, arg)
			return
		}
		for _, e := range v {
			w.walk(e)
		}
	case []any:
		for _, e := range v {
			w.walk(e)
		}
	}
}

func (w *walker) call(name string, arg any) {
	if w.stopped {
		return
	}
	switch name {
	case fnRef:
		if name, ok := arg.(string); ok {
			w.found(Reference{Name: name})
		}
	case fnGetAtt:
		id, attribute, ok := attributeOf(arg)
		if !ok {
			return
		}
		name, isText := attribute.(string)
		if !isText {
			name = "*"
			w.walk(attribute)
		}
		w.found(Reference{Name: id, Attribute: name})
	case fnSub:
		w.sub(arg)
	case fnIf:
		w.ifElse(arg)
	default:
		w.walk(arg)
	}
}

func (w *walker) sub(arg any) {
	text, own, err := subArguments(arg)
	if err != nil {
		w.walk(arg)
		return
	}
	parts, _ := fragments(text)
	for _, part := range parts {
		if _, local := own[part.text]; !part.variable || local {
			continue
		}
		id, attribute, _ := strings.Cut(part.text, ".")
		w.found(Reference{Name: id, Attribute: attribute})
	}
	for _, e := range own {
		w.walk(e)
	}
}

func (w *walker) ifElse(arg any) {
	args, _ := arg.([]any)
	if len(args) == 3 && w.conditions != nil {
		if name, ok := args[0].(string); ok {
			branch := 2
			if w.conditions[name] {
				branch = 1
			}
			w.walk(args[branch])
			return
		}
	}
	if len(args) == 3 {
		args = args[1:]
	}
	for _, e := range args {
		w.walk(e)
	}
}
