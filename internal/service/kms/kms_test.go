package kms_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

func TestCreateKey(t *testing.T) {
	b := newBench(t)
	before := time.Now().Add(-time.Millisecond)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}`
	out, err := b.c.CreateKey(t.Context(), &sdk.CreateKeyInput{
		Description: aws.String("for secrets"), Policy: &policy, KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt,
		Origin: types.OriginTypeAwsKms, MultiRegion: aws.Bool(false), Tags: []types.Tag{{TagKey: aws.String("k"), TagValue: aws.String("")}},
	})
	b.must(err)
	m := out.KeyMetadata
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(*m.KeyId) || *m.Arn != prefix+"key/"+*m.KeyId {
		t.Errorf("got key %s, %s", *m.KeyId, *m.Arn)
	}
	if m.CreationDate.Before(before) || m.CreationDate.After(time.Now()) || m.DeletionDate != nil {
		t.Errorf("made at %v, deleted at %v", m.CreationDate, m.DeletionDate)
	}
	if !m.Enabled || m.KeyState != types.KeyStateEnabled || *m.Description != "for secrets" || *m.AWSAccountId != account || m.KeyManager != types.KeyManagerTypeCustomer ||
		m.KeySpec != types.KeySpecSymmetricDefault || m.KeyUsage != types.KeyUsageTypeEncryptDecrypt ||
		m.Origin != types.OriginTypeAwsKms || *m.MultiRegion || !slices.Equal(m.EncryptionAlgorithms, []types.EncryptionAlgorithmSpec{"SYMMETRIC_DEFAULT"}) {
		t.Errorf("got %+v", m)
	}
	//lint:ignore SA1019 old clients still read it
	if spec := m.CustomerMasterKeySpec; spec != types.CustomerMasterKeySpecSymmetricDefault {
		t.Errorf("got %s by the old name", spec)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(*m.CurrentKeyMaterialId) {
		t.Errorf("got material %s", *m.CurrentKeyMaterialId)
	}
	described, err := b.describe(*m.KeyId)
	b.must(err)
	if *described.Arn != *m.Arn || *described.CurrentKeyMaterialId != *m.CurrentKeyMaterialId || !described.CreationDate.Equal(*m.CreationDate) {
		t.Errorf("described as %+v", described)
	}
	b.must(b.Store.View(t.Context(), func(tx *store.Tx) error {
		rec, err := tx.Key(account, servicetest.Region, *m.KeyId)
		if err == nil && (rec.Policy != policy || !slices.Equal(rec.Tags, []key.Tag{{Key: "k"}})) {
			t.Errorf("stored with policy %s and tags %v", rec.Policy, rec.Tags)
		}
		return err
	}))
	if m, err := b.describe(b.key()); err != nil || *m.Description != "" {
		t.Errorf("a key without anything: %v", err)
	}
}

func TestCreateKeyRefusals(t *testing.T) {
	b := newBench(t)
	tags := func(keys ...string) (list []types.Tag) {
		for _, k := range keys {
			list = append(list, types.Tag{TagKey: &k, TagValue: aws.String("v")})
		}
		return list
	}
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprint("k", i))
	}
	statement := func(principal string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + principal + `"Action":"kms:*","Resource":"*"}]}`)
	}
	const principals = "Policy contains a statement with one or more invalid principals."
	byOldName := func(in sdk.CreateKeyInput, spec types.CustomerMasterKeySpec) sdk.CreateKeyInput {
		//lint:ignore SA1019 old clients still send it
		in.CustomerMasterKeySpec = spec
		return in
	}
	const only = "Only single-region symmetric encryption keys with material made here are supported."
	for _, tc := range []struct {
		what string
		in   sdk.CreateKeyInput
		code string
		text string
	}{
		{"a key pair", sdk.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify}, "UnsupportedOperationException", only},
		{"a key pair by the old name", byOldName(sdk.CreateKeyInput{}, types.CustomerMasterKeySpecRsa2048), "UnsupportedOperationException", only},
		{"another origin", sdk.CreateKeyInput{Origin: types.OriginTypeExternal}, "UnsupportedOperationException", only},
		{"many regions", sdk.CreateKeyInput{MultiRegion: aws.Bool(true)}, "UnsupportedOperationException", only},
		{"both specs", byOldName(sdk.CreateKeyInput{KeySpec: "SYMMETRIC_DEFAULT"}, "SYMMETRIC_DEFAULT"), "ValidationException",
			"You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated."},
		{"a tag twice", sdk.CreateKeyInput{Tags: tags("a", "b", "a")}, "TagException", "Duplicate tag keys"},
		{"a tag of AWS", sdk.CreateKeyInput{Tags: tags("AWS:x")}, "TagException", "Tags beginning with aws: are reserved"},
		{"51 tags", sdk.CreateKeyInput{Tags: tags(many...)}, "TagException", "Too many tags"},
		{"no policy", sdk.CreateKeyInput{Policy: aws.String("{")}, "MalformedPolicyDocumentException", "Syntax errors in policy."},
		{"no principal", sdk.CreateKeyInput{Policy: statement("")}, "MalformedPolicyDocumentException", principals},
		{"no such principal", sdk.CreateKeyInput{Policy: statement(`"Principal":{"AWS":"somebody"},`)}, "MalformedPolicyDocumentException", principals},
		{"a long description", sdk.CreateKeyInput{Description: aws.String(strings.Repeat("d", 8193))}, "ValidationException",
			"1 validation error detected: Value '" + strings.Repeat("d", 8193) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192"},
	} {
		_, err := b.c.CreateKey(t.Context(), &tc.in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	if out, err := b.c.ListKeys(t.Context(), nil); err != nil || len(out.Keys) != 0 {
		t.Errorf("refused calls left %d keys, %v", len(out.Keys), err)
	}
	_, err := b.c.CreateKey(t.Context(), &sdk.CreateKeyInput{Tags: tags(many[:50]...)})
	b.must(err)
}

// A key goes by its ID, its ARN, an alias or the alias's ARN.
func TestDescribeKey(t *testing.T) {
	b := newBench(t)
	id := b.key()
	b.must(b.alias("alias/app/db", id))
	for _, name := range []string{id, prefix + "key/" + id, "alias/app/db", prefix + "alias/app/db"} {
		if m, err := b.describe(name); err != nil || *m.KeyId != id {
			t.Errorf("%s: %v", name, err)
		}
	}
	denied := func(arn string) string {
		return "User: arn:aws:iam::123456789012:root is not authorized to perform: kms:DescribeKey on resource: " + arn +
			" because no resource-based policy allows the kms:DescribeKey action"
	}
	foreign := strings.Replace(prefix, account, foreign, 1) + "key/"
	for _, tc := range []struct{ id, code, text string }{
		{absent, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{prefix + "key/" + absent, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"mrk-0123456789abcdef0123456789abcdef", "NotFoundException", "Key '" + prefix + "key/mrk-0123456789abcdef0123456789abcdef' does not exist"},
		{"none", "NotFoundException", "Invalid keyId 'none'"},
		{prefix + "key/none", "NotFoundException", "Invalid keyId 'none'"},
		{"alias/none", "NotFoundException", "Alias " + prefix + "alias/none is not found."},
		{prefix + "alias/none", "NotFoundException", "Alias " + prefix + "alias/none is not found."},
		{"arn:aws:kms:eu-west-1:123456789012:key/" + id, "NotFoundException", "Invalid arn eu-west-1"},
		{"arn:aws:iam::123456789012:role/r", "NotFoundException", "Invalid arn arn:aws:iam::123456789012:role/r"},
		{"arn:aws:kms", "NotFoundException", "Invalid arn arn:aws:kms"},
		// The answer is the same whether the other account has the key.
		{foreign + id, "AccessDeniedException", denied(foreign + id)},
		{foreign + absent, "AccessDeniedException", denied(foreign + absent)},
	} {
		_, err := b.describe(tc.id)
		servicetest.WantError(t, tc.id, err, tc.code, 400, tc.text)
	}
	b.setState(id, key.Disabled, time.Time{})
	if m, err := b.describe(id); err != nil || m.Enabled || m.KeyState != types.KeyStateDisabled {
		t.Errorf("a disabled key: %v", err)
	}
	ends := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	b.setState(id, key.PendingDeletion, ends)
	if m, err := b.describe(id); err != nil || m.Enabled || m.KeyState != types.KeyStatePendingDeletion || !m.DeletionDate.Equal(ends) {
		t.Errorf("a key pending deletion: %v", err)
	}
}

// Asking for the default key makes it, once, in the region asked.
func TestDefaultKey(t *testing.T) {
	b := newBench(t)
	first, err := b.describe(key.DefaultAlias)
	b.must(err)
	if first.KeyManager != types.KeyManagerTypeAws || *first.Description != "Default key that protects my Secrets Manager data when no other key is defined" {
		t.Errorf("got %+v", first)
	}
	second, err := b.describe(prefix + key.DefaultAlias)
	b.must(err)
	if *second.KeyId != *first.KeyId {
		t.Error("the default key was made twice")
	}
	b.cfg.Region = "eu-west-1"
	b.c = b.as(authz.RootPrincipal(account, ""))
	_, err = b.describe(*first.KeyId)
	servicetest.WantError(t, "from another region", err, "NotFoundException", 400, "Key 'arn:aws:kms:eu-west-1:123456789012:key/"+*first.KeyId+"' does not exist")
	third, err := b.describe(key.DefaultAlias)
	b.must(err)
	if *third.KeyId == *first.KeyId || !strings.HasPrefix(*third.Arn, "arn:aws:kms:eu-west-1:") {
		t.Errorf("in another region: got %s", *third.Arn)
	}
}

func TestCreateAliasRefusals(t *testing.T) {
	b := newBench(t)
	id := b.key()
	b.must(b.alias("alias/taken", id))
	const noPrefix = `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`
	for _, tc := range []struct{ name, target, code, text string }{
		{"alias/taken", id, "AlreadyExistsException", "An alias with the name " + prefix + "alias/taken already exists"},
		{"taken", id, "ValidationException", noPrefix},
		{"Alias/x", id, "ValidationException", noPrefix},
		{"alias/", id, "ValidationException", "Alias contains invalid characters for an alias"},
		{"alias/a:b", id, "ValidationException", "Alias contains invalid characters for an alias"},
		{"alias/a b", id, "ValidationException",
			"1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"alias/aws/mine", id, "NotAuthorizedException", "UnknownError"}, // the SDK for no message
		{"alias/new", "alias/taken", "ValidationException", "Aliases must refer to keys. Not aliases"},
		{"alias/new", prefix + "alias/taken", "ValidationException", "Aliases must refer to keys. Not aliases"},
		{"alias/new", absent, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"alias/new", "none", "NotFoundException", "Invalid keyId 'none'"},
	} {
		servicetest.WantError(t, tc.name+" for "+tc.target, b.alias(tc.name, tc.target), tc.code, 400, tc.text)
	}
	b.setState(id, key.Disabled, time.Time{})
	b.must(b.alias("alias/disabled", id))
	b.setState(id, key.PendingDeletion, time.Now().Add(time.Hour))
	servicetest.WantError(t, "pending deletion", b.alias("alias/new", id), "KMSInvalidStateException", 400, prefix+"key/"+id+" is pending deletion.")
}

func TestLists(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	var ids, names []string
	for i := range 7 {
		id := b.key()
		ids = append(ids, id)
		names = append(names, fmt.Sprintf("alias/a%d", i))
		b.must(b.alias(names[i], id))
	}
	slices.Sort(ids)
	_, err := b.describe(key.DefaultAlias)
	b.must(err)
	names = append(names, key.DefaultAlias)
	var got []string
	pages := 0
	for p := sdk.NewListKeysPaginator(b.c, &sdk.ListKeysInput{Limit: aws.Int32(3)}); p.HasMorePages(); pages++ {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, k := range page.Keys {
			if got = append(got, *k.KeyId); *k.KeyArn != prefix+"key/"+*k.KeyId {
				t.Errorf("got %s", *k.KeyArn)
			}
		}
	}
	if pages != 3 || len(got) != 8 || !slices.IsSorted(got) {
		t.Errorf("got %d keys on %d pages", len(got), pages)
	}
	for _, id := range ids {
		if !slices.Contains(got, id) {
			t.Errorf("key %s is not listed", id)
		}
	}
	got = nil
	for p := sdk.NewListAliasesPaginator(b.c, &sdk.ListAliasesInput{Limit: aws.Int32(4)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, a := range page.Aliases {
			if got = append(got, *a.AliasName); *a.AliasArn != prefix+*a.AliasName || a.CreationDate == nil || !a.CreationDate.Equal(*a.LastUpdatedDate) {
				t.Errorf("got %+v", a)
			}
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	first, err := b.describe("alias/a0")
	b.must(err)
	of, err := b.c.ListAliases(ctx, &sdk.ListAliasesInput{KeyId: first.Arn})
	b.must(err)
	if len(of.Aliases) != 1 || *of.Aliases[0].AliasName != "alias/a0" || *of.Aliases[0].TargetKeyId != *first.KeyId || of.Truncated {
		t.Errorf("aliases of one key: %+v", of)
	}
	_, err = b.c.ListAliases(ctx, &sdk.ListAliasesInput{KeyId: aws.String(absent)})
	servicetest.WantError(t, "of no key", err, "NotFoundException", 400, "Key '"+prefix+"key/"+absent+"' does not exist")
	_, err = b.c.ListKeys(ctx, &sdk.ListKeysInput{Limit: aws.Int32(1001)})
	servicetest.WantError(t, "too many", err, "ValidationException", 400,
		"1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")
}
