package kms

import (
	"context"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
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
	return out, s.change(ctx, call, *in.KeyId, out, func(tx *store.Tx, rec *key.Record) error {
		if err := noPolicy(in.PolicyName); err != nil {
			return err
		}
		rec.Policy = *in.Policy
		return s.checkPolicy(tx, call, rec, *in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck))
	})
}

// GetKeyPolicy shows a key's policy.
func (s *Service) GetKeyPolicy(ctx context.Context, call *wire.Call, in *api.GetKeyPolicyRequest) (*api.GetKeyPolicyResponse, error) {
	out := &api.GetKeyPolicyResponse{PolicyName: new(key.PolicyName)}
	return out, s.view(ctx, call, *in.KeyId, func(rec *key.Record) error {
		out.Policy = &rec.Policy
		return noPolicy(in.PolicyName)
	})
}

// ListKeyPolicies lists the name that key policies have.
func (s *Service) ListKeyPolicies(ctx context.Context, call *wire.Call, in *api.ListKeyPoliciesRequest) (*api.ListKeyPoliciesResponse, error) {
	out := &api.ListKeyPoliciesResponse{PolicyNames: []string{key.PolicyName}, Truncated: new(false)}
	return out, s.view(ctx, call, *in.KeyId, func(*key.Record) error { return nil })
}

// checkPolicy refuses a key policy that is not well formed, names principals
// that do not exist or, without bypass, keeps the caller from replacing it.
// The text for broken syntax is assumed to be IAM's.
func (s *Service) checkPolicy(tx *store.Tx, call *wire.Call, rec *key.Record, text string, bypass bool) error {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return fault.New(fault.Policy, "Syntax errors in policy.").Because(err)
	}
	if err := d.CheckResource(); err != nil {
		return badPrincipal().Because(err)
	}
	for i := range d.Statements {
		for _, p := range []*iam.Principals{d.Statements[i].Principals, d.Statements[i].NotPrincipals} {
			if err := checkPrincipals(tx, call, p); err != nil {
				return err
			}
		}
	}
	if !bypass && s.Guard.LocksOut(tx, call, rec, text) {
		return fault.New(fault.Policy, "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

func badPrincipal() *fault.Error {
	return fault.New(fault.Policy, "Policy contains a statement with one or more invalid principals.")
}

func checkPrincipals(tx *store.Tx, call *wire.Call, p *iam.Principals) error {
	if p == nil {
		return nil
	}
	for _, name := range p.AWS {
		known, err := exists(tx, call, name)
		if err != nil {
			return err
		}
		if !known {
			return badPrincipal().For(name)
		}
	}
	return nil
}

// exists reports whether a user or role exists, if its account is one of this
// deployment. Of other principals, and in other accounts, it takes every name.
func exists(tx *store.Tx, call *wire.Call, name string) (bool, error) {
	a, ok := arn.Parse(name)
	kind, path, found := strings.Cut(a.Resource, "/")
	if !ok || a.Service != "iam" || !found {
		return true, nil
	}
	if a.Account != call.Principal.Account {
		if _, err := tx.Account(a.Account); fault.Is(err, fault.NotFound) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	short := path[strings.LastIndexByte(path, '/')+1:]
	var err error
	var full string
	switch kind {
	case "role":
		var r *iam.Role
		if r, err = tx.Role(a.Account, short); err == nil {
			full = r.ARN()
		}
	case "user":
		var u *iam.User
		if u, err = tx.User(a.Account, short); err == nil {
			full = u.ARN()
		}
	default:
		return true, nil
	}
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return full == name, err
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
