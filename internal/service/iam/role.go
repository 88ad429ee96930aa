package iam

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

const defaultSession = time.Hour

func roleFamily(cfg Config) family[iam.Role] {
	return family[iam.Role]{
		Config:   cfg,
		resource: "AWS::IAM::Role",
		noun:     "role",
		tagging:  "iam:TagRole",
		find:     (*store.Tx).Role,
		absent:   func(account, name string) *iam.Role { return &iam.Role{Account: account, Name: name, Path: "/"} },
		save:     (*store.Tx).SaveRole,
		delete:   func(tx *store.Tx, r *iam.Role) error { return tx.DeleteRole(r.Account, r.Name) },
		clone:    (*iam.Role).Clone,
		about:    func(r *iam.Role) about { return about{r.ARN(), r.Name, r.Boundary, r.Tags} },
		missing: func(name string) error {
			return fault.New(fault.NotFound, "The role with name %s cannot be found.", name)
		},
		taken: func(name string) error { return fault.New(fault.Exists, "Role with name %s already exists.", name) },
	}
}

func (s *Service) roleOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AttachRolePolicy", s.AttachRolePolicy),
		wire.Handle("CreateRole", s.CreateRole),
		wire.Handle("DeleteRole", s.DeleteRole),
		wire.Handle("DeleteRolePermissionsBoundary", s.DeleteRolePermissionsBoundary),
		wire.Handle("DeleteRolePolicy", s.DeleteRolePolicy),
		wire.Handle("DetachRolePolicy", s.DetachRolePolicy),
		wire.Handle("GetRole", s.GetRole),
		wire.Handle("GetRolePolicy", s.GetRolePolicy),
		wire.Handle("ListAttachedRolePolicies", s.ListAttachedRolePolicies),
		wire.Handle("ListInstanceProfilesForRole", s.ListInstanceProfilesForRole),
		wire.Handle("ListRolePolicies", s.ListRolePolicies),
		wire.Handle("ListRoles", s.ListRoles),
		wire.Handle("ListRoleTags", s.ListRoleTags),
		wire.Handle("PutRolePermissionsBoundary", s.PutRolePermissionsBoundary),
		wire.Handle("PutRolePolicy", s.PutRolePolicy),
		wire.Handle("TagRole", s.TagRole),
		wire.Handle("UntagRole", s.UntagRole),
		wire.Handle("UpdateAssumeRolePolicy", s.UpdateAssumeRolePolicy),
		wire.Handle("UpdateRole", s.UpdateRole),
		wire.Handle("UpdateRoleDescription", s.UpdateRoleDescription),
	}
}

// newID makes a unique ID: a prefix of four letters and 17 upper-case
// alphanumerics (AWS docs).
func newID(prefix string) string { return prefix + rand.Text()[:17] }

// CreateRole makes a role.
func (s *Service) CreateRole(ctx context.Context, call *wire.Call, in *api.CreateRoleRequest) (*api.CreateRoleResponse, error) {
	r := &iam.Role{
		Account: call.Principal.Account, Name: *in.RoleName, Path: pathOf(in.Path), ID: newID("AROA"), Description: text(in.Description),
		MaxSession: defaultSession, CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	if in.MaxSessionDuration != nil {
		r.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
	}
	out := &api.CreateRoleResponse{Role: &api.Role{}}
	return out, s.roles.create(ctx, call, r, out, func(tx *store.Tx) (err error) {
		if strings.HasPrefix(r.Path, serviceLinked) { // text assumed
			return fault.New(fault.Validation, "The path %s is reserved for service-linked roles.", serviceLinked)
		}
		if err := setTrust(tx, r, *in.AssumeRolePolicyDocument); err != nil {
			return err
		}
		if r.Tags, err = addTags(call, nil, in.Tags, "TagsPerRole"); err != nil {
			return err
		}
		if err := holderOfRole(r).bound(tx, in.PermissionsBoundary); err != nil {
			return err
		}
		shown, err := shownRole(tx, r, true)
		if err == nil {
			*out.Role = *shown
		}
		return err
	})
}

// shownRole is a role as answers have it; lists leave tags and boundary out
// (AWS: recorded).
func shownRole(tx *store.Tx, r *iam.Role, whole bool) (*api.Role, error) {
	trust, err := shownTrust(tx, r)
	out := &api.Role{
		Path: &r.Path, RoleName: &r.Name, RoleId: &r.ID, Arn: new(r.ARN()), CreateDate: &r.CreatedAt,
		AssumeRolePolicyDocument: trust, Description: optional(r.Description), MaxSessionDuration: new(int64(r.MaxSession / time.Second)),
	}
	if whole {
		out.Tags, out.PermissionsBoundary = someTags(r.Tags), shownBoundary(r.Boundary)
	}
	return out, err
}

// GetRole shows a role.
func (s *Service) GetRole(ctx context.Context, call *wire.Call, in *api.GetRoleRequest) (*api.GetRoleResponse, error) {
	out := &api.GetRoleResponse{}
	return out, s.roles.view(ctx, call, *in.RoleName, func(tx *store.Tx, r *iam.Role) (err error) {
		out.Role, err = shownRole(tx, r, true)
		out.Role.RoleLastUsed = &api.RoleLastUsed{}
		return err
	})
}

// ListRoles lists the account's roles by name.
func (s *Service) ListRoles(ctx context.Context, call *wire.Call, in *api.ListRolesRequest) (*api.ListRolesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	list, next, err := pageOf(ctx, s.Store, func(r *api.Role) string { return *r.RoleName }, in.Marker, in.MaxItems,
		func(tx *store.Tx, after string, limit int) (shown []*api.Role, err error) {
			roles, err := tx.Roles(call.Principal.Account, pathOf(in.PathPrefix), after, limit)
			for _, r := range roles {
				one, err := shownRole(tx, r, false)
				if err != nil {
					return nil, err
				}
				shown = append(shown, one)
			}
			return shown, err
		})
	out := &api.ListRolesResponse{Roles: []api.Role{}, IsTruncated: new(next != nil), Marker: next}
	for _, r := range list {
		out.Roles = append(out.Roles, *r)
	}
	return out, err
}

// DeleteRole removes a role without policies.
func (s *Service) DeleteRole(ctx context.Context, call *wire.Call, in *api.DeleteRoleRequest) (*api.DeleteRoleResponse, error) {
	out := &api.DeleteRoleResponse{}
	return out, s.roles.remove(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error { return holderOfRole(r).empty() })
}

// UpdateAssumeRolePolicy replaces a role's trust policy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, call *wire.Call, in *api.UpdateAssumeRolePolicyRequest) (*api.UpdateAssumeRolePolicyResponse, error) {
	out := &api.UpdateAssumeRolePolicyResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(tx *store.Tx, r *iam.Role) error {
		return setTrust(tx, r, *in.PolicyDocument)
	})
}

// UpdateRole changes a role's description and the longest life of its
// sessions; what is not given stays.
func (s *Service) UpdateRole(ctx context.Context, call *wire.Call, in *api.UpdateRoleRequest) (*api.UpdateRoleResponse, error) {
	out := &api.UpdateRoleResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			r.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
		}
		return nil
	})
}

// UpdateRoleDescription changes a role's description.
func (s *Service) UpdateRoleDescription(ctx context.Context, call *wire.Call, in *api.UpdateRoleDescriptionRequest) (*api.UpdateRoleDescriptionResponse, error) {
	out := &api.UpdateRoleDescriptionResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(tx *store.Tx, r *iam.Role) (err error) {
		r.Description = *in.Description
		out.Role, err = shownRole(tx, r, false)
		return err
	})
}

// ListInstanceProfilesForRole lists none: there are no instances here.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, call *wire.Call, in *api.ListInstanceProfilesForRoleRequest) (*api.ListInstanceProfilesForRoleResponse, error) {
	out := &api.ListInstanceProfilesForRoleResponse{InstanceProfiles: []api.InstanceProfile{}, IsTruncated: new(false)}
	return out, s.roles.view(ctx, call, *in.RoleName, func(*store.Tx, *iam.Role) error { return nil })
}

// TagRole sets tags.
func (s *Service) TagRole(ctx context.Context, call *wire.Call, in *api.TagRoleRequest) (*api.TagRoleResponse, error) {
	out := &api.TagRoleResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) (err error) {
		r.Tags, err = addTags(call, r.Tags, in.Tags, "TagsPerRole")
		return err
	})
}

// UntagRole removes tags; keys that are not there are passed over.
func (s *Service) UntagRole(ctx context.Context, call *wire.Call, in *api.UntagRoleRequest) (*api.UntagRoleResponse, error) {
	out := &api.UntagRoleResponse{}
	return out, s.roles.change(ctx, call, *in.RoleName, out, func(_ *store.Tx, r *iam.Role) error {
		r.Tags = removeTags(call, r.Tags, in.TagKeys)
		return nil
	})
}

// ListRoleTags lists a role's tags by key.
func (s *Service) ListRoleTags(ctx context.Context, call *wire.Call, in *api.ListRoleTagsRequest) (*api.ListRoleTagsResponse, error) {
	out := &api.ListRoleTagsResponse{}
	return out, s.roles.view(ctx, call, *in.RoleName, func(_ *store.Tx, r *iam.Role) error {
		out.Tags, out.Marker, out.IsTruncated = pageOfTags(r.Tags, in.Marker, in.MaxItems)
		return nil
	})
}
