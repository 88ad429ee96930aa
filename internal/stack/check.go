package stack

import (
	"maps"
	"slices"
	"strings"
)

// Check refuses what CreateStack, CreateChangeSet and ValidateTemplate refuse
// at once: names that stand for nothing, functions that are none or have
// wrong arguments, circles, resource types that are not known, attributes
// that a type has not. known tells a resource type, attributes an attribute
// of one; a nil function admits everything.
//
// A template that still declares a transform, or holds a loop that Expand has
// not unfolded, is not yet what it will be: sections, types and references
// are then let pass. Whoever applies a transform takes its name away and
// checks the outcome.
func (t *Template) Check(known func(kind string) bool, attributes func(kind, attribute string) bool) error {
	c := &checker{t: t, known: known, attributes: attributes, raw: t.unfinished(), shapes: shapes(t.Declares(LanguageExtensions))}
	for _, step := range []func() error{
		c.sections, c.nulls, c.names, c.resources, c.mappings, c.conditions, c.expressions, c.dynamic,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if c.raw {
		return nil
	}
	_, err := t.Graph(nil)
	return err
}

type checker struct {
	t          *Template
	known      func(string) bool
	attributes func(string, string) bool
	raw        bool
	shapes     map[string]shape
}

// unfinished reports whether transforms or loops are still to be applied.
func (t *Template) unfinished() bool {
	if slices.ContainsFunc(t.Transforms, func(name string) bool { return name != LanguageExtensions }) {
		return true
	}
	return t.Declares(LanguageExtensions) && hasLoop(t.tree)
}

// sections are the members that a template may have (AWS docs).
var sections = []string{
	"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Transform", "Rules",
	"Resources", "Outputs", "Hooks",
}

func (c *checker) sections() error {
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(c.t.tree)) {
		if !slices.Contains(sections, name) {
			odd = append(odd, name)
		}
	}
	if len(odd) > 0 && !c.raw {
		return invalid("Invalid template property or properties [%s]", strings.Join(odd, ", "))
	}
	return nil
}

// nulls looks for null anywhere.
func (c *checker) nulls() error {
	at, found := findNull(c.t.tree)
	if found {
		return errNull(at)
	}
	return nil
}

func findNull(v any) (at string, found bool) {
	if v == nil {
		return "", true
	}
	for name, e := range children(v) {
		if at, found := findNull(e); found {
			return "/" + name + at, true
		}
	}
	return "", false
}

// names checks the names of parameters, resources and outputs.
func (c *checker) names() error {
	var common []string
	for _, p := range c.t.Parameters {
		if !alphanumeric(p.Name) {
			return invalid("Template format error: Parameter name %s is non alphanumeric.", p.Name)
		}
		if _, ok := c.t.Resources[p.Name]; ok {
			common = append(common, p.Name)
		}
	}
	if len(common) > 0 {
		return invalid("Template error: all resources and parameters must have unique names. Common name(s): [%s]", strings.Join(common, ", "))
	}
	for _, id := range c.t.ids {
		if !alphanumeric(id) {
			return invalid("Template format error: Resource name %s is non alphanumeric.", id)
		}
	}
	for _, o := range c.t.Outputs {
		if !alphanumeric(o.Name) {
			return invalid("Template format error: Output name %s is non alphanumeric.", o.Name)
		}
	}
	return nil
}

func alphanumeric(name string) bool {
	return name != "" && strings.IndexFunc(name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9')
	}) < 0
}

// resourceAttributes are the members that a resource may have (AWS docs).
var resourceAttributes = []string{
	"Type", "Properties", "DependsOn", "Condition", "DeletionPolicy", "UpdateReplacePolicy", "Metadata", "CreationPolicy", "UpdatePolicy",
}

// snapshots are the types that admit the policy Snapshot (AWS docs).
var snapshots = []string{
	"AWS::DocDB::DBCluster", "AWS::EC2::Volume", "AWS::ElastiCache::CacheCluster", "AWS::ElastiCache::ReplicationGroup",
	"AWS::Neptune::DBCluster", "AWS::RDS::DBCluster", "AWS::RDS::DBInstance", "AWS::Redshift::Cluster",
}

func (c *checker) resources() error {
	members, _ := c.t.tree["Resources"].(map[string]any)
	var unknown []string
	for _, id := range c.t.ids {
		r := c.t.Resources[id]
		if c.known != nil && !c.known(r.Type) && !slices.Contains(unknown, r.Type) {
			unknown = append(unknown, r.Type)
		}
		member, _ := members[id].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(member)) {
			if !slices.Contains(resourceAttributes, name) && !c.raw {
				return invalid("Invalid template resource property '%s'", name)
			}
		}
		if err := r.checkPolicies(); err != nil {
			return err
		}
	}
	if len(unknown) > 0 && !c.raw {
		return invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	return nil
}

func (r *Resource) checkPolicies() error {
	for _, p := range []struct {
		name, value string
		admitted    []string
	}{
		{"DeletionPolicy", r.DeletionPolicy, []string{"", "Delete", "Retain", "RetainExceptOnCreate", "Snapshot"}},
		{"UpdateReplacePolicy", r.UpdateReplacePolicy, []string{"", "Delete", "Retain", "Snapshot"}},
	} {
		if !slices.Contains(p.admitted, p.value) {
			return invalid("Template format error: Unrecognized %s %s for resource %s", p.name, p.value, r.LogicalID)
		}
		if p.value == "Snapshot" && !slices.Contains(snapshots, r.Type) {
			return invalid("Template error: resource type %s does not support deletion policy Snapshot", r.Type)
		}
	}
	return nil
}

// mappings checks that a mapping is an object of objects of strings, lists
// and other scalars.
func (c *checker) mappings() error {
	for _, name := range slices.Sorted(maps.Keys(c.t.Mappings)) {
		top, ok := c.t.Mappings[name].(map[string]any)
		if !ok {
			return invalid("Template format error: Every Mappings member must be a map")
		}
		for _, key := range slices.Sorted(maps.Keys(top)) {
			second, ok := top[key].(map[string]any)
			if !ok {
				return invalid("Template format error: Every Mappings member %s must be a map", name)
			}
			for _, v := range second {
				if _, isMap := v.(map[string]any); isMap {
					return invalid("Template format error: Every Mappings attribute must be a String or a List.")
				}
			}
		}
	}
	return nil
}

// conditions checks the Conditions block: boolean functions of parameters,
// mappings and each other.
func (c *checker) conditions() error {
	if c.raw && hasLoop(c.t.Conditions) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.t.Conditions)) {
		if !isCondition(c.t.Conditions[name]) {
			return invalid("Template format error: Conditions can only be boolean operations on parameters and other conditions")
		}
		e := expression{checker: c, block: "Conditions", undefined: map[string]bool{}}
		if err := e.check(c.t.Conditions[name]); err != nil {
			return err
		}
		if len(e.undefined) > 0 {
			return invalid("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", sortedNames(e.undefined))
		}
	}
	return c.t.conditionCircle()
}

func isCondition(v any) bool {
	m, _ := v.(map[string]any)
	if len(m) != 1 {
		return false
	}
	return slices.Contains([]string{fnAnd, fnOr, fnNot, fnEquals, fnCondition}, firstKey(m))
}

// conditionCircle refuses conditions that need each other.
func (t *Template) conditionCircle() error {
	g := Graph{}
	for name, v := range t.Conditions {
		g[name] = slices.Sorted(conditionNames(v))
	}
	if circle := g.circle(); len(circle) > 0 {
		return errConditionCycle(circle)
	}
	return nil
}

// expressions checks every function of the Resources and Outputs blocks.
func (c *checker) expressions() error {
	e := expression{checker: c, block: "Resources", undefined: map[string]bool{}}
	for _, id := range c.t.ids {
		r := c.t.Resources[id]
		if err := c.conditionExists(r.Condition, e.block); err != nil {
			return err
		}
		for _, other := range r.DependsOn {
			if _, ok := c.t.Resources[other]; !ok {
				e.undefined[other] = true
			}
		}
		for _, v := range []any{r.Properties, r.Metadata, r.CreationPolicy, r.UpdatePolicy} {
			if err := e.check(v); err != nil {
				return err
			}
		}
	}
	if len(e.undefined) > 0 && !c.raw {
		return invalid("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", sortedNames(e.undefined))
	}
	return c.outputs()
}

func (c *checker) outputs() error {
	e := expression{checker: c, block: "Outputs", undefined: map[string]bool{}}
	for _, o := range c.t.Outputs {
		if err := c.conditionExists(o.Condition, e.block); err != nil {
			return err
		}
		if _, scalar := scalarText(o.Value); !scalar && !isCall(o.Value) {
			return errOutputValue()
		}
		for _, v := range []any{o.Value, o.Export} {
			if err := e.check(v); err != nil {
				return err
			}
		}
		if name, ok := o.Export.(string); ok && !exportName(name) {
			return invalid("Template format error: Output %s is malformed. The Name field of every Export member must be specified and consist only of alphanumeric characters, colons, or hyphens.", o.Name)
		}
	}
	if len(e.undefined) > 0 && !c.raw {
		return errDependency(strings.Split(sortedNames(e.undefined), ", "), e.block)
	}
	return nil
}

func exportName(name string) bool {
	return alphanumeric(strings.NewReplacer(":", "x", "-", "x").Replace(name))
}

func (c *checker) conditionExists(name, block string) error {
	if _, ok := c.t.Conditions[name]; ok || name == "" || c.raw {
		return nil
	}
	return invalid("Template format error: Unresolved condition dependency %s in the %s block of the template", name, block)
}

func sortedNames(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}
