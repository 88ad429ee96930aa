package lambda_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const showVariable = "import os\ndef lambda_handler(event, context):\n    return os.environ.get('VAR')\n"

// newKey makes a KMS key whose policy leaves everything to the account.
func (k *kit) newKey() *key.Record {
	k.t.Helper()
	rec, err := key.NewRecord(k.t.Context(), k.Keeper, key.NewKey{Account: account, Region: region}, time.Now())
	check(k.t, err)
	k.setKey(rec, key.Enabled)
	return rec
}

func (k *kit) setKey(rec *key.Record, state key.State) {
	k.t.Helper()
	rec.State = state
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error { return tx.SaveKey(rec) }))
}

// stored returns the configuration of a function as the store has it.
func (k *kit) stored(name string) (c function.Config) {
	k.t.Helper()
	check(k.t, k.store.View(k.t.Context(), func(tx *store.Tx) error {
		f, err := tx.Function(account, region, name)
		if err == nil {
			c = f.Config
		}
		return err
	}))
	return c
}

// The KMS key of a function seals its environment variables: without it, or
// without the right to use it, nobody sees them, and the function stands still.
func TestVariablesUnderKey(t *testing.T) {
	k := newKit(t).run()
	rec := k.newKey()
	const canary = "canary-of-a-variable"
	in := k.input("f", showVariable)
	in.KMSKeyArn, in.Environment = aws.String(rec.ARN()), &types.Environment{Variables: map[string]string{"VAR": canary}}
	k.create(in)
	invoke := func() (string, error) {
		out, err := k.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f")})
		if err != nil {
			return "", err
		}
		return string(out.Payload), nil
	}
	show := func(c *sdk.Client) (variable, code, text string) {
		t.Helper()
		out, err := c.GetFunctionConfiguration(t.Context(), &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
		check(t, err)
		if e := out.Environment.Error; e != nil {
			code, text = *e.ErrorCode, *e.Message
		}
		return out.Environment.Variables["VAR"], code, text
	}
	if got, err := invoke(); err != nil || got != `"`+canary+`"` {
		t.Errorf("got %s, %v", got, err)
	}
	if c := k.stored("f"); bytes.Contains(c.Environment, []byte(canary)) || c.EnvironmentKey != rec.ARN() {
		t.Errorf("stored %q under %s", c.Environment, c.EnvironmentKey)
	}
	if got, _, text := show(k.Client); got != canary {
		t.Errorf("root sees %q, %s", got, text)
	}

	const get = `{"Effect":"Allow","Action":["lambda:GetFunctionConfiguration","lambda:ListFunctions"],"Resource":"*"}`
	decrypt := `,{"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + rec.ARN() + `","Condition":{"StringEquals":{
		"kms:ViaService":"lambda.us-east-1.amazonaws.com","kms:EncryptionContext:aws:lambda:FunctionArn":"` + functionARN("f") + `"}}}`
	denied := "Lambda was unable to decrypt your environment variables because the KMS access was denied. Please check your KMS permissions. " +
		"KMS Exception: AccessDeniedException KMS Message: " + refusal(annARN, "kms:Decrypt", rec.ARN(), noPolicy)
	if got, code, text := show(k.ann(get)); got != "" || code != "AccessDeniedException" || text != denied {
		t.Errorf("without kms:Decrypt: got %q, %s: %s", got, code, text)
	}
	if got, _, text := show(k.ann(get + decrypt)); got != canary {
		t.Errorf("with kms:Decrypt: got %q, %s", got, text)
	}
	list, err := k.ann(get).ListFunctions(t.Context(), &sdk.ListFunctionsInput{})
	check(t, err)
	if e := list.Functions[0].Environment; e.Variables != nil || e.Error == nil {
		t.Errorf("a list without kms:Decrypt shows %v", e.Variables)
	}

	k.setKey(rec, key.Disabled)
	const disabled = "Lambda was unable to decrypt the environment variables because the KMS key used is disabled. Please check the function's KMS key settings."
	_, err = invoke()
	servicetest.WantError(t, "a disabled key", err, "KMSDisabledException", 502, disabled)
	if got, code, text := show(k.Client); got != "" || code != "KMSDisabledException" || text != disabled {
		t.Errorf("with a disabled key: got %q, %s: %s", got, code, text)
	}
	k.setKey(rec, key.Enabled)
	if got, err := invoke(); err != nil || got != `"`+canary+`"` {
		t.Errorf("enabled again: got %s, %v", got, err)
	}

	// Back to the server's own key: the variables go along.
	_, err = k.UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), KMSKeyArn: aws.String("")})
	check(t, err)
	k.waitUpdated("f")
	k.setKey(rec, key.Disabled)
	if got, err := invoke(); err != nil || got != `"`+canary+`"` || k.stored("f").EnvironmentKey != "" {
		t.Errorf("without a key: got %s, %v", got, err)
	}
}

// To choose a key, and to seal with it, takes permissions on it.
func TestVariablesKeyPermissions(t *testing.T) {
	k := newKit(t).run()
	rec := k.newKey()
	const lambdaOnly = `{"Effect":"Allow","Action":["lambda:*","iam:PassRole"],"Resource":"*"}`
	kms := func(actions string) string {
		return lambdaOnly + `,{"Effect":"Allow","Action":` + actions + `,"Resource":"` + rec.ARN() + `"}`
	}
	create := func(name, statements, keyARN string) error {
		in := k.input(name, showVariable)
		in.KMSKeyArn, in.Environment = &keyARN, &types.Environment{Variables: map[string]string{"VAR": "v"}}
		_, err := k.ann(statements).CreateFunction(t.Context(), in)
		return err
	}
	servicetest.WantError(t, "no permission", create("f", lambdaOnly, rec.ARN()), "AccessDeniedException", 403, refusal(annARN, "kms:Encrypt", rec.ARN(), noPolicy))
	servicetest.WantError(t, "no grant", create("f", kms(`"kms:Encrypt"`), rec.ARN()), "AccessDeniedException", 403, refusal(annARN, "kms:CreateGrant", rec.ARN(), noPolicy))
	check(t, create("f", kms(`["kms:Encrypt","kms:CreateGrant"]`), rec.ARN()))
	k.waitActive("f")

	// New variables under the key that is there take kms:Encrypt alone.
	vary := func(statements string) error {
		_, err := k.ann(statements).UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{
			FunctionName: aws.String("f"), Environment: &types.Environment{Variables: map[string]string{"VAR": "w"}},
		})
		return err
	}
	servicetest.WantError(t, "new variables", vary(lambdaOnly), "AccessDeniedException", 403, refusal(annARN, "kms:Encrypt", rec.ARN(), noPolicy))
	check(t, vary(kms(`"kms:Encrypt"`)))

	const invalid = "Lambda was unable to configure access to your environment variables because the KMS key is invalid for CreateGrant. Please check your KMS key settings. KMS Message: "
	missing := strings.Replace(rec.ARN(), rec.ID, "00000000-0000-0000-0000-000000000000", 1)
	in := k.input("g", showVariable)
	in.KMSKeyArn = &missing
	_, err := k.CreateFunction(t.Context(), in)
	wantPrefix(t, err, "InvalidParameterValueException", invalid)
	k.setKey(rec, key.Disabled)
	in.KMSKeyArn = aws.String(rec.ARN())
	_, err = k.CreateFunction(t.Context(), in)
	servicetest.WantError(t, "a disabled key", err, "InvalidParameterValueException", 400, invalid+rec.ARN()+" is disabled.")
}

// To take variables from under a key opens them: whoever may not decrypt must
// not get to see them by another key, or by none.
func TestVariablesLeaveKeyWithDecrypt(t *testing.T) {
	k := newKit(t).run()
	rec, own := k.newKey(), k.newKey()
	in := k.input("f", showVariable)
	in.KMSKeyArn, in.Environment = aws.String(rec.ARN()), &types.Environment{Variables: map[string]string{"VAR": "v"}}
	k.create(in)
	lambdaAndOwn := `{"Effect":"Allow","Action":"lambda:*","Resource":"*"},{"Effect":"Allow","Action":"kms:*","Resource":"` + own.ARN() + `"}`
	move := func(statements, to string) error {
		_, err := k.ann(statements).UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), KMSKeyArn: &to})
		return err
	}
	for _, to := range []string{"", own.ARN()} {
		servicetest.WantError(t, "to "+to, move(lambdaAndOwn, to), "AccessDeniedException", 403, refusal(annARN, "kms:Decrypt", rec.ARN(), noPolicy))
		if got := k.stored("f").EnvironmentKey; got != rec.ARN() {
			t.Errorf("the variables are under %q by now", got)
		}
	}
	check(t, move(lambdaAndOwn+`,{"Effect":"Allow","Action":"kms:Decrypt","Resource":"`+rec.ARN()+`"}`, own.ARN()))
}

// Which key stands behind another account's alias is not to be learned.
func TestVariablesKeyByForeignAlias(t *testing.T) {
	k := newKit(t).run()
	rec, err := key.NewRecord(t.Context(), k.Keeper, key.NewKey{Account: foreign, Region: region}, time.Now())
	check(t, err)
	k.setKey(rec, key.Enabled)
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SaveAlias(&key.Alias{Name: "alias/theirs", Account: foreign, Region: region, KeyID: rec.ID, CreatedAt: rec.CreatedAt, UpdatedAt: rec.CreatedAt})
	}))
	in := k.input("f", showVariable)
	in.KMSKeyArn = aws.String("arn:aws:kms:" + region + ":" + foreign + ":alias/theirs")
	_, err = k.CreateFunction(t.Context(), in)
	if err == nil || strings.Contains(err.Error(), rec.ID) {
		t.Errorf("got %v", err)
	}
}

func wantPrefix(t *testing.T, err error, code, prefix string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), code+": "+prefix) {
		t.Errorf("got %v, want %s: %s", err, code, prefix)
	}
}
