package iam_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/keyturn/keyturn/internal/authz"
	records "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// stored returns what the store keeps of an access key.
func (b *bench) stored(id string) (k *records.AccessKey) {
	b.t.Helper()
	b.must(b.Store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		k, err = tx.AccessKey(id)
		return err
	}))
	return k
}

func TestAccessKeys(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("Alice")
	name := aws.String("alice")
	made, err := b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	b.must(err)
	k := made.AccessKey
	if *k.UserName != "Alice" || !strings.HasPrefix(*k.AccessKeyId, "AKIA") || len(*k.AccessKeyId) != 20 || k.Status != types.StatusTypeActive ||
		len(*k.SecretAccessKey) != 40 || time.Since(*k.CreateDate) > time.Minute {
		t.Errorf("got %s of %s, %s, made %s", *k.AccessKeyId, *k.UserName, k.Status, k.CreateDate)
	}
	if secret, err := authz.OpenAccessKey(b.Sealer, *k.AccessKeyId, b.stored(*k.AccessKeyId).Secret); err != nil || secret != *k.SecretAccessKey {
		t.Errorf("another secret is stored, error %v", err)
	}
	list := func(user *string) []types.AccessKeyMetadata {
		t.Helper()
		out, err := b.c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: user})
		b.must(err)
		return out.AccessKeyMetadata
	}
	_, err = b.c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive})
	b.must(err)
	if got := list(name); len(got) != 1 || *got[0].AccessKeyId != *k.AccessKeyId || got[0].Status != types.StatusTypeInactive || *got[0].UserName != "Alice" {
		t.Errorf("got %v", got)
	}
	if !b.stored(*k.AccessKeyId).Inactive {
		t.Error("the key is not inactive")
	}
	_, err = b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	b.must(err)
	_, err = b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	servicetest.WantError(t, "a third key", err, "LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2")

	last := func(id *string) *sdk.GetAccessKeyLastUsedOutput {
		t.Helper()
		out, err := b.c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: id})
		b.must(err)
		return out
	}
	if got := last(k.AccessKeyId); *got.UserName != "Alice" || *got.AccessKeyLastUsed.ServiceName != "N/A" || *got.AccessKeyLastUsed.Region != "N/A" || got.AccessKeyLastUsed.LastUsedDate != nil {
		t.Errorf("an unused key: got %+v", got.AccessKeyLastUsed)
	}
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.NoteAccessKeyUse(*k.AccessKeyId, noon, "secretsmanager", "eu-west-1")
	}))
	if got := last(k.AccessKeyId).AccessKeyLastUsed; *got.ServiceName != "secretsmanager" || *got.Region != "eu-west-1" || !got.LastUsedDate.Equal(noon) {
		t.Errorf("got %+v", got)
	}

	_, err = b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId})
	b.must(err)
	gone := "The Access Key with id " + *k.AccessKeyId + " cannot be found"
	_, err = b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId})
	servicetest.WantError(t, "delete", err, "NoSuchEntity", 404, gone)
	_, err = b.c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId, Status: types.StatusTypeActive})
	servicetest.WantError(t, "update", err, "NoSuchEntity", 404, gone)
	_, err = b.c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId})
	servicetest.WantError(t, "last used", err, "NoSuchEntity", 404, gone)
}

// Keys without a user are the root's, and only the caller's own.
func TestRootAccessKeys(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	made, err := b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{})
	b.must(err)
	id := made.AccessKey.AccessKeyId
	if k := b.stored(*id); k.UserName != "" || k.Account != servicetest.Account || made.AccessKey.UserName != nil {
		t.Errorf("got a key of %q in %s", k.UserName, k.Account)
	}
	list, err := b.c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{})
	b.must(err)
	if len(list.AccessKeyMetadata) != 1 || *list.AccessKeyMetadata[0].AccessKeyId != *id {
		t.Errorf("got %v", list.AccessKeyMetadata)
	}
	_, err = b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: aws.String("u"), AccessKeyId: id})
	servicetest.WantError(t, "as a user's", err, "NoSuchEntity", 404, "The Access Key with id "+*id+" cannot be found")
	_, err = b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{AccessKeyId: id})
	b.must(err)
}

// Keys of another account are not there.
func TestForeignAccessKey(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	foreign := &records.AccessKey{ID: "AKIAFOREIGNFOREIGN", Account: "999999999999", Secret: []byte{1}}
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error { return tx.SaveAccessKey(foreign) }))
	text := "The Access Key with id " + foreign.ID + " cannot be found"
	_, err := b.c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: &foreign.ID})
	servicetest.WantError(t, "last used", err, "NoSuchEntity", 404, text)
	_, err = b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{AccessKeyId: &foreign.ID})
	servicetest.WantError(t, "delete", err, "NoSuchEntity", 404, text)
}

// The event of a new key does not tell its secret.
func TestAccessKeyEvent(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	made, err := b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: aws.String("u")})
	b.must(err)
	var stored []trail.Record
	b.must(b.Store.View(ctx, func(tx *store.Tx) (err error) {
		stored, _, err = tx.Events(store.EventQuery{Account: servicetest.Account, Region: servicetest.Region, Limit: 1})
		return err
	}))
	var event struct {
		EventName        string
		ResponseElements struct{ AccessKey map[string]any }
	}
	if err := json.Unmarshal(stored[0].JSON, &event); err != nil {
		t.Fatal(err)
	}
	if event.EventName != "CreateAccessKey" || event.ResponseElements.AccessKey["accessKeyId"] != *made.AccessKey.AccessKeyId {
		t.Errorf("got event %s of key %v", event.EventName, event.ResponseElements.AccessKey["accessKeyId"])
	}
	if strings.Contains(string(stored[0].JSON), *made.AccessKey.SecretAccessKey) {
		t.Error("the event tells the secret")
	}
}
