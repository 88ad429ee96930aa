package resource

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// Longest names (AWS docs).
const (
	maxRoleName  = 64
	maxUserName  = 64
	maxGroupName = 128
)

// roleProperties are those of AWS::IAM::Role.
type roleProperties struct {
	holdings
	RoleName, Path, Description, PermissionsBoundary *string
	AssumeRolePolicyDocument                         string
	MaxSessionDuration                               *int64
	Tags                                             tags
}

// roleHandler handles AWS::IAM::Role.
func roleHandler() *Handler {
	return typed[roleProperties]{
		iam: true, named: "RoleName",
		schema: &stack.Schema{
			Type: "AWS::IAM::Role", Attributes: []string{"Arn", "RoleId"}, Taggable: "Tags",
			Properties: properties{
				"AssumeRolePolicyDocument": required(document()), "RoleName": fixed(text()), "Path": fixed(text()), "Description": text(),
				"MaxSessionDuration": integer(), "PermissionsBoundary": text(), "ManagedPolicyArns": texts(), "Policies": inlinePolicies(),
				"Tags": tagList(),
			},
		},
		create: createRole, update: updateRole, delete: deleteRole,
	}.handler()
}

func createRole(ctx context.Context, r *Request, p *roleProperties) (Result, error) {
	name, _ := r.nameOr(p.RoleName, maxRoleName)
	out, err := r.makeRole(ctx, name, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(name); err == nil {
		err = r.Client.each(ctx, p.grant(holder{roleHolder, name})...)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeRole(ctx, name, p) })
	}
	return roleResult(out), nil
}

func roleResult(role *api.Role) Result {
	return Result{PhysicalID: *role.RoleName, Attributes: map[string]any{"Arn": *role.Arn, "RoleId": *role.RoleId}}
}

func (r *Request) makeRole(ctx context.Context, name string, p *roleProperties) (*api.Role, error) {
	out, err := call[api.CreateRoleResponse](ctx, r.Client, iamService, "CreateRole", &api.CreateRoleRequest{
		RoleName: &name, Path: p.Path, Description: p.Description, AssumeRolePolicyDocument: &p.AssumeRolePolicyDocument,
		MaxSessionDuration: p.MaxSessionDuration, PermissionsBoundary: p.PermissionsBoundary, Tags: iamTags(p.Tags.with(r.Tags)),
	})
	if err == nil {
		return out.Role, nil
	}
	if exists(err) && r.Resumed {
		if role, failed := r.getRole(ctx, name); failed == nil && r.ours(name, iamTag(role.Tags)) {
			return role, nil
		}
	}
	return nil, err
}

func (r *Request) getRole(ctx context.Context, name string) (*api.Role, error) {
	out, err := call[api.GetRoleResponse](ctx, r.Client, iamService, "GetRole", &api.GetRoleRequest{RoleName: &name})
	if err != nil {
		return nil, err
	}
	return out.Role, nil
}

// usualSession is how long a session may last, in seconds, unless the
// template says otherwise (AWS docs).
const usualSession = 3600

func updateRole(ctx context.Context, r *Request, old, p *roleProperties) (Result, error) {
	name, h := &r.PhysicalID, holder{roleHolder, r.PhysicalID}
	var steps []step
	if differ(old.AssumeRolePolicyDocument, p.AssumeRolePolicyDocument) {
		steps = append(steps, step{iamService, "UpdateAssumeRolePolicy",
			&api.UpdateAssumeRolePolicyRequest{RoleName: name, PolicyDocument: &p.AssumeRolePolicyDocument}})
	}
	if differ(old.Description, p.Description) || differ(old.MaxSessionDuration, p.MaxSessionDuration) {
		in := &api.UpdateRoleRequest{RoleName: name, Description: orEmpty(p.Description), MaxSessionDuration: p.MaxSessionDuration}
		byDefault(&in.MaxSessionDuration, usualSession)
		steps = append(steps, step{iamService, "UpdateRole", in})
	}
	change := r.tagsChanged(old.Tags, p.Tags)
	if len(change.drop) > 0 {
		steps = append(steps, step{iamService, "UntagRole", &api.UntagRoleRequest{RoleName: name, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{iamService, "TagRole", &api.TagRoleRequest{RoleName: name, Tags: iamTags(change.set)}})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	if err := r.rebound(ctx, h, old.PermissionsBoundary, p.PermissionsBoundary); err != nil {
		return Result{}, err
	}
	if err := p.change(ctx, r.Client, h, old.holdings); err != nil {
		return Result{}, err
	}
	role, err := r.getRole(ctx, *name)
	if err != nil {
		return Result{}, err
	}
	return roleResult(role), nil
}

// rebound changes a permissions boundary.
func (r *Request) rebound(ctx context.Context, h holder, old, new *string) error {
	if !differ(old, new) {
		return nil
	}
	if new == nil {
		return r.Client.without(ctx, h.bound(nil))
	}
	return r.Client.each(ctx, h.bound(new))
}

func deleteRole(ctx context.Context, r *Request, p *roleProperties) error {
	return r.removeRole(ctx, r.PhysicalID, p)
}

// removeRole takes the policies of the template off a role and deletes it. It
// fails if others have put more on it (AWS docs).
func (r *Request) removeRole(ctx context.Context, name string, p *roleProperties) error {
	if err := (holdings{}).change(ctx, r.Client, holder{roleHolder, name}, p.holdings); err != nil {
		return err
	}
	return r.Client.without(ctx, step{iamService, "DeleteRole", &api.DeleteRoleRequest{RoleName: &name}})
}

// userProperties are those of AWS::IAM::User.
type userProperties struct {
	holdings
	UserName, Path, PermissionsBoundary *string
	Groups                              []string
	LoginProfile                        *struct{}
	Tags                                tags
}

// userHandler handles AWS::IAM::User.
func userHandler() *Handler {
	return typed[userProperties]{
		iam: true, named: "UserName",
		schema: &stack.Schema{
			Type: "AWS::IAM::User", Attributes: []string{"Arn"}, Taggable: "Tags",
			Properties: properties{
				"UserName": fixed(text()), "Path": text(), "PermissionsBoundary": text(), "Groups": texts(), "ManagedPolicyArns": texts(),
				"Policies": inlinePolicies(), "Tags": tagList(),
				"LoginProfile": object(properties{"Password": required(text()), "PasswordResetRequired": boolean()}),
			},
		},
		create: createUser, update: updateUser, delete: deleteUser,
	}.handler()
}

// check refuses console passwords: there is no console to log in to.
func (p *userProperties) check() error {
	if p.LoginProfile != nil {
		return fault.New(fault.State, "LoginProfile is not supported by this server.")
	}
	return nil
}

func createUser(ctx context.Context, r *Request, p *userProperties) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	name, _ := r.nameOr(p.UserName, maxUserName)
	user, err := r.makeUser(ctx, name, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(name); err == nil {
		err = r.Client.each(ctx, append(memberships(name, p.Groups, nil), p.grant(holder{userHolder, name})...)...)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeUser(ctx, name, p) })
	}
	return userResult(user), nil
}

func userResult(u *api.User) Result {
	return Result{PhysicalID: *u.UserName, Attributes: map[string]any{"Arn": *u.Arn}}
}

func (r *Request) makeUser(ctx context.Context, name string, p *userProperties) (*api.User, error) {
	out, err := call[api.CreateUserResponse](ctx, r.Client, iamService, "CreateUser", &api.CreateUserRequest{
		UserName: &name, Path: p.Path, PermissionsBoundary: p.PermissionsBoundary, Tags: iamTags(p.Tags.with(r.Tags)),
	})
	if err == nil {
		return out.User, nil
	}
	if exists(err) && r.Resumed {
		if user, failed := r.getUser(ctx, name); failed == nil && r.ours(name, iamTag(user.Tags)) {
			return user, nil
		}
	}
	return nil, err
}

func (r *Request) getUser(ctx context.Context, name string) (*api.User, error) {
	out, err := call[api.GetUserResponse](ctx, r.Client, iamService, "GetUser", &api.GetUserRequest{UserName: &name})
	if err != nil {
		return nil, err
	}
	return out.User, nil
}

// memberships are the steps that put a user into groups that it was not in.
func memberships(user string, groups, old []string) (steps []step) {
	for _, g := range missing(groups, old) {
		steps = append(steps, step{iamService, "AddUserToGroup", &api.AddUserToGroupRequest{UserName: &user, GroupName: &g}})
	}
	return steps
}

// leavings are the steps that take a user out of groups that it is to leave.
func leavings(user string, groups, old []string) (steps []step) {
	for _, g := range missing(old, groups) {
		steps = append(steps, step{iamService, "RemoveUserFromGroup", &api.RemoveUserFromGroupRequest{UserName: &user, GroupName: &g}})
	}
	return steps
}

func updateUser(ctx context.Context, r *Request, old, p *userProperties) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	name, h := &r.PhysicalID, holder{userHolder, r.PhysicalID}
	steps := memberships(*name, p.Groups, old.Groups)
	if differ(old.Path, p.Path) {
		path := p.Path
		byDefault(&path, "/")
		steps = append(steps, step{iamService, "UpdateUser", &api.UpdateUserRequest{UserName: name, NewPath: path}})
	}
	change := r.tagsChanged(old.Tags, p.Tags)
	if len(change.drop) > 0 {
		steps = append(steps, step{iamService, "UntagUser", &api.UntagUserRequest{UserName: name, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{iamService, "TagUser", &api.TagUserRequest{UserName: name, Tags: iamTags(change.set)}})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	if err := r.Client.without(ctx, leavings(*name, p.Groups, old.Groups)...); err != nil {
		return Result{}, err
	}
	if err := r.rebound(ctx, h, old.PermissionsBoundary, p.PermissionsBoundary); err != nil {
		return Result{}, err
	}
	if err := p.change(ctx, r.Client, h, old.holdings); err != nil {
		return Result{}, err
	}
	user, err := r.getUser(ctx, *name)
	if err != nil {
		return Result{}, err
	}
	return userResult(user), nil
}

func deleteUser(ctx context.Context, r *Request, p *userProperties) error {
	return r.removeUser(ctx, r.PhysicalID, p)
}

func (r *Request) removeUser(ctx context.Context, name string, p *userProperties) error {
	if err := r.Client.without(ctx, leavings(name, nil, p.Groups)...); err != nil {
		return err
	}
	if err := (holdings{}).change(ctx, r.Client, holder{userHolder, name}, p.holdings); err != nil {
		return err
	}
	return r.Client.without(ctx, step{iamService, "DeleteUser", &api.DeleteUserRequest{UserName: &name}})
}
