package kms

import (
	"context"
	"encoding/json"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// checkTokens refuses grant tokens that are none. Others change nothing: a
// grant works as soon as it is made.
func checkTokens(tokens []string) error {
	for _, token := range tokens {
		if _, err := key.ParseGrantToken(token); err != nil {
			return fault.New(badToken, "Invalid grant token.").Because(err)
		}
	}
	return nil
}

// CreateGrant lets a principal use a key. The same grant by the same name
// again is the one that there is (AWS docs).
func (s *Service) CreateGrant(ctx context.Context, call *wire.Call, in *api.CreateGrantRequest) (*api.CreateGrantResponse, error) {
	if err := checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	var out *api.CreateGrantResponse
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		grant := newGrant(call, in)
		rec, err := s.managed(tx, call, *in.KeyId, authz.KeyUse{Action: call.Action(), Context: constraint(grant), Grant: grant})
		if err != nil {
			return err
		}
		if err := rec.CheckUsable(); err != nil {
			return err
		}
		grant.Account, grant.Region, grant.KeyID = rec.Account, rec.Region, rec.ID
		if err := checkGrant(tx, call, grant); err != nil {
			return err
		}
		if isTrue(in.DryRun) {
			return errDryRun()
		}
		if grant, err = saveGrant(tx, grant); err != nil {
			return err
		}
		out = &api.CreateGrantResponse{GrantId: &grant.ID, GrantToken: new(grant.Token())}
		return tx.Record(call.Event(out))
	})
}

func newGrant(call *wire.Call, in *api.CreateGrantRequest) *key.Grant {
	g := &key.Grant{
		ID: key.NewGrantID(), Name: given(in.Name), Grantee: *in.GranteePrincipal, Retiring: given(in.RetiringPrincipal),
		Issuer: call.Principal.Account, Operations: in.Operations, CreatedAt: call.Time,
	}
	if c := in.Constraints; c != nil {
		g.Equals, g.Subset = c.EncryptionContextEquals, c.EncryptionContextSubset
	}
	return g
}

// constraint is what kms:EncryptionContext conditions compare when a grant is
// made (AWS docs).
func constraint(g *key.Grant) key.EncryptionContext {
	if g.Equals != nil {
		return g.Equals
	}
	return g.Subset
}

// checkGrant refuses what grants cannot say, and binds the principals.
func checkGrant(tx *store.Tx, call *wire.Call, g *key.Grant) (err error) {
	if g.Grantee, err = bind(tx, call, g.Grantee); err != nil {
		return err
	}
	if g.Retiring != "" {
		if g.Retiring, err = bind(tx, call, g.Retiring); err != nil {
			return err
		}
	}
	return g.Check()
}

// bind returns a principal as grants keep it: users and roles by their unique
// IDs, so that a namesake made later inherits nothing, and accounts by their
// root (AWS docs).
func bind(tx *store.Tx, call *wire.Call, name string) (string, error) {
	if !isPrincipal(name) {
		return "", noPrincipal(name)
	}
	bound, err := authz.BindPrincipal(tx, principalARN(name), call.Principal.Account)
	if fault.Is(err, fault.NotFound) {
		return "", noPrincipal(name)
	}
	return bound, err
}

// principalARN returns the ARN of a principal of a grant: an account is its
// root.
func principalARN(name string) string {
	if arn.IsARN(name) {
		return name
	}
	return authz.RootPrincipal(name, "").ARN
}

// noPrincipal is KMS's refusal of a name that nobody has (AWS: reported).
func noPrincipal(name string) error {
	return fault.New(badARN, "ARN does not refer to a valid principal: %s", name)
}

// saveGrant stores a grant, or returns the one of its name that says the same.
func saveGrant(tx *store.Tx, g *key.Grant) (*key.Grant, error) {
	if g.Name != "" {
		list, err := tx.GrantsNamed(g.Account, g.Region, g.KeyID, g.Name)
		if err != nil {
			return nil, err
		}
		for _, other := range list {
			if g.Same(other) {
				return other, nil
			}
		}
	}
	return g, tx.SaveGrant(g)
}

// ListGrants lists the grants on a key.
func (s *Service) ListGrants(ctx context.Context, call *wire.Call, in *api.ListGrantsRequest) (*api.ListGrantsResponse, error) {
	size, after, err := grantPage(in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	if in.GrantId != nil && !key.IsGrantID(*in.GrantId) {
		return nil, noGrantID(*in.GrantId)
	}
	var out *api.ListGrantsResponse
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.managed(tx, call, *in.KeyId, own(call))
		if err != nil {
			return err
		}
		grantee := ""
		if in.GranteePrincipal != nil {
			if grantee, err = bind(tx, call, *in.GranteePrincipal); err != nil {
				return err
			}
		}
		var list []*key.Grant
		if in.GrantId == nil {
			list, err = tx.Grants(rec.Account, rec.Region, rec.ID, grantee, after, size+1)
		} else {
			list, err = oneGrant(tx, rec, *in.GrantId, grantee)
		}
		if err == nil {
			out, err = grantList(tx, list, size)
		}
		return err
	})
}

// oneGrant returns the grant with the ID, if there is one and it is to the
// grantee.
func oneGrant(tx *store.Tx, rec *key.Record, id, grantee string) ([]*key.Grant, error) {
	g, err := tx.Grant(rec.Account, rec.Region, rec.ID, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case grantee != "" && g.Grantee != grantee:
		return nil, nil
	}
	return []*key.Grant{g}, nil
}

func grantPage(limit *int64, marker *string) (size int, after string, err error) {
	if marker != nil && !key.IsGrantID(*marker) {
		return 0, "", errMarker()
	}
	return pageSize(limit, 50), given(marker), nil
}

func grantList(tx *store.Tx, list []*key.Grant, size int) (*api.ListGrantsResponse, error) {
	list, next := cut(list, size, func(g *key.Grant) string { return g.ID })
	out := &api.ListGrantsResponse{Grants: []api.GrantListEntry{}, Truncated: new(next != nil), NextMarker: next}
	for _, g := range list {
		e, err := grantEntry(tx, g)
		if err != nil {
			return nil, err
		}
		out.Grants = append(out.Grants, e)
	}
	return out, nil
}

func grantEntry(tx *store.Tx, g *key.Grant) (api.GrantListEntry, error) {
	e := api.GrantListEntry{
		KeyId: new(arn.New("kms", g.Region, g.Account, "key/"+g.KeyID).String()), GrantId: &g.ID, CreationDate: &g.CreatedAt,
		IssuingAccount: new(authz.RootPrincipal(g.Issuer, "").ARN), Operations: g.Operations,
	}
	if g.Name != "" {
		e.Name = &g.Name
	}
	if g.Constrained() {
		e.Constraints = &api.GrantConstraints{EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset}
	}
	grantee, err := authz.ShowPrincipal(tx, g.Grantee)
	e.GranteePrincipal = &grantee
	if err == nil && g.Retiring != "" {
		var retiring string
		retiring, err = authz.ShowPrincipal(tx, g.Retiring)
		e.RetiringPrincipal = &retiring
	}
	return e, err
}

// ListRetirableGrants lists the grants, on keys of whichever account, that a
// principal of the caller's account may retire. The principal is the resource
// that is authorised (AWS docs).
func (s *Service) ListRetirableGrants(ctx context.Context, call *wire.Call, in *api.ListRetirableGrantsRequest) (*api.ListGrantsResponse, error) {
	size, after, err := grantPage(in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	name := *in.RetiringPrincipal
	if isPrincipal(name) {
		name = principalARN(name) // the number of an account is no resource, which would be the caller's own
	}
	if err := s.Guard.Action(call, name); err != nil {
		return nil, err
	}
	var out *api.ListGrantsResponse
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		retiring, err := bind(tx, call, name)
		if err != nil {
			return err
		}
		list, err := tx.RetirableGrants(call.Region, retiring, after, size+1)
		if err == nil {
			out, err = grantList(tx, list, size)
		}
		return err
	})
}

func noGrantID(id string) error { return fault.New(badGrantID, "Invalid grant ID '%s'", id) }

// grant returns a grant on a key. Texts are assumed.
func grant(tx *store.Tx, account, region, keyID, id string) (*key.Grant, error) {
	if !key.IsGrantID(id) {
		return nil, noGrantID(id)
	}
	g, err := tx.Grant(account, region, keyID, id)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "Grant ID %s not found", id)
	}
	return g, err
}

// RevokeGrant ends a grant.
func (s *Service) RevokeGrant(ctx context.Context, call *wire.Call, in *api.RevokeGrantRequest) (*api.RevokeGrantResponse, error) {
	out := &api.RevokeGrantResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := s.managed(tx, call, *in.KeyId, own(call))
		if err != nil {
			return err
		}
		g, err := grant(tx, rec.Account, rec.Region, rec.ID, *in.GrantId)
		if err != nil {
			return err
		}
		return s.end(tx, call, g, in.DryRun, out)
	})
}

// end removes a grant with the call's event.
func (s *Service) end(tx *store.Tx, call *wire.Call, g *key.Grant, dry *bool, out wire.Output) error {
	if isTrue(dry) {
		return errDryRun()
	}
	if err := tx.DeleteGrant(g.Account, g.Region, g.KeyID, g.ID); err != nil {
		return err
	}
	return tx.Record(call.Event(out))
}

// RetireGrant ends a grant for those whom it names for that.
func (s *Service) RetireGrant(ctx context.Context, call *wire.Call, in *api.RetireGrantRequest) (*api.RetireGrantResponse, error) {
	r, id, err := retired(call, in)
	if err != nil {
		return nil, err
	}
	out := &api.RetireGrantResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := lookup(tx, r)
		if fault.Is(err, fault.NotFound) {
			return s.hide(call, r, call.Action(), err)
		}
		if err != nil {
			return err
		}
		g, err := grant(tx, rec.Account, rec.Region, rec.ID, id)
		if fault.Is(err, fault.NotFound) {
			return s.hide(call, r, call.Action(), err)
		}
		if err != nil {
			return err
		}
		concern(call, rec)
		// A token alone says in the request which grant that was (AWS docs).
		call.Additional, _ = json.Marshal(map[string]string{"grantId": g.ID}) // strings always marshal
		if err := s.Guard.RetireGrant(tx, call, rec, g); err != nil {
			return err
		}
		return s.end(tx, call, g, in.DryRun, out)
	})
}

// retired returns the key and the ID of the grant that a call retires: named by
// a token, or by key and ID.
func retired(call *wire.Call, in *api.RetireGrantRequest) (r arn.KeyRef, id string, err error) {
	if in.GrantToken != nil {
		t, err := key.ParseGrantToken(*in.GrantToken)
		if err != nil || t.Region != call.Region {
			return r, "", fault.New(badToken, "Invalid grant token.").Because(err)
		}
		return arn.KeyRef{Account: t.Account, Region: t.Region, ID: t.KeyID}, t.ID, nil
	}
	if in.KeyId == nil || in.GrantId == nil {
		return r, "", fault.New(fault.Validation, "You must specify a grant token, or both a grant ID and a key ID.")
	}
	r, err = parseRef(call, *in.KeyId)
	if err == nil && r.Alias != "" {
		err = badKeyID(*in.KeyId)
	}
	return r, *in.GrantId, err
}
