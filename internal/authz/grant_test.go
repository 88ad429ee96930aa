package authz_test

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

// Grants are looked at only where policies leave the answer open, and count
// for use through a service, too.
func TestGrants(t *testing.T) {
	w := newWorld(t)
	rec, err := key.NewRecord(t.Context(), w.Keeper, key.NewKey{Account: account, Region: w.call.Region, Manager: key.Customer}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	context := key.SecretContext(w.secretARN, "v1")
	err = w.Store.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SaveKey(rec); err != nil {
			return err
		}
		return tx.SaveGrant(&key.Grant{
			ID: key.NewGrantID(), Account: account, Region: w.call.Region, KeyID: rec.ID, Grantee: annARN, Issuer: account,
			Operations: []string{"Decrypt"}, Subset: key.EncryptionContext{key.SecretARN: w.secretARN},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	use := func(tx *store.Tx, statements, action string, ec key.EncryptionContext) error {
		w.call.Principal = ann(t, statements)
		return w.Guard.UseKey(tx, w.call, rec, authz.KeyUse{Action: action, Context: ec, Via: "secretsmanager"})
	}
	const nothing = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	// Without a transaction there are no grants to be read.
	if err := use(nil, anything, "kms:Decrypt", nil); err != nil {
		t.Errorf("what policies allow needs grants: %v", err)
	}
	if err := use(nil, nothing, "kms:Decrypt", context); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v, want a refusal", err)
	}
	err = w.view(func(tx *store.Tx) error {
		for _, tc := range []struct {
			what       string
			statements string
			action     string
			context    key.EncryptionContext
			want       fault.Kind
		}{
			{"granted", nothing, "kms:Decrypt", context, ""},
			{"another context", nothing, "kms:Decrypt", key.SecretContext(w.secretARN+"x", "v1"), fault.Denied},
			{"another action", nothing, "kms:GenerateDataKey", context, fault.Denied},
			{"denied", `{"Effect":"Deny","Action":"kms:*","Resource":"*"}`, "kms:Decrypt", context, fault.Denied},
		} {
			if got := fault.KindOf(use(tx, tc.statements, tc.action, tc.context)); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.what, got, tc.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
