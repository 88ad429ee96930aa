package iam

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestExplain(t *testing.T) {
	identity := mustCompile(t, `{"Version":"2012-10-17","Statement":[
		{"Sid":"Wrong","Effect":"Allow","Action":"b:*","Resource":"*","Condition":{"StringEquals":{"aws:Unasked":"x"}}},
		{"Sid":"Elsewhere","Effect":"Allow","Action":"a:*","Resource":"arn:${aws:PrincipalTag/Team}"},
		{"Sid":"Stage","Effect":"Allow","Action":"a:*","Resource":"*","Condition":{
			"StringEquals":{"secretsmanager:VersionStage":["AWSPREVIOUS","AWSPENDING"],"aws:RequestTag/x":"${aws:PrincipalTag/Team}"},
			"Bool":{"aws:SecureTransport":"true"}}},
		{"Effect":"Allow","Action":"a:B","Resource":"*"}]}`, "own")
	group := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"a:*","Resource":"*"`), "group")
	resource := mustCompile(t, oneStatement(`"Sid":"All","Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"*","Resource":"*"`), "resource")
	boundary := mustCompile(t, oneStatement(`"Effect":"Deny","Action":"a:B","Resource":"*"`), "boundary")
	r := &Request{
		Principal: ann, Action: "a:B", Resource: secretARN, ResourceAccount: account,
		Context: contextOf(t, `{"secretsmanager:VersionStage":["AWSCURRENT"],"aws:SecureTransport":["true"]}`),
	}
	got := Explain(r, &Policies{Identity: []*Policy{identity, group}, Resource: resource, Boundary: boundary, Session: []*Policy{group}, Endpoint: resource})
	stage := StatementRef{"own", "Stage", 3}
	inGroup := Match{StatementRef{"group", "", 1}, Allow, false}
	delegated := []Match{{StatementRef{"resource", "All", 1}, Allow, true}}
	want := Explanation{
		Decision: Decision{Effect: ExplicitDeny, Layer: BoundaryLayer, Statement: StatementRef{"boundary", "", 1}},
		Layers: []LayerFinding{
			{
				Layer: IdentityLayer, Effect: Allowed,
				Matches: []Match{{StatementRef{"own", "", 4}, Allow, false}, inGroup},
				Unmet: []Unmet{
					{stage, Allow, "StringEquals", "secretsmanager:VersionStage", []string{"AWSPREVIOUS", "AWSPENDING"}, []string{"AWSCURRENT"}},
					{stage, Allow, "StringEquals", "aws:RequestTag/x", []string{"${aws:PrincipalTag/Team}"}, nil},
				},
			},
			{Layer: ResourceLayer, Effect: Allowed, Matches: delegated},
			{Layer: BoundaryLayer, Effect: ExplicitDeny, Matches: []Match{{StatementRef{"boundary", "", 1}, Deny, false}}},
			{Layer: SessionLayer, Effect: Allowed, Matches: []Match{inGroup}},
			{Layer: EndpointLayer, Effect: Allowed, Matches: delegated},
		},
		MissingKeys: []string{"aws:PrincipalTag/Team", "aws:RequestTag/x"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Decision{})); diff != "" {
		t.Errorf("explanation differs (-want +got):\n%s", diff)
	}
}

func TestExplainLayers(t *testing.T) {
	for _, tc := range []struct {
		caller   Principal
		owner    string
		policies string
		want     []LayerFinding
		cross    bool
	}{
		{ann, account, "", []LayerFinding{{Layer: IdentityLayer, Effect: ImplicitDeny}}, false},
		{root, account, "", []LayerFinding{{Layer: IdentityLayer, Effect: Allowed}}, false},
		{ann, account, "kind=key", []LayerFinding{{Layer: IdentityLayer, Effect: ImplicitDeny}, {Layer: ResourceLayer, Effect: ImplicitDeny}}, false},
		{ann, account, "kind=role", []LayerFinding{{Layer: IdentityLayer, Effect: ImplicitDeny}, {Layer: TrustLayer, Effect: ImplicitDeny}}, false},
		{ann, otherAccount, "", []LayerFinding{{Layer: IdentityLayer, Effect: ImplicitDeny}, {Layer: ResourceLayer, Effect: ImplicitDeny}}, true},
		{lambda, otherAccount, "", []LayerFinding{{Layer: ResourceLayer, Effect: ImplicitDeny}}, false},
		{ann, "", "", []LayerFinding{{Layer: IdentityLayer, Effect: ImplicitDeny}}, false},
	} {
		r := &Request{Principal: tc.caller, Action: "a:b", Resource: "*", ResourceAccount: tc.owner}
		got := Explain(r, combination(t, tc.policies))
		if diff := cmp.Diff(tc.want, got.Layers); diff != "" || got.CrossAccount != tc.cross {
			t.Errorf("%q with %q: across accounts is %v, want %v; layers differ (-want +got):\n%s", tc.caller.Type, tc.policies, got.CrossAccount, tc.cross, diff)
		}
	}
}

func TestContextKeys(t *testing.T) {
	p := mustCompile(t, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"a:*","Resource":["arn:${aws:username}","arn:${ aws:PrincipalTag/Team , 'x'}"]},
		{"Effect":"Deny","Action":"a:*","Resource":"*","Condition":{"StringEquals":{"AWS:UserName":"${aws:userid}","aws:k":"${*}"}}}]}`, "p")
	want := []string{"aws:username", "aws:PrincipalTag/Team", "aws:userid", "aws:k"}
	if diff := cmp.Diff(want, p.ContextKeys()); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
}

func TestSpans(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []Span
	}{
		{"", nil},
		{"[]", nil},
		{`{"Version":"x"}`, nil},
		{`{"Version":"x"`, nil},
		{`{"Statement":"x"}`, nil},
		{`{"Statement":[{}`, nil},
		{`{"Statement":`, nil},
		{`{"Version":"2012-10-17","Statement":{"Effect":"Deny"}}`, []Span{{Position{1, 37}, Position{1, 54}}}},
		{"{\n \"Statement\" : [\n  {\"a\":\n1},\n  {} ] }", []Span{{Position{3, 3}, Position{4, 3}}, {Position{5, 3}, Position{5, 5}}}},
	} {
		if diff := cmp.Diff(tc.want, Spans(tc.text)); diff != "" {
			t.Errorf("%q: spans differ (-want +got):\n%s", tc.text, diff)
		}
	}
}
