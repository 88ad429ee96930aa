package main

// emitDecode writes DecodeJSON for the structures in request bodies.
func (g *generator) emitDecode() error {
	for _, s := range g.shapes {
		if !g.in[s.name] || g.users[s.name] != "" && g.Metadata.Protocol != "json" && !s.hasBody() {
			continue
		}
		g.p("// DecodeJSON reads the members from a JSON object.")
		g.p("func (x *%s) DecodeJSON(d *wire.Decoder) {", exported(s.name))
		g.p("for more := d.Object(); more; more = d.Next() {")
		g.p("switch string(d.Key()) {")
		for i := range s.Members {
			if f := &s.Members[i]; s.inBody(f) {
				g.p("case %q:\nx.%s = %s", jsonName(f), exported(f.name), g.decode(g.shape(&f.ref)))
			}
		}
		g.p("default:\nd.Skip()\n}\n}\n}\n")
	}
	return nil
}

// decode is an expression that reads an optional value.
func (g *generator) decode(s *shape) string {
	switch s.Type {
	case "structure":
		return "wire.DecodeStruct[" + exported(s.name) + "](d)"
	case "list":
		switch e := g.shape(s.Member); e.Type {
		case "string":
			return "d.Strings()"
		case "structure":
			return "wire.DecodeStructs[" + exported(e.name) + "](d)"
		default:
			return "wire.DecodeList(d, " + g.reader(e) + ")"
		}
	case "map":
		if v := g.shape(s.Value); v.Type != "string" {
			return "wire.DecodeMap(d, " + g.reader(v) + ")"
		}
		return "d.StringMap()"
	}
	return "d." + method(s) + "()"
}

// reader is a function that reads an element.
func (g *generator) reader(s *shape) string {
	switch s.Type {
	case "structure":
		return "wire.DecodeStructValue[" + exported(s.name) + "]"
	case "list", "map":
		return "func(d *wire.Decoder) " + g.goType(s) + " { return " + g.decode(s) + " }"
	}
	return "(*wire.Decoder)." + method(s) + "Value"
}

// emitEncode writes EncodeJSON for every structure: answers need it, and
// the trail needs it of requests, where it shows the members of path, query
// and headers too. Those of answers it leaves out: they may quote logs.
func (g *generator) emitEncode() error {
	for _, s := range g.shapes {
		g.p("// EncodeJSON writes the members as a JSON object.")
		g.p("func (x *%s) EncodeJSON(e *wire.Encoder) {", exported(s.name))
		g.p("e.Begin()")
		for i := range s.Members {
			f := &s.Members[i]
			target := g.shape(&f.ref)
			switch {
			case s.Payload == f.name:
			case f.ref.Location != "" && (g.sensitive(target) || !g.in[s.name]):
			case f.ref.Location != "":
				g.p("if e.Trail() {\n%s\n}", g.encode(f, target))
			case g.sensitive(target):
				g.p("if !e.Trail() {\n%s\n}", g.encode(f, target))
			default:
				g.p("%s", g.encode(f, target))
			}
		}
		g.p("e.End()\n}\n")
	}
	return nil
}

// encode is a statement that writes a member.
func (g *generator) encode(f *member, s *shape) string {
	name, field := quote(jsonName(f)), "x."+exported(f.name)
	call := "e." + method(s)
	switch s.Type {
	case "structure":
		call = "wire.EncodeStruct(e, " + name + ", " + field + ")"
		return call
	case "timestamp":
		if iso(f, s) {
			call = "e.TimeISO"
		}
	case "list":
		switch e := g.shape(s.Member); e.Type {
		case "string":
			call = "e.Strings"
		case "structure":
			return "wire.EncodeStructs(e, " + name + ", " + field + ")"
		default:
			return g.guarded(name, field, "wire.EncodeList(e, "+field+", "+g.writer(e)+")")
		}
	case "map":
		v := g.shape(s.Value)
		if v.Type != "string" {
			return g.guarded(name, field, "wire.EncodeMap(e, "+field+", "+g.writer(v)+")")
		}
		call = "e.StringMap"
	case "integer":
		call = "e.Long"
	}
	return call + "(" + name + ", " + field + ")"
}

func (g *generator) guarded(name, field, call string) string {
	return "if " + field + " != nil {\ne.Key(" + name + ")\n" + call + "\n}"
}

// writer is a function that writes an element.
func (g *generator) writer(s *shape) string {
	switch s.Type {
	case "structure":
		return "wire.EncodeStructValue[" + exported(s.name) + "]"
	case "integer":
		return "(*wire.Encoder).LongValue"
	case "list":
		e := g.shape(s.Member)
		switch e.Type {
		case "string":
			return "(*wire.Encoder).StringsValue"
		case "structure":
			return "wire.EncodeStructsValue[" + exported(e.name) + "]"
		}
		return "func(e *wire.Encoder, v " + g.goType(s) + ") { wire.EncodeList(e, v, " + g.writer(e) + ") }"
	case "map":
		return "func(e *wire.Encoder, v " + g.goType(s) + ") { wire.EncodeMap(e, v, " + g.writer(g.shape(s.Value)) + ") }"
	}
	return "(*wire.Encoder)." + method(s) + "Value"
}

// iso reports whether a timestamp in a JSON body is ISO 8601 text.
func iso(f *member, s *shape) bool {
	format := f.ref.TimestampFormat
	if format == "" {
		format = s.TimestampFormat
	}
	return format == "iso8601"
}
