package secretsmanager

import (
	"context"
	"encoding/json"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// putPolicy is the action of whoever governs a secret.
const putPolicy = "secretsmanager:PutResourcePolicy"

// GetResourcePolicy returns the policy of a secret as it was put, with the
// names that its users and roles have by now; no policy is no error (AWS:
// reported).
func (s *Service) GetResourcePolicy(ctx context.Context, call *wire.Call, in *api.GetResourcePolicyRequest) (*api.GetResourcePolicyResponse, error) {
	var out *api.GetResourcePolicyResponse
	err := s.view(ctx, call, target{id: *in.SecretId, use: secret.Read}, func(tx *store.Tx, sec *secret.Secret) error {
		policy, err := authz.ShowPrincipals(tx, sec.Policy)
		out = &api.GetResourcePolicyResponse{ARN: new(sec.ARN()), Name: &sec.Name, ResourcePolicy: orNil(policy)}
		return err
	})
	return out, err
}

// PutResourcePolicy replaces the policy of a secret as a whole.
func (s *Service) PutResourcePolicy(ctx context.Context, call *wire.Call, in *api.PutResourcePolicyRequest) (*api.PutResourcePolicyResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Govern}, func(c changing) (*api.PutResourcePolicyResponse, error) {
		d, err := parsePolicy(*in.ResourcePolicy)
		if err != nil {
			return nil, fault.New(fault.Policy, "This policy has invalid syntax.").Because(err)
		}
		if c.after.Policy, err = bindPolicy(c.tx, d, *in.ResourcePolicy, call.Principal.Account, c.before.Account); err != nil {
			return nil, err
		}
		if given(in.BlockPublicPolicy) && d.Public() {
			return nil, fault.New(fault.PublicPolicy, "%s", publicPolicy)
		}
		err = s.Guard.OnSecret(call, putPolicy, c.after, c.after.ARN(), *in.SecretId)
		if fault.Is(err, fault.Denied) {
			return nil, fault.New(fault.Policy, "%s", lockingPolicy).Because(err)
		}
		if err != nil {
			return nil, err
		}
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

// ValidateResourcePolicy makes the checks of PutResourcePolicy with
// BlockPublicPolicy and tells what each finds. Only a text that is not even
// JSON is an error.
func (s *Service) ValidateResourcePolicy(ctx context.Context, call *wire.Call, in *api.ValidateResourcePolicyRequest) (*api.ValidateResourcePolicyResponse, error) {
	var found []api.ValidationErrorsEntry
	var err error
	if in.SecretId != nil {
		err = s.view(ctx, call, target{id: *in.SecretId, use: secret.Read}, func(tx *store.Tx, sec *secret.Secret) (err error) {
			ask := func(policy string) error {
				with := *sec
				with.Policy = policy
				return s.Guard.OnSecret(call, putPolicy, &with, with.ARN(), *in.SecretId)
			}
			if err := ask(sec.Policy); err != nil {
				return err
			}
			found, err = findings(tx, call, *in.ResourcePolicy, sec.Account, ask)
			return err
		})
	} else {
		found, err = s.validateForAny(ctx, call, *in.ResourcePolicy)
	}
	if err != nil {
		return nil, err
	}
	return &api.ValidateResourcePolicyResponse{PolicyValidationPassed: new(len(found) == 0), ValidationErrors: found}, nil
}

// validateForAny validates a policy for no secret in particular.
func (s *Service) validateForAny(ctx context.Context, call *wire.Call, text string) (found []api.ValidationErrorsEntry, err error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	ask := func(policy string) error {
		return s.Guard.On(call, putPolicy, &authz.Resource{ARN: "*", Account: call.Principal.Account, Policy: policy})
	}
	if err := ask(""); err != nil {
		return nil, err
	}
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = findings(tx, call, text, call.Principal.Account, ask)
		return err
	})
	return found, err
}

// AWS's names of the checks and most of its texts are not known.
const (
	publicCheck = "PUBLIC_ACCESS_CHECK"
	syntaxCheck = "SYNTAX_CHECK"
	lockCheck   = "CALLER_LOCKOUT_CHECK"

	publicPolicy  = "The resource policy grants broad access to the secret. Name the principals, or narrow the statement with a condition."
	lockingPolicy = "The new resource policy will not allow you to update the resource policy in the future."
)

// findings tells what is wrong with a policy for a secret of the owner. ask
// tells whether the caller could replace the policy if it were in force.
func findings(tx *store.Tx, call *wire.Call, text, owner string, ask func(policy string) error) ([]api.ValidationErrorsEntry, error) {
	found := []api.ValidationErrorsEntry{}
	add := func(check, message string) {
		found = append(found, api.ValidationErrorsEntry{CheckName: &check, ErrorMessage: &message})
	}
	if !json.Valid([]byte(text)) {
		return nil, fault.New(fault.Policy, "This policy has invalid syntax.")
	}
	d, err := parsePolicy(text)
	if err != nil {
		add(syntaxCheck, "This policy has invalid syntax. "+messageOf(err))
		return found, nil
	}
	bound, err := bindPolicy(tx, d, text, call.Principal.Account, owner)
	switch {
	case fault.Is(err, fault.Policy):
		add(syntaxCheck, messageOf(err))
		bound = text // as good as any for the other checks
	case err != nil:
		return nil, err
	}
	if d.Public() {
		add(publicCheck, publicPolicy)
	}
	switch err := ask(bound); {
	case fault.Is(err, fault.Denied):
		add(lockCheck, lockingPolicy)
	case err != nil:
		return nil, err
	}
	return found, nil
}

// parsePolicy reads a resource policy and checks that it says whom and what it
// concerns. The error is in IAM's words; principals that no policy may name
// are for bindPolicy to tell.
func parsePolicy(text string) (*iam.Document, error) {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return nil, err
	}
	if err := d.RequirePrincipals(); err != nil || !supported(d) {
		return d, err
	}
	return d, d.CheckResource()
}

func supported(d *iam.Document) bool {
	return !slices.ContainsFunc(d.Statements, func(s iam.Statement) bool {
		return !s.Principals.Supported() || !s.NotPrincipals.Supported()
	})
}

// bindPolicy returns the policy as it is kept, after checking that its
// principals are such as a policy may name and exist where that can be known:
// in the accounts that live here (AWS: text reported).
func bindPolicy(tx *store.Tx, d *iam.Document, text string, accounts ...string) (string, error) {
	refused := fault.New(fault.Policy, "This resource policy contains an unsupported principal")
	if !supported(d) {
		return "", refused
	}
	bound, err := authz.BindPrincipals(tx, text, accounts...)
	if fault.Is(err, fault.NotFound) {
		return "", refused.Because(err)
	}
	return bound, err
}
