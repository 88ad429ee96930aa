package loggroup

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// members reads the inside of braces.
func (p *patternParser) members() (func(string) bool, error) {
	match, err := condition(p, p.member)
	if err != nil {
		return nil, err
	}
	return func(message string) bool {
		document, ok := parseJSON(message)
		return ok && match(document)
	}, nil
}

// parseJSON reads a message that is one JSON object.
func parseJSON(message string) (map[string]any, bool) {
	message = strings.TrimSpace(message)
	if !strings.HasPrefix(message, "{") {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(message))
	d.UseNumber()
	var document map[string]any
	if d.Decode(&document) != nil {
		return nil, false
	}
	_, err := d.Token()
	return document, err == io.EOF
}

// member reads one condition on a member. A member that is missing meets
// none but NOT EXISTS (assumed for !=).
func (p *patternParser) member() (func(map[string]any) bool, error) {
	path, err := p.selector()
	if err != nil {
		return nil, err
	}
	holds := func(test func(any) bool) func(map[string]any) bool {
		return func(document map[string]any) bool { return anyAt(document, path, test) }
	}
	switch {
	case p.keyword("IS"):
		test, err := p.constant()
		return holds(test), err
	case p.keyword("NOT"):
		if !p.keyword("EXISTS") {
			return nil, errPattern()
		}
		exists := holds(func(any) bool { return true })
		return func(document map[string]any) bool { return !exists(document) }, nil
	case p.keyword("EXISTS"):
		return holds(func(any) bool { return true }), nil
	}
	check, err := p.comparison()
	return holds(func(v any) bool {
		s, ok := scalarOf(v)
		return ok && check(s)
	}), err
}

// constant reads what stands after IS.
func (p *patternParser) constant() (func(any) bool, error) {
	for name, value := range map[string]any{"NULL": nil, "TRUE": true, "FALSE": false} {
		if p.keyword(name) {
			return func(v any) bool {
				switch v.(type) {
				case nil, bool:
					return v == value
				}
				return false
			}, nil
		}
	}
	return nil, errPattern()
}

// scalarOf returns what is compared of a JSON value. Null is nothing; an
// object or a list is an empty text, so that "*" finds it.
func scalarOf(v any) (scalar, bool) {
	switch v := v.(type) {
	case string:
		return scalar{text: v}, true
	case json.Number:
		return textScalar(v.String()), true
	case bool:
		return scalar{text: strconv.FormatBool(v)}, true
	}
	return scalar{}, v != nil
}

// step is one step of a selector: a name, an index, or every element.
type step struct {
	name  string
	index int
	// list says that the step is into a list, every that it is into each
	// element of a list or member of an object.
	list, every bool
}

// selector reads $ and at least one step.
func (p *patternParser) selector() ([]step, error) {
	if p.skip(); !p.accept("$") {
		return nil, errPattern()
	}
	var path []step
	for {
		dot := p.accept(".")
		var s step
		var err error
		switch {
		case p.accept("["):
			s, err = p.bracket()
		case dot && p.accept("*"):
			s.every = true
		case dot:
			if s.name = p.name(); s.name == "" {
				return nil, errPattern()
			}
		case len(path) > 0:
			return path, nil
		default:
			return nil, errPattern()
		}
		if err != nil {
			return nil, err
		}
		path = append(path, s)
	}
}

// bracket reads the rest of [0], [*], ["name"] or ['name'].
func (p *patternParser) bracket() (s step, err error) {
	p.skip()
	switch {
	case p.accept("*"):
		s.every = true
	case p.accept(`"`):
		s.name, err = p.quoted('"')
	case p.accept("'"):
		s.name, err = p.quoted('\'')
	default:
		s.list = true
		s.index, err = strconv.Atoi(p.name())
	}
	if p.skip(); err != nil || s.index < 0 || !p.accept("]") {
		return s, errPattern()
	}
	return s, nil
}

// anyAt reports whether the test holds for a value at the path.
func anyAt(v any, path []step, test func(any) bool) bool {
	if len(path) == 0 {
		return test(v)
	}
	s, path := path[0], path[1:]
	switch v := v.(type) {
	case map[string]any:
		if s.every {
			for _, m := range v {
				if anyAt(m, path, test) {
					return true
				}
			}
			return false
		}
		m, ok := v[s.name]
		return ok && !s.list && anyAt(m, path, test)
	case []any:
		if s.every {
			for _, m := range v {
				if anyAt(m, path, test) {
					return true
				}
			}
			return false
		}
		return s.list && s.index < len(v) && anyAt(v[s.index], path, test)
	}
	return false
}
