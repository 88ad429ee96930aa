package iam

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	account      = "111122223333"
	otherAccount = "444455556666"
	secretARN    = "arn:aws:secretsmanager:us-east-1:" + account + ":secret:prod/db-AbCdEf"
)

// twentyStatements is a policy of which the last statement but one allows
// reading the secret: everything before has to be looked at.
func twentyStatements() string {
	var s []string
	for i := range 18 {
		s = append(s, fmt.Sprintf(`{"Effect":"Allow","Action":["secretsmanager:Get*","secretsmanager:DescribeSecret"],
			"Resource":"arn:aws:secretsmanager:*:%s:secret:team-%d/*-??????"}`, account, i))
	}
	s = append(s,
		`{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:${aws:PrincipalTag/stage}/*",
		  "Condition":{"StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT","aws:PrincipalAccount":"`+account+`"},
		  "IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.0/24"]},"Bool":{"aws:SecureTransport":true},
		  "DateLessThan":{"aws:CurrentTime":"2100-01-01T00:00:00Z"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/app-*"},
		  "ForAnyValue:StringLike":{"aws:TagKeys":["c*","d*"]},"NumericGreaterThan":{"aws:MultiFactorAuthAge":"10"}}}`,
		`{"Effect":"Deny","NotAction":"iam:*","Resource":"*","Condition":{"StringNotEqualsIgnoreCase":{"aws:RequestedRegion":["US-EAST-1"]}}}`)
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(s, ",") + `]}`
}

var tagKeys = []string{"a", "b", "c"}

func readerContext(key string) Value {
	switch key {
	case "aws:sourceip":
		return Text("192.0.2.7")
	case "aws:securetransport":
		return Text("true")
	case "aws:currenttime":
		return Text("2026-11-21T20:00:00Z")
	case "secretsmanager:versionstage":
		return Text("AWSCURRENT")
	case "aws:principaltag/stage":
		return Text("prod")
	case "aws:tagkeys":
		return List(tagKeys)
	case "aws:requestedregion":
		return Text("us-east-1")
	case "aws:multifactorauthage":
		return Text("42.5")
	}
	return Value{}
}

// session returns a session of the role app-reader.
func session(account string) Principal {
	return Principal{
		Type: AssumedRole, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/app-reader/s1",
		ID: "AROAEXAMPLE:s1", Name: "app-reader", Session: "s1", RoleARN: "arn:aws:iam::" + account + ":role/app-reader",
		IssuedAt: time.Unix(1_800_000_000, 0),
	}
}

func mustCompile(t testing.TB, text, name string) *Policy {
	t.Helper()
	p, err := CompileText(text, name)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func readerCase(t testing.TB) (*Request, *Policies) {
	r := &Request{Principal: session(account), Action: "secretsmanager:GetSecretValue", Resource: secretARN, ResourceAccount: account, Context: readerContext}
	everything := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"*"`), "everything")
	return r, &Policies{
		Identity: []*Policy{mustCompile(t, twentyStatements(), "twenty")},
		Boundary: everything, Session: []*Policy{everything},
		Resource: mustCompile(t, oneStatement(`"Effect":"Deny","Principal":{"AWS":"`+otherAccount+`"},"Action":"*","Resource":"*"`), "resource"),
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	r, in := readerCase(t)
	if d := Evaluate(r, in); !d.Allowed() || d.Statement.Number != 19 {
		t.Fatalf("got %+v, want it allowed by statement 19", d)
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(r, in) }); n != 0 {
		t.Errorf("allowing allocates %v times, want none", n)
	}
	denied := *r
	denied.Resource += "x"
	denied.Principal.Account = otherAccount
	if d := Evaluate(&denied, in); d.Effect != ExplicitDeny {
		t.Fatalf("got %+v, want an explicit deny", d)
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(&denied, in) }); n != 0 {
		t.Errorf("denying allocates %v times, want none", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		stage := r.Resource[len("arn:aws:secretsmanager:us-east-1:")+len(account)+len(":secret:"):][:4]
		Evaluate(&Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: func(key string) Value {
			if key == "aws:principaltag/stage" {
				return Text(stage)
			}
			return readerContext(key)
		}}, in)
	}); n != 0 {
		t.Errorf("a request with a closure allocates %v times, want none", n)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	r, in := readerCase(b)
	b.ReportAllocs()
	for b.Loop() {
		if d := Evaluate(r, in); !d.Allowed() {
			b.Fatalf("got %+v", d)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	text := twentyStatements()
	b.ReportAllocs()
	for b.Loop() {
		mustCompile(b, text, "twenty")
	}
}
