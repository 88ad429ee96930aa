package record

import (
	"strings"
	"testing"
)

func TestCheckPolicy(t *testing.T) {
	t.Parallel()
	const all = `{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}`
	policy := func(statements ...string) string { return `{"Statement":[` + strings.Join(statements, ",") + `]}` }
	deny := func(rest string) string { return `{"Effect":"Deny","Principal":"*",` + rest + `}` }
	const no1, none = "Statement [#1] does not allow", "No statement allows"
	for _, tc := range []struct {
		name, policy, action, id, kind, want string
	}{
		{"no policy", "", "Update:Modify", "DB", "T", ""},
		{"all", policy(all), "Update:Replace", "DB", "T", ""},
		{"another resource", policy(deny(`"Action":"Update:*","Resource":"LogicalResourceId/DB"`), all), "Update:Modify", "Web", "T", ""},
		{"the resource", policy(deny(`"Action":"Update:*","Resource":"LogicalResourceId/DB"`), all), "Update:Modify", "DB", "T", no1},
		{"a pattern", policy(deny(`"Action":"Update:*","Resource":["LogicalResourceId/D*"]`), all), "Update:Modify", "DB", "T", no1},
		{"deny wins over what comes after", policy(all, deny(`"Action":"Update:Modify","Resource":"*"`)), "Update:Modify", "DB", "T", "Statement [#2] does not allow"},
		{"another action", policy(deny(`"Action":["Update:Replace","Update:Delete"],"Resource":"*"`), all), "Update:Modify", "DB", "T", ""},
		{"not an action", policy(deny(`"NotAction":"Update:Modify","Resource":"*"`), all), "Update:Delete", "DB", "T", no1},
		{"not that action", policy(deny(`"NotAction":"Update:Modify","Resource":"*"`), all), "Update:Modify", "DB", "T", ""},
		{"not a resource", policy(deny(`"Action":"Update:*","NotResource":"LogicalResourceId/Web"`), all), "Update:Modify", "DB", "T", no1},
		{"nothing allows", policy(deny(`"Action":"Update:*","Resource":"LogicalResourceId/Web"`)), "Update:Modify", "DB", "T", none},
		{"a type", policy(deny(`"Action":"Update:*","Resource":"*","Condition":{"StringEquals":{"ResourceType":["AWS::RDS::DBInstance"]}}`), all), "Update:Modify", "DB", "AWS::RDS::DBInstance", no1},
		{"another type", policy(deny(`"Action":"Update:*","Resource":"*","Condition":{"StringEquals":{"ResourceType":"AWS::RDS::DBInstance"}}`), all), "Update:Modify", "DB", "AWS::IAM::Role", ""},
		{"types by pattern", policy(deny(`"Action":"Update:*","Resource":"*","Condition":{"StringLike":{"ResourceType":"AWS::RDS::*"}}`), all), "Update:Modify", "DB", "AWS::RDS::DBCluster", no1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := ""
			if tc.want != "" {
				want = "access denied: Action denied by stack policy: " + tc.want + " [" + tc.action + "] for resource [LogicalResourceId/" + tc.id + "]"
			}
			got := ""
			if err := CheckPolicy(tc.policy, tc.action, tc.id, tc.kind); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A condition that would never be met, and so switch a Deny off, is refused.
func TestParsePolicyCondition(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]string{
		`{"StringEquals":{"ResourceType":"T"},"StringLike":{"ResourceType":["A","B*"]}}`: "",
		`{"StringNotEquals":{"ResourceType":"T"}}`:                                       "StringNotEquals",
		`{"StringEqualsIgnoreCase":{"ResourceType":"T"}}`:                                "StringEqualsIgnoreCase",
		`{"StringEquals":{"aws:PrincipalTag/a":"T"}}`:                                    "aws:PrincipalTag/a",
	} {
		if want != "" {
			want = "constraint violation: Error validating stack policy: Invalid condition: " + want
		}
		got := ""
		err := ParsePolicy(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"Update:*","Resource":"*","Condition":` + condition + `}]}`)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", condition, got, want)
		}
	}
}

func FuzzCheckPolicy(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`, "DB")
	f.Add(`{"Statement":[{"Effect":"Deny","Principal":"*","NotAction":["Update:Modify"],"NotResource":"LogicalResourceId/[a","Condition":{"StringLike":{"ResourceType":"["}}}]}`, "a")
	f.Add(`[]`, "")
	f.Fuzz(func(t *testing.T, policy, id string) {
		if ParsePolicy(policy) != nil && policy != "" && CheckPolicy(policy, "Update:Modify", id, "T") == nil {
			t.Errorf("a policy that is none allows: %q", policy)
		}
	})
}
