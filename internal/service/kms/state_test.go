package kms_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
)

// TestStateMatrix calls every operation on a key in every state (AWS docs: key
// states).
func TestStateMatrix(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	const disabled, invalid = "DisabledException", "KMSInvalidStateException"
	for i, tc := range []struct {
		name     string
		disabled string
		pending  string
		call     func(id string, blob []byte) error
	}{
		{"Encrypt", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
			return err
		}},
		{"Decrypt", disabled, invalid, func(_ string, blob []byte) error {
			_, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: blob})
			return err
		}},
		{"Decrypt with KeyId", disabled, invalid, func(id string, blob []byte) error {
			_, err := b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: blob, KeyId: &id})
			return err
		}},
		{"ReEncrypt", disabled, invalid, func(id string, blob []byte) error {
			_, err := b.c.ReEncrypt(ctx, &sdk.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: &id})
			return err
		}},
		{"GenerateDataKey", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.GenerateDataKey(ctx, &sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256"})
			return err
		}},
		{"GenerateDataKeyWithoutPlaintext", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.GenerateDataKeyWithoutPlaintext(ctx, &sdk.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, KeySpec: "AES_256"})
			return err
		}},
		{"CreateGrant", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: aws.String(account), Operations: []types.GrantOperation{"Decrypt"}})
			return err
		}},
		{"ListGrants", "", "", func(id string, _ []byte) error {
			_, err := b.c.ListGrants(ctx, &sdk.ListGrantsInput{KeyId: &id})
			return err
		}},
		{"DescribeKey", "", "", func(id string, _ []byte) error {
			_, err := b.c.DescribeKey(ctx, &sdk.DescribeKeyInput{KeyId: &id})
			return err
		}},
		{"UpdateKeyDescription", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.UpdateKeyDescription(ctx, &sdk.UpdateKeyDescriptionInput{KeyId: &id, Description: aws.String("d")})
			return err
		}},
		{"GetKeyPolicy", "", "", func(id string, _ []byte) error {
			_, err := b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id})
			return err
		}},
		{"PutKeyPolicy", "", "", func(id string, _ []byte) error {
			_, err := b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: aws.String(key.DefaultPolicy("", account))})
			return err
		}},
		{"ListKeyPolicies", "", "", func(id string, _ []byte) error {
			_, err := b.c.ListKeyPolicies(ctx, &sdk.ListKeyPoliciesInput{KeyId: &id})
			return err
		}},
		{"EnableKeyRotation", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id})
			return err
		}},
		{"DisableKeyRotation", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.DisableKeyRotation(ctx, &sdk.DisableKeyRotationInput{KeyId: &id})
			return err
		}},
		{"GetKeyRotationStatus", "", "", func(id string, _ []byte) error {
			_, err := b.c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &id})
			return err
		}},
		{"RotateKeyOnDemand", disabled, invalid, func(id string, _ []byte) error {
			_, err := b.c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &id})
			return err
		}},
		{"ListKeyRotations", "", "", func(id string, _ []byte) error {
			_, err := b.c.ListKeyRotations(ctx, &sdk.ListKeyRotationsInput{KeyId: &id})
			return err
		}},
		{"TagResource", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.TagResource(ctx, &sdk.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
			return err
		}},
		{"UntagResource", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.UntagResource(ctx, &sdk.UntagResourceInput{KeyId: &id, TagKeys: []string{"a"}})
			return err
		}},
		{"ListResourceTags", "", "", func(id string, _ []byte) error {
			_, err := b.c.ListResourceTags(ctx, &sdk.ListResourceTagsInput{KeyId: &id})
			return err
		}},
		{"UpdateAlias", "", invalid, func(id string, _ []byte) error {
			name := "alias/" + id
			_, err := b.c.UpdateAlias(ctx, &sdk.UpdateAliasInput{AliasName: &name, TargetKeyId: &id})
			return err
		}},
		{"CreateAlias", "", invalid, func(id string, _ []byte) error { return b.alias("alias/other/"+id, id) }},
		{"DeleteAlias", "", "", func(id string, _ []byte) error {
			_, err := b.c.DeleteAlias(ctx, &sdk.DeleteAliasInput{AliasName: aws.String("alias/" + id)})
			return err
		}},
		{"EnableKey", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.EnableKey(ctx, &sdk.EnableKeyInput{KeyId: &id})
			return err
		}},
		{"DisableKey", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.DisableKey(ctx, &sdk.DisableKeyInput{KeyId: &id})
			return err
		}},
		{"ScheduleKeyDeletion", "", invalid, func(id string, _ []byte) error {
			_, err := b.c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &id})
			return err
		}},
		{"CancelKeyDeletion", invalid, "", func(id string, _ []byte) error {
			_, err := b.c.CancelKeyDeletion(ctx, &sdk.CancelKeyDeletionInput{KeyId: &id})
			return err
		}},
	} {
		for state, want := range map[key.State]string{key.Disabled: tc.disabled, key.PendingDeletion: tc.pending} {
			id := b.key()
			b.must(b.alias("alias/"+id, id))
			blob := b.encrypt(id, "x", nil)
			if state == key.PendingDeletion {
				b.setState(id, state, time.Now().Add(time.Hour))
			} else {
				b.setState(id, state, time.Time{})
			}
			err := tc.call(id, blob)
			what := fmt.Sprintf("%d %s on a key %s", i, tc.name, state)
			text := map[key.State]string{key.Disabled: " is disabled.", key.PendingDeletion: " is pending deletion."}[state]
			if tc.name == "CancelKeyDeletion" {
				text = " is not pending deletion."
			}
			if want == "" {
				b.wantCode(what, err, "")
			} else {
				servicetest.WantError(t, what, err, want, 400, prefix+"key/"+id+text)
			}
		}
	}
}

func TestKeyDeletion(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	b.must(b.alias("alias/gone", id))
	blob := b.encrypt(id, "x", nil)
	for days, text := range map[int32]string{
		6:  "1 validation error detected: Value '6' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 7",
		31: "1 validation error detected: Value '31' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value less than or equal to 30",
	} {
		_, err := b.c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: &days})
		servicetest.WantError(t, fmt.Sprint(days, " days"), err, "ValidationException", 400, text)
	}
	before := time.Now().Truncate(time.Millisecond)
	out, err := b.c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &id})
	b.must(err)
	if d := out.DeletionDate.Sub(before); *out.KeyId != prefix+"key/"+id || out.KeyState != "PendingDeletion" || *out.PendingWindowInDays != 30 || d < 30*24*time.Hour || d > 30*24*time.Hour+time.Minute {
		t.Errorf("got %+v", out)
	}
	cancelled, err := b.c.CancelKeyDeletion(ctx, &sdk.CancelKeyDeletionInput{KeyId: &id})
	b.must(err)
	if m, err := b.describe(id); err != nil || *cancelled.KeyId != prefix+"key/"+id || m.KeyState != "Disabled" || m.DeletionDate != nil {
		t.Errorf("cancelled: %+v, %v", m, err)
	}
	out, err = b.c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)})
	b.must(err)
	sweeper := b.svc.Sweeper()
	b.must(sweeper.Sweep(ctx, out.DeletionDate.Add(-time.Second)))
	if m, err := b.describe(id); err != nil || m.KeyState != "PendingDeletion" {
		t.Fatalf("gone before its time: %v", err)
	}
	b.must(sweeper.Sweep(ctx, *out.DeletionDate))
	_, err = b.describe(id)
	servicetest.WantError(t, "describing", err, "NotFoundException", 400, "Key '"+prefix+"key/"+id+"' does not exist")
	_, err = b.describe("alias/gone")
	servicetest.WantError(t, "its alias", err, "NotFoundException", 400, "Alias "+prefix+"alias/gone is not found.")
	_, err = b.c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: blob})
	servicetest.WantError(t, "decrypting", err, "AccessDeniedException", 400,
		"The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	events := b.events("DeleteKey")
	if len(events) != 1 {
		t.Fatalf("got %d events DeleteKey, want 1", len(events))
	}
	e := events[0]
	if e["eventType"] != "AwsServiceEvent" || e["eventSource"] != "kms.amazonaws.com" || at(e, "userIdentity.invokedBy") != "AWS Internal" ||
		at(e, "serviceEventDetails.keyId") != id || e["resources"].([]any)[0].(map[string]any)["ARN"] != prefix+"key/"+id {
		t.Errorf("event %v", e)
	}
	// The state counts, whatever the date says.
	kept := b.key()
	b.setState(kept, key.Disabled, time.Now().Add(-time.Hour))
	b.must(sweeper.Sweep(ctx, *out.DeletionDate))
	if n := len(b.events("DeleteKey")); n != 1 {
		t.Errorf("deleted %d times", n)
	}
}

func TestAutomaticRotation(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	status := func() *sdk.GetKeyRotationStatusOutput {
		t.Helper()
		out, err := b.c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &id})
		b.must(err)
		return out
	}
	if s := status(); s.KeyRotationEnabled || s.NextRotationDate != nil || s.RotationPeriodInDays != nil || *s.KeyId != id {
		t.Errorf("a new key rotates: %+v", s)
	}
	_, err := b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: aws.Int32(89)})
	servicetest.WantError(t, "89 days", err, "ValidationException", 400,
		"1 validation error detected: Value '89' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than or equal to 90")
	_, err = b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id})
	b.must(err)
	if s := status(); !s.KeyRotationEnabled || *s.RotationPeriodInDays != 365 {
		t.Errorf("got %+v, want 365 days", s)
	}
	_, err = b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: aws.Int32(90)})
	b.must(err)
	due := *status().NextRotationDate
	if d := time.Until(due); d < 90*24*time.Hour-time.Minute || d > 90*24*time.Hour {
		t.Errorf("due in %v, want 90 days", d)
	}
	old := b.encrypt(id, "old", nil)
	b.must(b.svc.Sweeper().Sweep(ctx, due.Add(-time.Second)))
	if n := len(b.rotations(id)); n != 0 {
		t.Errorf("rotated %d times before it was due", n)
	}
	b.must(b.svc.Sweeper().Sweep(ctx, due))
	b.must(b.svc.Sweeper().Sweep(ctx, due))
	list := b.rotations(id)
	if len(list) != 1 || list[0].RotationType != "AUTOMATIC" || !list[0].RotationDate.Equal(due) || list[0].KeyMaterialState != "CURRENT" || *list[0].KeyId != id {
		t.Fatalf("got rotations %+v", list)
	}
	if s := status(); !s.NextRotationDate.Equal(due.AddDate(0, 0, 90)) {
		t.Errorf("next rotation %v", s.NextRotationDate)
	}
	b.openAll(id, map[string][]byte{"old": old, "new": b.encrypt(id, "new", nil)}, list)
	events := b.events("RotateKey")
	if len(events) != 1 {
		t.Fatalf("got %d events RotateKey, want 1", len(events))
	}
	if e := events[0]; at(e, "serviceEventDetails.rotationType") != "AUTOMATIC" || at(e, "serviceEventDetails.keyId") != id || at(e, "serviceEventDetails.keyOrigin") != "AWS_KMS" ||
		at(e, "serviceEventDetails.currentKeyMaterialId") != *list[0].KeyMaterialId || at(e, "serviceEventDetails.previousKeyMaterialId") == nil {
		t.Errorf("event %v", e)
	}
	_, err = b.c.DisableKeyRotation(ctx, &sdk.DisableKeyRotationInput{KeyId: &id})
	b.must(err)
	b.must(b.svc.Sweeper().Sweep(ctx, due.AddDate(1, 0, 0)))
	if s := status(); s.KeyRotationEnabled || len(b.rotations(id)) != 1 {
		t.Error("it still rotates")
	}
}

// openAll opens ciphertexts and checks which material sealed the newest.
func (b *bench) openAll(id string, blobs map[string][]byte, list []types.RotationsListEntry) {
	b.t.Helper()
	for want, blob := range blobs {
		out, err := b.c.Decrypt(b.t.Context(), &sdk.DecryptInput{CiphertextBlob: blob, KeyId: &id})
		b.must(err)
		if string(out.Plaintext) != want {
			b.t.Errorf("got %q, want %q", out.Plaintext, want)
		}
		if current := *list[len(list)-1].KeyMaterialId; (*out.KeyMaterialId == current) != (want == "new") {
			b.t.Errorf("%s is sealed with %s, current is %s", want, *out.KeyMaterialId, current)
		}
	}
}

// rotations lists the rotations of a key, page by page.
func (b *bench) rotations(id string) (list []types.RotationsListEntry) {
	b.t.Helper()
	for p := sdk.NewListKeyRotationsPaginator(b.c, &sdk.ListKeyRotationsInput{KeyId: &id, Limit: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(b.t.Context())
		b.must(err)
		list = append(list, page.Rotations...)
	}
	return list
}

func TestRotateKeyOnDemand(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	_, err := b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id})
	b.must(err)
	before, err := b.c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &id})
	b.must(err)
	blobs := map[string][]byte{}
	for i := range key.MaxOnDemand {
		text := fmt.Sprint("value ", i)
		blobs[text] = b.encrypt(id, text, nil)
		out, err := b.c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &id})
		b.must(err)
		if *out.KeyId != id {
			t.Errorf("got %s", *out.KeyId)
		}
	}
	_, err = b.c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &id})
	servicetest.WantError(t, "once more", err, "LimitExceededException", 400,
		"The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+id)
	list := b.rotations(id)
	blobs["new"] = b.encrypt(id, "new", nil)
	b.openAll(id, blobs, list)
	if len(list) != key.MaxOnDemand || !slices.IsSortedFunc(list, func(x, y types.RotationsListEntry) int { return x.RotationDate.Compare(*y.RotationDate) }) {
		t.Errorf("got %d rotations", len(list))
	}
	for i, e := range list {
		if e.RotationType != "ON_DEMAND" || (e.KeyMaterialState == "CURRENT") != (i == len(list)-1) {
			t.Errorf("rotation %d: %+v", i, e)
		}
	}
	all, err := b.c.ListKeyRotations(ctx, &sdk.ListKeyRotationsInput{KeyId: &id, IncludeKeyMaterial: "ALL_KEY_MATERIAL"})
	b.must(err)
	if first := all.Rotations[0]; len(all.Rotations) != len(list)+1 || first.RotationDate != nil || first.RotationType != "" || first.KeyMaterialState != "NON_CURRENT" {
		t.Errorf("all material: %d, first %+v", len(all.Rotations), all.Rotations[0])
	}
	if m, err := b.describe(id); err != nil || *m.CurrentKeyMaterialId != *list[len(list)-1].KeyMaterialId {
		t.Errorf("described with material %s, %v", *m.CurrentKeyMaterialId, err)
	}
	after, err := b.c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &id})
	b.must(err)
	if !after.NextRotationDate.Equal(*before.NextRotationDate) {
		t.Error("rotation on demand moved the automatic one")
	}
	_, err = b.c.ListKeyRotations(ctx, &sdk.ListKeyRotationsInput{KeyId: &id, Marker: aws.String("x")})
	b.wantCode("a marker", err, "InvalidMarkerException")
	if calls, made := b.events("RotateKeyOnDemand"), b.events("RotateKey"); len(calls) != key.MaxOnDemand || len(made) != key.MaxOnDemand ||
		at(made[0], "serviceEventDetails.rotationType") != "ON_DEMAND" {
		t.Errorf("got %d events of calls and %d of rotations", len(calls), len(made))
	}
}

// Run sweeps at once, and again after a while.
func TestSweeperRuns(t *testing.T) {
	b := newBench(t)
	id, later := b.key(), b.key()
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock begins in 2000.
		b.setState(id, key.PendingDeletion, time.Now().Add(-time.Hour))
		b.setState(later, key.PendingDeletion, time.Now().Add(30*time.Second))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.svc.Sweeper().Run(ctx) }()
		for _, want := range []int{1, 2} {
			time.Sleep(time.Minute - time.Second)
			if n := len(b.events("DeleteKey")); n != want {
				t.Errorf("deleted %d keys, want %d", n, want)
			}
			time.Sleep(2 * time.Second)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The key of Secrets Manager rotates every year, and nothing else of it can
// be changed.
func TestManagedKey(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	m, err := b.describe(key.DefaultAlias)
	b.must(err)
	id := *m.KeyId
	out, err := b.c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: &id})
	b.must(err)
	if !out.KeyRotationEnabled || *out.RotationPeriodInDays != 365 {
		t.Errorf("got %+v", out)
	}
	b.must(b.svc.Sweeper().Sweep(ctx, *out.NextRotationDate))
	if after, err := b.describe(id); err != nil || *after.CurrentKeyMaterialId == *m.CurrentKeyMaterialId {
		t.Errorf("it did not rotate: %v", err)
	}
	policy, err := b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id})
	b.must(err)
	if !regexp.MustCompile(`"Id"\s*:\s*"auto-secretsmanager-1"`).MatchString(*policy.Policy) {
		t.Errorf("got policy %s", *policy.Policy)
	}
	for action, call := range map[string]func() error{
		"PutKeyPolicy": func() error {
			_, err := b.c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: policy.Policy, BypassPolicyLockoutSafetyCheck: true})
			return err
		},
		"DisableKey": func() error { _, err := b.c.DisableKey(ctx, &sdk.DisableKeyInput{KeyId: &id}); return err },
		"EnableKey":  func() error { _, err := b.c.EnableKey(ctx, &sdk.EnableKeyInput{KeyId: &id}); return err },
		"ScheduleKeyDeletion": func() error {
			_, err := b.c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &id})
			return err
		},
		"EnableKeyRotation": func() error {
			_, err := b.c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: aws.Int32(90)})
			return err
		},
		"DisableKeyRotation": func() error {
			_, err := b.c.DisableKeyRotation(ctx, &sdk.DisableKeyRotationInput{KeyId: &id})
			return err
		},
		"RotateKeyOnDemand": func() error {
			_, err := b.c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &id})
			return err
		},
		"UpdateKeyDescription": func() error {
			_, err := b.c.UpdateKeyDescription(ctx, &sdk.UpdateKeyDescriptionInput{KeyId: &id, Description: aws.String("x")})
			return err
		},
		"TagResource": func() error {
			_, err := b.c.TagResource(ctx, &sdk.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
			return err
		},
		"CreateAlias": func() error { return b.alias("alias/mine", id) },
		"Encrypt": func() error {
			_, err := b.c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
			return err
		},
		"CreateGrant": func() error {
			_, err := b.c.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: aws.String(account), Operations: []types.GrantOperation{"Decrypt"}})
			return err
		},
	} {
		root := "User: arn:aws:iam::123456789012:root is not authorized to perform: kms:"
		servicetest.WantError(t, action, call(), "AccessDeniedException", 400,
			root+action+" on resource: "+prefix+"key/"+id+" because no resource-based policy allows the kms:"+action+" action")
	}
	for what, call := range map[string]func() error{
		"deleting its alias": func() error {
			_, err := b.c.DeleteAlias(ctx, &sdk.DeleteAliasInput{AliasName: aws.String(key.DefaultAlias)})
			return err
		},
		"moving its alias": func() error {
			_, err := b.c.UpdateAlias(ctx, &sdk.UpdateAliasInput{AliasName: aws.String(key.DefaultAlias), TargetKeyId: aws.String(b.key())})
			return err
		},
	} {
		b.wantCode(what, call(), "NotAuthorizedException")
	}
}
