package iam

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of IAM (AWS docs).
const (
	maxTrustPolicy = 2048
	maxTags        = 50
	defaultSession = time.Hour
)

// CreateRole makes a role.
func (s *Service) CreateRole(ctx context.Context, call *wire.Call, in *api.CreateRoleRequest) (*api.CreateRoleResponse, error) {
	r := &iam.Role{
		Account: call.Principal.Account, Name: *in.RoleName, Path: "/", ID: "AROA" + rand.Text()[:17],
		TrustPolicy: *in.AssumeRolePolicyDocument, MaxSession: defaultSession, CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	if in.Path != nil {
		r.Path = *in.Path
	}
	if in.Description != nil {
		r.Description = *in.Description
	}
	if in.MaxSessionDuration != nil {
		r.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
	}
	if err := s.Guard.Action(call, r.ARN()); err != nil {
		return nil, err
	}
	if in.PermissionsBoundary != nil {
		return nil, fault.New(fault.Parameter, "Permissions boundaries are not supported.")
	}
	if err := checkTrust(r.TrustPolicy); err != nil {
		return nil, err
	}
	var err error
	if r.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	out := &api.CreateRoleResponse{Role: shown(r, true)}
	call.Resources = []trail.Resource{{Type: "AWS::IAM::Role", Name: r.ARN()}}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		err := tx.SaveRole(nil, r)
		if fault.Is(err, fault.Exists) {
			return fault.New(fault.Exists, "Role with name %s already exists.", r.Name)
		}
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	return out, err
}

// checkTrust refuses a trust policy that is not well formed: it names
// principals and no resources (AWS: recorded).
func checkTrust(text string) error {
	if len(text) > maxTrustPolicy {
		return fault.New(fault.Limit, "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	d, err := iam.ParseDocument(text)
	if err != nil {
		return err
	}
	return d.CheckTrust()
}

// shown is a role as answers have it; lists leave the tags out (AWS:
// recorded).
func shown(r *iam.Role, whole bool) *api.Role {
	out := &api.Role{
		Path: &r.Path, RoleName: &r.Name, RoleId: &r.ID, Arn: new(r.ARN()), CreateDate: &r.CreatedAt,
		AssumeRolePolicyDocument: encode(r.TrustPolicy), MaxSessionDuration: new(int64(r.MaxSession / time.Second)),
	}
	if r.Description != "" {
		out.Description = &r.Description
	}
	if whole && len(r.Tags) > 0 {
		out.Tags = shownTags(r.Tags)
	}
	return out
}

func shownTags(tags []iam.Tag) []api.Tag {
	list := make([]api.Tag, len(tags))
	for i := range tags {
		list[i] = api.Tag{Key: &tags[i].Key, Value: &tags[i].Value}
	}
	return list
}

// GetRole shows a role.
func (s *Service) GetRole(ctx context.Context, call *wire.Call, in *api.GetRoleRequest) (*api.GetRoleResponse, error) {
	out := &api.GetRoleResponse{}
	return out, s.view(ctx, call, *in.RoleName, func(r *iam.Role) error {
		out.Role = shown(r, true)
		out.Role.RoleLastUsed = &api.RoleLastUsed{}
		return nil
	})
}

// ListRoles lists the account's roles by name.
func (s *Service) ListRoles(ctx context.Context, call *wire.Call, in *api.ListRolesRequest) (*api.ListRolesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	prefix, after, size := "/", "", pageSize(in.MaxItems)
	if in.PathPrefix != nil {
		prefix = *in.PathPrefix
	}
	if in.Marker != nil {
		after = *in.Marker
	}
	var list []*iam.Role
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Roles(call.Principal.Account, prefix, after, size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListRolesResponse{Roles: []api.Role{}, IsTruncated: new(len(list) > size)}
	if len(list) > size {
		list = list[:size]
		out.Marker = &list[size-1].Name
	}
	for _, r := range list {
		out.Roles = append(out.Roles, *shown(r, false))
	}
	return out, nil
}

// DeleteRole removes a role without policies.
func (s *Service) DeleteRole(ctx context.Context, call *wire.Call, in *api.DeleteRoleRequest) (*api.DeleteRoleResponse, error) {
	out := &api.DeleteRoleResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		r, err := s.role(tx, call, *in.RoleName)
		switch {
		case err != nil:
			return err
		case len(r.Attached) > 0:
			return fault.New(inUse, "Cannot delete entity, must detach all policies first.")
		case len(r.Inline) > 0:
			return fault.New(inUse, "Cannot delete entity, must delete policies first.")
		}
		if err := tx.DeleteRole(r.Account, r.Name); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// UpdateAssumeRolePolicy replaces a role's trust policy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, call *wire.Call, in *api.UpdateAssumeRolePolicyRequest) (*api.UpdateAssumeRolePolicyResponse, error) {
	out := &api.UpdateAssumeRolePolicyResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		r.TrustPolicy = *in.PolicyDocument
		return checkTrust(r.TrustPolicy)
	})
}

// TagRole sets tags.
func (s *Service) TagRole(ctx context.Context, call *wire.Call, in *api.TagRoleRequest) (*api.TagRoleResponse, error) {
	out := &api.TagRoleResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) (err error) {
		r.Tags, err = addTags(r.Tags, in.Tags)
		return err
	})
}

// addTags merges tags by key, without regard to case (AWS docs).
func addTags(tags []iam.Tag, add []api.Tag) ([]iam.Tag, error) {
	seen := map[string]bool{}
	for _, t := range add {
		folded := strings.ToLower(*t.Key)
		if seen[folded] {
			return nil, fault.New(fault.Parameter, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[folded] = true
		tags = slices.DeleteFunc(tags, func(old iam.Tag) bool { return strings.ToLower(old.Key) == folded })
		tags = append(tags, iam.Tag{Key: *t.Key, Value: *t.Value})
	}
	if len(tags) > maxTags {
		return nil, fault.New(fault.Limit, "Cannot exceed quota for TagsPerRole: %d", maxTags)
	}
	return tags, nil
}

// UntagRole removes tags; keys that are not there are passed over.
func (s *Service) UntagRole(ctx context.Context, call *wire.Call, in *api.UntagRoleRequest) (*api.UntagRoleResponse, error) {
	out := &api.UntagRoleResponse{}
	return out, s.change(ctx, call, *in.RoleName, out, func(r *iam.Role) error {
		r.Tags = slices.DeleteFunc(r.Tags, func(t iam.Tag) bool {
			return slices.ContainsFunc(in.TagKeys, func(key string) bool { return strings.EqualFold(key, t.Key) })
		})
		return nil
	})
}

// ListRoleTags lists a role's tags by key.
func (s *Service) ListRoleTags(ctx context.Context, call *wire.Call, in *api.ListRoleTagsRequest) (*api.ListRoleTagsResponse, error) {
	out := &api.ListRoleTagsResponse{}
	return out, s.view(ctx, call, *in.RoleName, func(r *iam.Role) error {
		tags := slices.SortedFunc(slices.Values(r.Tags), func(a, b iam.Tag) int { return cmp.Compare(a.Key, b.Key) })
		part, next := page(tags, func(t iam.Tag) string { return t.Key }, in.Marker, in.MaxItems)
		out.Tags, out.Marker, out.IsTruncated = shownTags(part), next, new(next != nil)
		return nil
	})
}
