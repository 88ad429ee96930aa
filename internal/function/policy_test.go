package function_test

import (
	"fmt"
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

// The policy is that of exactly the qualifier, but for $LATEST.
func TestPolicyText(t *testing.T) {
	statement := func(resource string) function.Statement {
		s, err := function.NewStatement(function.Grant{Sid: "s", Action: "lambda:InvokeFunction", Principal: "999999999999", Resource: resource})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f := &function.Function{Policies: map[string]function.Policy{
		"": {Statements: []function.Statement{statement(functionARN)}}, "live": {Statements: []function.Statement{statement(functionARN + ":live")}},
	}}
	for qualifier, want := range map[string]string{
		"": functionARN, "live": functionARN + ":live", function.Latest: functionARN + ":$LATEST", "1": "",
	} {
		if want != "" {
			want = function.Policy{Statements: []function.Statement{statement(want)}}.JSON()
		}
		if got := f.PolicyText(qualifier); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", qualifier, got, want)
		}
	}
	if got := (&function.Function{}).PolicyText(function.Latest); got != "" {
		t.Errorf("without a policy: got %s", got)
	}
}
