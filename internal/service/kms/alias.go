package kms

import (
	"context"
	"regexp"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

var aliasName = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

// checkAlias refuses names that an alias of a customer cannot have, and calls
// that may not touch the alias. Its key is authorised beside it (AWS docs).
func (s *Service) checkAlias(call *wire.Call, name string) error {
	if err := s.Guard.On(call, "", &authz.Resource{ARN: aliasARN(call, name)}); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(name, "alias/"):
		return fault.New(fault.Validation, `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case !aliasName.MatchString(name):
		return fault.New(fault.Validation, "Alias contains invalid characters for an alias")
	case strings.HasPrefix(name, "alias/aws/"):
		return fault.New(notAuthorized, "")
	}
	return nil
}

// target returns the key that an alias is to name: of the caller's account, by
// its ID or ARN, and not one that is to be deleted.
func (s *Service) target(tx *store.Tx, call *wire.Call, id string) (*key.Record, error) {
	if strings.HasPrefix(id, "alias/") || strings.Contains(id, ":alias/") {
		return nil, fault.New(fault.Validation, "Aliases must refer to keys. Not aliases")
	}
	rec, err := s.owned(tx, call, id)
	if err != nil {
		return nil, err
	}
	return rec, rec.CheckKept()
}

// concernAlias names an alias and its keys in the call's event.
func concernAlias(call *wire.Call, name string, keys ...*key.Record) {
	concern(call, keys...)
	call.Resources = append(call.Resources, trail.Resource{Type: "AWS::KMS::Alias", Name: aliasARN(call, name)})
}

// CreateAlias names a key.
func (s *Service) CreateAlias(ctx context.Context, call *wire.Call, in *api.CreateAliasRequest) (*api.CreateAliasResponse, error) {
	name := *in.AliasName
	if err := s.checkAlias(call, name); err != nil {
		return nil, err
	}
	out := &api.CreateAliasResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := s.target(tx, call, *in.TargetKeyId)
		if err != nil {
			return err
		}
		concernAlias(call, name, rec)
		_, err = tx.Alias(rec.Account, rec.Region, name)
		if err == nil {
			return fault.New(fault.Exists, "An alias with the name %s already exists", aliasARN(call, name))
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		err = tx.SaveAlias(&key.Alias{
			Name: name, Account: rec.Account, Region: rec.Region, KeyID: rec.ID, CreatedAt: call.Time, UpdatedAt: call.Time,
		})
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// aliased returns an alias and its key, on which it authorises the call.
func (s *Service) aliased(tx *store.Tx, call *wire.Call, name string) (*key.Alias, *key.Record, error) {
	alias, err := tx.Alias(call.Principal.Account, call.Region, name)
	if fault.Is(err, fault.NotFound) {
		return nil, nil, noAlias(aliasARN(call, name))
	}
	if err != nil {
		return nil, nil, err
	}
	rec, err := tx.Key(alias.Account, alias.Region, alias.KeyID)
	if err != nil {
		return nil, nil, fault.Wrap(err, "reading the key of "+name)
	}
	return alias, rec, s.Guard.UseKey(tx, call, rec, own(call))
}

// UpdateAlias gives an alias to another key.
func (s *Service) UpdateAlias(ctx context.Context, call *wire.Call, in *api.UpdateAliasRequest) (*api.UpdateAliasResponse, error) {
	name := *in.AliasName
	if err := s.checkAlias(call, name); err != nil {
		return nil, err
	}
	out := &api.UpdateAliasResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		alias, _, err := s.aliased(tx, call, name)
		if err != nil {
			return err
		}
		rec, err := s.target(tx, call, *in.TargetKeyId)
		if err != nil {
			return err
		}
		concernAlias(call, name, rec)
		moved := *alias
		moved.KeyID, moved.UpdatedAt = rec.ID, call.Time
		if err := tx.SaveAlias(&moved); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// DeleteAlias takes a name from a key.
func (s *Service) DeleteAlias(ctx context.Context, call *wire.Call, in *api.DeleteAliasRequest) (*api.DeleteAliasResponse, error) {
	name := *in.AliasName
	if err := s.checkAlias(call, name); err != nil {
		return nil, err
	}
	out := &api.DeleteAliasResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		alias, rec, err := s.aliased(tx, call, name)
		if err != nil {
			return err
		}
		concernAlias(call, name, rec)
		if err := tx.DeleteAlias(alias.Account, alias.Region, name); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// ListAliases lists the region's aliases, or those of one key. Permission is
// by the operation alone (AWS docs).
func (s *Service) ListAliases(ctx context.Context, call *wire.Call, in *api.ListAliasesRequest) (*api.ListAliasesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	size, after := pageSize(in.Limit, 50), given(in.Marker)
	if after != "" && !aliasName.MatchString(after) {
		return nil, errMarker()
	}
	var list []key.Alias
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		id := ""
		if in.KeyId != nil {
			rec, err := listed(tx, call, *in.KeyId)
			if err != nil {
				return err
			}
			id = rec.ID
		}
		var err error
		list, err = tx.Aliases(call.Principal.Account, call.Region, id, after, size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	list, next := cut(list, size, func(a key.Alias) string { return a.Name })
	out := &api.ListAliasesResponse{Aliases: []api.AliasListEntry{}, Truncated: new(next != nil), NextMarker: next}
	for i := range list {
		a := &list[i]
		out.Aliases = append(out.Aliases, api.AliasListEntry{
			AliasName: &a.Name, AliasArn: new(aliasARN(call, a.Name)), TargetKeyId: &a.KeyID, CreationDate: &a.CreatedAt, LastUpdatedDate: &a.UpdatedAt,
		})
	}
	return out, nil
}

// listed returns the key of the caller's account whose aliases are wanted.
func listed(tx *store.Tx, call *wire.Call, id string) (*key.Record, error) {
	r, err := parseRef(call, id)
	if err != nil {
		return nil, err
	}
	if r.Account != call.Principal.Account {
		return nil, noKey(arn.New("kms", r.Region, r.Account, "key/"+r.ID).String())
	}
	return lookup(tx, r)
}
