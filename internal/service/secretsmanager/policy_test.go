package secretsmanager

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

func quote(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// policyFor makes a policy with one statement for the principal.
func policyFor(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`
}

func TestResourcePolicy(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); members(got) != "ARN Name" {
		t.Errorf("without a policy: got %v", got)
	}
	b.ok("DeleteResourcePolicy", `{"SecretId":"s"}`)
	text := policyFor(`{"AWS":"*"}`)
	if got := b.ok("PutResourcePolicy", `{"SecretId":"s","ResourcePolicy":`+quote(t, text)+`}`); members(got) != "ARN Name" {
		t.Errorf("got %v", got)
	}
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); got["ResourcePolicy"] != text {
		t.Errorf("got %v, want it as put", got["ResourcePolicy"])
	}
	for name, tc := range map[string]struct{ policy, code, text string }{
		"broken":            {`{`, "MalformedPolicyDocumentException", "This policy has invalid syntax."},
		"without principal": {`{"Statement":{"Effect":"Allow","Action":"*"}}`, "MalformedPolicyDocumentException", "This policy has invalid syntax."},
		"case":              {`{"statement":[]}`, "MalformedPolicyDocumentException", "This policy has invalid syntax."},
		"principal's form":  {policyFor(`{"AWS":"somebody"}`), "MalformedPolicyDocumentException", "This resource policy contains an unsupported principal"},
		"missing role":      {policyFor(`{"AWS":"arn:aws:iam::123456789012:role/none"}`), "MalformedPolicyDocumentException", "This resource policy contains an unsupported principal"},
	} {
		body := `{"SecretId":"s","ResourcePolicy":` + quote(t, tc.policy) + `}`
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.refused("PutResourcePolicy", body, tc.code, tc.text)
			b.refused("ValidateResourcePolicy", body, tc.code, tc.text)
		})
	}
	b.t = t
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SaveRole(nil, &iam.Role{Account: account, Name: "r", Path: "/p/", ID: "AROAEXAMPLE", CreatedAt: time.Now()})
	}))
	for _, principal := range []string{`{"AWS":"arn:aws:iam::123456789012:role/p/r"}`, `{"AWS":"arn:aws:iam::999999999999:role/theirs"}`} {
		b.ok("PutResourcePolicy", `{"SecretId":"s","BlockPublicPolicy":true,"ResourcePolicy":`+quote(t, policyFor(principal))+`}`)
	}
	b.refused("PutResourcePolicy", `{"SecretId":"s","BlockPublicPolicy":true,"ResourcePolicy":`+quote(t, text)+`}`, "PublicPolicyException", publicPolicy)
	b.ok("DeleteResourcePolicy", `{"SecretId":"s"}`)
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); got["ResourcePolicy"] != nil {
		t.Errorf("got %v, want it gone", got)
	}
}

func TestValidateResourcePolicy(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	for _, id := range []string{"", `"SecretId":"s",`} {
		got := b.ok("ValidateResourcePolicy", `{`+id+`"ResourcePolicy":`+quote(t, policyFor(`{"AWS":"123456789012"}`))+`}`)
		if got["PolicyValidationPassed"] != true || len(got["ValidationErrors"].([]any)) != 0 {
			t.Errorf("got %v, want it passed", got)
		}
		got = b.ok("ValidateResourcePolicy", `{`+id+`"ResourcePolicy":`+quote(t, policyFor(`"*"`))+`}`)
		found := got["ValidationErrors"].([]any)
		if got["PolicyValidationPassed"] != false || len(found) != 1 || found[0].(object)["CheckName"] != publicCheck {
			t.Errorf("got %v, want the broad policy found", got)
		}
	}
	b.refused("ValidateResourcePolicy", `{"SecretId":"none","ResourcePolicy":"{}"}`, "ResourceNotFoundException", notFoundText)
}

func TestRandomPassword(t *testing.T) {
	b := newBench(t)
	if got := b.ok("GetRandomPassword", `{}`); members(got) != "RandomPassword" || len(got["RandomPassword"].(string)) != 32 {
		t.Errorf("got %v, want 32 characters", got)
	}
	got := b.ok("GetRandomPassword", `{"PasswordLength":8,"ExcludeNumbers":true,"ExcludePunctuation":true,"ExcludeUppercase":true,"ExcludeLowercase":true,"IncludeSpace":true,"RequireEachIncludedType":false}`)
	if got["RandomPassword"] != "        " {
		t.Errorf("got %v, want eight spaces", got)
	}
	b.refused("GetRandomPassword", `{"PasswordLength":4097}`, "ValidationException",
		"1 validation error detected: Value '4097' at 'passwordLength' failed to satisfy constraint: Member must have value less than or equal to 4096")
}
