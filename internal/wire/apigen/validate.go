package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

func quote(s string) string { return strconv.Quote(s) }

// emitValidate writes the constraint tables and Validate for the structures
// in requests.
func (g *generator) emitValidate() error {
	rules := map[string]*shape{}
	for _, s := range g.shapes {
		if !g.in[s.name] || g.users[s.name] == "" && !g.checked(s) {
			continue
		}
		g.p("// Validate notes what breaks the model's constraints.")
		g.p("func (x *%s) Validate(v *wire.Violations) {", exported(s.name))
		for i := range s.Members {
			f := &s.Members[i]
			if s.requires(f.name) {
				g.p("v.Required(%q, x.%s != nil)", lowerFirst(f.name), exported(f.name))
			}
			if err := g.check(f, rules); err != nil {
				return fmt.Errorf("%s.%s: %w", s.name, f.name, err)
			}
		}
		g.p("}\n")
	}
	return g.emitRules(rules)
}

// limited reports whether the shape itself has constraints.
func (g *generator) limited(s *shape) bool {
	return s.Min != nil || s.Max != nil || s.Pattern != "" || s.Enum != nil && !slices.Contains(g.openEnums, s.name)
}

// checked reports whether anything in a structure has constraints.
func (g *generator) checked(s *shape) bool {
	return g.any(s, map[string]bool{}, func(owner *shape, f *member, s *shape) bool {
		if owner.requires(f.name) || g.limited(s) {
			return true
		}
		switch s.Type {
		case "list":
			return g.limited(g.shape(s.Member))
		case "map":
			return g.limited(g.shape(s.Key)) || g.limited(g.shape(s.Value))
		}
		return false
	})
}

// rule names the rule of a shape, or nil, and notes that it is used.
func (g *generator) rule(s *shape, rules map[string]*shape) string {
	if !g.limited(s) {
		return "nil"
	}
	rules[s.name] = s
	return "&rule" + exported(s.name)
}

// check writes the checks of one member's value.
func (g *generator) check(f *member, rules map[string]*shape) error {
	s := g.shape(&f.ref)
	name, field := quote(lowerFirst(f.name)), "x."+exported(f.name)
	switch s.Type {
	case "structure":
		if g.checked(s) {
			g.p("wire.CheckStruct(v, %s, %s)", name, field)
		}
		return nil
	case "list":
		return g.checkList(s, name, field, rules)
	case "map":
		return g.checkMap(s, name, field, rules)
	}
	if !g.limited(s) {
		return nil
	}
	call := map[string]string{"string": "Text", "blob": "Blob", "integer": "Long", "long": "Long", "double": "Double", "float": "Double"}[s.Type]
	if call == "" {
		return fmt.Errorf("no check for %s", s.Type)
	}
	g.p("v.%s(%s, %s, %s)", call, name, field, g.rule(s, rules))
	return nil
}

func (g *generator) checkList(s *shape, name, field string, rules map[string]*shape) error {
	e := g.shape(s.Member)
	switch {
	case e.Type == "structure" && g.checked(e):
		g.p("wire.CheckStructs(v, %s, %s, %s)", name, field, g.rule(s, rules))
	case e.Type == "string" && (g.limited(s) || g.limited(e)):
		g.p("v.Strings(%s, %s, %s, %s)", name, field, g.rule(s, rules), g.rule(e, rules))
	case g.limited(s) || g.limited(e) || e.Type == "list" || e.Type == "map":
		return fmt.Errorf("no check for a list of %s", e.Type)
	}
	return nil
}

func (g *generator) checkMap(s *shape, name, field string, rules map[string]*shape) error {
	k, e := g.shape(s.Key), g.shape(s.Value)
	call := map[string]string{"string": "StringMap", "double": "DoubleMap"}[e.Type]
	if !g.limited(s) && !g.limited(k) && !g.limited(e) && call != "" {
		return nil
	}
	if call == "" {
		return fmt.Errorf("no check for a map of %s", e.Type)
	}
	g.p("v.%s(%s, %s, %s, %s, %s)", call, name, field, g.rule(s, rules), g.rule(k, rules), g.rule(e, rules))
	return nil
}

func (g *generator) emitRules(rules map[string]*shape) error {
	names := make([]string, 0, len(rules))
	for name := range rules {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil
	}
	g.p("var (")
	for _, name := range names {
		text, err := g.ruleText(rules[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		g.p("rule%s = wire.Rule{%s}", exported(name), text)
	}
	g.p(")")
	return nil
}

func (g *generator) ruleText(s *shape) (string, error) {
	var parts []string
	for _, b := range []struct {
		name  string
		value *float64
	}{{"Min", s.Min}, {"Max", s.Max}} {
		if b.value == nil {
			continue
		}
		if *b.value != math.Trunc(*b.value) {
			return "", fmt.Errorf("bound %v is not integral", *b.value)
		}
		parts = append(parts, fmt.Sprintf("%s: %d, Has%s: true", b.name, int64(*b.value), b.name))
	}
	switch s.Type {
	case "integer", "long", "double", "float":
		parts = append(parts, "Number: true")
	}
	if s.Pattern != "" {
		t, err := translate(s.Pattern)
		if err != nil {
			return "", err
		}
		p := "Pattern: &wire.Pattern{Source: " + literal(s.Pattern)
		if t.match != s.Pattern {
			p += ", Match: " + literal(t.match)
		}
		if t.not != "" {
			p += ", Not: " + literal(t.not)
		}
		parts = append(parts, p+"}")
	}
	if s.Enum != nil && !slices.Contains(g.openEnums, s.name) {
		parts = append(parts, fmt.Sprintf("Enum: %#v", s.Enum))
	}
	if g.sensitive(s) {
		parts = append(parts, "Sensitive: true")
	}
	return strings.Join(parts, ", "), nil
}

func literal(s string) string {
	if strings.Contains(s, "`") {
		return quote(s)
	}
	return "`" + s + "`"
}
