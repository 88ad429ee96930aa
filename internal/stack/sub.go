package stack

import (
	"maps"
	"slices"
	"strings"
)

// fragment is a part of a Fn::Sub string: literal text, or the name of a
// variable.
type fragment struct {
	text     string
	variable bool
}

// fragments splits a Fn::Sub string. ${!Name} is the text ${Name}; a "${"
// that nothing closes is text.
func fragments(s string) ([]fragment, error) {
	var parts []fragment
	for {
		literal, rest, ok := strings.Cut(s, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return append(parts, fragment{text: s}), nil
		}
		parts = append(parts, fragment{text: literal})
		if raw, ok := strings.CutPrefix(name, "!"); ok {
			parts = append(parts, fragment{text: "${" + raw + "}"})
		} else if variable, ok := subVariable(name); ok {
			parts = append(parts, fragment{text: variable, variable: true})
		} else {
			return nil, invalid("Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons")
		}
		s = after
	}
}

// subVariable checks a name; blanks around it do not count (assumed).
func subVariable(name string) (string, bool) {
	name = strings.TrimSpace(name)
	odd := strings.IndexFunc(name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == ':')
	})
	return name, name != "" && odd < 0
}

// subArguments splits the argument of Fn::Sub: a string, or a list of a
// string and an object of variables.
func subArguments(arg any) (string, map[string]any, error) {
	if s, ok := arg.(string); ok {
		return s, nil, nil
	}
	list, _ := arg.([]any)
	if len(list) == 2 {
		s, isText := list[0].(string)
		variables, isMap := list[1].(map[string]any)
		if isText && isMap {
			return s, variables, nil
		}
	}
	return "", nil, errSub()
}

func (r *resolver) sub(arg any) (any, error) {
	text, own, err := subArguments(arg)
	if err != nil {
		return nil, err
	}
	parts, err := fragments(text)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		if !parts[i].variable {
			parts[i].text = r.own(parts[i].text).(string)
		}
	}
	values := make(map[string]string, len(own))
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if values[name], err = r.text(own[name], errSubValue(name)); err != nil {
			return nil, err
		}
	}
	var b strings.Builder
	for _, part := range parts {
		s := part.text
		if part.variable {
			if s, err = r.variable(part.text, values); err != nil {
				return nil, err
			}
		}
		if _, err := r.grow(s); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// variable is the value of a name in a Fn::Sub string: one of its own, else
// Ref, else with a period Fn::GetAtt.
func (r *resolver) variable(name string, own map[string]string) (string, error) {
	if s, ok := own[name]; ok {
		return s, nil
	}
	var v any
	var err error
	if id, attribute, ok := strings.Cut(name, "."); ok {
		v, err = r.attribute(id, attribute)
	} else {
		v, err = r.named(name)
	}
	if err != nil {
		return "", err
	}
	if v == (any)(noValue{}) {
		return "", nil
	}
	s, ok := scalarText(v)
	if !ok {
		return "", errSubValue(name)()
	}
	return s, nil
}
