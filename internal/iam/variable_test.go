package iam

import "testing"

const variableContext = `{
  "aws:username":["ann"], "aws:PrincipalTag/Cost Center":["red*"], "aws:Two":["a","b"], "aws:Empty":[""], "aws:Star":["*"],
  "aws:1":["1"],"aws:2":["2"],"aws:3":["3"],"aws:4":["4"],"aws:5":["5"],"aws:6":["6"]
}`

func TestVariablesInResource(t *testing.T) {
	for _, tc := range []struct {
		resource, text string
		want           bool
	}{
		{"arn:x:${aws:username}/*", "arn:x:ann/a", true},
		{"arn:x:${AWS:UserName}/*", "arn:x:ann/a", true},
		{"arn:x:${ aws:username }/*", "arn:x:ann/a", true},
		{"arn:x:${aws:username}/*", "arn:x:bob/a", false},
		{"arn:*${aws:username}*", "arn:x:to ann/a", true},
		{"arn:${aws:PrincipalTag/Cost Center}", "arn:red*", true},
		{"arn:${aws:PrincipalTag/Cost Center}", "arn:reddish", false},
		{"arn:${aws:Missing}", "arn:", false},
		{"arn:${aws:Missing}", "arn:${aws:Missing}", false},
		{"arn:${aws:Missing, 'none'}", "arn:none", true},
		{"arn:${aws:Missing,'a}b, c*'}", "arn:a}b, c*", true},
		{"arn:${aws:Missing,''}", "arn:", true},
		{"arn:${aws:username, 'none'}", "arn:ann", true},
		{"arn:${aws:Two}", "arn:a", false},
		{"arn:${aws:Two,'c'}", "arn:c", true},
		{"arn:${aws:Empty}x*", "arn:xy", false},
		{"arn:*${aws:Empty}", "arn:xy", false},
		{"arn:${aws:Empty,'x'}*", "arn:xy", true},
		{"arn:${*}", "arn:*", true},
		{"arn:${*}", "arn:x", false},
		{"arn:${?}", "arn:?", true},
		{"arn:${?}", "arn:x", false},
		{"arn:${$}{aws:username}", "arn:${aws:username}", true},
		{"arn:${", "arn:${", true},
		{"arn:${}", "arn:${}", true},
		{"arn:${aws:username", "arn:${aws:username", true},
		{"arn:${aws:username,none}", "arn:${aws:username,none}", true},
		{"arn:${aws:username,'}", "arn:${aws:username,'}", true},
		{"arn:$", "arn:$", true},
		{"${aws:1}${aws:2}-${aws:3}${aws:4}*${aws:5}${aws:6}", "12-34 and 56", true},
		{"${aws:1}${aws:2}-${aws:3}${aws:4}*${aws:5}${aws:6}", "12-34 and 57", false},
		{"${aws:1}${aws:2}${aws:3}${aws:4}${aws:5}${aws:no}", "12345", false},
	} {
		p := compileResources([]string{tc.resource}, true)
		got, _ := (&Request{Context: contextOf(t, variableContext)}).matches(&p[0], tc.text, 0)
		if got != tc.want {
			t.Errorf("%q on %q: got %v, want %v", tc.resource, tc.text, got, tc.want)
		}
	}
}

func TestVariablesInConditions(t *testing.T) {
	r := &Request{Context: contextOf(t, `{"aws:username":["Ann"],"aws:k":["to Ann*"],"aws:arn":["arn:a:b:c:d:Ann/x"],"aws:owner":["arn:a:b:c:d:Ann"]}`)}
	for element, want := range map[string]bool{
		`{"StringEquals":{"aws:k":"to ${aws:username}*"}}`:                               true,
		`{"StringEquals":{"aws:k":"to ${aws:username}"}}`:                                false,
		`{"StringEqualsIgnoreCase":{"aws:k":"TO ${aws:username}*"}}`:                     true,
		`{"StringEqualsIgnoreCase":{"aws:k":"TO ${aws:username}*x"}}`:                    false,
		`{"StringEqualsIgnoreCase":{"aws:k":"${aws:none}"}}`:                             false,
		`{"StringLike":{"aws:k":"to ${aws:username}${*}"}}`:                              true,
		`{"StringLike":{"aws:k":["${aws:none}","to*"]}}`:                                 true,
		`{"ArnLike":{"aws:arn":"arn:a:b:*:d:${aws:username}/?"}}`:                        true,
		`{"ArnLike":{"aws:arn":"${aws:owner}/*"}}`:                                       true,
		`{"ArnEquals":{"aws:owner":"${aws:owner}"}}`:                                     true,
		`{"StringNotEquals":{"aws:k":"${aws:username}"}}`:                                true,
		`{"StringNotEquals":{"aws:k":"${aws:none}"}}`:                                    false,
		`{"StringNotEquals":{"aws:k":["a","${aws:none}"]}}`:                              false,
		`{"StringNotEquals":{"aws:none":"${aws:none}"}}`:                                 false,
		`{"StringNotEqualsIfExists":{"aws:none":"${aws:none}"}}`:                         true,
		`{"StringNotLike":{"aws:k":"${aws:none, 'x'}"}}`:                                 true,
		`{"ArnNotLike":{"aws:arn":"${aws:none}"}}`:                                       false,
		`{"ForAllValues:StringEquals":{"aws:none":"${aws:none}"}}`:                       true,
		`{"StringEquals":{"aws:username":"${aws:username}"},"Null":{"aws:none":"true"}}`: true,
	} {
		if got := conditionMetBy(t, Version2012, element, r); got != want {
			t.Errorf("%s: got %v, want %v", element, got, want)
		}
	}
}

// TestOldVersion: in the older version of the language a variable is plain
// text, whose wildcards count.
func TestOldVersion(t *testing.T) {
	r := &Request{Context: contextOf(t, `{"aws:username":["ann"],"aws:k":["${aws:username}"]}`), Resource: "arn:${aws:username}", Action: "a:b"}
	if !conditionMetBy(t, Version2008, `{"StringEquals":{"aws:k":"${aws:username}"}}`, r) {
		t.Error("a variable is not plain text in a condition")
	}
	for resource, want := range map[string]bool{"arn:${aws:username}": true, "arn:ann": false} {
		p := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"`+resource+`"`), "p")
		if got := Evaluate(&Request{Principal: session(account), Action: "a:b", Resource: r.Resource, Context: r.Context}, &Policies{Identity: []*Policy{p}}).Allowed(); got != want {
			t.Errorf("%s: got %v, want %v", resource, got, want)
		}
	}
	p := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"arn:${*}"`), "p")
	if !p.statements[0].covers(&Request{Action: "a:b", Resource: "arn:${x}"}, false) {
		t.Error("an escaped * is not a wildcard in the older version")
	}
}

// TestMissingVariableInDeny: a variable without a value equals nothing and
// matches nothing, so it must not take the force from a Deny that makes an
// exception for it.
func TestMissingVariableInDeny(t *testing.T) {
	allow := mustCompile(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"*"`), "allow")
	for _, tc := range []struct {
		element, context string
		want             Verdict
	}{
		{`"Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`, `{"aws:ResourceTag/team":["red"]}`, ExplicitDeny},
		{`"Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`, `{}`, ExplicitDeny},
		{`"Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`, `{"aws:ResourceTag/team":["red"],"aws:PrincipalTag/team":["red"]}`, Allowed},
		{`"Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/team":["${aws:PrincipalTag/team}","red"]}}`, `{"aws:ResourceTag/team":["red"]}`, Allowed},
		{`"Resource":"*","Condition":{"StringNotLike":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}*"}}`, `{"aws:ResourceTag/team":["red"]}`, ExplicitDeny},
		{`"Resource":"*","Condition":{"StringNotLike":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}*"}}`, `{"aws:ResourceTag/team":["red"],"aws:PrincipalTag/team":[""]}`, ExplicitDeny},
		{`"Resource":"*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"${aws:PrincipalTag/arn}"}}`, `{}`, ExplicitDeny},
		{`"NotResource":"arn:${aws:PrincipalTag/team}"`, `{}`, ExplicitDeny},
		{`"NotResource":"arn:${aws:PrincipalTag/team}*"`, `{"aws:PrincipalTag/team":[""]}`, ExplicitDeny},
		{`"NotResource":"arn:${aws:PrincipalTag/team}"`, `{"aws:PrincipalTag/team":["red"]}`, Allowed},
	} {
		deny := mustCompile(t, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*",`+tc.element+`}}`, "deny")
		r := &Request{Principal: ann, Action: "a:b", Resource: "arn:red", Context: contextOf(t, tc.context)}
		if got := Evaluate(r, &Policies{Identity: []*Policy{allow, deny}}).Effect; got != tc.want {
			t.Errorf("%s with %s: got %v, want %v", tc.element, tc.context, got, tc.want)
		}
	}
}

func TestNotResourceWithVariable(t *testing.T) {
	p := mustCompile(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","NotResource":["arn:a","arn:${aws:username}"]}}`, "p")
	for _, tc := range []struct {
		context, resource string
		want              bool
	}{
		{`{"aws:username":["ann"]}`, "arn:b", true},
		{`{"aws:username":["ann"]}`, "arn:ann", false},
		{`{"aws:username":["ann"]}`, "arn:a", false},
		{"", "arn:b", false},
	} {
		if got := p.statements[0].covers(&Request{Action: "a:b", Resource: tc.resource, Context: contextOf(t, tc.context)}, false); got != tc.want {
			t.Errorf("%s with %s: got %v, want %v", tc.resource, tc.context, got, tc.want)
		}
	}
}

func TestPrincipalKeys(t *testing.T) {
	user := Principal{Type: IAMUser, Account: account, ARN: "arn:aws:iam::" + account + ":user/ann", ID: "AIDAEXAMPLE", Name: "ann"}
	root := Principal{Type: Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account}
	service := Principal{Type: Service, Account: account, InvokedBy: "lambda.amazonaws.com"}
	for _, tc := range []struct {
		principal Principal
		key, want string
	}{
		{user, "aws:principalarn", user.ARN},
		{user, "aws:principalaccount", account},
		{user, "aws:principaltype", "User"},
		{user, "aws:userid", "AIDAEXAMPLE"},
		{user, "aws:username", "ann"},
		{user, "aws:principalisawsservice", "false"},
		{user, "aws:principalservicename", ""},
		{user, "aws:tokenissuetime", ""},
		{root, "aws:principalarn", root.ARN},
		{root, "aws:principaltype", "Account"},
		{root, "aws:userid", account},
		{root, "aws:username", ""},
		{session(account), "aws:principalarn", "arn:aws:iam::" + account + ":role/app-reader"},
		{session(account), "aws:principaltype", "AssumedRole"},
		{session(account), "aws:userid", "AROAEXAMPLE:s1"},
		{session(account), "aws:username", ""},
		{session(account), "aws:tokenissuetime", "2027-01-15T08:00:00Z"},
		{service, "aws:principalarn", ""},
		{service, "aws:principalaccount", ""},
		{service, "aws:principaltype", ""},
		{service, "aws:principalisawsservice", "true"},
		{service, "aws:principalservicename", "lambda.amazonaws.com"},
		{Principal{}, "aws:principaltype", "Anonymous"},
		{Principal{}, "aws:userid", "anonymous"},
		{Principal{}, "aws:principalarn", ""},
		{user, "aws:sourceip", ""},
	} {
		r := &Request{Principal: tc.principal}
		got := ""
		if v := r.value(tc.key); v.len() > 0 {
			got = v.at(0)
		}
		if got != tc.want {
			t.Errorf("%s of %q: got %q, want %q", tc.key, tc.principal.ARN, got, tc.want)
		}
	}
	r := &Request{Principal: user, Context: ContextOf(map[string][]string{"AWS:username": {"bob"}})}
	if got := r.value("aws:username").at(0); got != "bob" {
		t.Errorf("got %q, want the value of the context before the principal's", got)
	}
}
