package kms

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// checkAlgorithm refuses what symmetric keys cannot do (AWS: recorded).
func checkAlgorithm(algorithms ...*string) error {
	for _, a := range algorithms {
		if other(a, symmetric) {
			return fault.New(badUsage, "Algorithm %s is incompatible with key spec %s.", *a, symmetric)
		}
	}
	return nil
}

// checkRecipient refuses answers that only an attested enclave could read.
func checkRecipient(r *api.RecipientInfo) error {
	if r != nil {
		return fault.New(unsupported, "Recipients with an attestation document are not supported.")
	}
	return nil
}

// use returns a usable key, authorised for the use.
func (s *Service) use(ctx context.Context, call *wire.Call, id string, use authz.KeyUse) (rec *key.Record, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		if rec, err = s.find(tx, call, id, use); err != nil {
			return err
		}
		return rec.CheckUsable()
	})
	return rec, err
}

// materialOf names a ciphertext's key material, in the call's event, too.
func materialOf(call *wire.Call, ciphertext []byte) (*string, error) {
	id, err := key.BlobMaterialID(ciphertext)
	if err != nil {
		return nil, err
	}
	call.Additional, _ = json.Marshal(map[string]string{"keyMaterialId": id}) // strings always marshal
	return &id, nil
}

// Encrypt encrypts up to 4096 bytes.
func (s *Service) Encrypt(ctx context.Context, call *wire.Call, in *api.EncryptRequest) (*api.EncryptResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	use := authz.KeyUse{Action: call.Action(), Context: in.EncryptionContext}
	rec, err := s.use(ctx, call, *in.KeyId, use)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	ciphertext, err := s.Keys.Encrypt(ctx, rec, use.Context, in.Plaintext)
	if err != nil {
		return nil, err
	}
	if _, err := materialOf(call, ciphertext); err != nil {
		return nil, err
	}
	return &api.EncryptResponse{CiphertextBlob: ciphertext, KeyId: new(rec.ARN()), EncryptionAlgorithm: new(symmetric)}, nil
}

// source is a ciphertext that a call wants opened.
type source struct {
	ciphertext []byte
	keyID      *string
	use        authz.KeyUse
	// blind says that a dry run leaves the ciphertext out.
	blind bool
}

func newSource(ciphertext []byte, keyID *string, use authz.KeyUse, dry *bool, modifiers []string) (source, error) {
	src := source{ciphertext: ciphertext, keyID: keyID, use: use}
	src.blind = isTrue(dry) && slices.Contains(modifiers, "IGNORE_CIPHERTEXT") && keyID != nil
	if ciphertext == nil && !src.blind {
		return src, fault.New(fault.Validation, "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	return src, nil
}

// opener returns the key that opens the ciphertext, authorised and usable. It
// is the one that the ciphertext names, and must be the one that the call
// names, if it does.
func (s *Service) opener(tx *store.Tx, call *wire.Call, src source) (*key.Record, error) {
	id := ""
	if !src.blind {
		var err error
		if id, err = key.BlobKeyID(src.ciphertext); err != nil {
			return nil, err
		}
	}
	if src.keyID == nil {
		return s.named(tx, call, id, src.use)
	}
	rec, err := s.find(tx, call, *src.keyID, src.use)
	if err != nil {
		return nil, err
	}
	if err := rec.CheckUsable(); err != nil {
		return nil, err
	}
	if !src.blind && rec.ID != id {
		return nil, fault.New(otherKey, "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	return rec, nil
}

// named returns the key that a ciphertext names. Callers get the same answer
// whether a key of another account exists (AWS: recorded).
func (s *Service) named(tx *store.Tx, call *wire.Call, id string, use authz.KeyUse) (*key.Record, error) {
	hidden := fault.New(fault.Denied, "The ciphertext refers to a customer master key that does not exist, "+
		"does not exist in this region, or you are not allowed to access.").For(id)
	rec, err := tx.Key(call.Principal.Account, call.Region, id)
	if fault.Is(err, fault.NotFound) {
		rec, err = tx.KeyByID(call.Region, id)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, hidden
	}
	if err != nil {
		return nil, err
	}
	err = s.admit(tx, call, rec, use)
	if rec.Account != call.Principal.Account && fault.Is(err, fault.Denied) {
		return nil, hidden.Because(err)
	}
	if err != nil {
		return nil, err
	}
	return rec, rec.CheckUsable()
}

// Decrypt opens a ciphertext.
func (s *Service) Decrypt(ctx context.Context, call *wire.Call, in *api.DecryptRequest) (*api.DecryptResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	use := authz.KeyUse{Action: call.Action(), Context: in.EncryptionContext}
	src, err := newSource(in.CiphertextBlob, in.KeyId, use, in.DryRun, in.DryRunModifiers)
	if err != nil {
		return nil, err
	}
	var rec *key.Record
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		rec, err = s.opener(tx, call, src)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	plain, err := s.unseal(ctx, rec, src)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		clear(plain)
		return nil, errDryRun()
	}
	material, err := materialOf(call, src.ciphertext)
	if err != nil {
		return nil, err
	}
	return &api.DecryptResponse{KeyId: new(rec.ARN()), Plaintext: plain, EncryptionAlgorithm: new(symmetric), KeyMaterialId: material}, nil
}

// unseal opens the ciphertext, unless it is left out. The caller owns the
// result.
func (s *Service) unseal(ctx context.Context, rec *key.Record, src source) ([]byte, error) {
	if src.blind {
		return nil, nil
	}
	return s.Keys.Decrypt(ctx, rec, src.use.Context, src.ciphertext)
}

// ReEncrypt opens a ciphertext and encrypts what was in it anew.
func (s *Service) ReEncrypt(ctx context.Context, call *wire.Call, in *api.ReEncryptRequest) (*api.ReEncryptResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	src, err := newSource(in.CiphertextBlob, in.SourceKeyId, authz.KeyUse{Action: "kms:ReEncryptFrom", Context: in.SourceEncryptionContext}, in.DryRun, in.DryRunModifiers)
	if err != nil {
		return nil, err
	}
	var from, to *key.Record
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		from, to, err = s.bothKeys(tx, call, in, src)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm); err != nil {
		return nil, err
	}
	plain, err := s.unseal(ctx, from, src)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	out := &api.ReEncryptResponse{
		SourceKeyId: new(from.ARN()), KeyId: new(to.ARN()), SourceEncryptionAlgorithm: new(symmetric), DestinationEncryptionAlgorithm: new(symmetric),
	}
	if out.CiphertextBlob, err = s.Keys.Encrypt(ctx, to, in.DestinationEncryptionContext, plain); err != nil {
		return nil, err
	}
	return out, materialsOf(call, src.ciphertext, out)
}

// materialsOf names both ciphertexts' key material, in the call's event, too.
func materialsOf(call *wire.Call, source []byte, out *api.ReEncryptResponse) (err error) {
	if out.SourceKeyMaterialId, err = materialOf(call, source); err != nil {
		return err
	}
	if out.DestinationKeyMaterialId, err = materialOf(call, out.CiphertextBlob); err != nil {
		return err
	}
	call.Additional, err = json.Marshal(map[string]string{
		"sourceKeyMaterialId": *out.SourceKeyMaterialId, "destinationKeyMaterialId": *out.DestinationKeyMaterialId,
	})
	return err
}

// bothKeys returns the keys of a ReEncrypt, each authorised for its part.
func (s *Service) bothKeys(tx *store.Tx, call *wire.Call, in *api.ReEncryptRequest, src source) (from, to *key.Record, err error) {
	same := onSameKey(tx, call, in, src)
	src.use.Conditions = same
	if from, err = s.opener(tx, call, src); err != nil {
		return nil, nil, err
	}
	to, err = s.find(tx, call, *in.DestinationKeyId, authz.KeyUse{
		Action: "kms:ReEncryptTo", Context: in.DestinationEncryptionContext, Conditions: same,
	})
	if err != nil {
		return nil, nil, err
	}
	concern(call, from, to)
	return from, to, to.CheckUsable()
}

// onSameKey gives kms:ReEncryptOnSameKey to policies that ask for it.
func onSameKey(tx *store.Tx, call *wire.Call, in *api.ReEncryptRequest, src source) iam.Context {
	id := func(name string) string {
		r, err := parseRef(call, name)
		if err != nil {
			return ""
		}
		rec, err := lookup(tx, r)
		if err != nil {
			return ""
		}
		return rec.ID
	}
	return func(name string) iam.Value {
		if name != "kms:reencryptonsamekey" {
			return iam.Value{}
		}
		from, err := key.BlobKeyID(src.ciphertext)
		if err != nil && src.keyID != nil {
			from = id(*src.keyID)
		}
		return iam.Bool(from != "" && from == id(*in.DestinationKeyId))
	}
}

// dataKeyBytes is the length of a data key: by its spec or in bytes (AWS:
// recorded).
func dataKeyBytes(spec *string, bytes *int64) (int, error) {
	switch {
	case (spec == nil) == (bytes == nil):
		return 0, fault.New(fault.Validation, "Please specify either number of bytes or key spec.")
	case bytes != nil:
		return int(*bytes), nil
	case *spec == "AES_128":
		return 16, nil
	}
	return 32, nil
}

// GenerateDataKey makes a data key, plain and encrypted.
func (s *Service) GenerateDataKey(ctx context.Context, call *wire.Call, in *api.GenerateDataKeyRequest) (*api.GenerateDataKeyResponse, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	return s.dataKey(ctx, call, in)
}

// GenerateDataKeyWithoutPlaintext makes a data key, encrypted only.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, call *wire.Call, in *api.GenerateDataKeyWithoutPlaintextRequest) (*api.GenerateDataKeyWithoutPlaintextResponse, error) {
	made, err := s.dataKey(ctx, call, &api.GenerateDataKeyRequest{
		KeyId: in.KeyId, EncryptionContext: in.EncryptionContext, NumberOfBytes: in.NumberOfBytes, KeySpec: in.KeySpec,
		GrantTokens: in.GrantTokens, DryRun: in.DryRun,
	})
	if err != nil {
		return nil, err
	}
	clear(made.Plaintext)
	return &api.GenerateDataKeyWithoutPlaintextResponse{CiphertextBlob: made.CiphertextBlob, KeyId: made.KeyId, KeyMaterialId: made.KeyMaterialId}, nil
}

func (s *Service) dataKey(ctx context.Context, call *wire.Call, in *api.GenerateDataKeyRequest) (*api.GenerateDataKeyResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	n, err := dataKeyBytes(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	use := authz.KeyUse{Action: call.Action(), Context: in.EncryptionContext}
	rec, err := s.use(ctx, call, *in.KeyId, use)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	plain, ciphertext, err := s.Keys.GenerateDataKey(ctx, rec, use.Context, n)
	if err != nil {
		return nil, err
	}
	material, err := materialOf(call, ciphertext)
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyResponse{Plaintext: plain, CiphertextBlob: ciphertext, KeyId: new(rec.ARN()), KeyMaterialId: material}, nil
}

// GenerateRandom returns random bytes.
func (s *Service) GenerateRandom(_ context.Context, call *wire.Call, in *api.GenerateRandomRequest) (*api.GenerateRandomResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	switch {
	case in.CustomKeyStoreId != nil:
		return nil, fault.New(unsupported, "Custom key stores are not supported.")
	case in.NumberOfBytes == nil:
		return nil, fault.New(fault.Validation, "NumberOfBytes is required.") // AWS: recorded
	}
	plain := make([]byte, *in.NumberOfBytes)
	_, _ = rand.Read(plain) // it never fails
	return &api.GenerateRandomResponse{Plaintext: plain}, nil
}
