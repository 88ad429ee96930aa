package stack

import (
	"maps"
	"slices"
	"strings"
)

// build makes a template of a decoded document and refuses what has not the
// shape of one.
func build(doc document) (*Template, error) {
	t := &Template{tree: doc.tree, Resources: map[string]*Resource{}}
	steps := []func(document) error{
		t.buildHead, t.buildTransforms, t.buildParameters, t.buildMappings, t.buildResources, t.buildOutputs,
	}
	for _, step := range steps {
		if err := step(doc); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Template) buildHead(doc document) error {
	switch v := doc.tree["AWSTemplateFormatVersion"].(type) {
	case nil:
	case string:
		if v != "2010-09-09" {
			return invalid("Template format error: %s is not a supported value for AWSTemplateFormatVersion.", v)
		}
		t.Version = v
	default:
		return invalid("Template format error: AWSTemplateFormatVersion must be a string.")
	}
	description, err := text(doc.tree, "", "Description")
	if err != nil {
		return err
	}
	if len(description) > 1024 {
		return invalid("Template format error: 'Description' length is greater than 1024.")
	}
	t.Description = description
	if v, ok := doc.tree["Metadata"]; ok {
		if t.Metadata, ok = v.(map[string]any); !ok {
			return invalid("Template format error: Metadata must be an object.")
		}
	}
	return nil
}

// buildTransforms reads Transform: a name, an object with a Name, or a list
// of either.
func (t *Template) buildTransforms(doc document) error {
	v, ok := doc.tree["Transform"]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			e = m["Name"]
		}
		name, ok := e.(string)
		if !ok || name == "" {
			return invalid("Template format error: Transform must be a string, an object with a Name, or a list of those.")
		}
		t.Transforms = append(t.Transforms, name)
	}
	return nil
}

func (t *Template) buildMappings(doc document) error {
	var err error
	if t.Mappings, err = section(doc.tree, "Mappings"); err != nil {
		return err
	}
	if len(t.Mappings) > MaxMappings {
		return tooMany("mappings", len(t.Mappings), MaxMappings)
	}
	t.Conditions, err = section(doc.tree, "Conditions")
	return err
}

func (t *Template) buildResources(doc document) error {
	resources, ok := doc.tree["Resources"].(map[string]any)
	if !ok || len(resources) == 0 {
		return invalid("Template format error: At least one Resources member must be defined.")
	}
	for _, id := range names(doc, "Resources", resources) {
		if t.isLoop(id) {
			continue
		}
		if id == fnTransform {
			return errFunction(id, resources[id])
		}
		r, err := t.buildResource(id, resources[id])
		if err != nil {
			return err
		}
		t.Resources[id] = r
		t.ids = append(t.ids, id)
	}
	if len(t.Resources) > MaxResources {
		return tooMany("resources", len(t.Resources), MaxResources)
	}
	return nil
}

// isLoop reports whether a section's member is a loop that Expand unfolds.
func (t *Template) isLoop(name string) bool {
	return strings.HasPrefix(name, forEachPrefix) && t.Declares(LanguageExtensions)
}

func (t *Template) buildResource(id string, v any) (*Resource, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: Any Resources member must be an object.")
	}
	if _, ok := m["Type"]; !ok {
		return nil, invalid("Template format error: [/Resources/%s] Every Resources object must contain a Type member.", id)
	}
	r := &Resource{LogicalID: id}
	var err error
	at := "/Resources/" + id
	for name, into := range map[string]*string{"Type": &r.Type, "Condition": &r.Condition} {
		if *into, err = text(m, at, name); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]*string{"DeletionPolicy": &r.DeletionPolicy, "UpdateReplacePolicy": &r.UpdateReplacePolicy} {
		if isCall(m[name]) && t.Declares(LanguageExtensions) {
			continue // Expand puts the value in its place
		}
		if *into, err = text(m, at, name); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]*map[string]any{
		"Properties": &r.Properties, "Metadata": &r.Metadata, "CreationPolicy": &r.CreationPolicy, "UpdatePolicy": &r.UpdatePolicy,
	} {
		if *into, err = object(m, at, name); err != nil {
			return nil, err
		}
	}
	if r.Properties == nil {
		r.Properties = map[string]any{}
	}
	r.DependsOn, err = dependsOn(m["DependsOn"])
	return r, err
}

func dependsOn(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok && v != nil {
		list = []any{v}
	}
	var ids []string
	for _, e := range list {
		id, ok := e.(string)
		if !ok {
			return nil, invalid("Template format error: DependsOn must be a string or list of strings.")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (t *Template) buildOutputs(doc document) error {
	outputs, err := section(doc.tree, "Outputs")
	if err != nil {
		return err
	}
	for _, name := range names(doc, "Outputs", outputs) {
		if t.isLoop(name) {
			continue
		}
		o, err := buildOutput(name, outputs[name])
		if err != nil {
			return err
		}
		t.Outputs = append(t.Outputs, o)
	}
	if len(t.Outputs) > MaxOutputs {
		return tooMany("outputs", len(t.Outputs), MaxOutputs)
	}
	return nil
}

func buildOutput(name string, v any) (Output, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Output{}, invalid("Template format error: Output %s is malformed.", name)
	}
	o := Output{Name: name}
	if o.Value, ok = m["Value"]; !ok {
		return o, invalid("Template format error: Every Outputs member must contain a Value object")
	}
	at := "/Outputs/" + name
	var err error
	if o.Description, err = text(m, at, "Description"); err != nil {
		return o, err
	}
	if o.Condition, err = text(m, at, "Condition"); err != nil {
		return o, err
	}
	if v, ok := m["Export"]; ok {
		export, ok := v.(map[string]any)
		if !ok || len(export) != 1 || export["Name"] == nil {
			return o, invalid("Template format error: Output %s is malformed. The Export object must contain a Name member.", name)
		}
		o.Export = export["Name"]
	}
	return o, nil
}

// section returns a member of the document that must be an object of
// objects or absent.
func section(tree map[string]any, name string) (map[string]any, error) {
	v, ok := tree[name]
	if !ok {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: %s must be an object.", name)
	}
	return m, nil
}

// names returns the members of a section in the text's order, or in order of
// names where there was no text.
func names(doc document, section string, members map[string]any) []string {
	if order := doc.order[section]; len(order) == len(members) {
		return order
	}
	return slices.Sorted(maps.Keys(members))
}

// text reads a member that must be a string or absent; "at" is its object's
// path. Numbers and booleans stand for their text.
func text(m map[string]any, at, name string) (string, error) {
	v, ok := m[name]
	if !ok {
		return "", nil
	}
	if v == nil {
		return "", errNull(at + "/" + name)
	}
	if s, ok := scalarText(v); ok {
		return s, nil
	}
	return "", invalid("Template format error: Every %s member must be a string.", name)
}

func object(m map[string]any, at, name string) (map[string]any, error) {
	v, ok := m[name]
	if !ok {
		return nil, nil
	}
	if v == nil {
		return nil, errNull(at + "/" + name)
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: [%s/%s] %s must be an object.", at, name, name)
	}
	return o, nil
}

func errNull(at string) error {
	return invalid("[%s] 'null' values are not allowed in templates", at)
}

func tooMany(what string, n, most int) error {
	return invalid("Template format error: Number of %s, %d, is greater than maximum allowed, %d", what, n, most)
}
