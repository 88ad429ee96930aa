package iam

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const wholePolicy = `{
  "Version": "2012-10-17",
  "Id": "p",
  "Statement": [
    {"Sid": "One", "Effect": "Allow", "Principal": {"AWS": ["111122223333", "*"], "Service": "lambda.amazonaws.com"},
     "Action": "secretsmanager:GetSecretValue", "Resource": "*",
     "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333", "aws:PrincipalTag/t": ["a", "b"]}, "Bool": {"aws:SecureTransport": true}}},
    {"Effect": "Deny", "NotPrincipal": "*", "NotAction": ["kms:*", "*"], "NotResource": ["a", "b"],
     "Condition": {"NumericLessThanIfExists": {"secretsmanager:RecoveryWindowInDays": 8}, "Null": {"aws:x": "false"}}}
  ]
}`

func TestParseDocument(t *testing.T) {
	got, err := ParseDocument(wholePolicy)
	if err != nil {
		t.Fatal(err)
	}
	want := &Document{Version: Version2012, ID: "p", Statements: []Statement{
		{
			Sid: "One", Effect: Allow,
			Principals: &Principals{AWS: []string{"111122223333", "*"}, Service: []string{"lambda.amazonaws.com"}},
			Actions:    []string{"secretsmanager:GetSecretValue"}, Resources: []string{"*"},
			Conditions: []Condition{
				{"StringEquals", "aws:SourceAccount", []string{"111122223333"}},
				{"StringEquals", "aws:PrincipalTag/t", []string{"a", "b"}},
				{"Bool", "aws:SecureTransport", []string{"true"}},
			},
		},
		{
			Effect: Deny, NotPrincipals: &Principals{AWS: []string{"*"}},
			NotActions: []string{"kms:*", "*"}, NotResources: []string{"a", "b"},
			Conditions: []Condition{
				{"NumericLessThanIfExists", "secretsmanager:RecoveryWindowInDays", []string{"8"}},
				{"Null", "aws:x", []string{"false"}},
			},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document differs (-want +got):\n%s", diff)
	}
}

// oneStatement wraps the members of one statement into a document.
func oneStatement(members string) string { return `{"Statement":{` + members + `}}` }

func TestParseDocumentScalars(t *testing.T) {
	d, err := ParseDocument(oneStatement(`"Sid":"","Effect":"Allow","Action":"*"`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Version != Version2008 || len(d.Statements) != 1 || d.Statements[0].Principals != nil || d.Statements[0].Resources != nil {
		t.Errorf("got %+v, want one statement of the older version without principal and resource", d)
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            "",
		"not an object":      `["a"]`,
		"broken":             `{"Statement":[`,
		"trailing":           oneStatement(`"Effect":"Allow","Action":"*"`) + "x",
		"two documents":      strings.Repeat(oneStatement(`"Effect":"Allow","Action":"*"`), 2),
		"no statement":       `{"Version":"2012-10-17"}`,
		"empty statements":   `{"Statement":[]}`,
		"null statement":     `{"Statement":null}`,
		"version":            `{"Version":"2012-10-18","Statement":{"Effect":"Allow","Action":"*"}}`,
		"case of an element": `{"statement":{"Effect":"Allow","Action":"*"}}`,
		"unknown element":    oneStatement(`"Effect":"Allow","Action":"*","Actions":"*"`),
		"repeated element":   oneStatement(`"Effect":"Allow","Effect":"Deny","Action":"*"`),
		"repeated Sid":       `{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*"},{"Sid":"a","Effect":"Allow","Action":"*"}]}`,
		"case of the effect": oneStatement(`"Effect":"allow","Action":"*"`),
		"no effect":          oneStatement(`"Action":"*"`),
		"null effect":        oneStatement(`"Effect":null,"Action":"*"`),
		"no action":          oneStatement(`"Effect":"Allow"`),
		"empty action":       oneStatement(`"Effect":"Allow","Action":[]`),
		"action of nobody":   oneStatement(`"Effect":"Allow","Action":"GetSecretValue"`),
		"both actions":       oneStatement(`"Effect":"Allow","Action":"*","NotAction":"a:b"`),
		"both resources":     oneStatement(`"Effect":"Allow","Action":"*","Resource":"*","NotResource":"a"`),
		"both principals":    oneStatement(`"Effect":"Allow","Action":"*","Principal":"*","NotPrincipal":"*"`),
		"bare principal":     oneStatement(`"Effect":"Allow","Action":"*","Principal":"111122223333"`),
		"empty principal":    oneStatement(`"Effect":"Allow","Action":"*","Principal":{}`),
		"principal's kind":   oneStatement(`"Effect":"Allow","Action":"*","Principal":{"aws":"*"}`),
		"number as resource": oneStatement(`"Effect":"Allow","Action":"*","Resource":1`),
		"operator":           oneStatement(`"Effect":"Allow","Action":"*","Condition":{"StringIs":{"a":"b"}}`),
		"condition's value":  oneStatement(`"Effect":"Allow","Action":"*","Condition":{"Bool":{"a":{}}}`),
		"condition's list":   oneStatement(`"Effect":"Allow","Action":"*","Condition":{"Bool":{"a":[]}}`),
		"condition's keys":   oneStatement(`"Effect":"Allow","Action":"*","Condition":{"Bool":"a"}`),
	} {
		if d, err := ParseDocument(text); err == nil {
			t.Errorf("%s: got %+v, want an error", name, d)
		}
	}
}

func TestPrincipalsRequiredOrForbidden(t *testing.T) {
	with, err := ParseDocument(oneStatement(`"Effect":"Allow","Action":"*","Principal":"*"`))
	if err != nil {
		t.Fatal(err)
	}
	without, err := ParseDocument(oneStatement(`"Effect":"Allow","Action":"*"`))
	if err != nil {
		t.Fatal(err)
	}
	if with.RequirePrincipals() != nil || with.ForbidPrincipals() == nil {
		t.Error("a principal is there: want it accepted where required and refused where forbidden")
	}
	if without.RequirePrincipals() == nil || without.ForbidPrincipals() != nil {
		t.Error("no principal is there: want it refused where required and accepted where forbidden")
	}
}

func TestSupported(t *testing.T) {
	for _, tc := range []struct {
		principal string
		want      bool
	}{
		{`{"AWS":"*"}`, true},
		{`"*"`, true},
		{`{"AWS":"111122223333"}`, true},
		{`{"AWS":"11112222333"}`, false},
		{`{"AWS":"arn:aws:iam::111122223333:root"}`, true},
		{`{"AWS":"arn:aws:iam::111122223333:user/path/u"}`, true},
		{`{"AWS":"arn:aws:iam::111122223333:role/r"}`, true},
		{`{"AWS":"arn:aws:iam::111122223333:role/*"}`, false},
		{`{"AWS":"arn:aws:iam::111122223333:role/"}`, false},
		{`{"AWS":"arn:aws:iam::111122223333:group/g"}`, false},
		{`{"AWS":"arn:aws:iam::*:root"}`, false},
		{`{"AWS":"arn:aws:sts::111122223333:assumed-role/r/s"}`, true},
		{`{"AWS":"arn:aws:s3:::bucket"}`, false},
		{`{"AWS":"AROAEXAMPLE"}`, true},
		{`{"AWS":"somebody"}`, false},
		{`{"Service":"lambda.amazonaws.com"}`, true},
		{`{"Service":"lambda"}`, false},
		{`{"Service":["lambda.amazonaws.com","*"]}`, false},
		{`{"Federated":"arn:aws:iam::111122223333:saml-provider/p"}`, true},
		{`{"CanonicalUser":"79a5"}`, false},
	} {
		d, err := ParseDocument(oneStatement(`"Effect":"Allow","Action":"*","Principal":` + tc.principal))
		if err != nil {
			t.Fatalf("%s: %v", tc.principal, err)
		}
		if got := d.Statements[0].Principals.Supported(); got != tc.want {
			t.Errorf("%s: supported is %v, want %v", tc.principal, got, tc.want)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add(wholePolicy)
	f.Add(oneStatement(`"Effect":"Allow","Action":"*","Principal":"*"`))
	f.Add(`{"Statement":[{"Effect":"Allow","Action":["a:b",null]}]}`)
	f.Add(`{"Statement":{"Effect":"Allow","Action":"*","Condition":{"Null":{"a":[1,true,"x"]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDocument(text)
		if err != nil {
			return
		}
		if len(d.Statements) == 0 {
			t.Fatal("accepted a document without statements")
		}
		d.Public()
		for i := range d.Statements {
			d.Statements[i].Principals.Supported()
			for _, c := range d.Statements[i].Conditions {
				if len(c.Values) == 0 {
					t.Fatalf("condition %s without values", c.Operator)
				}
			}
		}
	})
}
