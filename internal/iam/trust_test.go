package iam_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/iam"
)

func TestTrustsService(t *testing.T) {
	statement := func(effect, principal, action, rest string) string {
		return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":` + action + rest + `}`
	}
	document := func(statements string) string {
		return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
	}
	const lambda = `{"Service":"lambda.amazonaws.com"}`
	for _, tc := range []struct {
		name, policy string
		want         bool
	}{
		{"the usual", document(statement("Allow", lambda, `"sts:AssumeRole"`, "")), true},
		{"lists", document(statement("Allow", `{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]}`, `["sts:TagSession","sts:assumerole"]`, "")), true},
		{"anyone", document(statement("Allow", `"*"`, `"sts:*"`, "")), true},
		{"another service", document(statement("Allow", `{"Service":"ec2.amazonaws.com"}`, `"sts:AssumeRole"`, "")), false},
		{"an account", document(statement("Allow", `{"AWS":"123456789012"}`, `"sts:AssumeRole"`, "")), false},
		{"another action", document(statement("Allow", lambda, `"sts:TagSession"`, "")), false},
		{"denied", document(statement("Allow", lambda, `"sts:AssumeRole"`, "") + "," + statement("Deny", lambda, `"*"`, "")), false},
		{"on a condition", document(statement("Allow", lambda, `"sts:AssumeRole"`, `,"Condition":{"StringEquals":{"aws:SourceAccount":"1"}}`)), false},
		{"no policy", "", false},
	} {
		role := iam.Role{TrustPolicy: tc.policy}
		if got := role.TrustsService("lambda.amazonaws.com"); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}
