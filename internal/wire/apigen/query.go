package main

import (
	"fmt"
	"strings"
)

// formName is what a member is called in a request. EC2's protocol has names
// of its own there: the query name, else the location name with a capital.
func (g *generator) formName(f *member) string {
	if g.Metadata.Protocol != "ec2" {
		return jsonName(f)
	}
	if f.ref.QueryName != "" {
		return f.ref.QueryName
	}
	name := jsonName(f)
	return strings.ToUpper(name[:1]) + name[1:]
}

// emitForm writes DecodeForm for the structures in query requests.
func (g *generator) emitForm() error {
	for _, s := range g.shapes {
		if !g.in[s.name] {
			continue
		}
		g.p("// DecodeForm reads the members from parameters.")
		g.p("func (x *%s) DecodeForm(f wire.Form) {", exported(s.name))
		for i := range s.Members {
			f := &s.Members[i]
			expr, err := g.formRead(f)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", s.name, f.name, err)
			}
			g.p("x.%s = %s", exported(f.name), expr)
		}
		g.p("}\n")
	}
	return nil
}

// itemNames returns what a list's parameter and elements are called; item
// is "" if the list is flattened.
func (g *generator) itemNames(f *member, s *shape) (name, item string) {
	name, item = jsonName(f), s.Member.LocationName
	if s.Flattened || f.ref.Flattened {
		if item != "" {
			name = item
		}
		return name, ""
	}
	if item == "" {
		item = "member"
	}
	return name, item
}

// formItem is itemNames for requests: EC2's lists are flat there, under the
// member's own name.
func (g *generator) formItem(f *member, s *shape) (name, item string) {
	if g.Metadata.Protocol == "ec2" {
		return g.formName(f), ""
	}
	return g.itemNames(f, s)
}

func (g *generator) entryNames(f *member, s *shape) (entry, key, value string) {
	entry, key, value = "entry", "key", "value"
	if s.Flattened || f.ref.Flattened {
		entry = ""
	}
	if s.Key.LocationName != "" {
		key = s.Key.LocationName
	}
	if s.Value.LocationName != "" {
		value = s.Value.LocationName
	}
	return entry, key, value
}

func (g *generator) formRead(f *member) (string, error) {
	s := g.shape(&f.ref)
	switch s.Type {
	case "structure":
		return fmt.Sprintf("wire.FormStruct[%s](f, %q)", exported(s.name), g.formName(f)), nil
	case "list":
		name, item := g.formItem(f, s)
		switch e := g.shape(s.Member); e.Type {
		case "string":
			return fmt.Sprintf("f.Strings(%q, %q)", name, item), nil
		case "structure":
			return fmt.Sprintf("wire.FormStructs[%s](f, %q, %q)", exported(e.name), name, item), nil
		default:
			return "", fmt.Errorf("no parameter for a list of %s", e.Type)
		}
	case "map":
		if g.shape(s.Value).Type != "string" {
			return "", fmt.Errorf("no parameter for a map of %s", g.shape(s.Value).Type)
		}
		entry, key, value := g.entryNames(f, s)
		return fmt.Sprintf("f.StringMap(%q, %q, %q, %q)", g.formName(f), entry, key, value), nil
	}
	return fmt.Sprintf("f.%s(%q)", method(s), g.formName(f)), nil
}

// emitXML writes EncodeXML for the structures in query answers.
func (g *generator) emitXML() error {
	for _, s := range g.shapes {
		if !g.out[s.name] {
			continue
		}
		g.p("// EncodeXML writes the members as elements.")
		g.p("func (x *%s) EncodeXML(e *wire.XML) {", exported(s.name))
		for i := range s.Members {
			f := &s.Members[i]
			stmt, err := g.xmlWrite(f)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", s.name, f.name, err)
			}
			g.p("%s", stmt)
		}
		g.p("}\n")
	}
	return nil
}

func (g *generator) xmlWrite(f *member) (string, error) {
	s := g.shape(&f.ref)
	field := "x." + exported(f.name)
	switch s.Type {
	case "structure":
		return fmt.Sprintf("wire.XMLStruct(e, %q, %s)", jsonName(f), field), nil
	case "list":
		name, item := g.itemNames(f, s)
		switch e := g.shape(s.Member); e.Type {
		case "string":
			return fmt.Sprintf("e.Strings(%q, %q, %s)", name, item, field), nil
		case "structure":
			return fmt.Sprintf("wire.XMLStructs(e, %q, %q, %s)", name, item, field), nil
		default:
			return "", fmt.Errorf("no element for a list of %s", e.Type)
		}
	case "map":
		write, known := map[string]string{"string": "StringMap", "integer": "LongMap"}[g.shape(s.Value).Type]
		if !known {
			return "", fmt.Errorf("no element for a map of %s", g.shape(s.Value).Type)
		}
		entry, key, value := g.entryNames(f, s)
		return fmt.Sprintf("e.%s(%q, %q, %q, %q, %s)", write, jsonName(f), entry, key, value, field), nil
	case "integer":
		return fmt.Sprintf("e.Long(%q, %s)", jsonName(f), field), nil
	}
	return fmt.Sprintf("e.%s(%q, %s)", method(s), jsonName(f), field), nil
}
