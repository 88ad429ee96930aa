package kms

import (
	"context"
	"regexp"
	"strings"

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

// ref is a key as a call names it: by its ID or by an alias.
type ref struct{ account, region, id, alias string }

// parseRef reads a key ID, a key ARN, an alias or an alias ARN. An ARN must be
// one of the call's region (AWS: recorded).
func parseRef(call *wire.Call, s string) (ref, error) {
	r := ref{account: call.Principal.Account, region: call.Region, id: s}
	if arn.IsARN(s) {
		a, ok := arn.Parse(s)
		switch {
		case !ok || a.Service != "kms":
			return r, fault.New(fault.NotFound, "Invalid arn %s", s)
		case a.Region != call.Region:
			return r, fault.New(fault.NotFound, "Invalid arn %s", a.Region)
		}
		r.account, r.id = a.Account, strings.TrimPrefix(a.Resource, "key/")
	}
	if strings.HasPrefix(r.id, "alias/") {
		r.id, r.alias = "", r.id
	}
	return r, nil
}

// lookup returns the key. It returns fault.NotFound with AWS's text when there
// is none.
func (r ref) lookup(tx *store.Tx) (*key.Record, error) {
	id := r.id
	if r.alias != "" {
		alias, err := tx.Alias(r.account, r.region, r.alias)
		if fault.Is(err, fault.NotFound) {
			return nil, noAlias(r.arn())
		}
		if err != nil {
			return nil, err
		}
		id = alias.KeyID
	} else if !keyID.MatchString(id) {
		return nil, badKeyID(id)
	}
	rec, err := tx.Key(r.account, r.region, id)
	if fault.Is(err, fault.NotFound) {
		return nil, noKey(arn.New("kms", r.region, r.account, "key/"+id).String())
	}
	return rec, err
}

// arn is the address of what the call names.
func (r ref) arn() string {
	resource := r.alias
	if resource == "" {
		resource = "key/" + r.id
	}
	return arn.New("kms", r.region, r.account, resource).String()
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
	rec, err := r.lookup(tx)
	if fault.Is(err, fault.NotFound) {
		return nil, s.hide(call, r, use.Action, err)
	}
	if err != nil {
		return nil, err
	}
	use.Alias = r.alias
	err = s.admit(tx, call, rec, use)
	if fault.Is(err, fault.Denied) && r.alias != "" && r.account != call.Principal.Account {
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
func (s *Service) hide(call *wire.Call, r ref, action string, unknown error) error {
	resource := authz.Resource{ARN: r.arn(), Account: r.account}
	if r.alias != "" {
		resource.ARN, resource.Shown = arn.New("kms", r.region, r.account, "key/*").String(), r.arn()
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
	case r.alias != "" && arn.IsARN(id):
		return nil, fault.New(badARN, "Invalid arn %s", id)
	case r.alias != "":
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
