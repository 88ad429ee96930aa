package stack

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const small = `
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Size: {Type: Number, Default: 8}
Resources:
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name: !Sub "${AWS::StackName}-db"
      GenerateSecretString: {PasswordLength: !Ref Size}
  Schedule:
    Type: AWS::SecretsManager::RotationSchedule
    Properties:
      SecretId: !Ref Secret
      Since: 2020-01-01
      Answer: yes
      Account: 012345678901
      Arn: !GetAtt Secret.Arn.Part
Outputs:
  Arn: {Value: !Ref Secret, Export: {Name: !Sub "${AWS::StackName}-arn"}}
`

func TestParseYAML(t *testing.T) {
	tpl, err := Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"SecretId": map[string]any{"Ref": "Secret"}, "Since": "2020-01-01", "Answer": "yes", "Account": "012345678901",
		"Arn": map[string]any{"Fn::GetAtt": []any{"Secret", "Arn.Part"}},
	}
	if diff := cmp.Diff(want, tpl.Resources["Schedule"].Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Secret", "Schedule"}, tpl.LogicalIDs()); diff != "" {
		t.Errorf("logical IDs (-want +got):\n%s", diff)
	}
	g, err := tpl.Graph(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Graph{"Secret": nil, "Schedule": {"Secret"}}, g); diff != "" {
		t.Errorf("graph (-want +got):\n%s", diff)
	}
}

// TestJSONRoundTrip says that a template's JSON is the same template.
func TestJSONRoundTrip(t *testing.T) {
	tpl, err := Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tpl.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tpl.Tree(), again.Tree()); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestResolveProperties(t *testing.T) {
	tpl, err := Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Bind(map[string]Given{"Size": {Value: "20"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tpl.ResolveProperties("Secret", &Scope{StackName: "app", Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"Name": "app-db", "GenerateSecretString": map[string]any{"PasswordLength": "20"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	schema := Schema{Properties: map[string]Property{
		"Name":                 {Kind: String},
		"GenerateSecretString": {Kind: Object, Properties: map[string]Property{"PasswordLength": {Kind: Integer}}},
	}}
	if err := schema.Check(got); err != nil {
		t.Errorf("check: %v", err)
	}
	want["GenerateSecretString"] = map[string]any{"PasswordLength": json.Number("20")}
	if diff := cmp.Diff(want, schema.Coerce(got)); diff != "" {
		t.Errorf("coerced (-want +got):\n%s", diff)
	}
}

// TestFromTree says that a transform may write Go's own numbers and lists.
func TestFromTree(t *testing.T) {
	tree := map[string]any{"Resources": map[string]any{"A": map[string]any{
		"Type": "T", "DependsOn": []string{"B"}, "Properties": map[string]any{"N": 5, "M": int64(6), "F": 1.5},
	}, "B": map[string]any{"Type": "T"}}}
	tpl, err := FromTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"N": json.Number("5"), "M": json.Number("6"), "F": json.Number("1.5")}
	if diff := cmp.Diff(want, tpl.Resources["A"].Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"B"}, tpl.Resources["A"].DependsOn); diff != "" {
		t.Errorf("DependsOn (-want +got):\n%s", diff)
	}
	tpl.Tree()["Resources"] = nil
	tree["Resources"] = nil
	if tpl.Tree()["Resources"] == nil {
		t.Error("the template shares its tree")
	}
}

// TestRegionScope wants the partition and domain of a region.
func TestRegionScope(t *testing.T) {
	tpl, err := Parse(secretOf(`!Sub "${AWS::Partition} ${AWS::URLSuffix}"`))
	if err != nil {
		t.Fatal(err)
	}
	for region, want := range map[string]string{"eu-west-1": "aws amazonaws.com", "cn-north-1": "aws-cn amazonaws.com.cn", "us-gov-east-1": "aws-us-gov amazonaws.com"} {
		got, err := tpl.ResolveProperties("A", &Scope{Region: region})
		if err != nil || got["Description"] != want {
			t.Errorf("%s: got %v, %v; want %s", region, got, err, want)
		}
	}
}

// TestHostileTemplates says that a large text of anything is refused or admitted
// in reasonable time.
func TestHostileTemplates(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, MaxBytes/4/len(s)) }
	for name, body := range map[string]string{
		"brackets":      "a: " + fill("["),
		"JSON brackets": `{"a":` + fill("["),
		"JSON objects":  `{"a":` + fill(`{"a":`),
		"YAML objects":  fill("{a: "),
		"dashes":        fill("- "),
		"keys":          fill("? "),
		"anchors":       fill("&a "),
		"indents":       fill("a:\n "),
		"quotes":        "a: '" + fill("''"),
		"tags":          fill("!a "),
		"subs":          secretOf("!Sub '" + fill("${A}") + "'"),
		"scalars":       secretOf("[" + fill("1,") + "]"),
		"joins":         `{"Resources": {"A": {"Type": "T", "Properties": {"P": [` + fill(`{"Fn::Join":["",["a"]]},`) + `1]}}}}`,
		"dynamic":       secretOf("'" + fill("{{resolve:") + "'"),
	} {
		start := time.Now()
		if tpl, err := Parse(body); err != nil {
			wantRefusal(t, err)
		} else {
			if err := tpl.Check(nil, nil); err != nil {
				wantRefusal(t, err)
			}
			for _, id := range tpl.LogicalIDs() {
				if _, err := tpl.ResolveProperties(id, &Scope{Preview: true}); err != nil {
					wantRefusal(t, err)
				}
			}
		}
		took := time.Since(start)
		t.Logf("%s: %v", name, took)
		if took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
