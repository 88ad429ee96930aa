package secretsmanager

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

func quote(t testing.TB, s string) string {
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
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SaveAccount(&iam.Account{ID: "222222222222", Name: "other"}); err != nil {
			return err
		}
		return tx.SaveRole(nil, &iam.Role{Account: account, Name: "r", Path: "/p/", ID: "AROAEXAMPLE", CreatedAt: time.Now()})
	}))
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
	const invalid, unsupported = "This policy has invalid syntax.", "This resource policy contains an unsupported principal"
	for name, tc := range map[string]struct{ policy, text string }{
		"broken":            {`{`, invalid},
		"without principal": {`{"Statement":{"Effect":"Allow","Action":"*"}}`, invalid},
		"without resource":  {document(`{"Effect":"Allow","Principal":"*","Action":"*"}`), invalid},
		"resource's form":   {document(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"s"}`), invalid},
		"case":              {`{"statement":[]}`, invalid},
		"version":           {`{"Version":"2019-10-19","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, invalid},
		"same Sids": {
			document(`{"Sid":"S","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Sid":"S","Effect":"Deny","Principal":"*","Action":"a:b","Resource":"*"}`), invalid,
		},
		"principal's form": {policyFor(`{"AWS":"somebody"}`), unsupported},
		"missing role":     {policyFor(`{"AWS":"arn:aws:iam::123456789012:role/none"}`), unsupported},
		"role's path":      {policyFor(`{"AWS":"arn:aws:iam::123456789012:role/r"}`), unsupported},
		"missing user":     {policyFor(`{"AWS":["123456789012","arn:aws:iam::123456789012:user/none"]}`), unsupported},
		"missing session":  {policyFor(`{"AWS":"arn:aws:sts::123456789012:assumed-role/none/s"}`), unsupported},
		"unknown ID":       {policyFor(`{"AWS":"AROANONE"}`), unsupported},
		"NotPrincipal":     {document(`{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::123456789012:role/none"},"Action":"a:b","Resource":"*"}`), unsupported},
		"other accounts'":  {policyFor(`{"AWS":"arn:aws:iam::222222222222:role/none"}`), unsupported},
	} {
		body := `{"SecretId":"s","ResourcePolicy":` + quote(t, tc.policy) + `}`
		b.refused("PutResourcePolicy", body, "MalformedPolicyDocumentException", tc.text)
		if name == "broken" {
			b.refused("ValidateResourcePolicy", body, "MalformedPolicyDocumentException", tc.text)
		} else if got := checks(b.ok("ValidateResourcePolicy", body)); !strings.HasPrefix(got, "SYNTAX_CHECK: "+tc.text) {
			t.Errorf("%s: got %s, want %s", name, got, tc.text)
		}
	}
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); got["ResourcePolicy"] != text {
		t.Errorf("got %v, want what was there before", got)
	}
	b.refused("PutResourcePolicy", `{"SecretId":"s","ResourcePolicy":"`+strings.Repeat(" ", 20481)+`"}`, "ValidationException", "1 validation error detected: …")
	for _, principal := range []string{
		`{"AWS":"arn:aws:iam::123456789012:role/p/r"}`, `{"AWS":"AROAEXAMPLE"}`, `{"AWS":"arn:aws:iam::999999999999:role/theirs"}`, `{"Service":"lambda.amazonaws.com"}`,
	} {
		b.ok("PutResourcePolicy", `{"SecretId":"s","BlockPublicPolicy":true,"ResourcePolicy":`+quote(t, policyFor(principal))+`}`)
	}
	b.refused("PutResourcePolicy", `{"SecretId":"s","BlockPublicPolicy":true,"ResourcePolicy":`+quote(t, text)+`}`, "PublicPolicyException", publicPolicy)
	b.ok("DeleteResourcePolicy", `{"SecretId":"s"}`)
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); got["ResourcePolicy"] != nil {
		t.Errorf("got %v, want it gone", got)
	}
}

// checks prints the findings of a validation.
func checks(answer object) string {
	var list []string
	for _, e := range answer["ValidationErrors"].([]any) {
		list = append(list, e.(object)["CheckName"].(string)+": "+e.(object)["ErrorMessage"].(string))
	}
	if answer["PolicyValidationPassed"] != (len(list) == 0) {
		return "passed or not?"
	}
	return strings.Join(list, "; ")
}

func TestValidateResourcePolicy(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	const public, locking = publicCheck + ": " + publicPolicy, lockCheck + ": " + lockingPolicy
	for _, id := range []string{"", `"SecretId":"s",`} {
		for _, tc := range []struct{ policy, want string }{
			{policyFor(`{"AWS":"123456789012"}`), ""},
			{policyFor(`"*"`), public},
			{document(`{"Effect":"Deny","Principal":"*","Action":"secretsmanager:Put*","Resource":"*"}`), locking},
			{document(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}`), public + "; " + locking},
			{document(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"secretsmanager:BlockPublicPolicy":"false"}}}`), ""},
		} {
			if got := checks(b.ok("ValidateResourcePolicy", `{`+id+`"ResourcePolicy":`+quote(t, tc.policy)+`}`)); got != tc.want {
				t.Errorf("%s %s: got %q, want %q", id, tc.policy, got, tc.want)
			}
		}
	}
	b.refused("ValidateResourcePolicy", `{"SecretId":"none","ResourcePolicy":"{}"}`, "ResourceNotFoundException", notFoundText)
	// It takes the permission to put policies, too.
	ann := b.user(account, "ann", `{"Effect":"Allow","Action":"secretsmanager:ValidateResourcePolicy","Resource":"*"}`)
	for id, shown := range map[string]string{"": "*", `"SecretId":"s",`: "s"} {
		b.refusedAs(ann, "ValidateResourcePolicy", `{`+id+`"ResourcePolicy":"{}"}`, "AccessDeniedException", denied("user/ann", "PutResourcePolicy", shown))
	}
}

// denied is the refusal of one of the account's identities whom no policy of
// its own allows the action.
func denied(who, action, shown string) string {
	return "User: arn:aws:iam::123456789012:" + who + " is not authorized to perform: secretsmanager:" + action + " on resource: " + shown +
		" because no identity-based policy allows the secretsmanager:" + action + " action"
}

// Nobody can put a policy by which it could not put another one.
func TestPolicyLocksOut(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	ann := b.user(account, "ann", everything)
	bob := b.user(account, "bob", "")
	put := func(statements string) string {
		return `{"SecretId":"s","ResourcePolicy":` + quote(t, document(statements)) + `}`
	}
	const deny, annARN, bobARN = `{"Effect":"Deny","Action":"secretsmanager:PutResourcePolicy","Resource":"*",`, `"arn:aws:iam::123456789012:user/ann"`, `"arn:aws:iam::123456789012:user/bob"`
	for _, tc := range []struct {
		who        caller
		statements string
	}{
		{root, deny + `"Principal":"*"}`},
		{root, deny + `"Principal":{"AWS":"123456789012"}}`},
		{root, deny + `"Principal":"*","Condition":{"StringNotEquals":{"aws:PrincipalArn":` + annARN + `}}}`},
		{ann, deny + `"Principal":{"AWS":` + annARN + `}}`},
		{ann, deny + `"Principal":"*","Condition":{"Bool":{"secretsmanager:BlockPublicPolicy":"false"}}}`},
	} {
		b.refusedAs(tc.who, "PutResourcePolicy", put(tc.statements), "MalformedPolicyDocumentException", lockingPolicy)
	}
	if got := b.ok("GetResourcePolicy", `{"SecretId":"s"}`); got["ResourcePolicy"] != nil {
		t.Errorf("a refused policy was stored: %v", got)
	}
	// Others may be locked out, and what is not about policies may be denied.
	b.okAs(ann, "PutResourcePolicy", put(deny+`"Principal":{"AWS":`+bobARN+`}}`))
	b.ok("PutResourcePolicy", put(`{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}`))
	b.refused("GetSecretValue", `{"SecretId":"s"}`, "AccessDeniedException",
		"User: arn:aws:iam::123456789012:root is not authorized to perform: secretsmanager:GetSecretValue on resource: s with an explicit deny in a resource-based policy")
	// Who governs by the policy alone cannot take that away from itself.
	allow := `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*","Principal":{"AWS":` + bobARN + `}}`
	b.ok("PutResourcePolicy", put(allow))
	b.refusedAs(bob, "PutResourcePolicy", put(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"AWS":`+annARN+`}}`), "MalformedPolicyDocumentException", lockingPolicy)
	b.okAs(bob, "PutResourcePolicy", put(allow))
}

// What was granted to a user or a role is not inherited by a namesake, and is
// shown by the ID once there is nobody any more.
func TestPolicyOutlivesPrincipal(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	ann := b.user(account, "ann", "")
	worker := b.roleSession("worker", "AROAFIRST", "")
	text := "{ \"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\":\"Allow\",\"Action\":\"secretsmanager:GetSecretValue\",\"Resource\":\"*\",\n" +
		`  "Principal": {"AWS": ["arn:aws:iam::123456789012:user/ann", "arn:aws:sts::123456789012:assumed-role/worker/s", "arn:aws:iam::999999999999:role/r"]}}}`
	b.ok("PutResourcePolicy", `{"SecretId":"s","ResourcePolicy":`+quote(t, text)+`}`)
	shown := func() any { return b.ok("GetResourcePolicy", `{"SecretId":"s"}`)["ResourcePolicy"] }
	if got := shown(); got != text {
		t.Errorf("got %v, want it as put", got)
	}
	for _, c := range []caller{ann, worker} {
		b.value(c, "s")
	}
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.DeleteUser(account, "ann"); err != nil {
			return err
		}
		return tx.DeleteRole(account, "worker")
	}))
	gone := strings.NewReplacer("arn:aws:iam::123456789012:user/ann", "AIDAANN", "arn:aws:sts::123456789012:assumed-role/worker/s", "AROAFIRST:s").Replace(text)
	if got := shown(); got != gone {
		t.Errorf("got %v, want %s", got, gone)
	}
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SaveUser(nil, &iam.User{Account: account, Name: "ann", Path: "/", ID: "AIDASECOND", CreatedAt: time.Now()})
	}))
	annAgain := b.called(iam.Principal{Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::123456789012:user/ann", ID: "AIDASECOND", Name: "ann"}, "")
	workerAgain := b.roleSession("worker", "AROASECOND", "")
	b.refusedAs(annAgain, "GetSecretValue", `{"SecretId":"s"}`, "AccessDeniedException", denied("user/ann", "GetSecretValue", "s"))
	b.refusedAs(workerAgain, "GetSecretValue", `{"SecretId":"s"}`, "AccessDeniedException",
		strings.Replace(denied("assumed-role/worker/s", "GetSecretValue", "s"), "arn:aws:iam", "arn:aws:sts", 1))
	if got := shown(); got != gone {
		t.Errorf("got %v, want the first ones' IDs", got)
	}
	// Put anew, it is the second one's.
	b.ok("PutResourcePolicy", `{"SecretId":"s","ResourcePolicy":`+quote(t, text)+`}`)
	b.value(annAgain, "s")
	b.value(workerAgain, "s")
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
