package secretsmanager

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// smOnly is a statement for all of Secrets Manager and no key.
const smOnly = `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*"}`

// mayUse allows actions of KMS, under a condition if one is given.
func mayUse(condition string, actions ...string) string {
	if condition != "" {
		condition = `,"Condition":{` + condition + `}`
	}
	return `{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"` + condition + `}`
}

// Whoever lacks a permission on the key is refused by every operation that
// needs it, and by no other (reference 14).
func TestKeyPermissions(t *testing.T) {
	b := newBench(t)
	b.addKey(home, "old")
	b.addKey(home, "new")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"alias/old","SecretString":"1"`))
	none := b.user(account, "none", smOnly)
	decrypt := b.user(account, "decrypt", smOnly+`,`+mayUse("", "kms:Decrypt"))
	generate := b.user(account, "generate", smOnly+`,`+mayUse("", "kms:GenerateDataKey"))
	both := b.user(account, "both", smOnly+`,`+mayUse("", "kms:GenerateDataKey", "kms:Decrypt"))
	refused := func(c caller, operation, body string) {
		t.Helper()
		b.refusedAs(c, operation, body, "AccessDeniedException", kmsText)
	}
	put := func(version, value string) string {
		return `{"SecretId":"s","SecretString":"` + value + `","ClientRequestToken":"` + tok(version) + `"}`
	}
	newKey := func(version, more string) string {
		return `{"SecretId":"s","KmsKeyId":"alias/new","ClientRequestToken":"` + tok(version) + `"` + more + `}`
	}
	before := b.stored(home, "s")
	for _, c := range []caller{none, generate} {
		refused(c, "GetSecretValue", `{"SecretId":"s"}`)
		got := b.okAs(c, "BatchGetSecretValue", `{"SecretIdList":["s"]}`)["Errors"].([]any)[0].(object)
		if got["ErrorCode"] != "AccessDeniedException" || got["Message"] != kmsText {
			t.Errorf("got %v", got)
		}
		refused(c, "PutSecretValue", put("new", "1")) // the value would have to be compared
	}
	for _, c := range []caller{none, decrypt} {
		refused(c, "PutSecretValue", put("v2", "2"))
		refused(c, "UpdateSecret", put("v2", "2"))
	}
	for _, c := range []caller{none, decrypt, generate} { // a new key is tried both ways
		refused(c, "CreateSecret", withToken(`"Name":"t","KmsKeyId":"alias/new"`))
		refused(c, "CreateSecret", withToken(`"Name":"t","KmsKeyId":"alias/new","SecretString":"1"`))
		refused(c, "UpdateSecret", newKey("v2", ``))
		refused(c, "UpdateSecret", newKey("v2", `,"SecretString":"2","Description":"d"`))
	}
	if diff := cmp.Diff(before, b.stored(home, "s")); diff != "" {
		t.Errorf("refused calls changed the secret:\n%s", diff)
	}
	for _, operation := range []string{"DescribeSecret", "ListSecretVersionIds", "GetResourcePolicy"} {
		b.okAs(none, operation, `{"SecretId":"s"}`)
	}
	b.okAs(none, "TagResource", `{"SecretId":"s","Tags":[]}`)
	b.okAs(none, "UpdateSecret", `{"SecretId":"s","Description":"d","ClientRequestToken":"`+tok("d")+`"}`)
	rotates := b.user(account, "rotates", smOnly+`,`+mayUse("", "lambda:InvokeFunction"))
	b.okAs(rotates, "RotateSecret", `{"SecretId":"s","RotationLambdaARN":"`+function+`","ClientRequestToken":"`+tok("r")+`"}`)
	b.okAs(none, "CreateSecret", withToken(`"Name":"bydefault","SecretString":"1"`)) // that key takes none
	b.value(none, "bydefault")
	b.value(decrypt, "s")
	b.okAs(generate, "PutSecretValue", put("v2", "2"))
	b.okAs(both, "CreateSecret", withToken(`"Name":"t","KmsKeyId":"alias/new","SecretString":"1"`))
	b.okAs(both, "PutSecretValue", put("v2", "2"))
}

// Another key seals what there is only for who may encrypt with it; other
// versions stay where they are, and say so to those who cannot open them.
func TestRekeyPermissions(t *testing.T) {
	b := newBench(t)
	oldKey, newKey := b.addKey(home, "old"), b.addKey(home, "new")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"alias/old","SecretString":"1"`))
	rekey := func(c caller) (object, *refusal) {
		return b.post(c, "UpdateSecret", `{"SecretId":"s","KmsKeyId":"alias/new","ClientRequestToken":"`+tok("k")+`"}`)
	}
	sealedBy := func() string {
		address := b.stored(home, "s").Holder(secret.Current).KeyARN
		return address[strings.LastIndexByte(address, '/')+1:]
	}
	onNew := func(actions ...string) string {
		return strings.Replace(mayUse("", actions...), `"Resource":"*"`, `"Resource":"arn:aws:kms:*:*:key/`+newKey+`"`, 1)
	}
	// Who may encrypt with the new key must be able to open what it seals.
	some := b.user(account, "some", smOnly+`,`+onNew("kms:*"))
	if _, refused := rekey(some); refused == nil || refused.message != kmsText {
		t.Errorf("got %v, want it refused", refused)
	}
	if got := b.stored(home, "s"); got.KMSKeyID != "alias/old" || sealedBy() != oldKey {
		t.Errorf("a refused call changed the key to %s", got.KMSKeyID)
	}
	few := b.user(account, "few", smOnly+`,`+onNew("kms:GenerateDataKey", "kms:Decrypt"))
	if _, refused := rekey(few); refused != nil {
		t.Fatalf("got %v", refused)
	}
	if got := b.stored(home, "s"); got.KMSKeyID != "alias/new" || sealedBy() != oldKey {
		t.Errorf("got key %s and values under %s, want them left", got.KMSKeyID, sealedBy())
	}
	b.refusedAs(few, "GetSecretValue", `{"SecretId":"s"}`, "AccessDeniedException", otherKeyText)
	got := b.okAs(few, "BatchGetSecretValue", `{"SecretIdList":["s"]}`)["Errors"].([]any)[0].(object)
	if got["ErrorCode"] != "AccessDeniedException" || got["Message"] != otherKeyText {
		t.Errorf("got %v", got)
	}
	b.value(root, "s")
	all := b.user(account, "all", smOnly+`,`+mayUse("", "kms:*"))
	if _, refused := rekey(all); refused != nil {
		t.Fatalf("got %v", refused)
	}
	if got := sealedBy(); got != newKey {
		t.Errorf("sealed by %s, want the new key", got)
	}
	b.value(few, "s")
	// Back to the default key, which takes no permission.
	b.okAs(few, "UpdateSecret", `{"SecretId":"s","KmsKeyId":"","ClientRequestToken":"`+tok("k")+`"}`)
	if got := sealedBy(); got == newKey || got == oldKey {
		t.Errorf("sealed by %s, want the default key", got)
	}
	b.value(b.user(account, "none", smOnly), "s")
}

// Key policies may admit one secret, the service, or the trial of a key only.
func TestKeyPolicyConditions(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	mine := b.ok("CreateSecret", withToken(`"Name":"mine","KmsKeyId":"alias/k","SecretString":"1"`))["ARN"].(string)
	b.ok("CreateSecret", withToken(`"Name":"other","KmsKeyId":"alias/k","SecretString":"1"`))
	ann := b.user(account, "ann", smOnly)
	only := func(condition string) {
		b.setKeyPolicy(id, forAccount+`,{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*","Condition":{`+condition+`}}`)
	}
	put := func(id, version string) string {
		return `{"SecretId":"` + id + `","SecretString":"2","ClientRequestToken":"` + tok(version) + `"}`
	}
	only(`"StringEquals":{"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com","kms:EncryptionContext:SecretARN":"` + mine + `"}`)
	b.value(ann, "mine")
	b.okAs(ann, "PutSecretValue", put("mine", "v2"))
	b.refusedAs(ann, "GetSecretValue", `{"SecretId":"other"}`, "AccessDeniedException", kmsText)
	b.refusedAs(ann, "PutSecretValue", put("other", "v2"), "AccessDeniedException", kmsText)
	b.refusedAs(ann, "CreateSecret", withToken(`"Name":"new","KmsKeyId":"alias/k","SecretString":"1"`), "AccessDeniedException", kmsText)
	only(`"StringLike":{"kms:EncryptionContext:SecretARN":"arn:aws:secretsmanager:*:*:secret:new-??????"}`)
	b.okAs(ann, "CreateSecret", withToken(`"Name":"new","KmsKeyId":"alias/k","SecretString":"1"`))

	only(`"StringEquals":{"kms:EncryptionContext:SecretVersionId":"RequestToValidateKeyAccess"}`)
	b.refusedAs(ann, "CreateSecret", withToken(`"Name":"n","KmsKeyId":"alias/k","SecretString":"1"`), "AccessDeniedException", kmsText)
	b.okAs(ann, "CreateSecret", withToken(`"Name":"n","KmsKeyId":"alias/k"`)) // nothing is sealed yet
	b.refusedAs(ann, "GetSecretValue", `{"SecretId":"mine"}`, "AccessDeniedException", kmsText)
	only(`"StringNotEquals":{"kms:EncryptionContext:SecretVersionId":"RequestToValidateKeyAccess"}`)
	b.value(ann, "mine")
	b.refusedAs(ann, "CreateSecret", withToken(`"Name":"m","KmsKeyId":"alias/k","SecretString":"1"`), "AccessDeniedException", kmsText)
	only(`"StringEquals":{"kms:ViaService":"rds.us-east-1.amazonaws.com"}`)
	b.refusedAs(ann, "GetSecretValue", `{"SecretId":"mine"}`, "AccessDeniedException", kmsText)
	// A policy that leaves nothing to the account stops its root, too.
	b.setKeyPolicy(id, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"kms:*","Resource":"*"}`)
	b.refused("GetSecretValue", `{"SecretId":"mine"}`, "AccessDeniedException", kmsText)
	b.value(ann, "mine")
}

// A secret whose key is gone can be neither read nor written, until it gets
// another one and a new value.
func TestMissingKey(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"`+id+`","SecretString":"1"`))
	b.value(root, "s")
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteKey(account, home, id) }))
	b.refused("GetSecretValue", `{"SecretId":"s"}`, "DecryptionFailure", openText)
	b.refused("PutSecretValue", `{"SecretId":"s","SecretString":"2","ClientRequestToken":"`+tok("v2")+`"}`, "EncryptionFailure", sealText)
	b.refused("UpdateSecret", `{"SecretId":"s","KmsKeyId":"none","ClientRequestToken":"`+tok("v2")+`"}`, "InvalidParameterException", "The operation failed because of an invalid KMS key: Invalid keyId")
}

// Replication takes the caller's permissions when it is asked for, as it is
// done later.
func TestReplicationKeyPermissions(t *testing.T) {
	b := newBench(t)
	here, there := b.addKey(home, "here"), b.addKey(away, "there")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"alias/here","SecretString":"1"`))
	const hereARN, thereARN = "arn:aws:kms:us-east-1:123456789012:key/", "arn:aws:kms:eu-west-1:123456789012:key/"
	grant := func(address string, actions ...string) string {
		return `,` + strings.Replace(mayUse("", actions...), `"Resource":"*"`, `"Resource":"`+address+`"`, 1)
	}
	replicate := `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"alias/there"}]}`
	for i, grants := range []string{
		"",
		grant(thereARN+there, "kms:*"),
		grant(hereARN+here, "kms:*"),
		grant(hereARN+here, "kms:Decrypt") + grant(thereARN+there, "kms:GenerateDataKey"),
		grant(hereARN+here, "kms:Decrypt") + grant(thereARN+there, "kms:Encrypt"),
	} {
		c := b.user(account, "u"+string(rune('a'+i)), smOnly+grants)
		b.refusedAs(c, "ReplicateSecretToRegions", replicate, "AccessDeniedException", kmsText)
		if i > 1 {
			b.refusedAs(c, "CreateSecret", withToken(`"Name":"t","SecretString":"1","AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"alias/there"}]`), "AccessDeniedException", kmsText)
		}
	}
	if got := b.stored(home, "s"); len(got.Replicas) != 0 {
		t.Errorf("got %v, want no replica", got.Replicas)
	}
	viaThere := strings.Replace(mayUse(`"StringEquals":{"kms:ViaService":"secretsmanager.eu-west-1.amazonaws.com"}`, "kms:GenerateDataKey", "kms:Encrypt"), `"Resource":"*"`, `"Resource":"`+thereARN+there+`"`, 1)
	able := b.user(account, "able", smOnly+grant(hereARN+here, "kms:Decrypt")+`,`+viaThere)
	b.okAs(able, "ReplicateSecretToRegions", replicate)
	b.must(b.Replicator().Replicate(t.Context()))
	if got := b.value(rootAway, "s"); got != "1" {
		t.Errorf("got %s", got)
	}
	// Default keys take no permission.
	b.create("d", "1")
	none := b.user(account, "none", smOnly)
	b.okAs(none, "ReplicateSecretToRegions", `{"SecretId":"d","AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
}

// Only the account's own default key takes no permission: neither a customer
// key whose alias ends like its, nor that of another account.
func TestNoOtherKeyIsDefault(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.addKey(away, "x/alias/aws/secretsmanager")
	b.must(b.Guard.EnsureDefaultKey(t.Context(), stranger, away))
	b.must(b.Guard.EnsureDefaultKey(t.Context(), stranger, home))
	none := b.user(account, "none", smOnly)
	for _, id := range []string{"alias/x/alias/aws/secretsmanager", "arn:aws:kms:eu-west-1:" + stranger + ":alias/aws/secretsmanager"} {
		b.refusedAs(none, "ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"`+id+`"}]}`, "AccessDeniedException", kmsText)
	}
	b.okAs(none, "ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"alias/aws/secretsmanager"}]}`)
	// The other account's default key is no key for this account's secret,
	// though the other account's people may use it for theirs.
	b.setKeyPolicy(b.addKey(home, "k"), forAccount+`,`+forStranger)
	address := b.ok("CreateSecret", withToken(`"Name":"shared","KmsKeyId":"alias/k","SecretString":"1"`))["ARN"].(string)
	b.govern("shared", forStranger)
	eve := b.user(stranger, "eve", everything)
	theirs := ""
	b.must(b.Store.View(t.Context(), func(tx *store.Tx) error {
		alias, err := tx.Alias(stranger, home, "alias/aws/secretsmanager")
		if err == nil {
			theirs = "arn:aws:kms:us-east-1:" + stranger + ":key/" + alias.KeyID
		}
		return err
	}))
	if _, refused := b.post(eve, "UpdateSecret", `{"SecretId":"`+address+`","KmsKeyId":"`+theirs+`","SecretString":"2","ClientRequestToken":"`+tok("v2")+`"}`); refused == nil {
		t.Error("a secret was sealed with another account's default key")
	}
	if got := b.stored(home, "shared"); got.KMSKeyID != "alias/k" {
		t.Errorf("the secret's key is %q by now", got.KMSKeyID)
	}
	b.value(root, "shared")
}
