package iam

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	anybody   = `"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"`
	forAll    = `{"Effect":"Allow","Principal":"*","Action":"secretsmanager:Get*","Resource":"*"},`
	forNobody = `{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"secretsmanager:*","Resource":"*","Condition":`
)

func TestPublic(t *testing.T) {
	for _, tc := range []struct {
		members string
		want    bool
	}{
		{anybody, true},
		{`"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"*"`, true},
		{`"Effect":"Deny","Principal":"*","Action":"*"`, false},
		{`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*"`, false},
		{`"Effect":"Allow","Principal":{"AWS":["111122223333","*"]},"Action":"*"`, true},
		{`"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"*"`, false},
		{`"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"*"`, true},
		{`"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/p"},"Action":"*"`, false},
		{anybody + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`, false},
		{anybody + `,"Condition":{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`, true},
		{anybody + `,"Condition":{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-1/r-1/*"}}`, false},
		{anybody + `,"Condition":{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-*/r-1/"}}`, true},
		{anybody + `,"Condition":{"ForAllValues:StringLike":{"aws:PrincipalOrgPaths":"o-1/r-1/*"}}`, true},
		{anybody + `,"Condition":{"StringEquals":{"AWS:sourceaccount":"111122223333"}}`, false},
		{anybody + `,"Condition":{"StringLike":{"aws:SourceAccount":"*"}}`, true},
		{anybody + `,"Condition":{"StringLike":{"aws:SourceAccount":"1*"}}`, true},
		{anybody + `,"Condition":{"StringEquals":{"aws:PrincipalAccount":"${aws:PrincipalAccount}"}}`, true},
		{anybody + `,"Condition":{"StringNotEquals":{"aws:SourceAccount":"111122223333"}}`, true},
		{anybody + `,"Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}}`, true},
		{anybody + `,"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`, false},
		{anybody + `,"Condition":{"StringLike":{"aws:SourceVpce":"vpce-*"}}`, true},
		{anybody + `,"Condition":{"StringEquals":{"aws:SourceVpc":["vpc-1","vpc-2"]}}`, false},
		{anybody + `,"Condition":{"StringEquals":{"aws:username":"ann"}}`, true}, // every account may have an ann
		{anybody + `,"Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue"}}`, true},
		{anybody + `,"Condition":{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`, false},
		{anybody + `,"Condition":{"StringLike":{"aws:userid":"AROA*"}}`, true},
		{anybody + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`, true},
		{anybody + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}`, false},
		{anybody + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/r"}}`, true},
		{anybody + `,"Condition":{"StringLike":{"aws:PrincipalArn":"arn:*:iam::111122223333:role/r"}}`, true},
		{anybody + `,"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::bucket"}}`, false},
		{anybody + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}`, true},
		{anybody + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:*"}}`, false},
		{anybody + `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, false},
		{anybody + `,"Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.1","0.0.0.0/0"]}}`, true},
		{anybody + `,"Condition":{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}`, true},
		{anybody + `,"Condition":{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}`, false},
		{anybody + `,"Condition":{"IpAddress":{"aws:SourceIp":"2000::/3"}}`, true},
		{anybody + `,"Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, true},
	} {
		wantPublic(t, oneStatement(tc.members), tc.want)
	}
}

// A Deny for everybody else makes up for a broad Allow.
func TestPublicButDenied(t *testing.T) {
	for _, tc := range []struct {
		statements string
		want       bool
	}{
		{forAll + forNobody + `{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, false},
		{forAll + forNobody + `{"StringNotEqualsIfExists":{"aws:PrincipalAccount":["111122223333"]}}}`, false},
		{forAll + forNobody + `{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:*"},"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}`, false},
		{forAll + forNobody + `{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`, false},
		{forAll + forNobody + `{"StringNotLike":{"aws:PrincipalOrgID":"o-*"}}}`, true},
		{forAll + forNobody + `{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`, true},
		{forAll + forNobody + `{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"},"Bool":{"aws:ViaAWSService":"false"}}}`, true},
		{forAll + `{"Effect":"Deny","NotPrincipal":{"AWS":["111122223333"]},"Action":"*","Resource":"*"}`, false},
		{forAll + `{"Effect":"Deny","NotPrincipal":{"AWS":"*"},"Action":"*","Resource":"*"}`, true},
		{forAll + `{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, true},
		{forAll + `{"Effect":"Deny","Principal":"*","NotAction":"secretsmanager:X","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, true},
		{forAll + `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, true},
		{forAll + `{"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, true},
	} {
		wantPublic(t, `{"Version":"2012-10-17","Statement":[`+tc.statements+`]}`, tc.want)
	}
}

func wantPublic(t *testing.T, text string, want bool) {
	t.Helper()
	d, err := ParseDocument(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if got := d.Public(); got != want {
		t.Errorf("%s: public is %v, want %v", text, got, want)
	}
}

// Whatever a policy allows to a caller whom nothing in it can mean, it allows
// to everybody.
func TestPublicIsWhatStrangersMayDo(t *testing.T) {
	stranger := Principal{Type: IAMUser, Account: "000011112222", ARN: "arn:aws:iam::000011112222:user/ann", ID: "AIDASTRANGER", Name: "ann"}
	context := ContextOf(map[string][]string{
		"aws:SourceIp": {"203.0.113.9"}, "aws:SourceVpce": {"vpce-9"}, "aws:PrincipalOrgID": {"o-9"}, "aws:SecureTransport": {"true"},
	})
	everything, err := CompileText(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "own")
	if err != nil {
		t.Fatal(err)
	}
	pick := func(t *rapid.T, what string, list ...string) string { return rapid.SampledFrom(list).Draw(t, what) }
	statement := func(t *rapid.T) string {
		var conditions []string
		for _, operator := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
			"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIfExists", "StringNotEqualsIfExists",
			"ForAllValues:StringEquals", "ForAnyValue:StringLike", "ArnLike", "ArnNotLike", "Bool", "IpAddress", "NotIpAddress",
		}), 0, 2, rapid.ID).Draw(t, "operators") {
			key, values := pick(t, "key", "aws:PrincipalOrgID", "aws:PrincipalAccount", "aws:SourceVpce", "aws:SourceVpc", "aws:username", "aws:userid"),
				[]string{"*", "o-*", "o-1", "111122223333", "0*", "vpce-1", "vpce-?", "ann", "AIDA*", "AIDAX:*", "${aws:PrincipalAccount}"}
			switch {
			case strings.HasPrefix(operator, "Arn"):
				key, values = pick(t, "key", "aws:PrincipalArn", "aws:SourceArn"), []string{"arn:aws:iam::111122223333:*", "arn:aws:iam::*:user/ann", "*", "arn:aws:s3:::b"}
			case operator == "Bool":
				key, values = "aws:SecureTransport", []string{"true", "false"}
			case strings.HasSuffix(operator, "IpAddress"):
				key, values = "aws:SourceIp", []string{"198.51.100.0/24", "192.0.2.0/24", "0.0.0.0/0", "128.0.0.0/1"}
			}
			conditions = append(conditions, `"`+operator+`":{"`+key+`":["`+pick(t, "value", values...)+`","`+pick(t, "value", values...)+`"]}`)
		}
		return `{"Effect":"` + pick(t, "effect", "Allow", "Allow", "Deny") + `","` + pick(t, "principal", "Principal", "Principal", "NotPrincipal") + `":` +
			pick(t, "who", `"*"`, `{"AWS":"111122223333"}`, `{"AWS":["*","111122223333"]}`) + `,"` + pick(t, "action", "Action", "Action", "NotAction") + `":"` +
			pick(t, "actions", "*", "secretsmanager:*", "secretsmanager:Get*", "secretsmanager:*Value", "secretsmanager:GetSecretValue", "secretsmanager:Put*") +
			`","Resource":"` + pick(t, "resource", "*", "arn:aws:secretsmanager:*", "arn:aws:secretsmanager:us-east-1:111122223333:secret:a-??????") +
			`","Condition":{` + strings.Join(conditions, ",") + `}}`
	}
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		for range rapid.IntRange(1, 3).Draw(t, "statements") {
			list = append(list, statement(t))
		}
		text := `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
		d, err := ParseDocument(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		p, err := Compile(d, "policy")
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{
			Principal: stranger, Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager:us-east-1:111122223333:secret:a-AbCdEf",
			ResourceAccount: "111122223333", Context: context,
		}
		if Evaluate(r, &Policies{Identity: []*Policy{everything}, Resource: p}).Allowed() && !d.Public() {
			t.Fatalf("a stranger may read by a policy that is not public:\n%s", strings.Join(list, "\n"))
		}
	})
}
