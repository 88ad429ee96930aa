package stack

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// diffSchemas has a type whose Name cannot change in place.
func diffSchemas(kind string) *Schema {
	if kind == "AWS::Unknown" {
		return nil
	}
	return &Schema{
		Type: kind, Taggable: "Tags",
		Properties: map[string]Property{
			"Name": {Kind: String, Update: Replacement}, "Description": {Kind: String}, "Size": {Kind: Integer},
			"Link": {Kind: String, Update: Replacement}, "Uses": {Kind: String}, "Tags": {Kind: List},
			"Config": {Kind: Object, Properties: map[string]Property{"Fixed": {Kind: String, Update: Replacement}, "Free": {Kind: String}}},
		},
	}
}

// stateOf resolves a template as a change set does: with what exists, and
// what is to come not known.
func stateOf(t *testing.T, body string, given map[string]Given, tags map[string]string, known map[string]string) State {
	t.Helper()
	tpl, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Bind(given, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scope{StackName: "app", Arguments: args, Preview: true}
	s.Ref = func(id string) (any, bool) { v, ok := known[id]; return v, ok }
	s.GetAtt = func(id, attribute string) (any, error) {
		if v, ok := known[id]; ok {
			return v + "/" + attribute, nil
		}
		return KnownAfterApply, nil
	}
	if s.Conditions, err = tpl.Evaluate(s); err != nil {
		t.Fatal(err)
	}
	state := State{Template: tpl, Conditions: s.Conditions, Arguments: args, Tags: tags, PhysicalIDs: known, Properties: map[string]map[string]any{}}
	for _, id := range tpl.Active(s.Conditions) {
		if state.Properties[id], err = tpl.ResolveProperties(id, s); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// diffHead declares what the cases' resources use.
const diffHead = `
Parameters: {P: {Type: String, Default: one}, Q: {Type: String, Default: q, NoEcho: true}}
Conditions: {C: !Equals [!Ref P, one]}
Resources:
`

func property(name, recreation, evaluation, source, cause string) Detail {
	return Detail{Attribute: "Properties", Name: name, Recreation: recreation, Evaluation: evaluation, Source: source, CausingEntity: cause}
}

func modify(id, replacement string, scope []string, details ...Detail) Change {
	return Change{Action: Modify, LogicalID: id, PhysicalID: id + "-1", Type: "AWS::T", Replacement: replacement, Scope: scope, Details: details}
}

func TestDiff(t *testing.T) {
	properties := []string{"Properties"}
	attribute := func(name string) Detail {
		return Detail{Attribute: name, Recreation: RecreationNever, Evaluation: Static, Source: DirectModification}
	}
	for _, tc := range []struct {
		name, old, new string
		given          map[string]Given
		tags           map[string]string
		want           []Change
	}{
		{name: "nothing", old: "  A: {Type: AWS::T, Properties: {Size: 1}}", new: "  A: {Type: AWS::T, Properties: {Size: '1'}}", want: []Change{}},
		{name: "add and remove", old: "  A: {Type: AWS::T}", new: "  B: {Type: AWS::T}", want: []Change{
			{Action: Remove, LogicalID: "A", PhysicalID: "A-1", Type: "AWS::T"}, {Action: Add, LogicalID: "B", PhysicalID: "B-1", Type: "AWS::T"}}},
		{name: "in place", old: "  A: {Type: AWS::T, Properties: {Description: a}}", new: "  A: {Type: AWS::T, Properties: {Description: b}}",
			want: []Change{modify("A", "False", properties, property("Description", "Never", "Static", "DirectModification", ""))}},
		{name: "property added", old: "  A: {Type: AWS::T}", new: "  A: {Type: AWS::T, Properties: {Description: b}}",
			want: []Change{modify("A", "False", properties, property("Description", "Never", "Static", "DirectModification", ""))}},
		{name: "property taken away", old: "  A: {Type: AWS::T, Properties: {Name: b}}", new: "  A: {Type: AWS::T}",
			want: []Change{modify("A", "True", properties, property("Name", "Always", "Static", "DirectModification", ""))}},
		{name: "replacement", old: "  A: {Type: AWS::T, Properties: {Name: a, Description: a}}", new: "  A: {Type: AWS::T, Properties: {Name: b, Description: b}}",
			want: []Change{modify("A", "True", properties, property("Description", "Never", "Static", "DirectModification", ""), property("Name", "Always", "Static", "DirectModification", ""))}},
		{name: "nested replacement", old: "  A: {Type: AWS::T, Properties: {Config: {Fixed: a, Free: a}}}", new: "  A: {Type: AWS::T, Properties: {Config: {Fixed: b, Free: a}}}",
			want: []Change{modify("A", "True", properties, property("Config", "Always", "Static", "DirectModification", ""))}},
		{name: "nested in place", old: "  A: {Type: AWS::T, Properties: {Config: {Fixed: a, Free: a}}}", new: "  A: {Type: AWS::T, Properties: {Config: {Fixed: a, Free: b}}}",
			want: []Change{modify("A", "False", properties, property("Config", "Never", "Static", "DirectModification", ""))}},
		{name: "same value written otherwise", old: "  A: {Type: AWS::T, Properties: {Description: one}}", new: "  A: {Type: AWS::T, Properties: {Description: !Ref P}}", want: []Change{}},
		{name: "parameter", old: "  A: {Type: AWS::T, Properties: {Description: !Ref P}}", new: "  A: {Type: AWS::T, Properties: {Description: !Ref P}}",
			given: map[string]Given{"P": {Value: "two"}},
			want: []Change{modify("A", "False", properties,
				property("Description", "Never", "Dynamic", "DirectModification", ""), property("Description", "Never", "Static", "ParameterReference", "P"))}},
		{name: "parameter replaces", old: "  A: {Type: AWS::T, Properties: {Name: !Sub 'x-${P}'}}", new: "  A: {Type: AWS::T, Properties: {Name: !Sub 'x-${P}'}}",
			given: map[string]Given{"P": {Value: "two"}},
			want: []Change{modify("A", "True", properties,
				property("Name", "Always", "Dynamic", "DirectModification", ""), property("Name", "Always", "Static", "ParameterReference", "P"))}},
		{name: "NoEcho parameter", old: "  A: {Type: AWS::T, Properties: {Description: !Ref Q}}", new: "  A: {Type: AWS::T, Properties: {Description: !Ref Q}}",
			given: map[string]Given{"Q": {Value: "new"}},
			want: []Change{modify("A", "False", properties,
				property("Description", "Never", "Dynamic", "DirectModification", ""), property("Description", "Never", "Static", "ParameterReference", "Q"))}},
		{name: "condition", old: "  A: {Type: AWS::T, Condition: C}\n  B: {Type: AWS::T, Properties: {Description: !If [C, a, b]}}", new: "  A: {Type: AWS::T, Condition: C}\n  B: {Type: AWS::T, Properties: {Description: !If [C, a, b]}}",
			given: map[string]Given{"P": {Value: "two"}},
			want: []Change{{Action: Remove, LogicalID: "A", PhysicalID: "A-1", Type: "AWS::T"},
				modify("B", "False", properties, property("Description", "Never", "Static", "DirectModification", ""))}},
		{name: "ref of a replaced resource", old: "  A: {Type: AWS::T, Properties: {Name: a}}\n  B: {Type: AWS::T, Properties: {Link: !Ref A, Uses: !Ref A}}", new: "  A: {Type: AWS::T, Properties: {Name: b}}\n  B: {Type: AWS::T, Properties: {Link: !Ref A, Uses: !Ref A}}",
			want: []Change{modify("A", "True", properties, property("Name", "Always", "Static", "DirectModification", "")),
				modify("B", "Conditional", properties, property("Link", "Always", "Dynamic", "ResourceReference", "A"), property("Uses", "Never", "Dynamic", "ResourceReference", "A"))}},
		{name: "ref of a resource changed in place", old: "  A: {Type: AWS::T, Properties: {Description: a}}\n  B: {Type: AWS::T, Properties: {Link: !Ref A}}", new: "  A: {Type: AWS::T, Properties: {Description: b}}\n  B: {Type: AWS::T, Properties: {Link: !Ref A}}",
			want: []Change{modify("A", "False", properties, property("Description", "Never", "Static", "DirectModification", ""))}},
		{name: "attribute of a changed resource", old: "  A: {Type: AWS::T, Properties: {Description: a}}\n  B: {Type: AWS::T, Properties: {Uses: !GetAtt A.Arn}}\n  C: {Type: AWS::T, Properties: {Link: !Sub '${B.Arn}'}}", new: "  A: {Type: AWS::T, Properties: {Description: b}}\n  B: {Type: AWS::T, Properties: {Uses: !GetAtt A.Arn}}\n  C: {Type: AWS::T, Properties: {Link: !Sub '${B.Arn}'}}",
			want: []Change{modify("A", "False", properties, property("Description", "Never", "Static", "DirectModification", "")),
				modify("B", "False", properties, property("Uses", "Never", "Dynamic", "ResourceAttribute", "A.Arn")),
				modify("C", "Conditional", properties, property("Link", "Always", "Dynamic", "ResourceAttribute", "B.Arn"))}},
		{name: "tags", old: "  A: {Type: AWS::T, Properties: {Tags: [{Key: a, Value: b}]}}", new: "  A: {Type: AWS::T, Properties: {Tags: [{Key: a, Value: c}]}}",
			want: []Change{modify("A", "False", []string{"Tags"}, attribute("Tags"))}},
		{name: "stack tags", old: "  A: {Type: AWS::T}\n  U: {Type: AWS::Unknown}", new: "  A: {Type: AWS::T}\n  U: {Type: AWS::Unknown}", tags: map[string]string{"k": "v"},
			want: []Change{modify("A", "False", []string{"Tags"}, attribute("Tags"))}},
		{name: "attributes", old: "  A: {Type: AWS::T, Metadata: {a: b}}", new: "  A: {Type: AWS::T, Metadata: {a: c}, DeletionPolicy: Retain, UpdateReplacePolicy: Retain, DependsOn: B}\n  B: {Type: AWS::T}",
			want: []Change{modify("A", "False", []string{"Metadata", "DeletionPolicy", "UpdateReplacePolicy"}, attribute("Metadata"), attribute("DeletionPolicy"), attribute("UpdateReplacePolicy")),
				{Action: Add, LogicalID: "B", PhysicalID: "B-1", Type: "AWS::T"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			known := map[string]string{"A": "A-1", "B": "B-1", "C": "C-1", "U": "U-1"}
			got := Diff(stateOf(t, diffHead+tc.old, nil, nil, known), stateOf(t, diffHead+tc.new, tc.given, tc.tags, known), diffSchemas)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDiffOfUnknown says that a value that is not known yet is a dynamic
// change.
func TestDiffOfUnknown(t *testing.T) {
	old := stateOf(t, "Resources:\n  A: {Type: AWS::T, Properties: {Name: a}}", nil, nil, map[string]string{"A": "A-1"})
	new := stateOf(t, "Resources:\n  A: {Type: AWS::T, Properties: {Name: !Ref B}}\n  B: {Type: AWS::T}", nil, nil, nil)
	got := Diff(old, new, diffSchemas)
	want := []Change{
		modify("A", "Conditional", []string{"Properties"}, property("Name", "Always", "Dynamic", "DirectModification", ""), property("Name", "Always", "Dynamic", "ResourceReference", "B")),
		{Action: Add, LogicalID: "B", Type: "AWS::T"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestDiffOfNestedStack says that a nested stack may always change.
func TestDiffOfNestedStack(t *testing.T) {
	state := stateOf(t, "Resources: {N: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: u}}}", nil, nil, nil)
	got := Diff(state, state, func(string) *Schema { return nil })
	want := []Change{{Action: Modify, LogicalID: "N", Type: "AWS::CloudFormation::Stack", Replacement: "False", Scope: []string{"Properties"},
		Details: []Detail{{Attribute: "Properties", Recreation: "Never", Evaluation: "Dynamic", Source: "Automatic"}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestDiffFromNothing says that a new stack adds everything.
func TestDiffFromNothing(t *testing.T) {
	got := Diff(State{}, stateOf(t, plainSecret, nil, nil, nil), diffSchemas)
	want := []Change{{Action: Add, LogicalID: "A", Type: "AWS::SecretsManager::Secret"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestCheckUpdate(t *testing.T) {
	old, err := Parse("Resources: {A: {Type: X}, B: {Type: Y}}\nOutputs: {O: {Value: a}}")
	if err != nil {
		t.Fatal(err)
	}
	new, err := Parse("Resources: {A: {Type: Z}, B: {Type: Y}, C: {Type: X}}\nOutputs: {O: {Value: b}}")
	if err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, CheckUpdate(old, new), "Update of resource type is not permitted. The new template modifies resource type of the following resources: [A]")
	if err := CheckUpdate(old, old); err != nil {
		t.Error(err)
	}
	if SameOutputs(old, new) || !SameOutputs(old, old) {
		t.Error("SameOutputs does not see a changed output")
	}
}
