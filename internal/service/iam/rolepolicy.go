package iam

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// PutRolePolicy stores an inline policy, in place of one of its name.
func (s *Service) PutRolePolicy(ctx context.Context, call *wire.Call, in *api.PutRolePolicyRequest) (*api.PutRolePolicyResponse, error) {
	out := &api.PutRolePolicyResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		return holderOfRole(r).putInline(*in.PolicyName, *in.PolicyDocument)
	})
}

// GetRolePolicy shows an inline policy.
func (s *Service) GetRolePolicy(ctx context.Context, call *wire.Call, in *api.GetRolePolicyRequest) (*api.GetRolePolicyResponse, error) {
	out := &api.GetRolePolicyResponse{PolicyName: in.PolicyName}
	return out, s.roles.view(ctx, call, *in.RoleName, func(_ *store.Tx, r *iam.Role) (err error) {
		out.RoleName = &r.Name
		out.PolicyDocument, err = holderOfRole(r).inline(*in.PolicyName)
		return err
	})
}

// ListRolePolicies lists the names of the inline policies.
func (s *Service) ListRolePolicies(ctx context.Context, call *wire.Call, in *api.ListRolePoliciesRequest) (*api.ListRolePoliciesResponse, error) {
	out := &api.ListRolePoliciesResponse{}
	return out, s.roles.view(ctx, call, *in.RoleName, func(_ *store.Tx, r *iam.Role) error {
		out.PolicyNames, out.Marker = holderOfRole(r).inlineNames(in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}

// DeleteRolePolicy removes an inline policy.
func (s *Service) DeleteRolePolicy(ctx context.Context, call *wire.Call, in *api.DeleteRolePolicyRequest) (*api.DeleteRolePolicyResponse, error) {
	out := &api.DeleteRolePolicyResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		return holderOfRole(r).deleteInline(*in.PolicyName)
	})
}

// AttachRolePolicy attaches a managed policy: one of AWS's that exist here, or
// of the account.
func (s *Service) AttachRolePolicy(ctx context.Context, call *wire.Call, in *api.AttachRolePolicyRequest) (*api.AttachRolePolicyResponse, error) {
	out := &api.AttachRolePolicyResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(tx *store.Tx, r *iam.Role) error {
		return holderOfRole(r).attach(tx, *in.PolicyArn)
	})
}

// DetachRolePolicy detaches a managed policy.
func (s *Service) DetachRolePolicy(ctx context.Context, call *wire.Call, in *api.DetachRolePolicyRequest) (*api.DetachRolePolicyResponse, error) {
	out := &api.DetachRolePolicyResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		return holderOfRole(r).detach(*in.PolicyArn)
	})
}

// ListAttachedRolePolicies lists the managed policies by ARN.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, call *wire.Call, in *api.ListAttachedRolePoliciesRequest) (*api.ListAttachedRolePoliciesResponse, error) {
	out := &api.ListAttachedRolePoliciesResponse{}
	return out, s.roles.view(ctx, call, *in.RoleName, func(_ *store.Tx, r *iam.Role) error {
		out.AttachedPolicies, out.Marker = holderOfRole(r).attached(in.PathPrefix, in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}

// PutRolePermissionsBoundary bounds what the role's policies can allow.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, call *wire.Call, in *api.PutRolePermissionsBoundaryRequest) (*api.PutRolePermissionsBoundaryResponse, error) {
	out := &api.PutRolePermissionsBoundaryResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(tx *store.Tx, r *iam.Role) error {
		return holderOfRole(r).bound(tx, in.PermissionsBoundary)
	})
}

// DeleteRolePermissionsBoundary takes the boundary away, if there is one.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, call *wire.Call, in *api.DeleteRolePermissionsBoundaryRequest) (*api.DeleteRolePermissionsBoundaryResponse, error) {
	out := &api.DeleteRolePermissionsBoundaryResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		r.Boundary = ""
		return nil
	})
}
