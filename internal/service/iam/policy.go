package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of a role's policies (AWS docs).
const (
	maxInline   = 10240 // all inline documents together, white space aside
	maxAttached = 10
)

func noPolicy(name string) error {
	return fault.New(fault.NotFound, "The role policy with name %s cannot be found.", name)
}

// PutRolePolicy stores an inline policy, in place of one of its name.
func (s *Service) PutRolePolicy(ctx context.Context, call *wire.Call, in *api.PutRolePolicyRequest) (*api.PutRolePolicyResponse, error) {
	out := &api.PutRolePolicyResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		if err := checkIdentity(*in.PolicyDocument); err != nil {
			return err
		}
		if r.Inline == nil {
			r.Inline = map[string]string{}
		}
		r.Inline[*in.PolicyName] = *in.PolicyDocument
		size := 0
		for _, document := range r.Inline {
			size += len(strings.Join(strings.Fields(document), ""))
		}
		if size > maxInline {
			return fault.New(fault.Limit, "Maximum policy size of %d bytes exceeded for role %s", maxInline, r.Name)
		}
		return nil
	})
}

// checkIdentity refuses an identity policy that is not well formed: it names
// resources and no principals (AWS: recorded).
func checkIdentity(text string) error {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return err
	}
	return d.CheckIdentity()
}

// GetRolePolicy shows an inline policy.
func (s *Service) GetRolePolicy(ctx context.Context, call *wire.Call, in *api.GetRolePolicyRequest) (*api.GetRolePolicyResponse, error) {
	out := &api.GetRolePolicyResponse{PolicyName: in.PolicyName}
	return out, s.view(ctx, call, *in.RoleName, func(r *iam.Role) error {
		document, found := r.Inline[*in.PolicyName]
		if !found {
			return noPolicy(*in.PolicyName)
		}
		out.RoleName, out.PolicyDocument = &r.Name, encode(document)
		return nil
	})
}

// ListRolePolicies lists the names of the inline policies.
func (s *Service) ListRolePolicies(ctx context.Context, call *wire.Call, in *api.ListRolePoliciesRequest) (*api.ListRolePoliciesResponse, error) {
	out := &api.ListRolePoliciesResponse{}
	return out, s.view(ctx, call, *in.RoleName, func(r *iam.Role) error {
		names := slices.Sorted(maps.Keys(r.Inline))
		part, next := page(names, func(n string) string { return n }, in.Marker, in.MaxItems)
		out.PolicyNames, out.Marker, out.IsTruncated = append([]string{}, part...), next, new(next != nil)
		return nil
	})
}

// DeleteRolePolicy removes an inline policy.
func (s *Service) DeleteRolePolicy(ctx context.Context, call *wire.Call, in *api.DeleteRolePolicyRequest) (*api.DeleteRolePolicyResponse, error) {
	out := &api.DeleteRolePolicyResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		if _, found := r.Inline[*in.PolicyName]; !found {
			return noPolicy(*in.PolicyName)
		}
		delete(r.Inline, *in.PolicyName)
		return nil
	})
}

// AttachRolePolicy attaches a managed policy: one of AWS's own that exist
// here.
func (s *Service) AttachRolePolicy(ctx context.Context, call *wire.Call, in *api.AttachRolePolicyRequest) (*api.AttachRolePolicyResponse, error) {
	out := &api.AttachRolePolicyResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		if err := checkARN(*in.PolicyArn); err != nil {
			return err
		}
		if _, found := iam.ManagedPolicyByARN(*in.PolicyArn); !found {
			return fault.New(fault.NotFound, "Policy %s does not exist or is not attachable.", *in.PolicyArn)
		}
		if slices.Contains(r.Attached, *in.PolicyArn) {
			return nil
		}
		r.Attached = append(r.Attached, *in.PolicyArn)
		if len(r.Attached) > maxAttached {
			return fault.New(fault.Limit, "Cannot exceed quota for PoliciesPerRole: %d", maxAttached)
		}
		return nil
	})
}

// checkARN refuses what is no ARN (AWS: recorded).
func checkARN(text string) error {
	if _, ok := arn.Parse(text); !ok {
		return fault.New(fault.Validation, "ARN %s is not valid.", text)
	}
	return nil
}

// DetachRolePolicy detaches a managed policy.
func (s *Service) DetachRolePolicy(ctx context.Context, call *wire.Call, in *api.DetachRolePolicyRequest) (*api.DetachRolePolicyResponse, error) {
	out := &api.DetachRolePolicyResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		if err := checkARN(*in.PolicyArn); err != nil {
			return err
		}
		i := slices.Index(r.Attached, *in.PolicyArn)
		if i < 0 {
			return fault.New(fault.NotFound, "Policy %s was not found.", *in.PolicyArn)
		}
		r.Attached = slices.Delete(r.Attached, i, i+1)
		return nil
	})
}

// ListAttachedRolePolicies lists the managed policies of a role.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, call *wire.Call, in *api.ListAttachedRolePoliciesRequest) (*api.ListAttachedRolePoliciesResponse, error) {
	out := &api.ListAttachedRolePoliciesResponse{AttachedPolicies: []api.AttachedPolicy{}}
	return out, s.view(ctx, call, *in.RoleName, func(r *iam.Role) error {
		arns := slices.Sorted(slices.Values(r.Attached))
		part, next := page(arns, func(a string) string { return a }, in.Marker, in.MaxItems)
		for _, a := range part {
			out.AttachedPolicies = append(out.AttachedPolicies, api.AttachedPolicy{
				PolicyName: new(a[strings.LastIndexByte(a, '/')+1:]), PolicyArn: new(a),
			})
		}
		out.Marker, out.IsTruncated = next, new(next != nil)
		return nil
	})
}
