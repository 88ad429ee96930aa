package authz_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

const region = servicetest.Region

// world is a guard over a store with one secret and one key.
type world struct {
	*servicetest.Parts
	t    *testing.T
	call *wire.Call
	// secretARN and key are what there is.
	secretARN string
	key       *key.Record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Parts: servicetest.NewParts(t), t: t}
	w.call = &wire.Call{Service: "secretsmanager", Operation: "GetSecretValue", Region: region, Principal: w.Root()}
	s := &secret.Secret{ID: "id", Account: account, Region: region, Name: "app/db", Suffix: "AbCdEf", CreatedAt: time.Now(), Versions: []secret.Version{
		{ID: "v1", Labels: []string{secret.Current}, CreatedAt: time.Now(), HasValue: true, Sealed: []byte("sealed")},
	}}
	w.secretARN = s.ARN()
	var err error
	if w.key, err = key.NewRecord(t.Context(), w.Keeper, key.NewKey{Account: account, Region: region, Manager: key.Customer}, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.update(func(tx *store.Tx) error {
		if err := tx.SaveKey(w.key); err != nil {
			return err
		}
		if err := tx.SaveAlias(&key.Alias{Name: "alias/mine", Account: account, Region: region, KeyID: w.key.ID}); err != nil {
			return err
		}
		return tx.SaveSecret(nil, s)
	})
	return w
}

func (w *world) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.Store.Update(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view(fn func(tx *store.Tx) error) error { return w.Store.View(w.t.Context(), fn) }

func wantFault(t *testing.T, what string, err error, kind fault.Kind, text string) {
	t.Helper()
	e, ok := err.(*fault.Error)
	if !ok || e.Kind != kind || e.Message != text {
		t.Errorf("%s: got %v, want %s: %s", what, err, kind, text)
	}
}

const notFound = "Secrets Manager can't find the specified secret."

func deniedText(action, resource string) string {
	return "User: arn:aws:iam::123456789012:root is not authorized to perform: " + action + " on resource: " + resource +
		" because no resource-based policy allows the " + action + " action"
}

// Every way to get a secret resolves and authorises alike.
func TestGuardSecret(t *testing.T) {
	w := newWorld(t)
	ways := map[string]func(tx *store.Tx, id string) (*secret.Secret, error){
		"Secret": func(tx *store.Tx, id string) (*secret.Secret, error) { return w.Guard.Secret(tx, w.call, id, "") },
		"Whole":  func(tx *store.Tx, id string) (*secret.Secret, error) { return w.Guard.Whole(tx, w.call, id) },
		"ReadVersion": func(tx *store.Tx, id string) (*secret.Secret, error) {
			return w.Guard.ReadVersion(tx, w.call, id, "", "AWSCURRENT")
		},
	}
	const prefix = "arn:aws:secretsmanager:us-east-1:"
	for name, get := range ways {
		for _, tc := range []struct {
			id   string
			kind fault.Kind
			text string
		}{
			{"app/db", "", ""},
			{w.secretARN, "", ""},
			{prefix + account + ":secret:app/db", "", ""},
			{"app/none", fault.NotFound, notFound},
			{prefix + account + ":secret:app/none-AbCdEf", fault.NotFound, notFound},
			{"arn:aws:secretsmanager:eu-west-1:" + account + ":secret:app/db-AbCdEf", fault.NotFound, notFound},
			{"arn:aws:lambda:us-east-1:" + account + ":function:f", fault.NotFound, notFound},
			// Another account's answer is the same whether it has the secret.
			{prefix + "999999999999:secret:app/db-AbCdEf", fault.Denied, deniedText("secretsmanager:GetSecretValue", prefix+"999999999999:secret:app/db-AbCdEf")},
			{prefix + "999999999999:secret:none", fault.Denied, deniedText("secretsmanager:GetSecretValue", prefix+"999999999999:secret:none")},
		} {
			err := w.view(func(tx *store.Tx) error {
				s, err := get(tx, tc.id)
				if err == nil && s.ARN() != w.secretARN {
					t.Errorf("%s %s: got %s", name, tc.id, s.ARN())
				}
				if err != nil && s != nil {
					t.Errorf("%s %s: got a secret beside the error", name, tc.id)
				}
				return err
			})
			if tc.kind != "" {
				wantFault(t, name+" "+tc.id, err, tc.kind, tc.text)
			} else if err != nil {
				t.Errorf("%s %s: %v", name, tc.id, err)
			}
		}
	}
}

func TestGuardAction(t *testing.T) {
	w := newWorld(t)
	w.call.Service, w.call.Operation = "iam", "CreateRole"
	for _, mine := range []string{"*", "arn:aws:iam::" + account + ":role/r", "arn:aws:s3:::bucket", "name"} {
		if err := w.Guard.Action(w.call, mine); err != nil {
			t.Errorf("%s: %v", mine, err)
		}
	}
	const foreign = "arn:aws:iam::999999999999:role/r"
	wantFault(t, foreign, w.Guard.Action(w.call, foreign), fault.Denied, deniedText("iam:CreateRole", foreign))
}

const invalidKey = "The operation failed because of an invalid KMS key: Invalid keyId"

func TestGuardKey(t *testing.T) {
	w := newWorld(t)
	get := func(id string) error {
		return w.view(func(tx *store.Tx) error {
			rec, err := w.Guard.Key(tx, w.call, account, id, authz.KeyUse{Action: "kms:Decrypt", Via: "secretsmanager"})
			if err == nil && rec.ID != w.key.ID {
				t.Errorf("%s: got key %s", id, rec.ID)
			}
			return err
		})
	}
	aliasARN := "arn:aws:kms:us-east-1:" + account + ":alias/mine"
	ids := []string{w.key.ID, w.key.ARN(), "alias/mine", aliasARN}
	for _, id := range ids {
		if err := get(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, id := range []string{
		"none", "alias/none", "alias/", key.DefaultAlias, "", // the default key has not been made
		"arn:aws:kms:eu-west-1:" + account + ":key/" + w.key.ID,
		"arn:aws:iam::" + account + ":key/" + w.key.ID,
		"arn:aws:kms",
	} {
		wantFault(t, id, get(id), fault.Parameter, invalidKey)
	}
	foreign := "arn:aws:kms:us-east-1:999999999999:key/" + w.key.ID
	wantFault(t, foreign, get(foreign), fault.Denied, deniedText("kms:Decrypt", foreign))
	for state, want := range map[key.State]struct {
		kind fault.Kind
		text string
	}{
		key.Disabled:        {key.KeyDisabled, w.key.ARN() + " is disabled."},
		key.PendingDeletion: {key.KeyState, w.key.ARN() + " is pending deletion."},
		"Unavailable":       {key.KeyState, w.key.ARN() + " is in state Unavailable."},
	} {
		w.key.State = state
		w.update(func(tx *store.Tx) error { return tx.SaveKey(w.key) })
		for _, id := range ids {
			wantFault(t, id, get(id), want.kind, want.text)
		}
	}
}

// The default key is made once per account and region, however many need it
// at once.
func TestEnsureDefaultKey(t *testing.T) {
	w := newWorld(t)
	guards := []*authz.Guard{w.Guard, authz.NewGuard(w.Store, w.Keeper)} // as two nodes have
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := guards[i%2].EnsureDefaultKey(context.WithoutCancel(t.Context()), account, region); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := w.Guard.EnsureDefaultKey(t.Context(), account, "eu-west-1"); err != nil {
		t.Fatal(err)
	}
	err := w.view(func(tx *store.Tx) error {
		rec, err := w.Guard.Key(tx, w.call, account, "", authz.KeyUse{Action: "kms:GenerateDataKey", Via: "secretsmanager"})
		if err != nil {
			return err
		}
		if rec.Manager != key.AWS || rec.Description != "Default key that protects my Secrets Manager data when no other key is defined" ||
			rec.Policy != key.ManagedPolicy(region, account) {
			t.Errorf("got %s key %q", rec.Manager, rec.Description)
		}
		there, err := w.Guard.KeyIn(tx, account, "eu-west-1", key.DefaultAlias)
		if err != nil {
			return err
		}
		if there.ID == rec.ID {
			t.Error("two regions share a default key")
		}
		all, err := tx.Keys(account, region, "", 10)
		if err == nil && len(all) != 2 { // the default one and the world's
			t.Errorf("got %d keys, want 2", len(all))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
