package authz_test

import (
	"bytes"
	"testing"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/servicetest"
)

func TestAccessKey(t *testing.T) {
	sealer := servicetest.NewParts(t).Sealer
	id, secret := authz.NewAccessKey()
	sealed := authz.SealAccessKey(sealer, id, secret)
	if bytes.Contains(sealed, []byte(secret)) {
		t.Error("the secret is not sealed")
	}
	if got, err := authz.OpenAccessKey(sealer, id, sealed); err != nil || got != secret {
		t.Errorf("the sealed secret opens to another one, error %v", err)
	}
	other, _ := authz.NewAccessKey()
	if _, err := authz.OpenAccessKey(sealer, other, sealed); !fault.Is(err, fault.Decryption) {
		t.Errorf("under another key's ID: got error %v, want one of kind %q", err, fault.Decryption)
	}
	if _, err := sealer.Open("access-key/", sealed); err == nil {
		t.Error("the secret opens for no key in particular")
	}
}
