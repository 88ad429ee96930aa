package iam

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

// check parses a policy and applies one of the checks by its use.
func check(text, use string) error {
	d, err := ParseDocument(text)
	if err != nil {
		return err
	}
	return map[string]func() error{
		"identity": d.CheckIdentity, "managed": d.CheckManaged, "resource": d.CheckResource, "trust": d.CheckTrust,
	}[use]()
}

func TestMalformedPolicyDocument(t *testing.T) {
	const (
		good   = `"Effect":"Allow","Action":"a:b","Resource":"*"`
		trust  = `"Effect":"Allow","Action":"sts:AssumeRole"`
		anyone = `,"Principal":"*"`
		syntax = "Syntax errors in policy."
		vendor = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
		sid    = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	)
	for _, tc := range []struct {
		use, text, want string
	}{
		{"identity", "", "This policy contains invalid Json"},
		{"identity", `{"Statement":`, "This policy contains invalid Json"},
		{"identity", `[]`, syntax},
		{"identity", `{"Version":"2013-10-17"}`, syntax},
		{"identity", `{}`, syntax},
		{"identity", oneStatement(good + `,"Foo":1`), syntax},
		{"identity", oneStatement(good + `,"Condition":{"IpAddress":{"aws:SourceIp":"x"}}`), syntax},
		{"identity", oneStatement(`"Action":"a:b","Resource":"*"`), syntax},
		{"identity", oneStatement(good + `,"NotResource":"*"`), syntax},
		{"identity", oneStatement(`"Effect":"Allow","Resource":"*"`), "Policy statement must contain actions."},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a:b"`), "Policy statement must contain resources."},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a","Resource":"*"`), vendor},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a:","Resource":"*"`), vendor},
		{"identity", oneStatement(good + `,"Condition":{"Bool":{"k":true}}`), vendor},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a:b:c","Resource":"*"`), "Actions/Condition can contain only one colon."},
		{"identity", oneStatement(`"Effect":"Allow","NotAction":"a*:b","Resource":"*"`), "Vendor a* is not valid"},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a:b","Resource":["*","x"]`), `Resource x must be in ARN format or "*".`},
		{"identity", oneStatement(`"Effect":"Allow","Action":"a:b","NotResource":"a%s"`), `Resource a%s must be in ARN format or "*".`},
		{"identity", oneStatement(good + anyone), "Policy document should not specify a principal."},
		{"identity", `{"Statement":[{"Sid":"s",` + good + `},{"Sid":"s",` + good + `}]}`, "Statement IDs (SID) in a single policy must be unique."},
		{"identity", oneStatement(good + `,"Sid":"read it"`), sid},
		{"identity", oneStatement(good + `,"Sid":"Read2"`), ""},
		{"identity", oneStatement(good), ""},
		{"identity", oneStatement(`"Effect":"Allow","Action":["*","*:*","a:b*"],"Resource":"arn:x"`), ""},
		{"managed", oneStatement(good), "Policy document must be version 2012-10-17 or greater."},
		{"managed", `{"Version":"2008-10-17","Statement":{` + good + `}}`, "Policy document must be version 2012-10-17 or greater."},
		{"managed", `{"Version":"2012-10-17","Statement":{` + good + anyone + `}}`, "Policy document should not specify a principal."},
		{"managed", `{"Version":"2012-10-17","Statement":{` + good + `}}`, ""},
		{"resource", oneStatement(good), "Missing required field Principal"},
		{"resource", oneStatement(`"Effect":"Allow","Action":"a:b"` + anyone), "Policy statement must contain resources."},
		{"resource", oneStatement(good + `,"Principal":{"AWS":"bob"}`), `Invalid principal in policy: "AWS":"bob"`},
		{"resource", oneStatement(good + anyone), ""},
		{"resource", oneStatement(good + anyone + `,"Sid":"read it"`), ""},
		{"trust", oneStatement(trust + anyone + `,"Sid":"lambda-only"`), sid},
		{"trust", oneStatement(trust), "Missing required field Principal"},
		{"trust", oneStatement(trust + anyone + `,"Resource":"*"`), "Has prohibited field Resource"},
		{"trust", oneStatement(trust + anyone + `,"NotResource":"*"`), "Has prohibited field NotResource"},
		{"trust", oneStatement(`"Effect":"Allow","Action":"iam:PassRole"` + anyone), "AssumeRole policy may only specify STS AssumeRole actions."},
		{"trust", oneStatement(trust + `,"Principal":{"Service":["lambda.amazonaws.com","lambda"]}`), `Invalid principal in policy: "SERVICE":"lambda"`},
		{"trust", oneStatement(trust + `,"Principal":{"AWS":"arn:aws:iam::111122223333:user/*"}`),
			`Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/*"`},
		{"trust", oneStatement(trust + `,"NotPrincipal":{"Federated":"*"}`), `Invalid principal in policy: "FEDERATED":"*"`},
		{"trust", oneStatement(trust + `,"Principal":{"Service":"lambda.amazonaws.com"}`), ""},
		{"trust", oneStatement(`"Effect":"Allow","Action":["STS:AssumeRole","sts:TagSession"]` + anyone), ""},
	} {
		err := check(tc.text, tc.use)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s %s: got %v, want it accepted", tc.use, tc.text, err)
		case tc.want == "":
		case !fault.Is(err, fault.Policy) || err.(*fault.Error).Message != tc.want:
			t.Errorf("%s %s: got %v, want %q", tc.use, tc.text, err, tc.want)
		}
	}
}

func TestErrorNamesStatement(t *testing.T) {
	err := check(`{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"},{"Effect":"Allow","Action":"a:b"}]}`, "identity")
	if err == nil || !strings.Contains(err.Error(), "(statement 2)") {
		t.Errorf("got %v, want it to name statement 2", err)
	}
}

func TestManagedPolicies(t *testing.T) {
	r := Request{Principal: ann, Resource: "*"}
	allows := map[string]struct{ yes, no []string }{
		"AdministratorAccess":              {[]string{"iam:CreateUser", "secretsmanager:GetSecretValue"}, nil},
		"ReadOnlyAccess":                   {[]string{"secretsmanager:DescribeSecret", "lambda:GetFunction"}, []string{"secretsmanager:GetSecretValue", "kms:Decrypt", "lambda:InvokeFunction"}},
		"PowerUserAccess":                  {[]string{"secretsmanager:GetSecretValue", "iam:ListRoles"}, []string{"iam:CreateUser", "organizations:CreateAccount", "keyturn:ListAccounts"}},
		"SecretsManagerReadWrite":          {[]string{"secretsmanager:GetSecretValue", "kms:ListAliases"}, []string{"kms:Decrypt", "lambda:CreateFunction"}},
		"AWSLambda_FullAccess":             {[]string{"lambda:CreateFunction"}, []string{"iam:PassRole", "secretsmanager:GetSecretValue"}},
		"AWSKeyManagementServicePowerUser": {[]string{"kms:CreateKey", "kms:DescribeKey"}, []string{"kms:Decrypt", "kms:ScheduleKeyDeletion"}},
		"CloudWatchLogsFullAccess":         {[]string{"logs:DeleteLogGroup"}, []string{"lambda:GetFunction"}},
		"IAMFullAccess":                    {[]string{"iam:CreateUser"}, []string{"sts:AssumeRole"}},
		"AmazonRDSReadOnlyAccess":          {[]string{"rds:DescribeDBInstances"}, []string{"rds:ModifyDBInstance"}},
		"AWSLambdaBasicExecutionRole":      {[]string{"logs:PutLogEvents"}, []string{"ec2:CreateNetworkInterface"}},
		"AWSLambdaVPCAccessExecutionRole":  {[]string{"logs:CreateLogStream", "ec2:CreateNetworkInterface"}, []string{"ec2:RunInstances"}},
	}
	list := ManagedPolicies()
	if len(list) != len(allows) {
		t.Errorf("got %d policies, want %d", len(list), len(allows))
	}
	for i, m := range list {
		if err := check(m.Document, "managed"); err != nil || !json.Valid([]byte(m.Document)) {
			t.Errorf("%s: %v", m.ARN, err)
			continue
		}
		if i > 0 && m.ARN <= list[i-1].ARN {
			t.Errorf("%s comes after %s", m.ARN, list[i-1].ARN)
		}
		if m.ARN != "arn:aws:iam::aws:policy"+m.Path+m.Name || m.Description == "" {
			t.Errorf("%+v does not fit together", m)
		}
		if found, ok := ManagedPolicyByARN(m.ARN); !ok || found != m {
			t.Errorf("%s finds %+v", m.ARN, found)
		}
		in := &Policies{Identity: []*Policy{mustCompile(t, m.Document, m.ARN)}}
		for want, actions := range map[bool][]string{true: allows[m.Name].yes, false: allows[m.Name].no} {
			for _, action := range actions {
				r.Action = action
				if got := Evaluate(&r, in).Allowed(); got != want {
					t.Errorf("%s: %s is %v, want %v", m.Name, action, got, want)
				}
			}
		}
	}
	for _, unknown := range []string{"AdministratorAccess", "arn:aws:iam::" + account + ":policy/AdministratorAccess", "arn:aws:iam::aws:policy/Nothing",
		"arn:aws-cn:iam::aws:policy/AdministratorAccess", "arn:aws:x:iam::aws:policy/AdministratorAccess", "arn:aws:iam::aws:policy/administratoraccess", "arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole"} {
		if m, ok := ManagedPolicyByARN(unknown); ok {
			t.Errorf("%s finds %+v", unknown, m)
		}
	}
}

// TestPassRoleToLambda holds the one condition in the managed policies.
func TestPassRoleToLambda(t *testing.T) {
	m, _ := ManagedPolicyByARN("arn:aws:iam::aws:policy/AWSLambda_FullAccess")
	in := &Policies{Identity: []*Policy{mustCompile(t, m.Document, m.ARN)}}
	for service, want := range map[string]bool{"lambda.amazonaws.com": true, "ec2.amazonaws.com": false} {
		r := &Request{Principal: ann, Action: "iam:PassRole", Resource: "*", Context: ContextOf(map[string][]string{"iam:PassedToService": {service}})}
		if got := Evaluate(r, in).Allowed(); got != want {
			t.Errorf("%s: got %v, want %v", service, got, want)
		}
	}
}
