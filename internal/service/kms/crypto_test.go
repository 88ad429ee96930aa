package kms_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
)

const dryRunText = "The request would have succeeded, but the DryRun option is set."

// A ciphertext opens by whatever name its key was used, and names the key by
// itself.
func TestEncryptDecrypt(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	b.must(b.alias("alias/app", id))
	ec := map[string]string{"app": "orders", "tier": "1"}
	for _, name := range []string{id, prefix + "key/" + id, "alias/app", prefix + "alias/app"} {
		out, err := b.c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &name, Plaintext: []byte("value"), EncryptionContext: ec})
		b.must(err)
		if *out.KeyId != prefix+"key/"+id || out.EncryptionAlgorithm != "SYMMETRIC_DEFAULT" || bytes.Contains(out.CiphertextBlob, []byte("value")) {
			t.Errorf("%s: got %+v", name, out)
		}
		for _, keyID := range []*string{nil, &id, &name} {
			opened, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: ec, KeyId: keyID})
			b.must(err)
			if string(opened.Plaintext) != "value" || *opened.KeyId != prefix+"key/"+id || len(*opened.KeyMaterialId) != 64 || opened.EncryptionAlgorithm != "SYMMETRIC_DEFAULT" {
				t.Errorf("%s: got %+v", name, opened)
			}
		}
	}
}

func TestDecryptRefusals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id, second := b.key(), b.key()
	ec := map[string]string{"app": "orders"}
	blob := b.encrypt(id, "value", ec)
	tampered := bytes.Clone(blob)
	tampered[len(tampered)-1] ^= 1
	of := func(keyID string) []byte { return bytes.Replace(bytes.Clone(blob), []byte(id), []byte(keyID), 1) }
	const none = ""
	const hidden = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."
	for _, tc := range []struct {
		what string
		in   sdk.DecryptInput
		code string
		text string
	}{
		{"no context", sdk.DecryptInput{CiphertextBlob: blob}, "InvalidCiphertextException", none},
		{"another context", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"app": "x"}}, "InvalidCiphertextException", none},
		{"another case", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"App": "orders"}}, "InvalidCiphertextException", none},
		{"a changed blob", sdk.DecryptInput{CiphertextBlob: tampered, EncryptionContext: ec}, "InvalidCiphertextException", none},
		{"half a blob", sdk.DecryptInput{CiphertextBlob: blob[:50], EncryptionContext: ec}, "InvalidCiphertextException", none},
		{"no blob", sdk.DecryptInput{CiphertextBlob: []byte("value")}, "InvalidCiphertextException", none},
		{"the blob under another key's name", sdk.DecryptInput{CiphertextBlob: of(second), EncryptionContext: ec}, "InvalidCiphertextException", none},
		{"a key that is gone", sdk.DecryptInput{CiphertextBlob: of(absent), EncryptionContext: ec}, "AccessDeniedException", hidden},
		{"another key", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, KeyId: &second}, "IncorrectKeyException",
			"The key ID in the request does not identify a CMK that can perform this operation."},
		{"no key", sdk.DecryptInput{CiphertextBlob: blob, KeyId: aws.String(absent)}, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"an algorithm of key pairs", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, EncryptionAlgorithm: "RSAES_OAEP_SHA_1"},
			"InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"nothing", sdk.DecryptInput{}, "ValidationException",
			"1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null"},
		{"too much", sdk.DecryptInput{CiphertextBlob: make([]byte, 6145)}, "ValidationException",
			"1 validation error detected: Value at 'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144"},
		{"an enclave", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, Recipient: &types.RecipientInfo{AttestationDocument: []byte("x")}},
			"UnsupportedOperationException", "Recipients with an attestation document are not supported."},
		{"a grant token", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, GrantTokens: []string{"x"}}, "InvalidGrantTokenException", "Invalid grant token."},
		{"a dry run", sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, DryRun: aws.Bool(true)}, "DryRunOperationException", dryRunText},
		{"a dry run with a wrong context", sdk.DecryptInput{CiphertextBlob: blob, DryRun: aws.Bool(true)}, "InvalidCiphertextException", none},
		{"a dry run without blob", sdk.DecryptInput{KeyId: &id, DryRun: aws.Bool(true), DryRunModifiers: []types.DryRunModifierType{"IGNORE_CIPHERTEXT"}},
			"DryRunOperationException", dryRunText},
	} {
		_, err := b.c.Decrypt(ctx, &tc.in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	// The answer is the same whether the other account has the key.
	stranger := b.as(authz.RootPrincipal(foreign, ""))
	for what, ciphertext := range map[string][]byte{"theirs": blob, "nobody's": of(absent)} {
		_, err := stranger.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: ciphertext, EncryptionContext: ec})
		servicetest.WantError(t, what, err, "AccessDeniedException", 400, hidden)
	}
}

func TestEncryptRefusals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	for _, tc := range []struct {
		what string
		in   sdk.EncryptInput
		code string
		text string
	}{
		{"too much", sdk.EncryptInput{KeyId: &id, Plaintext: make([]byte, 4097)}, "ValidationException",
			"1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{"no key", sdk.EncryptInput{KeyId: aws.String(absent), Plaintext: []byte("x")}, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"no alias", sdk.EncryptInput{KeyId: aws.String("alias/none"), Plaintext: []byte("x")}, "NotFoundException", "Alias " + prefix + "alias/none is not found."},
		{"an algorithm of key pairs", sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
			"InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"a dry run", sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), DryRun: aws.Bool(true)}, "DryRunOperationException", dryRunText},
		{"a grant token", sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), GrantTokens: []string{"x"}}, "InvalidGrantTokenException", "Invalid grant token."},
	} {
		_, err := b.c.Encrypt(ctx, &tc.in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	if got := b.encrypt(id, strings.Repeat("x", 4096), nil); len(got) > 6144 {
		t.Errorf("a ciphertext of %d bytes cannot be opened again", len(got))
	}
}

func TestGenerateDataKey(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	ec := map[string]string{"a": "b"}
	seen := map[string]bool{}
	for _, tc := range []struct {
		spec types.DataKeySpec
		n    *int32
		want int
	}{{"AES_256", nil, 32}, {"AES_128", nil, 16}, {"", aws.Int32(1024), 1024}, {"", aws.Int32(1), 1}} {
		out, err := b.c.GenerateDataKey(ctx, &sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: tc.spec, NumberOfBytes: tc.n, EncryptionContext: ec})
		b.must(err)
		opened, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: ec})
		b.must(err)
		if len(out.Plaintext) != tc.want || !bytes.Equal(out.Plaintext, opened.Plaintext) || *out.KeyMaterialId != *opened.KeyMaterialId || *out.KeyId != prefix+"key/"+id {
			t.Errorf("%s: got %d bytes", tc.spec, len(out.Plaintext))
		}
		without, err := b.c.GenerateDataKeyWithoutPlaintext(ctx, &sdk.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, KeySpec: tc.spec, NumberOfBytes: tc.n, EncryptionContext: ec})
		b.must(err)
		if opened, err = b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: without.CiphertextBlob, EncryptionContext: ec}); err != nil || len(opened.Plaintext) != tc.want {
			t.Errorf("%s without plaintext: %v", tc.spec, err)
		}
		if tc.want > 8 && (seen[string(out.Plaintext)] || seen[string(opened.Plaintext)] || bytes.Equal(opened.Plaintext, make([]byte, tc.want))) {
			t.Error("a data key came twice, or is empty")
		}
		seen[string(out.Plaintext)], seen[string(opened.Plaintext)] = true, true
	}
	for _, tc := range []struct {
		what string
		in   sdk.GenerateDataKeyInput
		code string
		text string
	}{
		{"neither", sdk.GenerateDataKeyInput{KeyId: &id}, "ValidationException", "Please specify either number of bytes or key spec."},
		{"both", sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256", NumberOfBytes: aws.Int32(1)}, "ValidationException", "Please specify either number of bytes or key spec."},
		{"too long", sdk.GenerateDataKeyInput{KeyId: &id, NumberOfBytes: aws.Int32(1025)}, "ValidationException",
			"1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"},
		{"dry", sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256", DryRun: aws.Bool(true)}, "DryRunOperationException", dryRunText},
	} {
		_, err := b.c.GenerateDataKey(ctx, &tc.in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
}

func TestReEncrypt(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	from, to := b.key(), b.key()
	blob := b.encrypt(from, "value", map[string]string{"a": "1"})
	in := sdk.ReEncryptInput{
		CiphertextBlob: blob, SourceEncryptionContext: map[string]string{"a": "1"},
		DestinationKeyId: &to, DestinationEncryptionContext: map[string]string{"b": "2"},
	}
	out, err := b.c.ReEncrypt(ctx, &in)
	b.must(err)
	if *out.SourceKeyId != prefix+"key/"+from || *out.KeyId != prefix+"key/"+to || *out.SourceKeyMaterialId == *out.DestinationKeyMaterialId {
		t.Errorf("got %+v", out)
	}
	opened, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: map[string]string{"b": "2"}})
	b.must(err)
	if string(opened.Plaintext) != "value" || *opened.KeyId != *out.KeyId {
		t.Errorf("got %q under %s", opened.Plaintext, *opened.KeyId)
	}
	e, text := b.read("ReEncrypt")
	if at(e, "additionalEventData.sourceKeyMaterialId") != *out.SourceKeyMaterialId || at(e, "additionalEventData.destinationKeyMaterialId") != *out.DestinationKeyMaterialId ||
		len(e["resources"].([]any)) != 2 {
		t.Errorf("event %s", text)
	}
	for _, tc := range []struct {
		what   string
		change func(*sdk.ReEncryptInput)
		code   string
	}{
		{"another context", func(in *sdk.ReEncryptInput) { in.SourceEncryptionContext = nil }, "InvalidCiphertextException"},
		{"another source", func(in *sdk.ReEncryptInput) { in.SourceKeyId = &to }, "IncorrectKeyException"},
		{"no destination", func(in *sdk.ReEncryptInput) { in.DestinationKeyId = aws.String(absent) }, "NotFoundException"},
		{"another algorithm", func(in *sdk.ReEncryptInput) { in.DestinationEncryptionAlgorithm = "RSAES_OAEP_SHA_1" }, "InvalidKeyUsageException"},
		{"dry", func(in *sdk.ReEncryptInput) { in.DryRun = aws.Bool(true) }, "DryRunOperationException"},
	} {
		in := in
		tc.change(&in)
		_, err := b.c.ReEncrypt(ctx, &in)
		b.wantCode(tc.what, err, tc.code)
	}
	dry := in
	dry.DryRun = aws.Bool(true)
	for _, id := range []string{from, to} {
		b.setState(id, key.Disabled, time.Time{})
		for _, in := range []*sdk.ReEncryptInput{&in, &dry} {
			_, err := b.c.ReEncrypt(ctx, in)
			b.wantCode("a disabled key", err, "DisabledException")
		}
		b.setState(id, key.Enabled, time.Time{})
	}
}

func TestGenerateRandom(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	one, err := b.c.GenerateRandom(ctx, &sdk.GenerateRandomInput{NumberOfBytes: aws.Int32(1024)})
	b.must(err)
	two, err := b.c.GenerateRandom(ctx, &sdk.GenerateRandomInput{NumberOfBytes: aws.Int32(1024)})
	b.must(err)
	if len(one.Plaintext) != 1024 || bytes.Equal(one.Plaintext, two.Plaintext) {
		t.Errorf("got %d bytes, twice the same", len(one.Plaintext))
	}
	for n, text := range map[string]string{
		"":     "NumberOfBytes is required.",
		"0":    "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1",
		"1025": "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024",
	} {
		in := &sdk.GenerateRandomInput{}
		if n != "" {
			var v int32
			_, _ = fmt.Sscan(n, &v)
			in.NumberOfBytes = &v
		}
		_, err := b.c.GenerateRandom(ctx, in)
		servicetest.WantError(t, n+" bytes", err, "ValidationException", 400, text)
	}
}

// Events carry the encryption context and the material, and nothing of what
// was encrypted, of ciphertexts and of tokens.
func TestUseInTrail(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	const canary = "canary-plaintext-4711"
	ec := map[string]string{"App": "orders"}
	encrypted, err := b.c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte(canary), EncryptionContext: ec})
	b.must(err)
	opened, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob, EncryptionContext: ec})
	b.must(err)
	dataKey, err := b.c.GenerateDataKey(ctx, &sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256", EncryptionContext: ec})
	b.must(err)
	secrets := []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))}
	for _, blob := range [][]byte{encrypted.CiphertextBlob, dataKey.CiphertextBlob, dataKey.Plaintext} {
		secrets = append(secrets, base64.StdEncoding.EncodeToString(blob), hex.EncodeToString(blob))
	}
	for name, keyID := range map[string]any{"Encrypt": id, "Decrypt": nil, "GenerateDataKey": id} {
		e, text := b.read(name)
		if at(e, "requestParameters.encryptionContext.App") != "orders" || at(e, "requestParameters.keyId") != keyID || e["readOnly"] != true || e["responseElements"] != nil {
			t.Errorf("%s: event %s", name, text)
		}
		if at(e, "additionalEventData.keyMaterialId") != *opened.KeyMaterialId {
			t.Errorf("%s: event without material: %s", name, text)
		}
		if r := e["resources"].([]any)[0].(map[string]any); r["ARN"] != prefix+"key/"+id || r["type"] != "AWS::KMS::Key" || r["accountId"] != account {
			t.Errorf("%s: resource %v", name, r)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("the event of %s shows %q", name, secret)
			}
		}
	}
	_, err = b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob})
	b.wantCode("without context", err, "InvalidCiphertextException")
	if e, text := b.read("Decrypt"); e["errorCode"] != "InvalidCiphertextException" {
		t.Errorf("event of a failure: %s", text)
	}
}
