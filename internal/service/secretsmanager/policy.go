package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// GetResourcePolicy returns the policy of a secret as it was put; no policy
// is no error (AWS: reported).
func (s *Service) GetResourcePolicy(ctx context.Context, call *wire.Call, in *api.GetResourcePolicyRequest) (*api.GetResourcePolicyResponse, error) {
	var out *api.GetResourcePolicyResponse
	err := s.view(ctx, call, target{id: *in.SecretId, use: secret.Read}, func(_ *store.Tx, sec *secret.Secret) error {
		out = &api.GetResourcePolicyResponse{ARN: new(sec.ARN()), Name: &sec.Name, ResourcePolicy: orNil(sec.Policy)}
		return nil
	})
	return out, err
}

// PutResourcePolicy replaces the policy of a secret as a whole.
func (s *Service) PutResourcePolicy(ctx context.Context, call *wire.Call, in *api.PutResourcePolicyRequest) (*api.PutResourcePolicyResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Govern}, func(c changing) (*api.PutResourcePolicyResponse, error) {
		d, err := parsePolicy(c.tx, call.Principal.Account, *in.ResourcePolicy)
		if err != nil {
			return nil, err
		}
		if given(in.BlockPublicPolicy) && d.Public() {
			return nil, fault.New(fault.PublicPolicy, "%s", publicPolicy)
		}
		c.after.Policy = *in.ResourcePolicy
		c.after.ChangedAt = milliseconds(call.Time)
		return &api.PutResourcePolicyResponse{ARN: new(c.after.ARN()), Name: &c.after.Name}, nil
	})
}

// DeleteResourcePolicy removes the policy of a secret; there need be none
// (assumed).
func (s *Service) DeleteResourcePolicy(ctx context.Context, call *wire.Call, in *api.DeleteResourcePolicyRequest) (*api.DeleteResourcePolicyResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Govern}, func(c changing) (*api.DeleteResourcePolicyResponse, error) {
		if c.after.Policy != "" {
			c.after.Policy = ""
			c.after.ChangedAt = milliseconds(call.Time)
		}
		return &api.DeleteResourcePolicyResponse{ARN: new(c.after.ARN()), Name: &c.after.Name}, nil
	})
}

// ValidateResourcePolicy checks a policy without storing it. A policy with a
// wrong syntax is an error; one that grants broad access does not pass.
func (s *Service) ValidateResourcePolicy(ctx context.Context, call *wire.Call, in *api.ValidateResourcePolicyRequest) (*api.ValidateResourcePolicyResponse, error) {
	var d *iam.Document
	check := func(tx *store.Tx) (err error) {
		d, err = parsePolicy(tx, call.Principal.Account, *in.ResourcePolicy)
		return err
	}
	var err error
	if in.SecretId != nil {
		err = s.view(ctx, call, target{id: *in.SecretId, use: secret.Read}, func(tx *store.Tx, _ *secret.Secret) error { return check(tx) })
	} else if err = s.Guard.Action(call, "*"); err == nil {
		err = s.Store.View(ctx, check)
	}
	if err != nil {
		return nil, err
	}
	found := []api.ValidationErrorsEntry{}
	if d.Public() {
		found = append(found, api.ValidationErrorsEntry{CheckName: new(publicCheck), ErrorMessage: new(publicPolicy)})
	}
	return &api.ValidateResourcePolicyResponse{PolicyValidationPassed: new(len(found) == 0), ValidationErrors: found}, nil
}

// AWS's names of checks and its text for broad policies are not known.
const (
	publicCheck  = "PUBLIC_ACCESS_CHECK"
	publicPolicy = "The resource policy grants broad access to the secret. Name the principals, or narrow the statement with a condition."
)

// parsePolicy reads a resource policy and checks that it names principals,
// all of a form that a policy may name, and none of them a role of the account
// that does not exist (AWS: texts reported).
func parsePolicy(tx *store.Tx, account, text string) (*iam.Document, error) {
	d, err := iam.ParseDocument(text)
	if err == nil {
		err = d.RequirePrincipals()
	}
	if err != nil {
		return nil, fault.New(fault.Policy, "This policy has invalid syntax.").Because(err)
	}
	for i := range d.Statements {
		for _, p := range []*iam.Principals{d.Statements[i].Principals, d.Statements[i].NotPrincipals} {
			known, err := rolesExist(tx, account, p)
			if err != nil {
				return nil, err
			}
			if !p.Supported() || !known {
				return nil, fault.New(fault.Policy, "This resource policy contains an unsupported principal")
			}
		}
	}
	return d, nil
}

// rolesExist reports whether every role of the account that is named is there.
func rolesExist(tx *store.Tx, account string, p *iam.Principals) (bool, error) {
	if p == nil {
		return true, nil
	}
	for _, name := range p.AWS {
		owner, role, ok := iam.RoleNameFromARN(name)
		if !ok || owner != account {
			continue
		}
		_, err := tx.Role(account, role)
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
