package stack

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a property's value.
type Kind string

// The kinds of properties.
const (
	String  Kind = "string"
	Integer Kind = "integer"
	Boolean Kind = "boolean"
	List    Kind = "list"   // Items is each member's
	Map     Kind = "map"    // string keys; Items is each value's
	Object  Kind = "object" // Properties are its members
	JSON    Kind = "json"   // an object of any content, or its text: a policy document
)

// Update says what changing a property does to its resource.
type Update int

// The update behaviours (AWS docs). The greater outweighs the less.
const (
	NoInterruption Update = iota
	SomeInterruption
	Replacement
)

// Schema describes a resource type.
type Schema struct {
	Type       string
	Properties map[string]Property
	// Attributes are those that Fn::GetAtt knows; "Outputs.*" stands for every
	// attribute with that prefix.
	Attributes []string
	// Taggable is the property that holds tags; "" for a type without.
	Taggable string
}

// Property describes one property.
type Property struct {
	Kind     Kind
	Required bool
	Update   Update
	// ReadOnly properties are attributes and are refused in a template.
	// WriteOnly ones cannot be read back.
	ReadOnly, WriteOnly bool
	Properties          map[string]Property
	Items               *Property
	// Enum lists the admitted values; nil admits all.
	Enum []string
	// MinLength and MaxLength bound a string's characters, MinItems and
	// MaxItems a list's members, Minimum and Maximum an integer; nil is no
	// bound.
	MinLength, MaxLength, MinItems, MaxItems *int
	Minimum, Maximum                         *int64
	// Pattern is a regular expression that a string holds a match of; "" is
	// none.
	Pattern string
}

// HasAttribute reports whether Fn::GetAtt knows the attribute.
func (s *Schema) HasAttribute(name string) bool {
	return slices.ContainsFunc(s.Attributes, func(a string) bool {
		prefix, wild := strings.CutSuffix(a, "*")
		return a == name || wild && strings.HasPrefix(name, prefix) && name != prefix
	})
}

// Check holds resolved properties against the schema and returns AWS's text
// for the first violation. A string that stands for a number or a boolean
// will do for it, and the other way round, as Coerce has it. Values that are
// not known yet and dynamic references that are not replaced yet pass.
func (s *Schema) Check(properties map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if p, ok := s.Properties[name]; !ok || p.ReadOnly {
			return invalid("Encountered unsupported property %s", name)
		}
	}
	return checkMembers("", s.Properties, properties)
}

func checkMembers(at string, schema map[string]Property, members map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		v, ok := members[name]
		if !ok && schema[name].Required {
			return propertyFailure("The property {%s/%s} is required", at, name)
		}
		if !ok {
			continue
		}
		if err := schema[name].check(at+"/"+name, v); err != nil {
			return err
		}
	}
	return nil
}

func (p Property) check(at string, v any) error {
	if text, ok := v.(string); ok && (isUnknown(v) || strings.Contains(text, dynamicOpen)) {
		return nil
	}
	v = p.coerce(v)
	mismatch := func(kind string) error {
		return propertyFailure("Value of property {%s} does not match type {%s}", at, kind)
	}
	switch p.Kind {
	case String:
		s, ok := v.(string)
		if !ok {
			return mismatch("String")
		}
		return p.checkString(at, s)
	case Integer:
		n, ok := v.(json.Number)
		if !ok {
			return mismatch("Integer")
		}
		return p.checkInteger(at, n, mismatch)
	case Boolean:
		if _, ok := v.(bool); !ok {
			return mismatch("Boolean")
		}
	case JSON:
		switch v.(type) {
		case map[string]any, string:
		default:
			return mismatch("Json")
		}
	case List:
		return p.checkList(at, v, mismatch)
	case Map, Object:
		m, ok := v.(map[string]any)
		if !ok {
			return mismatch("Object")
		}
		return p.checkObject(at, m)
	}
	return nil
}

func (p Property) checkString(at, s string) error {
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, s) {
		return propertyFailure("Value of property {%s} must be one of {%s}", at, strings.Join(p.Enum, ","))
	}
	n := len([]rune(s))
	if p.MinLength != nil && n < *p.MinLength {
		return propertyFailure("Length of value for property {%s} is less than minimum allowed length {%d}", at, *p.MinLength)
	}
	if p.MaxLength != nil && n > *p.MaxLength {
		return propertyFailure("Length of value for property {%s} is greater than maximum allowed length {%d}", at, *p.MaxLength)
	}
	if p.Pattern != "" {
		if re, err := regexp.Compile(p.Pattern); err == nil && !re.MatchString(s) {
			return propertyFailure("Value of property {%s} does not match pattern {%s}", at, p.Pattern)
		}
	}
	return nil
}

func (p Property) checkInteger(at string, number json.Number, mismatch func(string) error) error {
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil {
		return mismatch("Integer")
	}
	if p.Minimum != nil && n < *p.Minimum {
		return propertyFailure("Value of property {%s} is less than minimum allowed value {%d}", at, *p.Minimum)
	}
	if p.Maximum != nil && n > *p.Maximum {
		return propertyFailure("Value of property {%s} is greater than maximum allowed value {%d}", at, *p.Maximum)
	}
	return nil
}

func (p Property) checkList(at string, v any, mismatch func(string) error) error {
	list, ok := v.([]any)
	if !ok {
		return mismatch("List")
	}
	if p.MinItems != nil && len(list) < *p.MinItems {
		return propertyFailure("Number of items in property {%s} is less than minimum allowed {%d}", at, *p.MinItems)
	}
	if p.MaxItems != nil && len(list) > *p.MaxItems {
		return propertyFailure("Number of items in property {%s} is greater than maximum allowed {%d}", at, *p.MaxItems)
	}
	if p.Items == nil {
		return nil
	}
	for i, e := range list {
		if err := p.Items.check(at+"/"+strconv.Itoa(i), e); err != nil {
			return err
		}
	}
	return nil
}

func (p Property) checkObject(at string, m map[string]any) error {
	if p.Kind == Map {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if p.Items == nil {
				return nil
			}
			if err := p.Items.check(at+"/"+name, m[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if p.Properties == nil {
		return nil
	}
	var unsupported []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if _, ok := p.Properties[name]; !ok {
			unsupported = append(unsupported, name)
		}
	}
	if len(unsupported) > 0 {
		return propertyFailure("Encountered unsupported properties in {%s}: [%s]", at, strings.Join(unsupported, ", "))
	}
	return checkMembers(at, p.Properties, m)
}

func propertyFailure(format string, args ...any) error {
	return invalid("Property validation failure: ["+format+"]", args...)
}

// Coerce copies properties with every scalar in the form that its kind has:
// "30" becomes a number for an integer, 30 becomes text for a string, "true"
// becomes a boolean. What cannot be converted stays for Check to refuse.
func (s *Schema) Coerce(properties map[string]any) map[string]any {
	return coerceMembers(s.Properties, properties)
}

func coerceMembers(schema map[string]Property, members map[string]any) map[string]any {
	out := make(map[string]any, len(members))
	for name, v := range members {
		if p, ok := schema[name]; ok {
			v = p.coerce(v)
		}
		out[name] = v
	}
	return out
}

func (p Property) coerce(v any) any {
	switch p.Kind {
	case String:
		if s, ok := scalarText(v); ok {
			return s
		}
	case Integer:
		if s, ok := v.(string); ok && jsonNumber.MatchString(s) {
			return json.Number(s)
		}
	case Boolean:
		if s, ok := v.(string); ok && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false")) {
			return strings.EqualFold(s, "true")
		}
	case List:
		return p.coerceList(v)
	case Map:
		if m, ok := v.(map[string]any); ok && p.Items != nil {
			out := make(map[string]any, len(m))
			for k, e := range m {
				out[k] = p.Items.coerce(e)
			}
			return out
		}
	case Object:
		if m, ok := v.(map[string]any); ok && p.Properties != nil {
			return coerceMembers(p.Properties, m)
		}
	}
	return v
}

func (p Property) coerceList(v any) any {
	list, ok := v.([]any)
	if !ok || p.Items == nil {
		return v
	}
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = p.Items.coerce(e)
	}
	return out
}

// Compare returns, sorted, the top-level properties that differ between two
// resolved states of a resource, and the greatest of their update behaviours.
// An engine calls it before an update with values that are all known.
func (s *Schema) Compare(old, new map[string]any) (changed []string, update Update) {
	old, new = s.Coerce(old), s.Coerce(new)
	all := maps.Clone(old)
	maps.Copy(all, new)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if reflect.DeepEqual(old[name], new[name]) {
			continue
		}
		changed = append(changed, name)
		update = max(update, s.Properties[name].updateOf(old[name], new[name]))
	}
	return changed, update
}

// updateOf is the behaviour of the members that differ: an object that has
// its own members' behaviours gives the greatest of theirs.
func (p Property) updateOf(old, new any) Update {
	before, _ := old.(map[string]any)
	after, _ := new.(map[string]any)
	if p.Kind != Object || p.Properties == nil || before == nil || after == nil {
		return p.Update
	}
	update := p.Update
	for name, inner := range p.Properties {
		if !reflect.DeepEqual(before[name], after[name]) {
			update = max(update, inner.updateOf(before[name], after[name]))
		}
	}
	return update
}
