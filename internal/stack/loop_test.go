package stack

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	tpl, err := Parse(`
Transform: AWS::LanguageExtensions
Parameters:
  Names: {Type: CommaDelimitedList, Default: "db-one,db.two"}
  Policy: {Type: String, Default: Retain}
Mappings:
  Sizes: {db-one: {Size: 1}}
Conditions:
  Fn::ForEach::Flags: [N, [a, b], {"Is${N}": !Equals [!Ref N, a]}]
Resources:
  Fn::ForEach::Secrets:
    - Name
    - !Ref Names
    - Secret&{Name}:
        Type: AWS::SecretsManager::Secret
        DeletionPolicy: !Ref Policy
        UpdateReplacePolicy: !If [Isb, Retain, !Ref "AWS::NoValue"]
        Properties:
          Name: !Ref Name
          Description: !Sub "${Name} of ${AWS::StackName}"
          Size: !FindInMap [Sizes, !Ref Name, Size, {DefaultValue: 0}]
          Fn::ForEach::Pairs: [K, [x, y], {"${K}": "${Name}-${K}"}]
Outputs:
  Fn::ForEach::Outs: [Name, !Ref Names, {"Out&{Name}": {Value: !Ref "Secret&{Name}"}}]
`)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Bind(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scope{StackName: "app", Arguments: args}
	if s.Conditions, err = tpl.Evaluate(s); err != nil {
		t.Fatal(err)
	}
	unfolded, err := tpl.Expand(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := unfolded.Check(knownTypes, knownAttributes); err != nil {
		t.Errorf("check: %v", err)
	}
	if diff := cmp.Diff([]string{"Secretdbone", "Secretdbtwo"}, unfolded.LogicalIDs()); diff != "" {
		t.Fatalf("logical IDs (-want +got):\n%s", diff)
	}
	one := unfolded.Resources["Secretdbone"]
	if one.DeletionPolicy != "Retain" || one.UpdateReplacePolicy != "" {
		t.Errorf("got policies %q and %q, want Retain and none", one.DeletionPolicy, one.UpdateReplacePolicy)
	}
	got, err := unfolded.ResolveProperties("Secretdbtwo", s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"Name": "db.two", "Description": "db.two of app", "Size": json.Number("0"), "x": "db.two-x", "y": "db.two-y"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if got := unfolded.Outputs[1].Value; !cmp.Equal(got, any(map[string]any{"Ref": "Secretdbtwo"})) {
		t.Errorf("got output %v, want a Ref of Secretdbtwo", got)
	}
}

func TestRefusedLoops(t *testing.T) {
	for _, tc := range []struct{ loop, want string }{
		{`[N, [a]]`, "Transform AWS::LanguageExtensions failed with: Fn::ForEach layout is incorrect."},
		{`[N, abc, {"${N}": {Type: T}}]`, "Fn::ForEach layout is incorrect."},
		{`[N, [[a]], {"${N}": {Type: T}}]`, "Fn::ForEach layout is incorrect."},
		{`[N, [a, b], {"Same": {Type: T}}]`, "the key Same is made more than once."},
		{`[N, !Ref Nope, {"${N}": {Type: T}}]`, "Unresolved resource dependencies [Nope]"},
	} {
		tpl, err := Parse("Transform: AWS::LanguageExtensions\nResources: {A: {Type: T}, 'Fn::ForEach::L': " + tc.loop + "}\n")
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpl.Expand(&Scope{})
		checkRefusal(t, err, tc.want)
	}
}

// TestLoopBound says that nested loops cannot grow without end.
func TestLoopBound(t *testing.T) {
	body := "{Type: T}"
	for _, n := range []string{"A", "B", "C", "D", "E", "F", "G"} {
		body = `{"Fn::ForEach::` + n + `": [` + n + `, [q,r,s,t,u,v,w,x,y,z], {"${` + n + `}x": ` + body + `}]}`
	}
	tpl, err := Parse("Transform: AWS::LanguageExtensions\nResources: {R: {Type: T, Properties: " + body + "}}\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpl.Expand(&Scope{})
	checkRefusal(t, err, "Template may not exceed 1000000 bytes in size.")
}

// TestExpandWithoutTransform says that a loop is no loop unless the transform
// is declared.
func TestExpandWithoutTransform(t *testing.T) {
	_, err := Parse("Resources: {'Fn::ForEach::L': [N, [a], {}]}\n")
	checkRefusal(t, err, "Template format error: Any Resources member must be an object.")
	tpl, err := Parse(plainSecret)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := tpl.Expand(&Scope{}); same != tpl || err != nil {
		t.Errorf("got %v, %v; want the template itself", same, err)
	}
}

// What a loop makes is seen in the processed template, so it is not made of
// what is not to be seen.
func TestExpandSecret(t *testing.T) {
	for _, tc := range []struct{ resources, want string }{
		{"Fn::ForEach::S: [N, !Ref Names, {\"A${N}\": {Type: T}}]", "Fn::ForEach cannot use the NoEcho parameter Names."},
		{"Fn::ForEach::S: [N, !Split [\"-\", !Sub \"a-${Name}\"], {\"A${N}\": {Type: T}}]", "Fn::ForEach cannot use the NoEcho parameter Name."},
		{"A: {Type: T, DeletionPolicy: !Ref Name}", "DeletionPolicy cannot use the NoEcho parameter Name."},
	} {
		tpl, err := Parse("Transform: AWS::LanguageExtensions\nParameters:\n  Names: {Type: CommaDelimitedList, NoEcho: true}\n" +
			"  Name: {Type: String, NoEcho: true}\nResources:\n  " + tc.resources + "\n")
		if err != nil {
			t.Fatal(err)
		}
		args, err := tpl.Bind(map[string]Given{"Names": {Value: "hush,hide"}, "Name": {Value: "Retain"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpl.Expand(&Scope{Arguments: args})
		checkRefusal(t, err, "Transform AWS::LanguageExtensions failed with: "+tc.want)
	}
}
