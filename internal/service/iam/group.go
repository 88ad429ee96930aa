package iam

import (
	"context"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxGroups is how many groups a user may be in (AWS docs).
const maxGroups = 10

func groupFamily(cfg Config) family[iam.Group] {
	return family[iam.Group]{
		Config:   cfg,
		resource: "AWS::IAM::Group",
		noun:     "group",
		find:     (*store.Tx).Group,
		absent:   func(account, name string) *iam.Group { return &iam.Group{Account: account, Name: name, Path: "/"} },
		save:     (*store.Tx).SaveGroup,
		delete:   func(tx *store.Tx, g *iam.Group) error { return tx.DeleteGroup(g.Account, g.Name) },
		clone:    (*iam.Group).Clone,
		about:    func(g *iam.Group) about { return about{arn: g.ARN(), name: g.Name} },
		missing: func(name string) error {
			return fault.New(fault.NotFound, "The group with name %s cannot be found.", name)
		},
		taken: func(name string) error { return fault.New(fault.Exists, "Group with name %s already exists.", name) },
	}
}

func (s *Service) groupOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AddUserToGroup", s.AddUserToGroup),
		wire.Handle("AttachGroupPolicy", s.AttachGroupPolicy),
		wire.Handle("CreateGroup", s.CreateGroup),
		wire.Handle("DeleteGroup", s.DeleteGroup),
		wire.Handle("DeleteGroupPolicy", s.DeleteGroupPolicy),
		wire.Handle("DetachGroupPolicy", s.DetachGroupPolicy),
		wire.Handle("GetGroup", s.GetGroup),
		wire.Handle("GetGroupPolicy", s.GetGroupPolicy),
		wire.Handle("ListAttachedGroupPolicies", s.ListAttachedGroupPolicies),
		wire.Handle("ListGroupPolicies", s.ListGroupPolicies),
		wire.Handle("ListGroups", s.ListGroups),
		wire.Handle("PutGroupPolicy", s.PutGroupPolicy),
		wire.Handle("RemoveUserFromGroup", s.RemoveUserFromGroup),
		wire.Handle("UpdateGroup", s.UpdateGroup),
	}
}

// CreateGroup makes a group without users.
func (s *Service) CreateGroup(ctx context.Context, call *wire.Call, in *api.CreateGroupRequest) (*api.CreateGroupResponse, error) {
	g := &iam.Group{
		Account: call.Principal.Account, Name: *in.GroupName, Path: pathOf(in.Path), ID: newID("AGPA"),
		CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	out := &api.CreateGroupResponse{Group: shownGroup(g)}
	return out, s.groups.create(ctx, call, g, out, func(*store.Tx) error { return nil })
}

func shownGroup(g *iam.Group) *api.Group {
	return &api.Group{Path: &g.Path, GroupName: &g.Name, GroupId: &g.ID, Arn: new(g.ARN()), CreateDate: &g.CreatedAt}
}

func shownGroups(list []*iam.Group) []api.Group {
	groups := []api.Group{}
	for _, g := range list {
		groups = append(groups, *shownGroup(g))
	}
	return groups
}

// foldedName is the order of groups.
func foldedName(g *iam.Group) string { return strings.ToLower(g.Name) }

// GetGroup shows a group with its users, by name.
func (s *Service) GetGroup(ctx context.Context, call *wire.Call, in *api.GetGroupRequest) (*api.GetGroupResponse, error) {
	out := &api.GetGroupResponse{}
	return out, s.groups.view(ctx, call, *in.GroupName, func(tx *store.Tx, g *iam.Group) error {
		most := pageSize(in.MaxItems)
		users, err := tx.GroupUsers(g.Account, g.Name, text(in.Marker), most+1)
		if len(users) > most {
			users = users[:most]
			out.Marker = &users[most-1].Name
		}
		out.Group, out.Users, out.IsTruncated = shownGroup(g), shownUsers(users), new(out.Marker != nil)
		return err
	})
}

// ListGroups lists the account's groups by name.
func (s *Service) ListGroups(ctx context.Context, call *wire.Call, in *api.ListGroupsRequest) (*api.ListGroupsResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	list, next, err := pageOf(ctx, s.Store, func(g *iam.Group) string { return g.Name }, in.Marker, in.MaxItems,
		func(tx *store.Tx, after string, limit int) ([]*iam.Group, error) {
			return tx.Groups(call.Principal.Account, pathOf(in.PathPrefix), after, limit)
		})
	return &api.ListGroupsResponse{Groups: shownGroups(list), IsTruncated: new(next != nil), Marker: next}, err
}

// UpdateGroup gives a group another name or path, and so another ARN.
func (s *Service) UpdateGroup(ctx context.Context, call *wire.Call, in *api.UpdateGroupRequest) (*api.UpdateGroupResponse, error) {
	out := &api.UpdateGroupResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(_ *store.Tx, g *iam.Group) error {
		if in.NewGroupName != nil {
			g.Name = *in.NewGroupName
		}
		if in.NewPath != nil {
			g.Path = *in.NewPath
		}
		return s.groups.allow(call, g, s.groups.shown(g.Name))
	})
}

// DeleteGroup removes a group without policies and users.
func (s *Service) DeleteGroup(ctx context.Context, call *wire.Call, in *api.DeleteGroupRequest) (*api.DeleteGroupResponse, error) {
	out := &api.DeleteGroupResponse{}
	return out, s.groups.remove(ctx, call, *in.GroupName, out, func(tx *store.Tx, g *iam.Group) error {
		users, err := tx.GroupUsers(g.Account, g.Name, "", 1)
		switch {
		case err != nil:
			return err
		case len(users) > 0:
			return fault.New(inUse, "Cannot delete entity, must remove users from group first.")
		}
		return holderOfGroup(g).empty()
	})
}

// member returns a user for a call that is authorised on a group.
func (s *Service) member(tx *store.Tx, g *iam.Group, name string) (*iam.User, error) {
	u, err := tx.User(g.Account, name)
	if fault.Is(err, fault.NotFound) {
		return nil, s.users.missing(name)
	}
	return u, err
}

// AddUserToGroup makes a user a member of a group, if it is not one.
func (s *Service) AddUserToGroup(ctx context.Context, call *wire.Call, in *api.AddUserToGroupRequest) (*api.AddUserToGroupResponse, error) {
	out := &api.AddUserToGroupResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(tx *store.Tx, g *iam.Group) error {
		u, err := s.member(tx, g, *in.UserName)
		if err != nil {
			return err
		}
		if err := tx.AddToGroup(g.Account, g.Name, u.Name); err != nil {
			return err
		}
		groups, err := tx.GroupsOf(u.Account, u.Name)
		if err == nil && len(groups) > maxGroups {
			return fault.New(fault.Limit, "Cannot exceed quota for GroupsPerUser: %d", maxGroups)
		}
		return err
	})
}

// RemoveUserFromGroup ends a user's membership.
func (s *Service) RemoveUserFromGroup(ctx context.Context, call *wire.Call, in *api.RemoveUserFromGroupRequest) (*api.RemoveUserFromGroupResponse, error) {
	out := &api.RemoveUserFromGroupResponse{}
	return out, s.groups.change(ctx, call, *in.GroupName, out, func(tx *store.Tx, g *iam.Group) error {
		u, err := s.member(tx, g, *in.UserName)
		if err != nil {
			return err
		}
		err = tx.RemoveFromGroup(g.Account, g.Name, u.Name)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "The user with name %s cannot be found in group %s.", *in.UserName, g.Name)
		}
		return err
	})
}
