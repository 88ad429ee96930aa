package stack

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDynamicReferences(t *testing.T) {
	const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf"
	for _, tc := range []struct {
		text string
		want []DynamicReference
	}{
		{"plain {{text}}", nil},
		{"{{resolve:ssm:unclosed", nil},
		{"{{resolve:secretsmanager:db}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db"}}},
		{"{{resolve:secretsmanager:app/db:SecretString}}", []DynamicReference{{Service: "secretsmanager", SecretID: "app/db"}}},
		{"{{resolve:secretsmanager:db:SecretString:password}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db", JSONKey: "password"}}},
		{"{{resolve:secretsmanager:db:SecretString:password:AWSPREVIOUS}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db", JSONKey: "password", VersionStage: "AWSPREVIOUS"}}},
		{"{{resolve:secretsmanager:db:SecretString:password::v-1}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db", JSONKey: "password", VersionID: "v-1"}}},
		{"{{resolve:secretsmanager:db:SecretString:::v-1}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db", VersionID: "v-1"}}},
		{"{{resolve:secretsmanager:db::::}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db"}}},
		{"{{resolve:secretsmanager:db::k}}", []DynamicReference{{Service: "secretsmanager", SecretID: "db", JSONKey: "k"}}},
		{"{{resolve:secretsmanager:" + secret + "}}", []DynamicReference{{Service: "secretsmanager", SecretID: secret}}},
		{"{{resolve:secretsmanager:" + secret + ":SecretString:user name:AWSCURRENT}}", []DynamicReference{{Service: "secretsmanager", SecretID: secret, JSONKey: "user name", VersionStage: "AWSCURRENT"}}},
		{"{{resolve:ssm:/a/b}}", []DynamicReference{{Service: "ssm", Name: "/a/b"}}},
		{"{{resolve:ssm:p:3}}", []DynamicReference{{Service: "ssm", Name: "p", Version: "3"}}},
		{"{{resolve:ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/p:3}}", []DynamicReference{{Service: "ssm", Name: "arn:aws:ssm:eu-west-1:123456789012:parameter/p", Version: "3"}}},
		{"{{resolve:ssm-secure:p:10}}", []DynamicReference{{Service: "ssm-secure", Name: "p", Version: "10"}}},
		{"u={{resolve:ssm:u}};p={{resolve:secretsmanager:db}}!", []DynamicReference{{Service: "ssm", Name: "u"}, {Service: "secretsmanager", SecretID: "db"}}},
	} {
		got, err := DynamicReferences(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
		}
		for i := range got {
			got[i].Text = ""
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.text, diff)
		}
		if HasDynamic([]any{map[string]any{"k": tc.text}}) != (tc.want != nil) && tc.text != "{{resolve:ssm:unclosed" {
			t.Errorf("%s: HasDynamic says otherwise", tc.text)
		}
	}
}

func TestMalformedDynamicReferences(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"{{resolve:secretsmanager:}}", "Secrets Manager reference: [{{resolve:secretsmanager:}}]"},
		{"{{resolve:secretsmanager}}", "Secrets Manager reference: [{{resolve:secretsmanager}}]"},
		{"{{resolve:secretsmanager:db:SecretBinary}}", "Secrets Manager reference"},
		{"{{resolve:secretsmanager:db:SecretString:k:AWSCURRENT:v}}", "Secrets Manager reference"},
		{"{{resolve:secretsmanager:db:SecretString:k:AWSCURRENT::x}}", "Secrets Manager reference"},
		{"{{resolve:secretsmanager:arn:aws:secretsmanager:r:a}}", "Secrets Manager reference"},
		{"{{resolve:ssm:}}", "Incorrect format is used in the following SSM reference: [{{resolve:ssm:}}]"},
		{"{{resolve:ssm:p:latest}}", "SSM reference"},
		{"{{resolve:ssm:p:}}", "SSM reference"},
		{"{{resolve:ssm:p:1:2}}", "SSM reference"},
		{"{{resolve:other:p}}", "Template error: Encountered unsupported dynamic reference: {{resolve:other:p}}"},
	} {
		_, err := DynamicReferences(tc.text)
		checkRefusal(t, err, tc.want)
	}
}

// TestResolveDynamic says that references are looked for in what the
// functions make, and not in what a reference gives.
func TestResolveDynamic(t *testing.T) {
	tpl, err := Parse(`
Resources:
  A:
    Type: T
    Properties:
      Url: !Sub "u={{resolve:secretsmanager:${AWS::StackName}:SecretString:user}};p={{resolve:ssm:p:2}}"
      Joined: !Join ["", ["{{resolve:secrets", "manager:x}}"]]
      Encoded: !Base64 "{{resolve:ssm:p}}"
      List: [{K: "{{resolve:ssm:p}}"}]
`)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scope{StackName: "app"}
	kept, err := tpl.ResolveProperties("A", s)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := kept["Joined"], "{{resolve:secretsmanager:x}}"; got != want {
		t.Errorf("without Dynamic got %v, want %v", got, want)
	}
	s.Dynamic = func(ref DynamicReference) (string, error) {
		return "<" + ref.SecretID + ref.Name + ref.JSONKey + ref.Version + "{{resolve:ssm:again}}>", nil
	}
	got, err := tpl.ResolveProperties("A", s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Url":     "u=<appuser{{resolve:ssm:again}}>;p=<p2{{resolve:ssm:again}}>",
		"Joined":  "<x{{resolve:ssm:again}}>",
		"Encoded": "e3tyZXNvbHZlOnNzbTpwfX0=",
		"List":    []any{map[string]any{"K": "<p{{resolve:ssm:again}}>"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	missing := errors.New("no such secret")
	s.Dynamic = func(DynamicReference) (string, error) { return "", missing }
	if _, err := tpl.ResolveProperties("A", s); !errors.Is(err, missing) {
		t.Errorf("got error %v, want %v", err, missing)
	}
}

// What resources and exports give is no reference, whatever it looks like and
// whatever stands beside it, but may be a part of one.
func TestForeignReferences(t *testing.T) {
	tpl, err := Parse(`
Parameters:
  P: {Type: String}
  L: {Type: CommaDelimitedList}
Mappings: {M: {a: {b: "{{resolve:ssm:mapped}}"}}}
Resources:
  Other: {Type: T}
  A:
    Type: T
    Properties:
      Import: !ImportValue name
      Attribute: !GetAtt Other.A
      Ref: !Ref Other
      Sub: !Sub "${Other}/${Other.A}/{{${Tail}"
      Joined: !Join ["", ["{{res", !GetAtt Other.Tail]]
      Split: !Split [",", !ImportValue name]
      Part: !Sub "{{resolve:secretsmanager:${Other.Plain}:SecretString:k}}"
      Inside: !Sub "{{resolve:ssm:${Other.Plain}}}${Other}"
      Colon: !Join [":", ["{{resolve", ssm, !GetAtt Other.Plain, "1}}"]]
      Parameter: !Sub "<${P}>"
      List: !Ref L
      Mapped: !FindInMap [M, a, b]
      Text: !Sub ["${V}", {V: "{{resolve:ssm:variable}}"}]
      Open: "{{resolve:ssm:open"
  Tail: {Type: T}
`)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Bind(map[string]Given{"P": {Value: "{{resolve:ssm:given}}"}, "L": {Value: "a,{{resolve:ssm:listed}}"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const foreign = "{{resolve:ssm:foreign}}"
	got, err := tpl.ResolveProperties("A", &Scope{
		Arguments: args, Import: func(string) (string, error) { return foreign + ",x", nil },
		Ref: func(id string) (any, bool) {
			if id == "Tail" {
				return "resolve:ssm:foreign}}", true
			}
			return foreign, true
		},
		GetAtt: func(_, attribute string) (any, error) {
			return map[string]any{"A": foreign, "Tail": "olve:ssm:foreign}}", "Plain": "plain"}[attribute], nil
		},
		Dynamic: func(ref DynamicReference) (string, error) { return "<" + ref.SecretID + ref.Name + ">", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Import": foreign + ",x", "Attribute": foreign, "Ref": foreign, "Sub": foreign + "/" + foreign + "/" + foreign, "Joined": foreign,
		"Split": []any{foreign, "x"}, "Part": "<plain>", "Inside": "<plain>" + foreign, "Colon": "<plain>", "Parameter": "<<given>>",
		"List": []any{"a", "<listed>"}, "Mapped": "<mapped>", "Text": "<variable>", "Open": "{{resolve:ssm:open",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}
