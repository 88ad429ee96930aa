package iam

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// PutGroupPolicy stores an inline policy, in place of one of its name.
func (s *Service) PutGroupPolicy(ctx context.Context, call *wire.Call, in *api.PutGroupPolicyRequest) (*api.PutGroupPolicyResponse, error) {
	out := &api.PutGroupPolicyResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(_ *store.Tx, g *iam.Group) error {
		return holderOfGroup(g).putInline(*in.PolicyName, *in.PolicyDocument)
	})
}

// GetGroupPolicy shows an inline policy.
func (s *Service) GetGroupPolicy(ctx context.Context, call *wire.Call, in *api.GetGroupPolicyRequest) (*api.GetGroupPolicyResponse, error) {
	out := &api.GetGroupPolicyResponse{PolicyName: in.PolicyName}
	return out, s.groups.view(ctx, call, *in.GroupName, func(_ *store.Tx, g *iam.Group) (err error) {
		out.GroupName = &g.Name
		out.PolicyDocument, err = holderOfGroup(g).inline(*in.PolicyName)
		return err
	})
}

// ListGroupPolicies lists the names of the inline policies.
func (s *Service) ListGroupPolicies(ctx context.Context, call *wire.Call, in *api.ListGroupPoliciesRequest) (*api.ListGroupPoliciesResponse, error) {
	out := &api.ListGroupPoliciesResponse{}
	return out, s.groups.view(ctx, call, *in.GroupName, func(_ *store.Tx, g *iam.Group) error {
		out.PolicyNames, out.Marker = holderOfGroup(g).inlineNames(in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}

// DeleteGroupPolicy removes an inline policy.
func (s *Service) DeleteGroupPolicy(ctx context.Context, call *wire.Call, in *api.DeleteGroupPolicyRequest) (*api.DeleteGroupPolicyResponse, error) {
	out := &api.DeleteGroupPolicyResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(_ *store.Tx, g *iam.Group) error {
		return holderOfGroup(g).deleteInline(*in.PolicyName)
	})
}

// AttachGroupPolicy attaches a managed policy: one of AWS's that exist here, or
// of the account.
func (s *Service) AttachGroupPolicy(ctx context.Context, call *wire.Call, in *api.AttachGroupPolicyRequest) (*api.AttachGroupPolicyResponse, error) {
	out := &api.AttachGroupPolicyResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(tx *store.Tx, g *iam.Group) error {
		return holderOfGroup(g).attach(tx, *in.PolicyArn)
	})
}

// DetachGroupPolicy detaches a managed policy.
func (s *Service) DetachGroupPolicy(ctx context.Context, call *wire.Call, in *api.DetachGroupPolicyRequest) (*api.DetachGroupPolicyResponse, error) {
	out := &api.DetachGroupPolicyResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(_ *store.Tx, g *iam.Group) error {
		return holderOfGroup(g).detach(*in.PolicyArn)
	})
}

// ListAttachedGroupPolicies lists the managed policies by ARN.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, call *wire.Call, in *api.ListAttachedGroupPoliciesRequest) (*api.ListAttachedGroupPoliciesResponse, error) {
	out := &api.ListAttachedGroupPoliciesResponse{}
	return out, s.groups.view(ctx, call, *in.GroupName, func(_ *store.Tx, g *iam.Group) error {
		out.AttachedPolicies, out.Marker = holderOfGroup(g).attached(in.PathPrefix, in.Marker, in.MaxItems)
		out.IsTruncated = new(out.Marker != nil)
		return nil
	})
}
