package iam

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

func userFamily(cfg Config) family[iam.User] {
	return family[iam.User]{
		Config:   cfg,
		resource: "AWS::IAM::User",
		noun:     "user",
		tagging:  "iam:TagUser",
		find:     (*store.Tx).User,
		absent:   func(account, name string) *iam.User { return &iam.User{Account: account, Name: name, Path: "/"} },
		save:     (*store.Tx).SaveUser,
		delete:   func(tx *store.Tx, u *iam.User) error { return tx.DeleteUser(u.Account, u.Name) },
		clone:    (*iam.User).Clone,
		about:    func(u *iam.User) about { return about{u.ARN(), u.Name, u.Boundary, u.Tags} },
		missing: func(name string) error {
			return fault.New(fault.NotFound, "The user with name %s cannot be found.", name)
		},
		taken: func(name string) error { return fault.New(fault.Exists, "User with name %s already exists.", name) },
	}
}

func (s *Service) userOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AttachUserPolicy", s.AttachUserPolicy),
		wire.Handle("CreateUser", s.CreateUser),
		wire.Handle("DeleteUser", s.DeleteUser),
		wire.Handle("DeleteUserPermissionsBoundary", s.DeleteUserPermissionsBoundary),
		wire.Handle("DeleteUserPolicy", s.DeleteUserPolicy),
		wire.Handle("DetachUserPolicy", s.DetachUserPolicy),
		wire.Handle("GetUser", s.GetUser),
		wire.Handle("GetUserPolicy", s.GetUserPolicy),
		wire.Handle("ListAttachedUserPolicies", s.ListAttachedUserPolicies),
		wire.Handle("ListGroupsForUser", s.ListGroupsForUser),
		wire.Handle("ListUserPolicies", s.ListUserPolicies),
		wire.Handle("ListUsers", s.ListUsers),
		wire.Handle("ListUserTags", s.ListUserTags),
		wire.Handle("PutUserPermissionsBoundary", s.PutUserPermissionsBoundary),
		wire.Handle("PutUserPolicy", s.PutUserPolicy),
		wire.Handle("TagUser", s.TagUser),
		wire.Handle("UntagUser", s.UntagUser),
		wire.Handle("UpdateUser", s.UpdateUser),
	}
}

// CreateUser makes a user without credentials.
func (s *Service) CreateUser(ctx context.Context, call *wire.Call, in *api.CreateUserRequest) (*api.CreateUserResponse, error) {
	u := &iam.User{
		Account: call.Principal.Account, Name: *in.UserName, Path: pathOf(in.Path), ID: newID("AIDA"),
		CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	out := &api.CreateUserResponse{User: &api.User{}}
	return out, s.users.create(ctx, call, u, out, func(tx *store.Tx) (err error) {
		if u.Tags, err = addTags(call, nil, in.Tags, "TagsPerUser"); err != nil {
			return err
		}
		if err := holderOfUser(u).bound(tx, in.PermissionsBoundary); err != nil {
			return err
		}
		*out.User = *shownUser(u, true)
		return nil
	})
}

// shownUser is a user as answers have it; lists leave tags and boundary out
// (AWS: recorded).
func shownUser(u *iam.User, whole bool) *api.User {
	out := &api.User{Path: &u.Path, UserName: &u.Name, UserId: &u.ID, Arn: new(u.ARN()), CreateDate: &u.CreatedAt}
	if whole {
		out.Tags, out.PermissionsBoundary = someTags(u.Tags), shownBoundary(u.Boundary)
	}
	return out
}

// GetUser shows a user, the caller by default.
func (s *Service) GetUser(ctx context.Context, call *wire.Call, in *api.GetUserRequest) (*api.GetUserResponse, error) {
	name, err := userOrCaller(call, in.UserName)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return s.root(ctx, call)
	}
	out := &api.GetUserResponse{}
	return out, s.users.view(ctx, call, name, func(_ *store.Tx, u *iam.User) error {
		out.User = shownUser(u, true)
		return nil
	})
}

// userOrCaller returns the name that a request gives, or else that of the
// calling user; "" is the account's root.
func userOrCaller(call *wire.Call, name *string) (string, error) {
	switch {
	case name != nil:
		return *name, nil
	case call.Principal.Type == iam.IAMUser:
		return call.Principal.Name, nil
	case call.Principal.Type == iam.Root:
		return "", nil
	}
	return "", fault.New(fault.Validation, "Must specify userName when calling with non-User credentials")
}

// root shows the account's root as GetUser does: it has neither name nor path
// (AWS: reported). It is as old as its account, if that is on record.
func (s *Service) root(ctx context.Context, call *wire.Call) (*api.GetUserResponse, error) {
	if err := s.Guard.Action(call, call.Principal.ARN); err != nil {
		return nil, err
	}
	out := &api.GetUserResponse{User: &api.User{UserId: &call.Principal.Account, Arn: &call.Principal.ARN}}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.Account(call.Principal.Account)
		switch {
		case fault.Is(err, fault.NotFound):
			return nil
		case err != nil:
			return err
		}
		out.User.CreateDate = &a.CreatedAt
		return nil
	})
}

// ListUsers lists the account's users by name.
func (s *Service) ListUsers(ctx context.Context, call *wire.Call, in *api.ListUsersRequest) (*api.ListUsersResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	list, next, err := pageOf(ctx, s.Store, func(u *iam.User) string { return u.Name }, in.Marker, in.MaxItems,
		func(tx *store.Tx, after string, limit int) ([]*iam.User, error) {
			return tx.Users(call.Principal.Account, pathOf(in.PathPrefix), after, limit)
		})
	return &api.ListUsersResponse{Users: shownUsers(list), IsTruncated: new(next != nil), Marker: next}, err
}

func shownUsers(list []*iam.User) []api.User {
	users := []api.User{}
	for _, u := range list {
		users = append(users, *shownUser(u, false))
	}
	return users
}

// UpdateUser gives a user another name or path, and so another ARN.
func (s *Service) UpdateUser(ctx context.Context, call *wire.Call, in *api.UpdateUserRequest) (*api.UpdateUserResponse, error) {
	out := &api.UpdateUserResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		if in.NewUserName != nil {
			u.Name = *in.NewUserName
		}
		if in.NewPath != nil {
			u.Path = *in.NewPath
		}
		return s.users.allow(call, u, s.users.shown(u.Name))
	})
}

// DeleteUser removes a user without policies, groups and access keys.
func (s *Service) DeleteUser(ctx context.Context, call *wire.Call, in *api.DeleteUserRequest) (*api.DeleteUserResponse, error) {
	out := &api.DeleteUserResponse{}
	return out, s.users.remove(ctx, call, *in.UserName, out, func(tx *store.Tx, u *iam.User) error {
		keys, err := tx.AccessKeys(u.Account, u.Name)
		if err != nil {
			return err
		}
		groups, err := tx.GroupsOf(u.Account, u.Name)
		switch {
		case err != nil:
			return err
		case len(keys) > 0:
			return fault.New(inUse, "Cannot delete entity, must delete access keys first.")
		case len(groups) > 0:
			return fault.New(inUse, "Cannot delete entity, must remove users from group first.")
		}
		return holderOfUser(u).empty()
	})
}

// TagUser sets tags.
func (s *Service) TagUser(ctx context.Context, call *wire.Call, in *api.TagUserRequest) (*api.TagUserResponse, error) {
	out := &api.TagUserResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) (err error) {
		u.Tags, err = addTags(call, u.Tags, in.Tags, "TagsPerUser")
		return err
	})
}

// UntagUser removes tags; keys that are not there are passed over.
func (s *Service) UntagUser(ctx context.Context, call *wire.Call, in *api.UntagUserRequest) (*api.UntagUserResponse, error) {
	out := &api.UntagUserResponse{}
	return out, s.users.change(ctx, call, *in.UserName, out, func(_ *store.Tx, u *iam.User) error {
		u.Tags = removeTags(call, u.Tags, in.TagKeys)
		return nil
	})
}

// ListUserTags lists a user's tags by key.
func (s *Service) ListUserTags(ctx context.Context, call *wire.Call, in *api.ListUserTagsRequest) (*api.ListUserTagsResponse, error) {
	out := &api.ListUserTagsResponse{}
	return out, s.users.view(ctx, call, *in.UserName, func(_ *store.Tx, u *iam.User) error {
		out.Tags, out.Marker, out.IsTruncated = pageOfTags(u.Tags, in.Marker, in.MaxItems)
		return nil
	})
}

// ListGroupsForUser lists the groups that a user is in, by name.
func (s *Service) ListGroupsForUser(ctx context.Context, call *wire.Call, in *api.ListGroupsForUserRequest) (*api.ListGroupsForUserResponse, error) {
	out := &api.ListGroupsForUserResponse{}
	return out, s.users.view(ctx, call, *in.UserName, func(tx *store.Tx, u *iam.User) error {
		groups, err := tx.GroupsOf(u.Account, u.Name)
		part, next := page(groups, foldedName, in.Marker, in.MaxItems)
		out.Groups, out.Marker, out.IsTruncated = shownGroups(part), next, new(next != nil)
		return err
	})
}
