package kms_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// statement is a key policy of one statement.
func statement(principal, actions, more string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + actions + `,"Resource":"*"` + more + `}]}`
}

const accountRoot = "arn:aws:iam::123456789012:root"

func TestKeyPolicy(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	got, err := b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id})
	b.must(err)
	if *got.PolicyName != "default" || *got.Policy != key.DefaultPolicy("us-east-1", account) {
		t.Errorf("a new key has the policy %s: %s", *got.PolicyName, *got.Policy)
	}
	policy := statement(accountRoot, `"kms:*"`, "")
	_, err = b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: &policy, PolicyName: aws.String("default")})
	b.must(err)
	if got, err = b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")}); err != nil || *got.Policy != policy {
		t.Errorf("got %v, %v", got, err)
	}
	names, err := b.c.ListKeyPolicies(ctx, &sdk.ListKeyPoliciesInput{KeyId: &id})
	b.must(err)
	if len(names.PolicyNames) != 1 || names.PolicyNames[0] != "default" || names.Truncated {
		t.Errorf("got names %v", names.PolicyNames)
	}
	const principals = "Policy contains a statement with one or more invalid principals."
	for _, tc := range []struct{ what, policy, name, code, text string }{
		{"another name", policy, "other", "NotFoundException", "No such policy exists"},
		{"no JSON", "{", "default", "MalformedPolicyDocumentException", "Syntax errors in policy."},
		{"nobody", statement("somebody", `"kms:*"`, ""), "default", "MalformedPolicyDocumentException", principals},
		{"no such user", statement(user(account, "none").ARN, `"kms:*"`, ""), "default", "MalformedPolicyDocumentException", principals},
		{"no such role", statement("arn:aws:iam::123456789012:role/none", `"kms:*"`, ""), "default", "MalformedPolicyDocumentException", principals},
		{"a locked-out caller", statement(foreign, `"kms:*"`, ""), "default", "MalformedPolicyDocumentException",
			"The new key policy will not allow you to update the key policy in the future."},
		{"no PutKeyPolicy", statement(accountRoot, `["kms:Get*","kms:Encrypt"]`, ""), "default", "MalformedPolicyDocumentException",
			"The new key policy will not allow you to update the key policy in the future."},
	} {
		_, err := b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: &tc.policy, PolicyName: &tc.name})
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	_, err = b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("other")})
	servicetest.WantError(t, "reading another name", err, "NotFoundException", 400, "No such policy exists")
	if got, err = b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id}); err != nil || *got.Policy != policy {
		t.Errorf("refused calls left the policy %v, %v", got, err)
	}
	locked := statement(foreign, `"kms:*"`, "")
	_, err = b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: &locked, BypassPolicyLockoutSafetyCheck: true})
	b.must(err)
	_, err = b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: &policy})
	servicetest.WantError(t, "locked out by wish", err, "AccessDeniedException", 400,
		refusal(authz.RootPrincipal(account, ""), "kms:PutKeyPolicy", prefix+"key/"+id, "resource-based policy"))
}

// The check for lock-out counts who calls, and the account's delegation.
func TestLockOut(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"admin", "other"}, []string{"admin"})
	admin, other, role := user(account, "admin"), user(account, "other"), session(account, "admin", "s")
	for _, tc := range []struct {
		what   string
		caller iam.Principal
		policy string
		bypass bool
		fine   bool
	}{
		{"by name", admin, statement(admin.ARN, `"kms:*"`, ""), false, true},
		{"by the role's name", role, statement(role.RoleARN, `"kms:*"`, ""), false, true},
		{"by delegation", admin, statement(accountRoot, `"kms:*"`, ""), false, true},
		{"another user", admin, statement(other.ARN, `"kms:*"`, ""), false, false},
		{"another user, knowingly", admin, statement(other.ARN, `"kms:*"`, ""), true, true},
		{"a condition that is met", admin, statement(accountRoot, `"kms:*"`, `,"Condition":{"StringEquals":{"kms:CallerAccount":"123456789012"}}`), false, true},
		{"a condition that is not", admin, statement(accountRoot, `"kms:*"`, `,"Condition":{"StringEquals":{"kms:CallerAccount":"999999999999"}}`), false, false},
		{"a deny", admin, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + accountRoot + `"},"Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*"}]}`, false, false},
	} {
		c := b.as(tc.caller, allowing("*", "kms:CreateKey"))
		_, err := c.CreateKey(ctx, &sdk.CreateKeyInput{Policy: &tc.policy, BypassPolicyLockoutSafetyCheck: tc.bypass})
		if tc.fine {
			b.wantCode(tc.what, err, "")
			continue
		}
		servicetest.WantError(t, tc.what, err, "MalformedPolicyDocumentException", 400,
			"The new key policy will not allow you to update the key policy in the future.")
	}
}

// The key's policy comes first; what it leaves to the account, the account's
// policies decide.
func TestWhoMayUse(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, []string{"app"})
	id := b.key()
	arn := prefix + "key/" + id
	app, role, stranger := user(account, "app"), session(account, "app", "s"), user(foreign, "app")
	everything := allowing("*", "kms:*")
	root := authz.RootPrincipal(account, "")
	const denied = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}]}`
	for _, tc := range []struct {
		what     string
		policy   string
		caller   iam.Principal
		identity []string
		want     string // the text; "" for success
	}{
		{"delegated and allowed", key.DefaultPolicy("", account), app, []string{allowing(arn, "kms:Encrypt")}, ""},
		{"delegated and not allowed", key.DefaultPolicy("", account), app, nil, refusal(app, "kms:Encrypt", arn, "identity-based policy")},
		{"delegated, another key allowed", key.DefaultPolicy("", account), app, []string{allowing(prefix+"key/"+absent, "kms:*")}, refusal(app, "kms:Encrypt", arn, "identity-based policy")},
		{"named", statement(app.ARN, `"kms:Encrypt"`, ""), app, nil, ""},
		{"not delegated", statement(role.RoleARN, `"kms:Encrypt"`, ""), app, []string{everything}, refusal(app, "kms:Encrypt", arn, "resource-based policy")},
		{"the role", statement(role.RoleARN, `"kms:Encrypt"`, ""), role, nil, ""},
		{"the root without delegation", statement(role.RoleARN, `"kms:Encrypt"`, ""), root, nil, refusal(root, "kms:Encrypt", arn, "resource-based policy")},
		{"named, but denied", statement(app.ARN, `"kms:Encrypt"`, ""), app, []string{denied},
			"User: " + app.ARN + " is not authorized to perform: kms:Encrypt on resource: " + arn + " with an explicit deny in an identity-based policy"},
		{"denied by the key", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"` + app.ARN + `"},"Action":"kms:Encrypt","Resource":"*"}]}`, app, []string{everything},
			"User: " + app.ARN + " is not authorized to perform: kms:Encrypt on resource: " + arn + " with an explicit deny in a resource-based policy"},
		{"across accounts, both sides", statement(foreign, `"kms:Encrypt"`, ""), stranger, []string{everything}, ""},
		{"across accounts, the key only", statement(stranger.ARN, `"kms:Encrypt"`, ""), stranger, nil, refusal(stranger, "kms:Encrypt", arn, "identity-based policy")},
		{"across accounts, the caller only", key.DefaultPolicy("", account), stranger, []string{everything}, refusal(stranger, "kms:Encrypt", arn, "resource-based policy")},
		{"through Secrets Manager only", statement(accountRoot, `"kms:*"`, `,"Condition":{"StringEquals":{"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}}`),
			app, []string{everything}, refusal(app, "kms:Encrypt", arn, "resource-based policy")},
		{"with the context", statement(accountRoot, `"kms:*"`, `,"Condition":{"StringEquals":{"kms:EncryptionContext:App":"orders"}}`), app, []string{everything}, ""},
		{"with another context", statement(accountRoot, `"kms:*"`, `,"Condition":{"StringEquals":{"kms:EncryptionContext:App":"bills"}}`), app, []string{everything},
			refusal(app, "kms:Encrypt", arn, "resource-based policy")},
	} {
		b.put(id, tc.policy)
		_, err := b.as(tc.caller, tc.identity...).Encrypt(ctx, &sdk.EncryptInput{KeyId: &arn, Plaintext: []byte("x"), EncryptionContext: map[string]string{"App": "orders"}})
		if tc.want == "" {
			b.wantCode(tc.what, err, "")
		} else {
			servicetest.WantError(t, tc.what, err, "AccessDeniedException", 400, tc.want)
		}
		b.reset(id)
	}
}

// reset gives a key the default policy, whatever the old one says.
func (b *bench) reset(id string) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		rec, err := tx.Key(account, servicetest.Region, id)
		if err != nil {
			return err
		}
		rec.Policy = key.DefaultPolicy("", account)
		return tx.SaveKey(rec)
	}))
}

// Whoever may not use any key learns nothing of which there are.
func TestHiddenKeys(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, nil)
	id := b.key()
	b.must(b.alias("alias/there", id))
	app, stranger := user(account, "app"), user(foreign, "app")
	why := "identity-based policy"
	for _, tc := range []struct {
		what   string
		caller iam.Principal
		policy []string
		name   string
		code   string
		text   string
	}{
		{"a key", app, nil, id, "AccessDeniedException", refusal(app, "kms:DescribeKey", prefix+"key/"+id, why)},
		{"no key", app, nil, absent, "AccessDeniedException", refusal(app, "kms:DescribeKey", prefix+"key/"+absent, why)},
		{"no alias", app, nil, "alias/none", "AccessDeniedException", refusal(app, "kms:DescribeKey", prefix+"alias/none", why)},
		{"no key, where one is allowed", app, []string{allowing(prefix+"key/"+id, "kms:*")}, absent, "AccessDeniedException", refusal(app, "kms:DescribeKey", prefix+"key/"+absent, why)},
		{"no key, where all are allowed", app, []string{allowing("*", "kms:*")}, absent, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"no alias, where all keys are allowed", app, []string{allowing(prefix+"key/*", "kms:*")}, "alias/none", "NotFoundException", "Alias " + prefix + "alias/none is not found."},
		{"another account's key", stranger, []string{allowing("*", "kms:*")}, prefix + "key/" + id, "AccessDeniedException",
			refusal(stranger, "kms:DescribeKey", prefix+"key/"+id, "resource-based policy")},
		{"another account's no key", stranger, []string{allowing("*", "kms:*")}, prefix + "key/" + absent, "AccessDeniedException",
			refusal(stranger, "kms:DescribeKey", prefix+"key/"+absent, "resource-based policy")},
		{"another account's no alias", stranger, []string{allowing("*", "kms:*")}, prefix + "alias/none", "AccessDeniedException",
			refusal(stranger, "kms:DescribeKey", prefix+"alias/none", "resource-based policy")},
		{"another account's alias", stranger, []string{allowing("*", "kms:*")}, prefix + "alias/there", "AccessDeniedException",
			refusal(stranger, "kms:DescribeKey", prefix+"alias/there", "resource-based policy")},
	} {
		_, err := b.as(tc.caller, tc.policy...).DescribeKey(ctx, &sdk.DescribeKeyInput{KeyId: &tc.name})
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
		// Nor from the caller's own trail.
		if e, text := b.read("DescribeKey"); tc.caller.Account == foreign && (e["resources"] != nil || !strings.Contains(tc.name, id) && strings.Contains(text, id)) {
			t.Errorf("%s: got the event %s", tc.what, text)
		}
	}
}

// Operations that do not reach into other accounts refuse, whatever the
// key's policy says.
func TestAcrossAccounts(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	arn := prefix + "key/" + id
	b.put(id, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["`+foreign+`","`+account+`"]},"Action":"kms:*","Resource":"*"}]}`)
	root := authz.RootPrincipal(foreign, "")
	c := b.as(root)
	blob, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &arn, Plaintext: []byte("value")})
	b.must(err)
	opened, err := c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: blob.CiphertextBlob})
	b.must(err)
	if string(opened.Plaintext) != "value" || *opened.KeyId != arn {
		t.Errorf("got %q under %s", opened.Plaintext, *opened.KeyId)
	}
	if e, text := b.read("Decrypt"); e["recipientAccountId"] != account || at(e, "userIdentity.accountId") != foreign || e["sharedEventID"] == nil {
		t.Errorf("event of the owner: %s", text)
	}
	if _, err := c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &arn}); err != nil {
		t.Errorf("rotation status: %v", err)
	}
	made, err := c.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &arn, GranteePrincipal: aws.String(foreign), Operations: []types.GrantOperation{"Decrypt"}})
	b.must(err)
	if g := b.grants(id); len(g) != 1 || *g[0].IssuingAccount != root.ARN {
		t.Errorf("got grants %v", g)
	}
	if _, err := c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &arn, GrantId: made.GrantId}); err != nil {
		t.Errorf("revoking: %v", err)
	}
	for action, call := range map[string]func() error{
		"DisableKey": func() error { _, err := c.DisableKey(ctx, &sdk.DisableKeyInput{KeyId: &arn}); return err },
		"PutKeyPolicy": func() error {
			_, err := c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &arn, Policy: aws.String("{}")})
			return err
		},
		"ScheduleKeyDeletion": func() error {
			_, err := c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &arn})
			return err
		},
		"CreateAlias": func() error {
			_, err := c.CreateAlias(ctx, &sdk.CreateAliasInput{AliasName: aws.String("alias/x"), TargetKeyId: &arn})
			return err
		},
	} {
		servicetest.WantError(t, action, call(), "AccessDeniedException", 400, refusal(root, "kms:"+action, arn, "resource-based policy"))
	}
	// A bare ID is one of the caller's own account.
	_, err = c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	servicetest.WantError(t, "a bare ID", err, "NotFoundException", 400, "Key '"+strings.Replace(arn, account, foreign, 1)+"' does not exist")
}

// Condition keys of requests and of keys reach the policies.
func TestConditions(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app", "worker"}, nil)
	app, worker := user(account, "app"), user(account, "worker").ARN
	id := b.key()
	b.must(b.alias("alias/app", id))
	_, err := b.c.TagResource(ctx, &sdk.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: aws.String("Team"), TagValue: aws.String("red")}}})
	b.must(err)
	grant := func(c *sdk.Client) error {
		_, err := c.CreateGrant(ctx, &sdk.CreateGrantInput{
			KeyId: &id, GranteePrincipal: &worker, RetiringPrincipal: aws.String(accountRoot), Operations: []types.GrantOperation{"Decrypt", "Encrypt"},
			Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"App": "x"}},
		})
		return err
	}
	encrypt := func(name string) func(*sdk.Client) error {
		return func(c *sdk.Client) error {
			_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &name, Plaintext: []byte("x"), EncryptionContext: map[string]string{"App": "x", "Tier": "1"}})
			return err
		}
	}
	create := func(c *sdk.Client) error {
		_, err := c.CreateKey(ctx, &sdk.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("Team"), TagValue: aws.String("red")}}})
		return err
	}
	reencrypt := func(c *sdk.Client) error {
		_, err := c.ReEncrypt(ctx, &sdk.ReEncryptInput{CiphertextBlob: b.encrypt(id, "x", nil), DestinationKeyId: &id})
		return err
	}
	for _, tc := range []struct {
		call      func(*sdk.Client) error
		operator  string
		key       string
		met, fail string
	}{
		{grant, "StringEquals", "kms:GranteePrincipal", worker, accountRoot},
		{grant, "StringEquals", "kms:RetiringPrincipal", accountRoot, app.ARN},
		{grant, "ForAnyValue:StringEquals", "kms:GrantOperations", "Encrypt", "CreateGrant"},
		{grant, "StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset", "EncryptionContextEquals"},
		{grant, "Bool", "kms:GrantIsForAWSResource", "false", "true"},
		{grant, "StringEquals", "kms:EncryptionContext:App", "x", "y"},
		{encrypt("alias/app"), "StringEquals", "kms:RequestAlias", "alias/app", "alias/other"},
		{encrypt(id), "Null", "kms:RequestAlias", "true", "false"},
		{encrypt(id), "ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/app", "alias/other"},
		{encrypt(id), "StringEquals", "aws:ResourceTag/team", "red", "blue"},
		{encrypt(id), "StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1"},
		{encrypt(id), "ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "Tier", "tier2"},
		{encrypt(id), "StringEquals", "kms:KeyOrigin", "AWS_KMS", "EXTERNAL"},
		{encrypt(id), "Bool", "aws:ViaAWSService", "false", "true"},
		{create, "StringEquals", "aws:RequestTag/Team", "red", "blue"},
		{create, "ForAllValues:StringEquals", "aws:TagKeys", "Team", "Other"},
		{create, "StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048"},
		{create, "Bool", "kms:BypassPolicyLockoutSafetyCheck", "false", "true"},
		{reencrypt, "Bool", "kms:ReEncryptOnSameKey", "true", "false"},
		{func(c *sdk.Client) error {
			_, err := c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: aws.Int32(100)})
			return err
		}, "NumericLessThan", "kms:RotationPeriodInDays", "101", "100"},
		{func(c *sdk.Client) error {
			made := b.key()
			_, err := c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &made, PendingWindowInDays: aws.Int32(9)})
			return err
		}, "NumericEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "9", "8"},
	} {
		policy := func(value string) string {
			return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"` + tc.operator + `":{"` + tc.key + `":"` + value + `"}}}]}`
		}
		b.wantCode(tc.key+" is "+tc.met, tc.call(b.as(app, policy(tc.met))), "")
		b.wantCode(tc.key+" is not "+tc.fail, tc.call(b.as(app, policy(tc.fail))), "AccessDeniedException")
	}
}

// What a request says in one of several spellings is one value for policies.
func TestSpellingsEvadeNoCondition(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, nil)
	id := b.key()
	deny := func(condition string) *sdk.Client {
		return b.as(user(account, "app"), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{`+condition+`}}]}`)
	}
	const foreignRoot = "arn:aws:iam::" + foreign + ":root"
	c := deny(`"ArnEquals":{"kms:GranteePrincipal":"` + foreignRoot + `","kms:RetiringPrincipal":"` + foreignRoot + `"}`)
	for _, name := range []string{foreignRoot, foreign} {
		_, err := c.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &name, RetiringPrincipal: &name, Operations: []types.GrantOperation{"Decrypt"}})
		b.wantCode("a grant to "+name, err, "AccessDeniedException")
	}
	// Keys of an encryption context are compared without regard to case: of
	// pairs that differ in nothing else each counts, always.
	for _, condition := range []string{
		`"StringEquals":{"kms:EncryptionContext:Tier":"secret"}`, `"StringEquals":{"kms:EncryptionContext:tier":"plain"}`,
	} {
		c := deny(condition)
		for range 20 {
			_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"Tier": "plain", "TIER": "secret"}})
			b.wantCode("denied by "+condition, err, "AccessDeniedException")
		}
	}
}

// Tags from the beginning take the permission for tagging as well, else they
// would open to their author what policies open by tags.
func TestTagsOfNewKeys(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, nil)
	app := user(account, "app")
	tagged := &sdk.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("Team"), TagValue: aws.String("red")}}}
	c := b.as(app, allowing("*", "kms:CreateKey"))
	_, err := c.CreateKey(ctx, tagged)
	servicetest.WantError(t, "tags", err, "AccessDeniedException", 400, refusal(app, "kms:TagResource", prefix+"key/*", "identity-based policy"))
	_, err = c.CreateKey(ctx, &sdk.CreateKeyInput{})
	b.must(err)
	_, err = b.as(app, allowing("*", "kms:CreateKey", "kms:TagResource")).CreateKey(ctx, tagged)
	b.must(err)
}
