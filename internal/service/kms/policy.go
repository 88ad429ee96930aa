package kms

import (
	"context"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// noPolicy refuses another name than the one that key policies have (AWS:
// reported).
func noPolicy(name *string) error {
	if other(name, key.PolicyName) {
		return fault.New(fault.NotFound, "No such policy exists")
	}
	return nil
}

// PutKeyPolicy replaces a key's policy.
func (s *Service) PutKeyPolicy(ctx context.Context, call *wire.Call, in *api.PutKeyPolicyRequest) (*api.PutKeyPolicyResponse, error) {
	out := &api.PutKeyPolicyResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(tx *store.Tx, rec *key.Record) (err error) {
		if err := noPolicy(in.PolicyName); err != nil {
			return err
		}
		rec.Policy, err = s.newPolicy(tx, call, rec, *in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck))
		return err
	})
}

// GetKeyPolicy shows a key's policy.
func (s *Service) GetKeyPolicy(ctx context.Context, call *wire.Call, in *api.GetKeyPolicyRequest) (*api.GetKeyPolicyResponse, error) {
	out := &api.GetKeyPolicyResponse{PolicyName: new(key.PolicyName)}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.owned(tx, call, *in.KeyId)
		if err != nil {
			return err
		}
		text, err := authz.ShowPrincipals(tx, rec.Policy)
		out.Policy = &text
		if err == nil {
			err = noPolicy(in.PolicyName)
		}
		return err
	})
}

// ListKeyPolicies lists the name that key policies have.
func (s *Service) ListKeyPolicies(ctx context.Context, call *wire.Call, in *api.ListKeyPoliciesRequest) (*api.ListKeyPoliciesResponse, error) {
	out := &api.ListKeyPoliciesResponse{PolicyNames: []string{key.PolicyName}, Truncated: new(false)}
	return out, s.view(ctx, call, *in.KeyId, func(*key.Record) error { return nil })
}

// newPolicy returns a key policy as it is to be kept. It refuses one that is not
// well formed, names principals that do not exist or, without bypass, keeps
// the caller from replacing it. The text for broken syntax is assumed to be
// IAM's.
func (s *Service) newPolicy(tx *store.Tx, call *wire.Call, rec *key.Record, text string, bypass bool) (string, error) {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return "", fault.New(fault.Policy, "Syntax errors in policy.").Because(err)
	}
	if err := d.CheckResource(); err != nil {
		return "", badPrincipal().Because(err)
	}
	bound, err := authz.BindPrincipals(tx, text, call.Principal.Account)
	if fault.Is(err, fault.NotFound) {
		return "", badPrincipal().Because(err)
	}
	if err != nil {
		return "", err
	}
	if !bypass && s.Guard.LocksOut(tx, call, rec, bound) {
		return "", fault.New(fault.Policy, "The new key policy will not allow you to update the key policy in the future.")
	}
	return bound, nil
}

func badPrincipal() *fault.Error {
	return fault.New(fault.Policy, "Policy contains a statement with one or more invalid principals.")
}

// isPrincipal reports whether a grant may name the principal: an account, a
// user, a role, or a session of one (AWS docs).
func isPrincipal(name string) bool {
	if len(name) == 12 && strings.Trim(name, "0123456789") == "" {
		return true
	}
	a, ok := arn.Parse(name)
	if !ok || len(a.Account) != 12 || a.Region != "" {
		return false
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	switch a.Service {
	case "iam":
		return a.Resource == "root" || rest != "" && slices.Contains([]string{"user", "role"}, kind)
	case "sts":
		return kind == "assumed-role" && strings.Count(rest, "/") == 1
	}
	return false
}
