// Package stack understands CloudFormation templates. It parses JSON and
// YAML, binds parameters, evaluates conditions, resolves intrinsic functions,
// orders resources by what they depend on, refuses what AWS refuses in AWS's
// words, and says what differs between two templates. It is pure: what it
// needs of the world (the value of a Ref, an export, a dynamic reference) it
// asks of functions in a Scope.
//
// Values are plain trees of nil, bool, string, json.Number, []any and
// map[string]any. Every function leaves its arguments as they are.
//
// The way of a template: Parse; what transforms there are, by way of Tree and
// FromTree; Bind and Arguments.ResolveSSM; Expand; Check; Evaluate; Graph;
// then, resource by resource in the graph's order, ResolveProperties, and
// ResolveOutput at the end. Check may come right after Parse as well.
//
// Errors that a client may see are *fault.Error of kind fault.Validation,
// whose Message is AWS's text.
package stack

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/keyturn/keyturn/internal/fault"
)

// Limits of a template (AWS docs).
const (
	MaxBytes      = 1_000_000 // of a template's text
	MaxResources  = 500
	MaxParameters = 200
	MaxMappings   = 200
	MaxOutputs    = 200
	// MaxDepth bounds the nesting of objects and lists (assumed).
	MaxDepth = 150
)

// LanguageExtensions is the transform that brings Fn::Length,
// Fn::ToJsonString, Fn::ForEach and DefaultValue of Fn::FindInMap. It is the
// only one that this package applies itself; see Template.Expand.
const LanguageExtensions = "AWS::LanguageExtensions"

// Template is a parsed template. It is not changed after parsing.
type Template struct {
	Version     string // AWSTemplateFormatVersion, or ""
	Description string
	Metadata    map[string]any
	Parameters  []Parameter // in the template's order
	Mappings    map[string]any
	Conditions  map[string]any
	Transforms  []string // names, in the template's order
	Resources   map[string]*Resource
	Outputs     []Output // in the template's order
	// Body is the text as submitted; "" for a template made by FromTree.
	Body string

	ids  []string // logical IDs in the template's order
	tree map[string]any
}

// Resource is one member of a template's Resources.
type Resource struct {
	LogicalID, Type string
	// Properties is unresolved. It is never nil.
	Properties map[string]any
	DependsOn  []string
	// Condition is the name of a condition, or "".
	Condition string
	// DeletionPolicy and UpdateReplacePolicy are "" where the template gives
	// none, which means Delete.
	DeletionPolicy, UpdateReplacePolicy string
	Metadata                            map[string]any
	CreationPolicy, UpdatePolicy        map[string]any
}

// Output is one member of a template's Outputs.
type Output struct {
	Name, Description string
	// Value and Export (the export's name; nil for none) are unresolved.
	Value, Export any
	// Condition is the name of a condition, or "".
	Condition string
}

// LogicalIDs returns the resources' names in the template's order, which is
// the order of names for a template made by FromTree.
func (t *Template) LogicalIDs() []string { return slices.Clone(t.ids) }

// Tree returns the template as a tree of its own, for a transform to change.
func (t *Template) Tree() map[string]any { return clone(t.tree).(map[string]any) }

// JSON returns the template as a JSON document: for one that transforms
// produced, what GetTemplate shows as Processed.
func (t *Template) JSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(t.tree)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), fault.Wrap(err, "encoding the template")
}

// Declares reports whether the template names a transform.
func (t *Template) Declares(transform string) bool {
	return slices.Contains(t.Transforms, transform)
}

// clone copies a tree. Go's own numbers and lists of strings, which are
// handy in a transform, become what a tree has for them.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = clone(e)
		}
		return l
	case []string:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = e
		}
		return l
	case int:
		return json.Number(strconv.Itoa(v))
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case float64:
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
	default:
		return v
	}
}

// invalid is a refusal in AWS's words.
func invalid(format string, args ...any) error {
	return fault.New(fault.Validation, format, args...)
}
