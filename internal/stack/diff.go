package stack

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// State is a stack as it is or as it shall be.
type State struct {
	Template   *Template // nil for a stack with nothing in it
	Conditions map[string]bool
	Arguments  Arguments
	// Properties are the resolved properties of each active resource; of a
	// coming state they may hold KnownAfterApply.
	Properties map[string]map[string]any
	// PhysicalIDs is looked at in the present state only.
	PhysicalIDs map[string]string
	// Tags are the stack's own.
	Tags map[string]string
}

// The values of a Change and its Details, as change sets show them.
const (
	Add    = "Add"
	Modify = "Modify"
	Remove = "Remove"

	ReplacementTrue        = "True"
	ReplacementFalse       = "False"
	ReplacementConditional = "Conditional"

	RecreationNever  = "Never"
	RecreationAlways = "Always"

	Static  = "Static"
	Dynamic = "Dynamic"

	DirectModification = "DirectModification"
	ParameterReference = "ParameterReference"
	ResourceReference  = "ResourceReference"
	ResourceAttribute  = "ResourceAttribute"
	Automatic          = "Automatic"
)

// Change is what becomes of one resource.
type Change struct {
	Action                      string
	LogicalID, PhysicalID, Type string
	// Replacement is "" except for Modify.
	Replacement string
	// Scope and Details are empty except for Modify.
	Scope   []string
	Details []Detail
}

// Detail is one reason for a Modify.
type Detail struct {
	// Attribute is Properties, Tags, Metadata, CreationPolicy, UpdatePolicy,
	// DeletionPolicy or UpdateReplacePolicy; Name is the property where it is
	// Properties.
	Attribute, Name string
	// Recreation is RecreationNever or RecreationAlways.
	Recreation string
	// Evaluation is Static where the new value is known, else Dynamic.
	Evaluation string
	Source     string
	// CausingEntity is the parameter, resource or attribute referred to.
	CausingEntity string
}

// nestedStack is the type whose content a change set does not look into.
const nestedStack = "AWS::CloudFormation::Stack"

// Diff returns the changes from one state to the other, by logical ID.
//
// A Modify says that a resource may change: where the evaluation is dynamic,
// or the source Automatic, only Schema.Compare of the values known during the
// operation tells whether it does.
func Diff(old, new State, schemas func(kind string) *Schema) []Change {
	d := differ{old: old, new: new, schemas: schemas, changes: map[string]Change{}}
	before, after := active(old), active(new)
	for _, id := range before {
		if !slices.Contains(after, id) {
			d.changes[id] = d.change(Remove, id, old.Template.Resources[id].Type)
		}
	}
	for _, id := range d.order(after) {
		kind := new.Template.Resources[id].Type
		if !slices.Contains(before, id) {
			d.changes[id] = d.change(Add, id, kind)
		} else if details := d.details(id); len(details) > 0 {
			c := d.change(Modify, id, kind)
			c.Details = details
			c.Replacement, c.Scope = replacement(details), scope(details)
			d.changes[id] = c
		}
	}
	changes := make([]Change, 0, len(d.changes))
	for _, id := range slices.Sorted(maps.Keys(d.changes)) {
		changes = append(changes, d.changes[id])
	}
	return changes
}

// SameOutputs reports whether two templates have the same Outputs: one that
// differs in nothing else is still an update.
func SameOutputs(old, new *Template) bool {
	return reflect.DeepEqual(old.tree["Outputs"], new.tree["Outputs"])
}

// CheckUpdate refuses an update that no stack admits.
func CheckUpdate(old, new *Template) error {
	var changed []string
	for _, id := range new.ids {
		if r, ok := old.Resources[id]; ok && r.Type != new.Resources[id].Type {
			changed = append(changed, id)
		}
	}
	if len(changed) > 0 {
		return invalid("Update of resource type is not permitted. The new template modifies resource type of the following resources: [%s]", strings.Join(changed, ", "))
	}
	return nil
}

func active(s State) []string {
	if s.Template == nil {
		return nil
	}
	return s.Template.Active(s.Conditions)
}

type differ struct {
	old, new State
	schemas  func(string) *Schema
	changes  map[string]Change
}

func (d *differ) change(action, id, kind string) Change {
	return Change{Action: action, LogicalID: id, PhysicalID: d.old.PhysicalIDs[id], Type: kind}
}

// order puts resources after those they refer to, so that a change is known
// before what it causes.
func (d *differ) order(ids []string) []string {
	if len(ids) == 0 {
		return nil
	}
	g, err := d.new.Template.Graph(d.new.Conditions)
	if err != nil { // Check has refused circles before
		return ids
	}
	return g.Order()
}

// details compares one resource that exists in both states.
func (d *differ) details(id string) []Detail {
	before, after := d.old.Template.Resources[id], d.new.Template.Resources[id]
	schema := d.schemas(after.Type)
	var details []Detail
	names := maps.Clone(before.Properties)
	maps.Copy(names, after.Properties)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		details = append(details, d.property(id, name, schema)...)
	}
	if schema != nil && schema.Taggable != "" && !maps.Equal(d.old.Tags, d.new.Tags) {
		details = addDetail(details, Detail{Attribute: "Tags", Recreation: RecreationNever, Evaluation: Static, Source: DirectModification})
	}
	for _, a := range []struct {
		name          string
		before, after any
	}{
		{"Metadata", before.Metadata, after.Metadata},
		{"CreationPolicy", before.CreationPolicy, after.CreationPolicy},
		{"UpdatePolicy", before.UpdatePolicy, after.UpdatePolicy},
		{"DeletionPolicy", before.DeletionPolicy, after.DeletionPolicy},
		{"UpdateReplacePolicy", before.UpdateReplacePolicy, after.UpdateReplacePolicy},
	} {
		if !reflect.DeepEqual(a.before, a.after) {
			details = append(details, Detail{Attribute: a.name, Recreation: RecreationNever, Evaluation: Static, Source: DirectModification})
		}
	}
	if after.Type == nestedStack && len(details) == 0 {
		details = append(details, Detail{Attribute: "Properties", Recreation: RecreationNever, Evaluation: Dynamic, Source: Automatic})
	}
	return details
}

// property says why one property changes; nothing for one that does not.
func (d *differ) property(id, name string, schema *Schema) []Detail {
	was, is := d.old.Template.Resources[id].Properties[name], d.new.Template.Resources[id].Properties[name]
	old, new := d.old.Properties[id][name], d.new.Properties[id][name]
	detail := Detail{Attribute: "Properties", Name: name, Recreation: RecreationNever}
	if schema != nil {
		p := schema.Properties[name]
		old, new = p.coerce(old), p.coerce(new)
		if p.updateOf(old, new) == Replacement {
			detail.Recreation = RecreationAlways
		}
		if name == schema.Taggable {
			detail.Attribute, detail.Name = "Tags", ""
		}
	}
	causes := d.causes(is)
	dynamic := slices.ContainsFunc(causes, func(c Detail) bool { return c.Evaluation == Dynamic })
	if reflect.DeepEqual(old, new) && !dynamic {
		return nil
	}
	direct := detail
	direct.Source, direct.Evaluation = DirectModification, Static
	if len(causes) > 0 || holdsUnknown(new) {
		direct.Evaluation = Dynamic
	}
	var details []Detail
	if !reflect.DeepEqual(was, is) || !dynamic {
		details = append(details, direct)
	}
	for _, c := range causes {
		cause := detail
		cause.Source, cause.Evaluation, cause.CausingEntity = c.Source, c.Evaluation, c.CausingEntity
		details = addDetail(details, cause)
	}
	return details
}

// causes returns, for each thing referred to that changes, a detail with its
// evaluation, source and entity. A parameter's new value is known, a
// resource's is not.
func (d *differ) causes(expression any) []Detail {
	var causes []Detail
	for ref := range references(expression, d.new.Conditions) {
		change, changed := d.changes[ref.Name]
		_, isParameter := d.new.Arguments.Text[ref.Name]
		switch {
		case isParameter && ref.Attribute == "":
			if d.argumentChanged(ref.Name) {
				causes = addDetail(causes, Detail{Evaluation: Static, Source: ParameterReference, CausingEntity: ref.Name})
			}
		case !changed:
		case ref.Attribute != "":
			causes = addDetail(causes, Detail{Evaluation: Dynamic, Source: ResourceAttribute, CausingEntity: ref.String()})
		case change.Action == Add || change.Replacement != ReplacementFalse:
			causes = addDetail(causes, Detail{Evaluation: Dynamic, Source: ResourceReference, CausingEntity: ref.Name})
		}
	}
	slices.SortFunc(causes, func(a, b Detail) int { return cmp.Compare(a.Source+a.CausingEntity, b.Source+b.CausingEntity) })
	return causes
}

func (d *differ) argumentChanged(name string) bool {
	return !reflect.DeepEqual(d.old.Arguments.ByName[name], d.new.Arguments.ByName[name])
}

func addDetail(details []Detail, d Detail) []Detail {
	if slices.Contains(details, d) {
		return details
	}
	return append(details, d)
}

// replacement weighs the details (AWS docs): what needs recreation and is
// known replaces for certain; what is not known yet may.
func replacement(details []Detail) string {
	result := ReplacementFalse
	for _, d := range details {
		if d.Recreation != RecreationAlways {
			continue
		}
		if d.Evaluation == Static {
			return ReplacementTrue
		}
		result = ReplacementConditional
	}
	return result
}

func scope(details []Detail) []string {
	var attributes []string
	for _, d := range details {
		if !slices.Contains(attributes, d.Attribute) {
			attributes = append(attributes, d.Attribute)
		}
	}
	return attributes
}

func holdsUnknown(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if holdsUnknown(e) {
				return true
			}
		}
		return false
	case []any:
		return slices.ContainsFunc(v, holdsUnknown)
	default:
		return isUnknown(v)
	}
}
