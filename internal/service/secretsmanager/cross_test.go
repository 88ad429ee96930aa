package secretsmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

const (
	defaultKeyText = "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key."
	kmsText        = "Access to KMS is not allowed"
	otherKeyText   = "Access to KMS is not allowed. This version of secret is not encrypted with the current KMS key."
	openText       = "Secrets Manager can't decrypt the protected secret text using the provided KMS key."
	sealText       = "Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state."
)

// forStranger is a statement that lets the other account do everything with
// the resource.
const forStranger = `{"Effect":"Allow","Principal":{"AWS":"` + stranger + `"},"Action":"*","Resource":"*"}`

// setKeyPolicy gives a key a policy of the statements, beside that for the
// account.
func (b *bench) setKeyPolicy(id, statements string) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		rec, err := tx.Key(account, home, id)
		if err != nil {
			return err
		}
		rec.Policy = document(statements)
		return tx.SaveKey(rec)
	}))
}

// forAccount is the statement of key policies that leaves all to the
// account's own policies.
const forAccount = `{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"kms:*","Resource":"*"}`

// With the default key another account may do everything but read and write
// values (AWS: recorded, 13.1).
func TestAcrossAccountsWithDefaultKey(t *testing.T) {
	b := newBench(t)
	address := b.create("app", "1")
	b.govern("app", forStranger)
	eve := b.user(stranger, "eve", everything)
	for _, c := range []caller{foreign, eve} {
		with := func(members string) string { return `{"SecretId":"` + address + `"` + members + `}` }
		if got := b.okAs(c, "DescribeSecret", with(``)); got["ARN"] != address || got["Name"] != "app" {
			t.Errorf("got %v", got)
		}
		policy := document(forStranger)
		b.okAs(c, "PutResourcePolicy", with(`,"ResourcePolicy":`+quote(t, policy)))
		if got := b.okAs(c, "GetResourcePolicy", with(``)); got["ResourcePolicy"] != policy {
			t.Errorf("got %v", got)
		}
		if got := b.okAs(c, "ListSecretVersionIds", with(``)); len(got["Versions"].([]any)) != 1 {
			t.Errorf("got %v", got)
		}
		b.okAs(c, "TagResource", with(`,"Tags":[{"Key":"k","Value":"v"}]`))
		b.okAs(c, "UntagResource", with(`,"TagKeys":["k"]`))
		b.okAs(c, "UpdateSecret", with(`,"Description":"d","ClientRequestToken":"`+tok("d")+`"`))
		b.okAs(c, "ValidateResourcePolicy", with(`,"ResourcePolicy":`+quote(t, policy)))
		b.okAs(c, "DeleteSecret", with(``))
		b.okAs(c, "RestoreSecret", with(``))
		for operation, members := range map[string]string{
			"GetSecretValue":           ``,
			"PutSecretValue":           `,"SecretString":"2","ClientRequestToken":"` + tok("v2") + `"`,
			"UpdateSecret":             `,"SecretString":"2","ClientRequestToken":"` + tok("v2") + `"`,
			"ReplicateSecretToRegions": `,"AddReplicaRegions":[{"Region":"eu-west-1"}]`,
		} {
			b.refusedAs(c, operation, with(members), "InvalidRequestException", defaultKeyText)
		}
		got := b.okAs(c, "BatchGetSecretValue", `{"SecretIdList":["`+address+`"]}`)["Errors"].([]any)
		if e := got[0].(object); e["ErrorCode"] != "InvalidRequestException" || e["Message"] != defaultKeyText {
			t.Errorf("got %v", e)
		}
		if got := b.okAs(c, "ListSecrets", `{}`)["SecretList"].([]any); len(got) != 0 {
			t.Errorf("another account's secrets are listed: %v", got)
		}
		b.okAs(c, "BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["app"]}]}`)
	}
	if got := b.value(root, "app"); got != "1" {
		t.Errorf("got %s", got)
	}
	// The stranger's own default key was not made for it.
	b.must(b.Store.View(t.Context(), func(tx *store.Tx) error {
		keys, err := tx.Keys(stranger, home, "", 10)
		if len(keys) != 0 {
			t.Errorf("got %d keys in the caller's account, want none", len(keys))
		}
		return err
	}))
}

// With a customer key everything works, if its policy and the caller's both
// allow it.
func TestAcrossAccountsWithCustomerKey(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	address := b.ok("CreateSecret", withToken(`"Name":"app","KmsKeyId":"alias/k","SecretString":"1"`))["ARN"].(string)
	b.govern("app", forStranger)
	eve := b.user(stranger, "eve", everything)
	poor := b.user(stranger, "poor", `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*"}`)
	get := `{"SecretId":"` + address + `"}`
	put := `{"SecretId":"` + address + `","SecretString":"2","ClientRequestToken":"` + tok("v2") + `"}`
	for _, c := range []caller{foreign, eve, poor} {
		b.refusedAs(c, "GetSecretValue", get, "AccessDeniedException", kmsText)
		b.refusedAs(c, "PutSecretValue", put, "AccessDeniedException", kmsText)
	}
	b.setKeyPolicy(id, forAccount+`,{"Effect":"Allow","Principal":{"AWS":"`+stranger+`"},"Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*"}`)
	b.refusedAs(poor, "GetSecretValue", get, "AccessDeniedException", kmsText)
	b.refusedAs(poor, "PutSecretValue", put, "AccessDeniedException", kmsText)
	if got := b.value(eve, address); got != "1" {
		t.Errorf("got %s", got)
	}
	b.okAs(eve, "PutSecretValue", put)
	b.okAs(eve, "PutSecretValue", put) // a repetition is compared
	if got := b.value(root, "app"); got != "2" {
		t.Errorf("got %s", got)
	}
	if got := b.value(foreign, address[:len(address)-7]); got != "2" {
		t.Errorf("by a partial ARN: got %s", got)
	}
	// The owner's default key is out of reach, whatever it is called.
	for _, keyID := range []string{"", "alias/aws/secretsmanager", "arn:aws:kms:us-east-1:123456789012:alias/aws/secretsmanager"} {
		b.refusedAs(eve, "UpdateSecret", `{"SecretId":"`+address+`","KmsKeyId":"`+keyID+`","ClientRequestToken":"`+tok("v3")+`"}`, "InvalidRequestException", defaultKeyText)
	}
	if got := b.stored(home, "app"); got.KMSKeyID != "alias/k" {
		t.Errorf("the key became %s", got.KMSKeyID)
	}
}

// A batch has secrets of several accounts and an error of its own for each
// that cannot be read.
func TestBatchAcrossAccounts(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	b.setKeyPolicy(id, forAccount+`,`+forStranger)
	shared := b.ok("CreateSecret", withToken(`"Name":"shared","KmsKeyId":"alias/k","SecretString":"1"`))["ARN"].(string)
	b.govern("shared", forStranger)
	private := b.create("private", "1")
	b.addKey(home, "closed")
	locked := b.ok("CreateSecret", withToken(`"Name":"locked","KmsKeyId":"alias/closed","SecretString":"1"`))["ARN"].(string)
	b.govern("locked", forStranger)
	broken := b.addKey(home, "broken")
	b.setKeyPolicy(broken, forAccount+`,`+forStranger)
	disabled := b.ok("CreateSecret", withToken(`"Name":"disabled","KmsKeyId":"alias/broken","SecretString":"1"`))["ARN"].(string)
	b.govern("disabled", forStranger)
	b.setKeyState(home, broken, key.Disabled)
	eve := b.user(stranger, "eve", everything)
	own := b.okAs(eve, "CreateSecret", withToken(`"Name":"own","SecretString":"2"`))["ARN"].(string)

	client := secretsmanager.NewFromConfig(aws.Config{
		Region: home, BaseEndpoint: &b.url, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(eve.accessKey, "secret", ""),
	})
	b.recorded = nil
	none := strings.Replace(private, "private", "none", 1)
	got, err := client.BatchGetSecretValue(t.Context(), &secretsmanager.BatchGetSecretValueInput{
		SecretIdList: []string{shared, "own", private, none, locked, disabled, "private"},
	})
	b.must(err)
	var values, errs []string
	for _, v := range got.SecretValues {
		values = append(values, *v.ARN+"="+*v.SecretString)
	}
	for _, e := range got.Errors {
		errs = append(errs, fmt.Sprint(*e.SecretId, ": ", *e.ErrorCode, ": ", *e.Message))
	}
	if want := []string{shared + "=1", own + "=2"}; !slices.Equal(values, want) {
		t.Errorf("got %v, want %v", values, want)
	}
	noPolicy := "AccessDeniedException: User: arn:aws:iam::999999999999:user/eve is not authorized to perform: secretsmanager:GetSecretValue on resource: %s" +
		" because no resource-based policy allows the secretsmanager:GetSecretValue action"
	want := []string{
		private + ": " + fmt.Sprintf(noPolicy, private), none + ": " + fmt.Sprintf(noPolicy, none),
		locked + ": AccessDeniedException: " + kmsText, disabled + ": DecryptionFailure: " + openText,
		"private: ResourceNotFoundException: " + notFoundText,
	}
	if !slices.Equal(errs, want) {
		t.Errorf("got errors\n%s\nwant\n%s", strings.Join(errs, "\n"), strings.Join(want, "\n"))
	}
	// Owners are told of their own secrets only.
	var events []string
	for _, e := range b.recorded {
		events = append(events, e.Account+" "+e.Name+fmt.Sprint(e.Resources))
	}
	const kind = "AWS::SecretsManager::Secret "
	wantEvents := []string{
		stranger + " BatchGetSecretValue[{" + kind + own + "}]",
		stranger + " GetSecretValue[{" + kind + shared + "}]", account + " GetSecretValue[{" + kind + shared + "}]",
		stranger + " GetSecretValue[{" + kind + own + "}]",
	}
	if !slices.Equal(events, wantEvents) {
		t.Errorf("got events\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(wantEvents, "\n"))
	}
	// A call that as a whole is refused is so as any other.
	_, err = client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &locked})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "AccessDeniedException" || e.ErrorMessage() != kmsText {
		t.Errorf("got %v", err)
	}
	_, err = client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &disabled})
	if _, ok := errors.AsType[*types.DecryptionFailure](err); !ok {
		t.Errorf("got %v", err)
	}
}

// Both accounts have the event of a call, the owner's without what it is not
// told of the caller; a denied one is the caller's alone.
func TestEventsAcrossAccounts(t *testing.T) {
	b := newBench(t)
	address := b.create("app", "1")
	eve := b.user(stranger, "eve", everything)
	b.refusedAs(eve, "DescribeSecret", `{"SecretId":"`+address+`"}`, "AccessDeniedException", "User: …")
	if e := b.recorded[len(b.recorded)-1]; e.Account != stranger || e.SharedID != "" || len(e.Resources) != 0 {
		t.Errorf("got the denied call's event %+v", e)
	}
	b.govern("app", forStranger)
	b.recorded = nil
	b.okAs(eve, "TagResource", `{"SecretId":"`+address+`","Tags":[{"Key":"k","Value":"v"}]}`)
	b.okAs(eve, "DescribeSecret", `{"SecretId":"`+address+`"}`)

	there, here := b.trailOf(stranger, home), b.trailOf(account, home)
	for _, e := range b.recorded {
		r, err := e.Record()
		b.must(err)
		if e.Account == stranger {
			there = append(there, r)
		} else {
			here = append(here, r)
		}
	}
	for i, name := range []string{"TagResource", "DescribeSecret"} {
		callers, owners := there[len(there)-2+i], here[len(here)-2+i]
		a, o := decode(t, callers), decode(t, owners)
		if callers.Name != name || owners.Name != name || a["sharedEventID"] == nil || a["sharedEventID"] != o["sharedEventID"] || a["eventID"] == o["eventID"] {
			t.Errorf("got\n%s\n%s", callers.JSON, owners.JSON)
		}
		if a["recipientAccountId"] != stranger || o["recipientAccountId"] != account || a["requestID"] != o["requestID"] {
			t.Errorf("got\n%s\n%s", callers.JSON, owners.JSON)
		}
		if got := fmt.Sprint(o["userIdentity"]); got != "map[accountId:999999999999 principalId:AIDAEVE type:AWSAccount]" || owners.Username != "" {
			t.Errorf("the owner sees %s", got)
		}
		if got := fmt.Sprint(o["resources"]); got != "[map[ARN:"+address+" accountId:123456789012 type:AWS::SecretsManager::Secret]]" {
			t.Errorf("got resources %s", got)
		}
	}
}

func decode(t *testing.T, r trail.Record) object {
	t.Helper()
	var got object
	if err := json.Unmarshal(r.JSON, &got); err != nil {
		t.Fatal(err)
	}
	return got
}
