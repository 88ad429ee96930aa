package resource

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// properties are those of a schema or an object.
type properties = map[string]stack.Property

func text() stack.Property     { return stack.Property{Kind: stack.String} }
func integer() stack.Property  { return stack.Property{Kind: stack.Integer} }
func boolean() stack.Property  { return stack.Property{Kind: stack.Boolean} }
func document() stack.Property { return stack.Property{Kind: stack.JSON} }

func listOf(p stack.Property) stack.Property { return stack.Property{Kind: stack.List, Items: &p} }
func mapOf(p stack.Property) stack.Property  { return stack.Property{Kind: stack.Map, Items: &p} }
func texts() stack.Property                  { return listOf(text()) }
func object(members properties) stack.Property {
	return stack.Property{Kind: stack.Object, Properties: members}
}

// tagList is the usual form of tags.
func tagList() stack.Property {
	return listOf(object(properties{"Key": required(text()), "Value": required(text())}))
}

// required makes a property one that must be given.
func required(p stack.Property) stack.Property {
	p.Required = true
	return p
}

// fixed makes a property one whose change replaces the resource.
func fixed(p stack.Property) stack.Property {
	p.Update = stack.Replacement
	return p
}

// decode reads the properties of a schema into a struct whose fields have the
// properties' names. JSON documents become texts.
func decode[P any](schema *stack.Schema, tree map[string]any) (*P, error) {
	flat, err := flatten(schema.Properties, schema.Coerce(tree))
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(flat)
	if err != nil {
		return nil, fault.Wrap(err, "encoding the properties")
	}
	p := new(P)
	if err := json.Unmarshal(b, p); err != nil {
		// The cause may quote a value, so it is left out.
		return nil, fault.New(fault.Validation, "Properties validation failed for resource type %s", schema.Type)
	}
	return p, nil
}

// flatten makes texts of the JSON documents among the members.
func flatten(schema properties, members map[string]any) (map[string]any, error) {
	out := maps.Clone(members)
	for name, v := range members {
		flat, err := flattenValue(schema[name], v)
		if err != nil {
			return nil, err
		}
		out[name] = flat
	}
	return out, nil
}

func flattenValue(p stack.Property, v any) (any, error) {
	switch x := v.(type) {
	case map[string]any:
		switch p.Kind {
		case stack.JSON:
			b, err := json.Marshal(x)
			return string(b), fault.Wrap(err, "encoding a document")
		case stack.Object:
			return flatten(p.Properties, x)
		}
	case []any:
		if p.Kind != stack.List || p.Items == nil {
			return v, nil
		}
		list := make([]any, len(x))
		for i, e := range x {
			flat, err := flattenValue(*p.Items, e)
			if err != nil {
				return nil, err
			}
			list[i] = flat
		}
		return list, nil
	}
	return v, nil
}

// typed is a Handler whose functions get their properties as a struct.
type typed[P any] struct {
	schema *stack.Schema
	create func(context.Context, *Request, *P) (Result, error)
	// update gets the old and the new properties.
	update func(ctx context.Context, r *Request, old, new *P) (Result, error)
	delete func(context.Context, *Request, *P) error
	iam    bool
	named  string
}

// handler is the Handler of t. A type without update has only properties
// whose change replaces it; its resources are read by create's own means.
func (t typed[P]) handler() *Handler {
	h := &Handler{
		Schema: t.schema, IAM: t.iam, Named: t.named,
		Create: func(ctx context.Context, r *Request) (Result, error) {
			p, err := decode[P](t.schema, r.Properties)
			if err != nil {
				return Result{}, err
			}
			return t.create(ctx, r, p)
		},
		Delete: func(ctx context.Context, r *Request) error {
			p, err := decode[P](t.schema, r.Properties)
			if err != nil {
				return err
			}
			return t.delete(ctx, r, p)
		},
	}
	h.Update = func(ctx context.Context, r *Request) (Result, error) {
		if t.update == nil {
			return Result{}, fault.New(fault.State, "Resource type %s cannot be updated.", t.schema.Type)
		}
		before, err := decode[P](t.schema, r.Previous)
		if err != nil {
			return Result{}, err
		}
		after, err := decode[P](t.schema, r.Properties)
		if err != nil {
			return Result{}, err
		}
		return t.update(ctx, r, before, after)
	}
	return h
}

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// orEmpty is p, or a pointer to "" if it is nil: what clears a text that is
// no longer in the template.
func orEmpty(p *string) *string {
	if p == nil {
		return new("")
	}
	return p
}

// differ reports whether two properties differ.
func differ(a, b any) bool {
	return plain(a) != plain(b)
}

// plain is v as JSON has it, so that pointers compare by what they point to.
func plain(v any) string {
	b, _ := json.Marshal(v) // whose structs all can be encoded
	return string(b)
}

// number is a property that need not be whole; its service checks it.
func number() stack.Property { return stack.Property{} }

func parseInteger(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

// missing are the elements of a that b has not.
func missing(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// instant is a time as CloudFormation shows it.
func instant(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// unescapeDocument reads a policy as IAM answers it, percent-encoded.
func unescapeDocument(s string) (string, error) {
	text, err := url.PathUnescape(s)
	return text, fault.Wrap(err, "reading a policy")
}
