package stack

import (
	"encoding/json"
	"testing"

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
