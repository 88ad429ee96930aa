package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxAccessKeys is how many access keys a user, or a root, may have (AWS
// docs).
const maxAccessKeys = 2

func (s *Service) accessKeyOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateAccessKey", s.CreateAccessKey),
		wire.Handle("DeleteAccessKey", s.DeleteAccessKey),
		wire.Handle("GetAccessKeyLastUsed", s.GetAccessKeyLastUsed),
		wire.Handle("ListAccessKeys", s.ListAccessKeys),
		wire.Handle("UpdateAccessKey", s.UpdateAccessKey),
	}
}

func noAccessKey(id string) error {
	return fault.New(fault.NotFound, "The Access Key with id %s cannot be found", id)
}

// keyHolder returns the name of the user whose access keys a call is about,
// authorised: the one named, or the caller. "" is the account's root.
func (s *Service) keyHolder(tx *store.Tx, call *wire.Call, name *string) (string, error) {
	user, err := userOrCaller(call, name)
	if err != nil {
		return "", err
	}
	if user == "" {
		call.Resources = []trail.Resource{{Type: "AWS::IAM::User", Name: call.Principal.ARN}}
		return "", s.Guard.Action(call, call.Principal.ARN)
	}
	u, err := s.users.get(tx, call, user)
	if err != nil {
		return "", err
	}
	return u.Name, nil
}

// optional leaves the root's missing name out of answers.
func optional(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}

// CreateAccessKey makes an access key for a user, the caller by default. Its
// secret is in the answer, and never shown again.
func (s *Service) CreateAccessKey(ctx context.Context, call *wire.Call, in *api.CreateAccessKeyRequest) (*api.CreateAccessKeyResponse, error) {
	id, secret := authz.NewAccessKey()
	k := &iam.AccessKey{
		ID: id, Account: call.Principal.Account, Secret: authz.SealAccessKey(s.Sealer, id, secret), CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	out := &api.CreateAccessKeyResponse{AccessKey: &api.AccessKey{
		AccessKeyId: &k.ID, Status: new(api.StatusTypeActive), SecretAccessKey: &secret, CreateDate: &k.CreatedAt,
	}}
	return out, s.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if k.UserName, err = s.keyHolder(tx, call, in.UserName); err != nil {
			return err
		}
		out.AccessKey.UserName = optional(k.UserName)
		keys, err := tx.AccessKeys(k.Account, k.UserName)
		if err != nil {
			return err
		}
		if len(keys) >= maxAccessKeys {
			return fault.New(fault.Limit, "Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
		}
		if err := tx.SaveAccessKey(k); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// accessKey returns the access key with the ID of the user that the call is
// about, authorised.
func (s *Service) accessKey(tx *store.Tx, call *wire.Call, user *string, id string) (*iam.AccessKey, error) {
	holder, err := s.keyHolder(tx, call, user)
	if err != nil {
		return nil, err
	}
	k, err := tx.AccessKey(id)
	if fault.Is(err, fault.NotFound) || err == nil && (k.Account != call.Principal.Account || k.UserName != holder) {
		return nil, noAccessKey(id)
	}
	return k, err
}

// UpdateAccessKey makes an access key inactive, or active again.
func (s *Service) UpdateAccessKey(ctx context.Context, call *wire.Call, in *api.UpdateAccessKeyRequest) (*api.UpdateAccessKeyResponse, error) {
	out := &api.UpdateAccessKeyResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := s.accessKey(tx, call, in.UserName, *in.AccessKeyId)
		if err != nil {
			return err
		}
		if *in.Status == api.StatusTypeExpired {
			return fault.New(fault.Parameter, "Access keys cannot be set to %s.", api.StatusTypeExpired)
		}
		k.Inactive = *in.Status == api.StatusTypeInactive
		if err := tx.SaveAccessKey(k); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// DeleteAccessKey removes an access key for good.
func (s *Service) DeleteAccessKey(ctx context.Context, call *wire.Call, in *api.DeleteAccessKeyRequest) (*api.DeleteAccessKeyResponse, error) {
	out := &api.DeleteAccessKeyResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := s.accessKey(tx, call, in.UserName, *in.AccessKeyId)
		if err != nil {
			return err
		}
		if err := tx.DeleteAccessKey(k.ID); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// ListAccessKeys lists the access keys of a user, the caller by default,
// without their secrets and by ID.
func (s *Service) ListAccessKeys(ctx context.Context, call *wire.Call, in *api.ListAccessKeysRequest) (*api.ListAccessKeysResponse, error) {
	out := &api.ListAccessKeysResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		holder, err := s.keyHolder(tx, call, in.UserName)
		if err != nil {
			return err
		}
		keys, err := tx.AccessKeys(call.Principal.Account, holder)
		if err != nil {
			return err
		}
		slices.SortFunc(keys, func(a, b *iam.AccessKey) int { return strings.Compare(a.ID, b.ID) })
		part, next := page(keys, func(k *iam.AccessKey) string { return k.ID }, in.Marker, in.MaxItems)
		out.AccessKeyMetadata, out.Marker, out.IsTruncated = []api.AccessKeyMetadata{}, next, new(next != nil)
		for _, k := range part {
			out.AccessKeyMetadata = append(out.AccessKeyMetadata, api.AccessKeyMetadata{
				UserName: optional(k.UserName), AccessKeyId: &k.ID, Status: new(status(k)), CreateDate: &k.CreatedAt,
			})
		}
		return nil
	})
}

func status(k *iam.AccessKey) string {
	if k.Inactive {
		return api.StatusTypeInactive
	}
	return api.StatusTypeActive
}

// GetAccessKeyLastUsed tells when a key of the account was last used, and for
// what; N/A stands for never (AWS docs).
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, call *wire.Call, in *api.GetAccessKeyLastUsedRequest) (*api.GetAccessKeyLastUsedResponse, error) {
	out := &api.GetAccessKeyLastUsedResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		k, err := tx.AccessKey(*in.AccessKeyId)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		found := err == nil && k.Account == call.Principal.Account
		if err := s.allowKey(tx, call, k, found); err != nil {
			return err
		}
		if !found {
			return noAccessKey(*in.AccessKeyId)
		}
		out.UserName = optional(k.UserName)
		out.AccessKeyLastUsed = &api.AccessKeyLastUsed{ServiceName: new("N/A"), Region: new("N/A")}
		if !k.UsedAt.IsZero() {
			out.AccessKeyLastUsed = &api.AccessKeyLastUsed{LastUsedDate: &k.UsedAt, ServiceName: &k.UsedService, Region: &k.UsedRegion}
		}
		return nil
	})
}

// allowKey authorises a call about an access key on its user, and on "*" if
// there is none.
func (s *Service) allowKey(tx *store.Tx, call *wire.Call, k *iam.AccessKey, found bool) error {
	if !found || k.UserName == "" {
		return s.Guard.Action(call, "*")
	}
	_, err := s.users.get(tx, call, k.UserName)
	return err
}
