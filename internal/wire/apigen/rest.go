package main

import (
	"fmt"
	"strings"
)

// emitRest writes the bindings of requests and responses to path, query,
// headers, status and payload.
func (g *generator) emitRest() error {
	done := map[string]bool{}
	for _, op := range g.ops {
		for _, r := range []*ref{op.Input, op.Output} {
			if done[r.Shape] {
				continue
			}
			done[r.Shape] = true
			emit := g.emitRestDecode
			if r == op.Output {
				emit = g.emitRestEncode
			}
			if err := emit(g.shape(r)); err != nil {
				return fmt.Errorf("%s: %w", r.Shape, err)
			}
		}
	}
	return nil
}

func (g *generator) emitRestDecode(s *shape) error {
	g.p("// DecodeREST reads the members from a request.")
	g.p("func (x *%s) DecodeREST(r *wire.Rest) {", exported(s.name))
	for i := range s.Members {
		f := &s.Members[i]
		if f.ref.Location == "" {
			continue
		}
		expr, err := g.restRead(s, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		g.p("x.%s = %s", exported(f.name), expr)
	}
	switch {
	case s.Payload != "":
		if err := g.payload(s, "x.%s = r.Payload()", "x.%s = new(%s)\nr.JSON(x.%[1]s)"); err != nil {
			return err
		}
	case s.hasBody():
		g.p("r.JSON(x)")
	}
	g.p("}\n")
	return nil
}

func (g *generator) payload(s *shape, blob, structure string) error {
	for i := range s.Members {
		if f := &s.Members[i]; f.name == s.Payload {
			switch t := g.shape(&f.ref); t.Type {
			case "blob":
				g.p(blob, exported(f.name))
			case "structure":
				g.p(structure, exported(f.name), exported(t.name))
			default:
				return fmt.Errorf("no payload of type %s", t.Type)
			}
		}
	}
	return nil
}

func (g *generator) restRead(s *shape, f *member) (string, error) {
	t := g.shape(&f.ref)
	suffix := map[string]string{"string": "", "integer": "Long", "long": "Long", "boolean": "Bool", "timestamp": "Time"}
	kind, scalar := suffix[t.Type]
	name := quote(f.ref.LocationName)
	switch {
	case f.ref.Location == "uri" && scalar && kind != "Time" && kind != "Bool":
		return "r.Label" + kind + "(" + name + ")", nil
	case f.ref.Location == "querystring" && scalar:
		return "r.Query" + kind + "(" + name + ")", nil
	case f.ref.Location == "querystring" && t.Type == "list" && g.shape(t.Member).Type == "string":
		return "r.QueryStrings(" + name + ")", nil
	case f.ref.Location == "querystring" && t.Type == "map" && g.shape(t.Value).Type == "string":
		return "r.QueryMap(" + strings.Join(queryNames(s), ", ") + ")", nil
	case f.ref.Location == "header" && scalar && kind != "Time":
		return "r.Header" + kind + "(" + name + ")", nil
	case f.ref.Location == "headers":
		return "r.HeaderMap(" + name + ")", nil
	}
	return "", fmt.Errorf("no binding of %s to %s", t.Type, f.ref.Location)
}

// queryNames are the parameters that other members of s take.
func queryNames(s *shape) []string {
	var names []string
	for i := range s.Members {
		if f := &s.Members[i]; f.ref.Location == "querystring" && f.ref.LocationName != "" {
			names = append(names, quote(f.ref.LocationName))
		}
	}
	return names
}

func (g *generator) emitRestEncode(s *shape) error {
	g.p("// EncodeREST fills an answer with the members.")
	g.p("func (x *%s) EncodeREST(a *wire.RestAnswer) {", exported(s.name))
	for i := range s.Members {
		f := &s.Members[i]
		switch f.ref.Location {
		case "":
		case "statusCode":
			g.p("a.Status(x.%s)", exported(f.name))
		case "header":
			kind, ok := map[string]string{"string": "", "integer": "Long", "long": "Long", "boolean": "Bool", "blob": "Blob"}[g.shape(&f.ref).Type]
			if !ok {
				return fmt.Errorf("no header for %s", f.name)
			}
			g.p("a.Header%s(%q, x.%s)", kind, f.ref.LocationName, exported(f.name))
		default:
			return fmt.Errorf("no answer at %s for %s", f.ref.Location, f.name)
		}
	}
	switch {
	case s.Payload != "":
		if err := g.payload(s, "a.Payload(x.%s)", "if x.%s != nil {\na.JSON(x.%[1]s)\n}"); err != nil {
			return err
		}
	case s.hasBody():
		g.p("a.JSON(x)")
	}
	g.p("}\n")
	return nil
}
