package function_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

const (
	functionARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
	secretARN   = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db/prod-AbCdEf"
)

func TestStatementJSON(t *testing.T) {
	for _, tc := range []struct {
		grant function.Grant
		want  string
	}{
		{
			function.Grant{Sid: "s", Action: "lambda:InvokeFunction", Principal: "secretsmanager.amazonaws.com", Resource: functionARN},
			`{"Sid":"s","Effect":"Allow","Principal":{"Service":"secretsmanager.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + functionARN + `"}`,
		},
		{
			function.Grant{Sid: "s", Action: "lambda:InvokeFunction", Principal: "secretsmanager.amazonaws.com", Resource: functionARN + ":live",
				SourceAccount: "123456789012", SourceARN: secretARN},
			`{"Sid":"s","Effect":"Allow","Principal":{"Service":"secretsmanager.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + functionARN +
				`:live","Condition":{"ArnLike":{"AWS:SourceArn":"` + secretARN + `"},"StringEquals":{"AWS:SourceAccount":"123456789012"}}}`,
		},
		{
			function.Grant{Sid: "s", Action: "lambda:*", Principal: "999999999999", Resource: functionARN},
			`{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":"lambda:*","Resource":"` + functionARN + `"}`,
		},
		{
			function.Grant{Sid: "s", Action: "lambda:InvokeFunction", Principal: "*", Resource: functionARN, OrganizationID: "o-1234567890"},
			`{"Sid":"s","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"` + functionARN +
				`","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}}`,
		},
	} {
		s, err := function.NewStatement(tc.grant)
		if err != nil {
			t.Errorf("%+v: %v", tc.grant, err)
		} else if got := s.JSON(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
	for _, principal := range []string{"nobody", "12345", "example.com", "arn:aws:s3:::bucket", ".amazonaws.com", ""} {
		_, err := function.NewStatement(function.Grant{Sid: "s", Principal: principal})
		if !fault.Is(err, fault.Parameter) {
			t.Errorf("principal %q: got %v, want a parameter error", principal, err)
		}
	}
}

func TestPolicyAddRemove(t *testing.T) {
	statement := func(sid string) function.Statement {
		s, err := function.NewStatement(function.Grant{Sid: sid, Action: "lambda:InvokeFunction", Principal: "secretsmanager.amazonaws.com", Resource: functionARN})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var p function.Policy
	p, err := p.Add(statement("a"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Version":"2012-10-17","Id":"default","Statement":[` + statement("a").JSON() + `]}`
	if got := p.JSON(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := p.Add(statement("a")); !fault.Is(err, fault.Conflict) ||
		text(err) != "The statement id (a) provided already exists. Please provide a new statement id, or remove the existing statement." {
		t.Errorf("the same id again: got %v", err)
	}
	if _, err := p.Remove("b"); !fault.Is(err, fault.NotFound) || text(err) != "Statement b is not found in resource policy." {
		t.Errorf("removing what is not there: got %v", err)
	}
	if q, err := p.Remove("a"); err != nil || len(q.Statements) != 0 || len(p.Statements) != 1 {
		t.Errorf("removing: got %v, %v, and %d left in the original", q, err, len(p.Statements))
	}
	for i := 0; err == nil && i < 1000; i++ {
		p, err = p.Add(statement(fmt.Sprint("s", i)))
	}
	if !fault.Is(err, function.PolicyTooLong) || len(p.JSON()) > function.MaxPolicy {
		t.Errorf("a long policy: got %v with %d bytes, want it refused over %d", err, len(p.JSON()), function.MaxPolicy)
	}
}

func TestAdmits(t *testing.T) {
	from := function.Source{Service: "secretsmanager.amazonaws.com", ARN: secretARN, Account: "123456789012"}
	base := function.Statement{Effect: "Allow", Principal: map[string]string{"Service": "secretsmanager.amazonaws.com"}, Action: "lambda:InvokeFunction"}
	with := func(change func(*function.Statement)) function.Statement {
		s := base
		change(&s)
		return s
	}
	condition := func(operator, key, value string) function.Statement {
		return with(func(s *function.Statement) { s.Condition = map[string]map[string]string{operator: {key: value}} })
	}
	for _, tc := range []struct {
		name string
		s    function.Statement
		want bool
	}{
		{"plain", base, true},
		{"action *", with(func(s *function.Statement) { s.Action = "*" }), true},
		{"action lambda:*", with(func(s *function.Statement) { s.Action = "lambda:*" }), true},
		{"action in another case", with(func(s *function.Statement) { s.Action = "Lambda:invokefunction" }), true},
		{"another action", with(func(s *function.Statement) { s.Action = "lambda:GetFunction" }), false},
		{"another service", with(func(s *function.Statement) { s.Principal = map[string]string{"Service": "events.amazonaws.com"} }), false},
		{"an account", with(func(s *function.Statement) {
			s.Principal = map[string]string{"AWS": "arn:aws:iam::123456789012:root"}
		}), false},
		{"anyone", with(func(s *function.Statement) { s.Principal = map[string]string{"*": "*"} }), true},
		{"account", condition("StringEquals", "AWS:SourceAccount", "123456789012"), true},
		{"account, key in another case", condition("StringEquals", "aws:sourceaccount", "123456789012"), true},
		{"another account", condition("StringEquals", "AWS:SourceAccount", "999999999999"), false},
		{"ARN", condition("ArnLike", "AWS:SourceArn", secretARN), true},
		{"ARN with wildcard", condition("ArnLike", "AWS:SourceArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:db/*"), true},
		{"ARN with marks", condition("ArnLike", "aws:SourceArn", "arn:aws:secretsmanager:*:123456789012:secret:db/prod-??????"), true},
		{"another secret", condition("ArnLike", "AWS:SourceArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:db/test-*"), false},
		{"wildcard stays in its part", condition("ArnLike", "AWS:SourceArn", "arn:aws:*:secret:db/prod-AbCdEf"), false},
		{"event source token", condition("StringEquals", "lambda:EventSourceToken", "x"), false},
		{"unknown operator", condition("StringNotEquals", "AWS:SourceAccount", "999999999999"), false},
	} {
		p := function.Policy{Statements: []function.Statement{tc.s}}
		if got := p.Admits(from); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
	both := function.Policy{Statements: []function.Statement{condition("StringEquals", "AWS:SourceAccount", "999999999999"), base}}
	if !both.Admits(from) {
		t.Error("one statement of two: got false, want true")
	}
	if (function.Policy{}).Admits(from) {
		t.Error("no policy: got true, want false")
	}
}

// TestGlobTime tells apart the matching in linear steps from one that tries
// every split.
func TestGlobTime(t *testing.T) {
	pattern := "arn:aws:secretsmanager:us-east-1:123456789012:" + strings.Repeat("a*", 200) + "b"
	from := function.Source{Service: "s", ARN: "arn:aws:secretsmanager:us-east-1:123456789012:" + strings.Repeat("a", 2000)}
	p := function.Policy{Statements: []function.Statement{{
		Effect: "Allow", Principal: map[string]string{"*": "*"}, Action: "*",
		Condition: map[string]map[string]string{"ArnLike": {"AWS:SourceArn": pattern}},
	}}}
	if p.Admits(from) {
		t.Error("got true, want false")
	}
}
