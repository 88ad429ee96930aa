package secretsmanager

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/authz"
	service "github.com/keyturn/keyturn/internal/service/kms"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	cannotOpenText = "Secrets Manager can't decrypt the protected secret text using the provided KMS key."
	cannotSealText = "Secrets Manager can't encrypt the protected secret text using the provided KMS key."
)

// keyService is KMS on the store and the ring of the bench.
type keyService struct {
	*bench
	kms     *service.Service
	handler *wire.Handler
}

func (b *bench) keyService() *keyService {
	k := service.New(service.Config{Store: b.Store, Guard: b.Guard, Keeper: b.keeper, Keys: b.Keys, Logger: slog.New(slog.DiscardHandler)})
	return &keyService{b, k, wire.NewHandler(wire.Config{Services: []*wire.Service{k.Wire()}, Record: b.record})}
}

// does performs an operation of KMS as the account's root.
func (k *keyService) does(operation string, in wire.Input) wire.Output {
	k.t.Helper()
	out, err := k.handler.Call(k.t.Context(), &wire.Call{
		Service: "kms", Operation: operation, Region: home, Principal: authz.RootPrincipal(account, "AKIAROOT"),
	}, in)
	k.must(err)
	return out
}

// What KMS does to a key holds for secrets at once, also for values that were
// read just before.
func TestKeyStopsSecrets(t *testing.T) {
	b := newBench(t)
	k := b.keyService()
	id := b.addKey(home, "k")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"alias/k","SecretString":"x"`))
	readable := func(what string) {
		t.Helper()
		if got := b.value(root, "s"); got != "x" {
			t.Errorf("%s: got %s", what, got)
		}
	}
	tokens := 0
	stopped := func(what string) {
		t.Helper()
		b.refused("GetSecretValue", `{"SecretId":"s"}`, "DecryptionFailure", cannotOpenText)
		tokens++
		_, refused := b.post(root, "PutSecretValue", `{"SecretId":"s","SecretString":"y","ClientRequestToken":"`+tok("p"+strings.Repeat("x", tokens))+`"}`)
		if refused == nil || refused.code != "EncryptionFailure" || !strings.HasPrefix(refused.message, cannotSealText) {
			t.Errorf("%s: putting a value: got %+v, want EncryptionFailure", what, refused)
		}
	}
	readable("at first")
	k.does("DisableKey", &kms.DisableKeyRequest{KeyId: &id})
	stopped("disabled")
	k.does("EnableKey", &kms.EnableKeyRequest{KeyId: &id})
	readable("enabled")
	k.does("ScheduleKeyDeletion", &kms.ScheduleKeyDeletionRequest{KeyId: &id})
	stopped("pending deletion")
	k.does("CancelKeyDeletion", &kms.CancelKeyDeletionRequest{KeyId: &id})
	stopped("cancelled, but disabled")
	k.does("EnableKey", &kms.EnableKeyRequest{KeyId: &id})
	readable("enabled again")
	k.does("ScheduleKeyDeletion", &kms.ScheduleKeyDeletionRequest{KeyId: &id})
	b.must(k.kms.Sweeper().Sweep(t.Context(), time.Now().AddDate(0, 0, 31)))
	b.refused("GetSecretValue", `{"SecretId":"s"}`, "DecryptionFailure", cannotOpenText)
	if _, refused := b.post(root, "PutSecretValue", `{"SecretId":"s","SecretString":"y","ClientRequestToken":"`+tok("gone")+`"}`); refused == nil {
		t.Error("a value was sealed with a key that is gone")
	}
}

// Values stay readable however often their key gets new material, and new ones
// are sealed with the newest.
func TestKeyRotationKeepsValues(t *testing.T) {
	b := newBench(t)
	k := b.keyService()
	id := b.addKey(home, "k")
	b.ok("CreateSecret", `{"Name":"s","KmsKeyId":"alias/k","SecretString":"v0","ClientRequestToken":"`+tok("v0")+`"}`)
	for _, version := range []string{"v1", "v2", "v3"} {
		k.does("RotateKeyOnDemand", &kms.RotateKeyOnDemandRequest{KeyId: &id})
		b.put("s", version, version, "")
	}
	all := "ALL_KEY_MATERIAL"
	list := k.does("ListKeyRotations", &kms.ListKeyRotationsRequest{KeyId: &id, IncludeKeyMaterial: &all}).(*kms.ListKeyRotationsResponse).Rotations
	if len(list) != 4 {
		t.Fatalf("the key has %d generations of material, want 4", len(list))
	}
	b.Keys.Clear() // as after a restart
	for i, version := range []string{"v0", "v1", "v2", "v3"} {
		if got := b.ok("GetSecretValue", `{"SecretId":"s","VersionId":"`+tok(version)+`"}`)["SecretString"]; got != version {
			t.Errorf("version %d reads %v", i, got)
		}
	}
}
