package iam

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// PutUserPolicy stores an inline policy, in place of one of its name.
func (s *Service) PutUserPolicy(ctx context.Context, call *wire.Call, in *api.PutUserPolicyRequest) (*api.PutUserPolicyResponse, error) {
	out := &api.PutUserPolicyResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		return holderOfUser(u).putInline(*in.PolicyName, *in.PolicyDocument)
	})
}

// GetUserPolicy shows an inline policy.
func (s *Service) GetUserPolicy(ctx context.Context, call *wire.Call, in *api.GetUserPolicyRequest) (*api.GetUserPolicyResponse, error) {
	out := &api.GetUserPolicyResponse{PolicyName: in.PolicyName}
	return out, s.users.view(ctx, call, *in.UserName, func(_ *store.Tx, u *iam.User) (err error) {
		out.UserName = &u.Name
		out.PolicyDocument, err = holderOfUser(u).inline(*in.PolicyName)
		return err
	})
}

// ListUserPolicies lists the names of the inline policies.
func (s *Service) ListUserPolicies(ctx context.Context, call *wire.Call, in *api.ListUserPoliciesRequest) (*api.ListUserPoliciesResponse, error) {
	out := &api.ListUserPoliciesResponse{}
	return out, s.users.view(ctx, call, *in.UserName, func(_ *store.Tx, u *iam.User) error {
		out.PolicyNames, out.Marker = holderOfUser(u).inlineNames(in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}

// DeleteUserPolicy removes an inline policy.
func (s *Service) DeleteUserPolicy(ctx context.Context, call *wire.Call, in *api.DeleteUserPolicyRequest) (*api.DeleteUserPolicyResponse, error) {
	out := &api.DeleteUserPolicyResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		return holderOfUser(u).deleteInline(*in.PolicyName)
	})
}

// AttachUserPolicy attaches a managed policy: one of AWS's that exist here, or
// of the account.
func (s *Service) AttachUserPolicy(ctx context.Context, call *wire.Call, in *api.AttachUserPolicyRequest) (*api.AttachUserPolicyResponse, error) {
	out := &api.AttachUserPolicyResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(tx *store.Tx, u *iam.User) error {
		return holderOfUser(u).attach(tx, *in.PolicyArn)
	})
}

// DetachUserPolicy detaches a managed policy.
func (s *Service) DetachUserPolicy(ctx context.Context, call *wire.Call, in *api.DetachUserPolicyRequest) (*api.DetachUserPolicyResponse, error) {
	out := &api.DetachUserPolicyResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		return holderOfUser(u).detach(*in.PolicyArn)
	})
}

// ListAttachedUserPolicies lists the managed policies by ARN.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, call *wire.Call, in *api.ListAttachedUserPoliciesRequest) (*api.ListAttachedUserPoliciesResponse, error) {
	out := &api.ListAttachedUserPoliciesResponse{}
	return out, s.users.view(ctx, call, *in.UserName, func(_ *store.Tx, u *iam.User) error {
		out.AttachedPolicies, out.Marker = holderOfUser(u).attached(in.PathPrefix, in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}

// PutUserPermissionsBoundary bounds what the user's policies can allow.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, call *wire.Call, in *api.PutUserPermissionsBoundaryRequest) (*api.PutUserPermissionsBoundaryResponse, error) {
	out := &api.PutUserPermissionsBoundaryResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(tx *store.Tx, u *iam.User) error {
		return holderOfUser(u).bound(tx, in.PermissionsBoundary)
	})
}

// DeleteUserPermissionsBoundary takes the boundary away, if there is one.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, call *wire.Call, in *api.DeleteUserPermissionsBoundaryRequest) (*api.DeleteUserPermissionsBoundaryResponse, error) {
	out := &api.DeleteUserPermissionsBoundaryResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		u.Boundary = ""
		return nil
	})
}
