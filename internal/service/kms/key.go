package kms

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateKey makes a symmetric encryption key.
func (s *Service) CreateKey(ctx context.Context, call *wire.Call, in *api.CreateKeyRequest) (*api.CreateKeyResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 { // which take that permission as well (AWS docs)
		anyKey := arn.New("kms", call.Region, call.Principal.Account, "key/*").String()
		if err := s.Guard.On(call, "kms:TagResource", &authz.Resource{ARN: anyKey}); err != nil {
			return nil, err
		}
	}
	n, err := newKey(call, in)
	if err != nil {
		return nil, err
	}
	rec, err := key.NewRecord(ctx, s.Keeper, n, call.Time)
	if err != nil {
		return nil, err
	}
	out := &api.CreateKeyResponse{KeyMetadata: metadata(rec)}
	concern(call, rec)
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		if in.Policy != nil {
			var err error
			if rec.Policy, err = s.newPolicy(tx, call, rec, *in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck)); err != nil {
				return err
			}
		}
		if err := tx.SaveKey(rec); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// newKey reads what key is wanted.
func newKey(call *wire.Call, in *api.CreateKeyRequest) (key.NewKey, error) {
	n := key.NewKey{Account: call.Principal.Account, Region: call.Region, Manager: key.Customer}
	if in.KeySpec != nil && in.CustomerMasterKeySpec != nil {
		return n, fault.New(fault.Validation, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	if other(in.KeySpec, symmetric) || other(in.CustomerMasterKeySpec, symmetric) || other(in.KeyUsage, "ENCRYPT_DECRYPT") ||
		other(in.Origin, "AWS_KMS") || isTrue(in.MultiRegion) {
		return n, fault.New(unsupported, "Only single-region symmetric encryption keys with material made here are supported.")
	}
	n.Description, n.Policy = given(in.Description), given(in.Policy)
	var err error
	n.Tags, err = tagsOf(call, in.Tags)
	return n, err
}

// symmetric is the one key spec here, and its encryption algorithm.
const symmetric = "SYMMETRIC_DEFAULT"

// other reports whether a member is given and not the one value supported.
func other(given *string, supported string) bool { return given != nil && *given != supported }

func metadata(rec *key.Record) *api.KeyMetadata {
	m := &api.KeyMetadata{
		AWSAccountId: &rec.Account, KeyId: &rec.ID, Arn: new(rec.ARN()), CreationDate: &rec.CreatedAt,
		Enabled: new(rec.State == key.Enabled), Description: &rec.Description, KeyUsage: new("ENCRYPT_DECRYPT"),
		KeyState: new(string(rec.State)), Origin: new("AWS_KMS"), KeyManager: new(string(rec.Manager)),
		CustomerMasterKeySpec: new(symmetric), KeySpec: new(symmetric),
		EncryptionAlgorithms: []string{symmetric}, MultiRegion: new(false),
	}
	if !rec.DeleteAt.IsZero() {
		m.DeletionDate = &rec.DeleteAt
	}
	if n := len(rec.Material); n > 0 {
		m.CurrentKeyMaterialId = &rec.Material[n-1].ID
	}
	return m
}

// DescribeKey shows a key. Asking for the default key of Secrets Manager
// makes it (AWS docs).
func (s *Service) DescribeKey(ctx context.Context, call *wire.Call, in *api.DescribeKeyRequest) (*api.DescribeKeyResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	if *in.KeyId == key.DefaultAlias || *in.KeyId == aliasARN(call, key.DefaultAlias) {
		if err := s.Guard.EnsureDefaultKey(ctx, call.Principal.Account, call.Region); err != nil {
			return nil, err
		}
	}
	out := &api.DescribeKeyResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.find(tx, call, *in.KeyId, own(call))
		if err != nil {
			return err
		}
		out.KeyMetadata = metadata(rec)
		return nil
	})
}

// UpdateKeyDescription describes a key anew.
func (s *Service) UpdateKeyDescription(ctx context.Context, call *wire.Call, in *api.UpdateKeyDescriptionRequest) (*api.UpdateKeyDescriptionResponse, error) {
	out := &api.UpdateKeyDescriptionResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		rec.Description = *in.Description
		return rec.CheckKept()
	})
}

// ListKeys lists the region's keys.
func (s *Service) ListKeys(ctx context.Context, call *wire.Call, in *api.ListKeysRequest) (*api.ListKeysResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	size, after := pageSize(in.Limit, 100), given(in.Marker)
	if after != "" && !keyID.MatchString(after) {
		return nil, errMarker()
	}
	var list []*key.Record
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Keys(call.Principal.Account, call.Region, after, size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	list, next := cut(list, size, func(rec *key.Record) string { return rec.ID })
	out := &api.ListKeysResponse{Keys: []api.KeyListEntry{}, Truncated: new(next != nil), NextMarker: next}
	for _, rec := range list {
		out.Keys = append(out.Keys, api.KeyListEntry{KeyId: &rec.ID, KeyArn: new(rec.ARN())})
	}
	return out, nil
}

// pageSize is the size that a request wants, or a default.
func pageSize(size *int64, otherwise int) int {
	if size == nil {
		return otherwise
	}
	return int(*size)
}

// cut takes what is beyond a page from a list of one element more; next is the
// name of the page's last element, or nil on the last page.
func cut[T any](list []T, size int, name func(T) string) (page []T, next *string) {
	if len(list) <= size {
		return list, nil
	}
	return list[:size], new(name(list[size-1]))
}

// errMarker is the refusal of a marker that no answer gave (text assumed).
func errMarker() error { return fault.New(fault.PageToken, "The marker is not valid.") }

func aliasARN(call *wire.Call, name string) string {
	return arn.New("kms", call.Region, call.Principal.Account, name).String()
}
