package iam

import "testing"

// The callers of the tests.
var (
	root      = Principal{Type: Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account}
	ann       = Principal{Type: IAMUser, Account: account, ARN: "arn:aws:iam::" + account + ":user/team/ann", ID: "AIDAANN", Name: "ann"}
	reader    = session(account)
	stranger  = session(otherAccount)
	lambda    = Principal{Type: Service, Account: account, InvokedBy: "lambda.amazonaws.com"}
	pod       = Principal{Type: WebIdentity, Account: account, IdentityProvider: "arn:aws:iam::" + account + ":oidc-provider/k8s.example"}
	anonymous = Principal{}
)

func TestPrincipals(t *testing.T) {
	const (
		id       = `"` + account + `"`
		iamARN   = "arn:aws:iam::" + account
		roleName = `"` + iamARN + `:role/app-reader"`
		sts      = `"arn:aws:sts::` + account + `:assumed-role/app-reader/s1"`
	)
	type grants map[*Principal]grant
	everybody := grants{
		&root: toCaller, &ann: toCaller, &reader: toCaller, &stranger: toCaller, &lambda: toCaller, &pod: toCaller, &anonymous: toCaller,
	}
	for _, tc := range []struct {
		principal string
		want      grants
	}{
		{`"*"`, everybody},
		{`{"AWS":"*"}`, everybody},
		{`{"AWS":[` + id + `,"*"]}`, everybody},
		{`{"AWS":` + id + `}`, grants{&root: toCaller, &ann: toAccount, &reader: toAccount}},
		{`{"AWS":"` + iamARN + `:root"}`, grants{&root: toCaller, &ann: toAccount, &reader: toAccount}},
		{`{"AWS":"arn:aws-cn:iam::` + account + `:root"}`, grants{&root: toCaller, &ann: toAccount, &reader: toAccount}},
		{`{"AWS":"` + iamARN + `:user/team/ann"}`, grants{&ann: toCaller}},
		{`{"AWS":"` + iamARN + `:user/ann"}`, grants{}},
		{`{"AWS":"` + iamARN + `:user/team/*"}`, grants{}},
		{`{"AWS":"AIDAANN"}`, grants{&ann: toCaller}},
		{`{"AWS":` + roleName + `}`, grants{&reader: toRole}},
		{`{"AWS":"AROAEXAMPLE"}`, grants{&reader: toRole, &stranger: toRole}},
		{`{"AWS":"AROAEXAMPL"}`, grants{}},
		{`{"AWS":` + sts + `}`, grants{&reader: toCaller}},
		{`{"AWS":[` + id + `,` + roleName + `,` + sts + `]}`, grants{&root: toCaller, &ann: toAccount, &reader: toCaller}},
		{`{"AWS":[` + id + `,` + roleName + `]}`, grants{&root: toCaller, &ann: toAccount, &reader: toRole}},
		{`{"AWS":"arn:aws:sts::` + account + `:assumed-role/app-reader/s2"}`, grants{}},
		{`{"Service":["x.amazonaws.com","lambda.amazonaws.com"]}`, grants{&lambda: toCaller}},
		{`{"Service":"*"}`, grants{}},
		{`{"Federated":"` + iamARN + `:oidc-provider/k8s.example"}`, grants{&pod: toCaller}},
		{`{"Federated":"*"}`, grants{&pod: toCaller}},
		{`{"CanonicalUser":"79a5"}`, grants{}},
	} {
		p := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"*","Principal":`+tc.principal), "p")
		for caller := range everybody {
			if got := p.statements[0].concerns(caller); got != tc.want[caller] {
				t.Errorf("%s for %q %s: got %v, want %v", tc.principal, caller.Type, caller.ARN, got, tc.want[caller])
			}
		}
	}
}

func TestNotPrincipal(t *testing.T) {
	const (
		iamARN   = "arn:aws:iam::" + account
		user     = `"` + iamARN + `:user/team/ann"`
		roleName = `"` + iamARN + `:role/app-reader"`
		sts      = `"arn:aws:sts::` + account + `:assumed-role/app-reader/s1"`
	)
	for _, tc := range []struct {
		effect, not string
		caller      *Principal
		want        bool
	}{
		{"Deny", `{"AWS":[` + user + `,"` + account + `"]}`, &ann, false},
		{"Deny", `{"AWS":` + user + `}`, &ann, true},
		{"Deny", `{"AWS":"` + account + `"}`, &ann, true},
		{"Deny", `{"AWS":"` + account + `"}`, &root, false},
		{"Deny", `{"AWS":[` + sts + `,` + roleName + `,"` + account + `"]}`, &reader, false},
		{"Deny", `{"AWS":[` + sts + `,"` + account + `"]}`, &reader, true},
		{"Deny", `{"AWS":[` + roleName + `,"` + account + `"]}`, &reader, true},
		{"Deny", `{"AWS":[` + sts + `,` + roleName + `]}`, &reader, true},
		{"Deny", `{"AWS":"` + account + `"}`, &lambda, true},
		{"Deny", `{"Service":"lambda.amazonaws.com"}`, &lambda, false},
		{"Deny", `{"Federated":"` + pod.IdentityProvider + `"}`, &pod, false},
		{"Deny", `{"AWS":"` + account + `"}`, &anonymous, true},
		{"Deny", `"*"`, &ann, false},
		{"Deny", `"*"`, &anonymous, false},
		{"Allow", `{"AWS":` + user + `}`, &ann, false},
		{"Allow", `{"AWS":"` + account + `"}`, &ann, false},
		{"Allow", `{"AWS":` + roleName + `}`, &reader, false},
		{"Allow", `{"AWS":` + user + `}`, &reader, true},
		{"Allow", `{"AWS":` + user + `}`, &anonymous, true},
		{"Allow", `"*"`, &stranger, false},
	} {
		p := mustCompile(t, oneStatement(`"Effect":"`+tc.effect+`","Action":"*","Resource":"*","NotPrincipal":`+tc.not), "p")
		if got := p.statements[0].concerns(tc.caller) != noGrant; got != tc.want {
			t.Errorf("%s but %s for %q %s: got %v, want %v", tc.effect, tc.not, tc.caller.Type, tc.caller.ARN, got, tc.want)
		}
	}
}

func TestActions(t *testing.T) {
	for _, tc := range []struct {
		element, action string
		want            bool
	}{
		{`"Action":"secretsmanager:GetSecretValue"`, "secretsmanager:GetSecretValue", true},
		{`"Action":"SecretsManager:getsecretvalue"`, "secretsmanager:GetSecretValue", true},
		{`"Action":"secretsmanager:Get*"`, "secretsmanager:GetSecretValue", true},
		{`"Action":"secretsmanager:Get*"`, "secretsmanager:PutSecretValue", false},
		{`"Action":"secretsmanager:???SecretValue"`, "secretsmanager:PutSecretValue", true},
		{`"Action":"*"`, "kms:Decrypt", true},
		{`"Action":"*:*"`, "kms:Decrypt", true},
		{`"Action":["kms:Encrypt","kms:Decrypt"]`, "kms:Decrypt", true},
		{`"Action":"kms:Decrypt"`, "kms:DecryptX", false},
		{`"NotAction":["iam:*","kms:Decrypt"]`, "kms:Decrypt", false},
		{`"NotAction":["iam:*","kms:Decrypt"]`, "kms:Encrypt", true},
		{`"NotAction":"*"`, "kms:Encrypt", false},
	} {
		p := mustCompile(t, oneStatement(`"Effect":"Allow","Resource":"*",`+tc.element), "p")
		if got := p.statements[0].coversAction(tc.action); got != tc.want {
			t.Errorf("%s for %s: got %v, want %v", tc.element, tc.action, got, tc.want)
		}
	}
}

func TestResources(t *testing.T) {
	const prefix = "arn:aws:secretsmanager:us-east-1:" + account + ":secret:"
	for _, tc := range []struct {
		element, resource string
		want              bool
	}{
		{`"Resource":"*"`, secretARN, true},
		{`"Resource":"*"`, "*", true},
		{`"Resource":"` + secretARN + `"`, secretARN, true},
		{`"Resource":"` + secretARN + `"`, "*", false},
		{`"Resource":"` + prefix + `prod/db-??????"`, secretARN, true},
		{`"Resource":"` + prefix + `prod/db"`, secretARN, false},
		{`"Resource":"` + prefix + `PROD/*"`, secretARN, false},
		{`"Resource":["` + prefix + `test/*","` + prefix + `prod/*"]`, secretARN, true},
		{`"NotResource":"` + prefix + `prod/*"`, secretARN, false},
		{`"NotResource":["` + prefix + `test/*","arn:*:x"]`, secretARN, true},
	} {
		p := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*",`+tc.element), "p")
		if got := p.statements[0].covers(&Request{Action: "a:b", Resource: tc.resource}, false); got != tc.want {
			t.Errorf("%s for %s: got %v, want %v", tc.element, tc.resource, got, tc.want)
		}
	}
}

// TestIncompleteStatement: what validation refuses is safe nevertheless.
func TestIncompleteStatement(t *testing.T) {
	r := &Request{Principal: ann, Action: "a:b", Resource: secretARN}
	for _, tc := range []struct {
		members  string
		identity bool
		want     Verdict
	}{
		{`"Effect":"Allow","Action":"*"`, true, ImplicitDeny},
		{`"Effect":"Deny","Action":"*"`, true, ExplicitDeny},
		{`"Effect":"Allow","Action":"*","Resource":"*"`, false, ImplicitDeny},
		{`"Effect":"Deny","Action":"*","Resource":"*"`, false, ExplicitDeny},
		{`"Effect":"Allow","Action":"*","Principal":"*"`, false, Allowed},
	} {
		p := mustCompile(t, oneStatement(tc.members), "p")
		in := &Policies{Resource: p}
		if tc.identity {
			in = &Policies{Identity: []*Policy{p}}
		}
		if got := Evaluate(r, in).Effect; got != tc.want {
			t.Errorf("%s, of an identity %v: got %v, want %v", tc.members, tc.identity, got, tc.want)
		}
	}
}
