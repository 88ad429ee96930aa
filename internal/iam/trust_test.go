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

func TestTrustsPrincipal(t *testing.T) {
	const account, other = "123456789012", "210987654321"
	root := iam.Principal{Type: iam.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root"}
	caller := iam.Role{Account: account, Name: "caller", Path: "/ops/"}
	session := iam.Principal{Type: iam.AssumedRole, Account: account, ARN: caller.SessionARN("s"), RoleARN: caller.ARN()}
	trust := func(effect, principal string) string {
		return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"sts:AssumeRole"}`
	}
	for _, tc := range []struct {
		name, statements string
		root, session    bool
	}{
		{"the account", trust("Allow", `{"AWS":"`+account+`"}`), true, true},
		{"the account's root", trust("Allow", `{"AWS":"arn:aws:iam::`+account+`:root"}`), true, true},
		{"everybody", trust("Allow", `{"AWS":"*"}`), true, true},
		{"the role", trust("Allow", `{"AWS":"`+caller.ARN()+`"}`), false, true},
		{"one session", trust("Allow", `{"AWS":["`+caller.SessionARN("s")+`"]}`), false, true},
		{"another session", trust("Allow", `{"AWS":"`+caller.SessionARN("t")+`"}`), false, false},
		{"another account", trust("Allow", `{"AWS":"`+other+`"}`), false, false},
		{"a service", trust("Allow", `{"Service":"lambda.amazonaws.com"}`), false, false},
		{"all but the role", trust("Allow", `"*"`) + "," + trust("Deny", `{"AWS":"`+caller.ARN()+`"}`), true, false},
		{"everybody but", `{"Effect":"Allow","NotPrincipal":{"AWS":"` + other + `"},"Action":"sts:AssumeRole"}`, true, true},
		{"on a condition", `{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`, false, false},
	} {
		role := iam.Role{TrustPolicy: `{"Version":"2012-10-17","Statement":[` + tc.statements + `]}`}
		if got := role.TrustsPrincipal(root); got != tc.root {
			t.Errorf("%s: root: got %t, want %t", tc.name, got, tc.root)
		}
		if got := role.TrustsPrincipal(session); got != tc.session {
			t.Errorf("%s: session: got %t, want %t", tc.name, got, tc.session)
		}
	}
}
