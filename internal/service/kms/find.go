package kms

import (
	"context"
	"regexp"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// keyID is what the ID of a key looks like, also of one that exists in several
// regions (AWS docs).
var keyID = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)

// parseRef reads a key ID, a key ARN, an alias or an alias ARN. An ARN must be
// one of the call's region (AWS: recorded).
func parseRef(call *wire.Call, s string) (arn.KeyRef, error) {
	r, ok := arn.ParseKeyRef(s, call.Region, call.Principal.Account)
	switch {
	case !ok:
		return r, fault.New(fault.NotFound, "Invalid arn %s", s)
	case r.Region != call.Region:
		return r, fault.New(fault.NotFound, "Invalid arn %s", r.Region)
	}
	return r, nil
}

// lookup returns the key. It returns fault.NotFound with AWS's text when there
// is none.
func lookup(tx *store.Tx, r arn.KeyRef) (*key.Record, error) {
	id := r.ID
	if r.Alias != "" {
		alias, err := tx.Alias(r.Account, r.Region, r.Alias)
		if fault.Is(err, fault.NotFound) {
			return nil, noAlias(r.ARN())
		}
		if err != nil {
			return nil, err
		}
		id = alias.KeyID
	} else if !keyID.MatchString(id) {
		return nil, badKeyID(id)
	}
	rec, err := tx.Key(r.Account, r.Region, id)
	if fault.Is(err, fault.NotFound) {
		return nil, noKey(arn.New("kms", r.Region, r.Account, "key/"+id).String())
	}
	return rec, err
}

func badKeyID(id string) error         { return fault.New(fault.NotFound, "Invalid keyId '%s'", id) }
func noKey(arn string) error           { return fault.New(fault.NotFound, "Key '%s' does not exist", arn) }
func noAlias(arn string) error         { return fault.New(fault.NotFound, "Alias %s is not found.", arn) }
func own(call *wire.Call) authz.KeyUse { return authz.KeyUse{Action: call.Action()} }

// find returns the key that an ID, an ARN, an alias or an alias ARN names,
// authorised for the use.
func (s *Service) find(tx *store.Tx, call *wire.Call, id string, use authz.KeyUse) (*key.Record, error) {
	r, err := parseRef(call, id)
	if err != nil {
		return nil, err
	}
	rec, err := lookup(tx, r)
	if fault.Is(err, fault.NotFound) {
		return nil, s.hide(call, r, use.Action, err)
	}
	if err != nil {
		return nil, err
	}
	use.Alias = r.Alias
	err = s.admit(tx, call, rec, use)
	if fault.Is(err, fault.Denied) && r.Alias != "" && r.Account != call.Principal.Account {
		// Which keys stand behind another account's aliases is not to be told.
		return nil, s.hide(call, r, use.Action, err)
	}
	return rec, err
}

// admit authorises the use of a key, whose account gets an event, too. Who is
// refused another account's key finds nothing of it in the event, either.
func (s *Service) admit(tx *store.Tx, call *wire.Call, rec *key.Record, use authz.KeyUse) error {
	concern(call, rec)
	err := s.Guard.UseKey(tx, call, rec, use)
	if err != nil && rec.Account != call.Principal.Account {
		call.Resources = nil
	}
	return err
}

// hide returns unknown to callers who may do the action with any key that
// could have been there, and refuses the others, so that nobody learns from
// the difference which keys exist. Nobody may with those of other accounts.
func (s *Service) hide(call *wire.Call, r arn.KeyRef, action string, unknown error) error {
	resource := authz.Resource{ARN: r.ARN(), Account: r.Account}
	if r.Alias != "" {
		resource.ARN, resource.Shown = arn.New("kms", r.Region, r.Account, "key/*").String(), r.ARN()
	}
	if err := s.Guard.On(call, action, &resource); err != nil {
		return err
	}
	return unknown
}

// managed is find for operations that manage a key: they take no alias (AWS
// docs).
func (s *Service) managed(tx *store.Tx, call *wire.Call, id string, use authz.KeyUse) (*key.Record, error) {
	r, err := parseRef(call, id)
	switch {
	case err != nil:
		return nil, err
	case r.Alias != "" && arn.IsARN(id):
		return nil, fault.New(badARN, "Invalid arn %s", id)
	case r.Alias != "":
		return nil, badKeyID(id)
	}
	return s.find(tx, call, id, use)
}

// owned is managed for operations that do not reach into other accounts (AWS
// docs).
func (s *Service) owned(tx *store.Tx, call *wire.Call, id string) (*key.Record, error) {
	if a, ok := arn.Parse(id); ok && a.Account != call.Principal.Account {
		d := iam.Decision{Effect: iam.ImplicitDeny, Layer: iam.ResourceLayer}
		return nil, fault.New(fault.Denied, "%s", d.Refusal(call.Principal.ARN, call.Action(), id))
	}
	return s.managed(tx, call, id, own(call))
}

// view calls fn with the key of the caller's account that a call manages.
func (s *Service) view(ctx context.Context, call *wire.Call, id string, fn func(*key.Record) error) error {
	return s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.owned(tx, call, id)
		if err != nil {
			return err
		}
		return fn(rec)
	})
}

// change applies fn to a copy of the key that a call manages, and stores it
// with the call's event.
func (s *Service) change(ctx context.Context, call *wire.Call, id string, out wire.Output, fn func(*store.Tx, *key.Record) error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := s.owned(tx, call, id)
		if err != nil {
			return err
		}
		after := rec.Clone()
		if err := fn(tx, after); err != nil {
			return err
		}
		if err := tx.SaveKey(after); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}
