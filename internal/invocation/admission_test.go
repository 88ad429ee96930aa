package invocation

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const (
	functionARN = "arn:aws:lambda:" + servicetest.Region + ":" + servicetest.Account + ":function:f"
	secretARN   = "arn:aws:secretsmanager:us-east-1:999999999999:secret:db/prod-AbCdEf"
	owner       = "999999999999"
)

// newFunction stores the function f with a version, an alias and policies.
func newFunction(t *testing.T, policies map[string]function.Policy) *store.Store {
	t.Helper()
	s := servicetest.NewParts(t).Store
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		f := &function.Function{
			ID: "id", Account: servicetest.Account, Region: servicetest.Region, Name: "f", NextVersion: 2, Policies: policies,
			Config: function.Config{Version: function.Latest, State: function.StateActive, CodeSHA256: "code"},
		}
		if err := errors.Join(tx.SaveCode("code", []byte("code")), tx.CreateFunction(f)); err != nil {
			return err
		}
		one := f.Config.Clone()
		one.Version = "1"
		if err := tx.SaveFunctionVersion(f, &one); err != nil {
			return err
		}
		return tx.CreateFunctionAlias(&function.Alias{FunctionID: "id", Name: "live", Version: "1"})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func canInvoke(t *testing.T, s *store.Store, functionARN string) error {
	t.Helper()
	return s.View(t.Context(), func(tx *store.Tx) error { return CanInvoke(tx, functionARN, secretARN, owner) })
}

// Every statement that AddPermission makes, and what it admits.
func TestCanInvoke(t *testing.T) {
	base := function.Grant{Action: InvokeFunction, Principal: secretsManager}
	with := func(change func(*function.Grant)) function.Grant {
		g := base
		change(&g)
		return g
	}
	for _, tc := range []struct {
		name  string
		grant function.Grant
		want  bool
	}{
		{"plain", base, true},
		{"action *", with(func(g *function.Grant) { g.Action = "*" }), true},
		{"action lambda:*", with(func(g *function.Grant) { g.Action = "lambda:*" }), true},
		{"action in another case", with(func(g *function.Grant) { g.Action = "Lambda:invokefunction" }), true},
		{"another action", with(func(g *function.Grant) { g.Action = "lambda:GetFunction" }), false},
		{"another service", with(func(g *function.Grant) { g.Principal = "events.amazonaws.com" }), false},
		{"an account", with(func(g *function.Grant) { g.Principal = owner }), false},
		{"a role", with(func(g *function.Grant) { g.Principal = "arn:aws:iam::" + owner + ":role/r" }), false},
		{"anyone", with(func(g *function.Grant) { g.Principal = "*" }), true},
		{"account", with(func(g *function.Grant) { g.SourceAccount = owner }), true},
		{"the function's account", with(func(g *function.Grant) { g.SourceAccount = servicetest.Account }), false},
		{"secret", with(func(g *function.Grant) { g.SourceARN = secretARN }), true},
		{"secret and account", with(func(g *function.Grant) { g.SourceARN, g.SourceAccount = secretARN, owner }), true},
		{"secret with wildcard", with(func(g *function.Grant) { g.SourceARN = "arn:aws:secretsmanager:us-east-1:999999999999:secret:db/*" }), true},
		{"secret with marks", with(func(g *function.Grant) { g.SourceARN = "arn:aws:secretsmanager:*:999999999999:secret:db/prod-??????" }), true},
		{"another secret", with(func(g *function.Grant) {
			g.SourceARN = "arn:aws:secretsmanager:us-east-1:999999999999:secret:db/test-*"
		}), false},
		{"wildcard stays in its part", with(func(g *function.Grant) { g.SourceARN = "arn:aws:*:secret:db/prod-AbCdEf" }), false},
		{"event source token", with(func(g *function.Grant) { g.EventSourceToken = "x" }), false},
		{"organization", with(func(g *function.Grant) { g.OrganizationID = "o-1234567890" }), false},
		{"by URL", with(func(g *function.Grant) { g.ViaURL = true }), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.grant.Sid, tc.grant.Resource = "s", functionARN
			statement, err := function.NewStatement(tc.grant)
			if err != nil {
				t.Fatal(err)
			}
			policy := function.Policy{Statements: []function.Statement{statement}}
			r := ResourceOf(function.Ref{Region: servicetest.Region, Account: servicetest.Account, Name: "f"}, &function.Function{Policies: map[string]function.Policy{"": policy}})
			if got := admits(r, secretARN, owner); got != tc.want {
				t.Errorf("got %t, want %t by %s", got, tc.want, policy.JSON())
			}
		})
	}
}

// A grant counts for exactly what it was made on, and $LATEST has the
// function's.
func TestCanInvokeQualified(t *testing.T) {
	grant := func(resource string) function.Policy {
		s, err := function.NewStatement(function.Grant{Sid: "s", Action: InvokeFunction, Principal: secretsManager, Resource: resource})
		if err != nil {
			t.Fatal(err)
		}
		return function.Policy{Statements: []function.Statement{s}}
	}
	const refused = "Secrets Manager cannot invoke the specified Lambda function. " +
		"Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."
	for granted, admitted := range map[string][]string{"": {"", ":$LATEST"}, "live": {":live"}, "1": {":1"}, "none": nil} {
		s := newFunction(t, map[string]function.Policy{granted: grant(function.ARN(servicetest.Region, servicetest.Account, "f", granted))})
		want := map[string]bool{}
		for _, suffix := range admitted {
			want[suffix] = true
		}
		for _, suffix := range []string{"", ":$LATEST", ":live", ":1", ":2", ":none", "2"} {
			err := canInvoke(t, s, functionARN+suffix)
			switch {
			case want[suffix] && err != nil:
				t.Errorf("granted on %q, invoked by %q: %v", granted, suffix, err)
			case !want[suffix] && (!fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), refused)):
				t.Errorf("granted on %q, invoked by %q: got %v, want it refused", granted, suffix, err)
			}
		}
		for _, malformed := range []string{"f", "", servicetest.Account + ":function:f", "arn:aws:s3:::bucket"} {
			if err := canInvoke(t, s, malformed); !fault.Is(err, fault.Denied) {
				t.Errorf("%q: got %v, want it refused", malformed, err)
			}
		}
	}
}

// The condition keys that a function gives: its ARN as it was named, and its
// tags without regard to the case of their keys.
func TestResourceContext(t *testing.T) {
	ref := function.Ref{Region: servicetest.Region, Account: servicetest.Account, Name: "f", Qualifier: "live"}
	r := ResourceOf(ref, &function.Function{Tags: map[string]string{"Team": "blue"}})
	for key, want := range map[string]string{
		"lambda:functionarn": functionARN + ":live", "aws:resourcetag/team": "blue", "aws:resourcetag/other": "", "aws:requesttag/team": "",
	} {
		if got := strings.Join(r.Context(key).Strings(), ","); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}
