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
		{"for an account", document(statement("Allow", lambda, `"sts:AssumeRole"`, `,"Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}`)), true},
		{"for another account", document(statement("Allow", lambda, `"sts:AssumeRole"`, `,"Condition":{"StringEquals":{"aws:SourceAccount":"1"}}`)), false},
		{"for a function", document(statement("Allow", lambda, `"sts:AssumeRole"`, `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:lambda:*:*:function:rotate-*"}}`)), true},
		{"on another condition", document(statement("Allow", lambda, `"sts:AssumeRole"`, `,"Condition":{"StringEquals":{"sts:ExternalId":"1"}}`)), false},
		{"no policy", "", false},
	} {
		role := iam.Role{TrustPolicy: tc.policy}
		context := iam.ContextOf(map[string][]string{"aws:SourceAccount": {"123456789012"}, "aws:SourceArn": {"arn:aws:lambda:us-east-1:123456789012:function:rotate-db"}})
		if got := role.TrustsService("lambda.amazonaws.com", context); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}

func TestTrustsServiceWithoutContext(t *testing.T) {
	role := iam.Role{TrustPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`}
	if !role.TrustsService("lambda.amazonaws.com", nil) || role.TrustsService("ec2.amazonaws.com", nil) {
		t.Error("the service that is named is not the one that is trusted")
	}
}
