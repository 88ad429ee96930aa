package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// emitTypes writes the structures that requests reach, or those that only
// responses do.
func (g *generator) emitTypes(requests bool) error {
	for _, s := range g.shapes {
		if g.in[s.name] == requests {
			g.emitStruct(s)
		}
	}
	return nil
}

func (g *generator) emitStruct(s *shape) {
	name := exported(s.name)
	if use := g.users[s.name]; use != "" {
		g.p("// %s is the %s.", name, use)
	} else {
		g.p("// %s is a structure of the model.", name)
	}
	g.p("type %s struct {", name)
	for i := range s.Members {
		f := &s.Members[i]
		target := g.shape(&f.ref)
		g.p("%s %s %s", exported(f.name), g.fieldType(target), g.remark(s, f, target))
	}
	g.p("}\n")
	if g.hides(s) {
		g.p("// String names the type only: the value may hold secrets.")
		g.p("func (%s) String() string { return %q }\n", name, name+"{redacted}")
		g.p("// Format implements fmt.Formatter by redacting under every verb.")
		g.p("func (x %s) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, x.String()) }\n", name)
		g.p("// LogValue implements slog.LogValuer by redacting.")
		g.p("func (x %s) LogValue() slog.Value { return slog.StringValue(x.String()) }\n", name)
	}
}

// remark says in a comment what the model demands of a member.
func (g *generator) remark(s *shape, f *member, target *shape) string {
	var notes []string
	if s.requires(f.name) {
		notes = append(notes, "required")
	}
	if l := limits(target); l != "" {
		notes = append(notes, l)
	}
	if g.sensitive(target) {
		notes = append(notes, "sensitive")
	}
	if f.ref.IdempotencyToken {
		notes = append(notes, "idempotency token")
	}
	if f.ref.Location != "" {
		notes = append(notes, strings.TrimSpace(f.ref.Location+" "+f.ref.LocationName))
	}
	if s.Payload == f.name {
		notes = append(notes, "payload")
	}
	if notes == nil {
		return ""
	}
	return "// " + strings.Join(notes, ", ")
}

func limits(s *shape) string {
	number := func(f *float64) string { return strconv.FormatFloat(*f, 'f', -1, 64) }
	unit := map[string]string{"string": " characters", "blob": " bytes", "list": " elements", "map": " entries"}[s.Type]
	switch {
	case s.Min != nil && s.Max != nil:
		return number(s.Min) + " to " + number(s.Max) + unit
	case s.Max != nil:
		return "at most " + number(s.Max) + unit
	case s.Min != nil:
		return "at least " + number(s.Min) + unit
	}
	return ""
}

// emitEnums writes a constant for each value of each enum in use.
func (g *generator) emitEnums() error {
	for _, s := range g.enums() {
		g.p("// The values of %s.", s.name)
		g.p("const (")
		seen := map[string]bool{}
		for _, v := range s.Enum {
			name := exported(s.name) + constant(v)
			if seen[name] {
				return fmt.Errorf("%s has two values named %s", s.name, name)
			}
			seen[name] = true
			g.p("%s = %q", name, v)
		}
		g.p(")\n")
	}
	return nil
}

func (g *generator) enums() []*shape {
	seen := map[string]*shape{}
	for _, s := range g.shapes {
		g.any(s, map[string]bool{}, func(_ *shape, _ *member, t *shape) bool {
			for t.Type == "list" {
				t = g.shape(t.Member)
			}
			if t.Enum != nil {
				seen[t.name] = t
			}
			return false
		})
	}
	list := make([]*shape, 0, len(seen))
	for _, s := range seen {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *shape) int { return strings.Compare(a.name, b.name) })
	return list
}

// constant makes a Go name of an enum value: RSA_2048 gives Rsa2048, and
// created-date gives CreatedDate.
func constant(value string) string {
	words := strings.FieldsFunc(value, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	})
	shout := value == strings.ToUpper(value)
	var b strings.Builder
	for _, w := range words {
		if shout {
			w = strings.ToLower(w)
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// emitModel writes the operation and error tables.
func (g *generator) emitModel() error {
	md := &g.Metadata
	g.p("// Model returns what the service model says of the service and of the")
	g.p("// operations that are served.")
	g.p("func Model() *wire.Model { return &model }\n")
	g.p("var model = wire.Model{")
	g.p("ID: %q, SigningName: %q, Protocol: %q,", md.ServiceID, g.signingName(), md.Protocol)
	if md.Protocol == "json" {
		g.p("TargetPrefix: %q, JSONVersion: %q,", md.TargetPrefix, md.JSONVersion)
	}
	g.p("APIVersion: %q,", md.APIVersion)
	if md.XMLNamespace != "" {
		g.p("Namespace: %q,", md.XMLNamespace)
	}
	g.p("Operations: []wire.Operation{")
	for _, op := range g.ops {
		g.emitOperation(op)
	}
	g.p("},\nErrors: map[string]wire.ErrorShape{")
	g.emitErrors()
	g.p("},\n}")
	return nil
}

func (g *generator) emitOperation(op *operation) {
	status := op.HTTP.ResponseCode
	if status == 0 {
		status = 200
	}
	g.p("{")
	g.p("Name: %q, Method: %q, URI: %q, Status: %d,", op.Name, op.HTTP.Method, op.HTTP.RequestURI, status)
	if g.shape(op.Output).added {
		g.p("Void: true,")
	}
	if op.AuthType == "none" {
		g.p("Anonymous: true,")
	}
	if op.Output.ResultWrapper != "" {
		g.p("Result: %q,", op.Output.ResultWrapper)
	}
	for i := range g.shape(op.Input).Members {
		if f := &g.shape(op.Input).Members[i]; f.ref.IdempotencyToken {
			g.p("Token: %q,", exported(f.name))
		}
	}
	g.p("In: func() wire.Input { return new(%s) },", exported(op.Input.Shape))
	g.p("Out: func() wire.Output { return new(%s) },", exported(op.Output.Shape))
	g.p("},")
}

// emitErrors writes the errors of all operations by code.
func (g *generator) emitErrors() {
	errors := map[string]*shape{}
	for _, op := range g.ops {
		for i := range op.Errors {
			s := g.shape(&op.Errors[i])
			errors[s.code()] = s
		}
	}
	codes := make([]string, 0, len(errors))
	for code := range errors {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	for _, code := range codes {
		s := errors[code]
		fields := fmt.Sprintf("Status: %d", s.status())
		for i := range s.Members {
			switch name := jsonName(&s.Members[i]); name {
			case "Message", "message":
				fields += fmt.Sprintf(", Message: %q", name)
			case "Type", "Reason":
				fields += ", " + name + ": true"
			case "errorCode":
				fields += ", ErrorCode: true"
			}
		}
		g.p("%q: {%s},", code, fields)
	}
}

func (s *shape) code() string {
	if s.Error.Code != "" {
		return s.Error.Code
	}
	return s.name
}

func (s *shape) status() int {
	switch {
	case s.Error.HTTPStatusCode != 0:
		return s.Error.HTTPStatusCode
	case s.Fault:
		return 500
	}
	return 400
}
