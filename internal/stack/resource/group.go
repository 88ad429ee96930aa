package resource

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/stack"
)

// groupProperties are those of AWS::IAM::Group.
type groupProperties struct {
	holdings
	GroupName, Path *string
}

// groupHandler handles AWS::IAM::Group.
func groupHandler() *Handler {
	return typed[groupProperties]{
		iam: true, named: "GroupName",
		schema: &stack.Schema{
			Type: "AWS::IAM::Group", Attributes: []string{"Arn"},
			Properties: properties{
				"GroupName": fixed(text()), "Path": text(), "ManagedPolicyArns": texts(), "Policies": inlinePolicies(),
			},
		},
		create: createGroup, update: updateGroup,
		delete: func(ctx context.Context, r *Request, p *groupProperties) error {
			return r.removeGroup(ctx, r.PhysicalID, p)
		},
	}.handler()
}

func createGroup(ctx context.Context, r *Request, p *groupProperties) (Result, error) {
	name, _ := r.nameOr(p.GroupName, maxGroupName)
	group, err := r.makeGroup(ctx, name, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(name); err == nil {
		err = r.Client.each(ctx, p.grant(holder{groupHolder, name})...)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeGroup(ctx, name, p) })
	}
	return groupResult(group), nil
}

func groupResult(g *api.Group) Result {
	return Result{PhysicalID: *g.GroupName, Attributes: map[string]any{"Arn": *g.Arn}}
}

// makeGroup creates a group. Groups have no tags, so after a crash one of the
// name is taken for ours.
func (r *Request) makeGroup(ctx context.Context, name string, p *groupProperties) (*api.Group, error) {
	out, err := call[api.CreateGroupResponse](ctx, r.Client, iamService, "CreateGroup", &api.CreateGroupRequest{GroupName: &name, Path: p.Path})
	if exists(err) && r.Resumed && name != r.Replaces {
		return r.getGroup(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return out.Group, nil
}

func (r *Request) getGroup(ctx context.Context, name string) (*api.Group, error) {
	out, err := call[api.GetGroupResponse](ctx, r.Client, iamService, "GetGroup", &api.GetGroupRequest{GroupName: &name})
	if err != nil {
		return nil, err
	}
	return out.Group, nil
}

func updateGroup(ctx context.Context, r *Request, old, p *groupProperties) (Result, error) {
	if differ(old.Path, p.Path) {
		path := p.Path
		byDefault(&path, "/")
		if err := r.Client.do(ctx, iamService, "UpdateGroup", &api.UpdateGroupRequest{GroupName: &r.PhysicalID, NewPath: path}); err != nil {
			return Result{}, err
		}
	}
	if err := p.change(ctx, r.Client, holder{groupHolder, r.PhysicalID}, old.holdings); err != nil {
		return Result{}, err
	}
	group, err := r.getGroup(ctx, r.PhysicalID)
	if err != nil {
		return Result{}, err
	}
	return groupResult(group), nil
}

func (r *Request) removeGroup(ctx context.Context, name string, p *groupProperties) error {
	if err := (holdings{}).change(ctx, r.Client, holder{groupHolder, name}, p.holdings); err != nil {
		return err
	}
	return r.Client.without(ctx, step{iamService, "DeleteGroup", &api.DeleteGroupRequest{GroupName: &name}})
}

// additionProperties are those of AWS::IAM::UserToGroupAddition.
type additionProperties struct {
	GroupName string
	Users     []string
}

// additionHandler handles AWS::IAM::UserToGroupAddition.
func additionHandler() *Handler {
	change := func(ctx context.Context, r *Request, old, p *additionProperties) error {
		was, now := old.Users, p.Users
		if old.GroupName != p.GroupName {
			was = nil
		}
		for _, user := range missing(now, was) {
			if err := r.Client.each(ctx, memberships(user, []string{p.GroupName}, nil)...); err != nil {
				return err
			}
		}
		if old.GroupName != p.GroupName {
			now = nil
		}
		for _, user := range missing(old.Users, now) {
			if err := r.Client.without(ctx, leavings(user, nil, []string{old.GroupName})...); err != nil {
				return err
			}
		}
		return nil
	}
	return typed[additionProperties]{
		iam: true,
		schema: &stack.Schema{
			Type: "AWS::IAM::UserToGroupAddition", Attributes: []string{"Id"},
			Properties: properties{"GroupName": required(text()), "Users": required(texts())},
		},
		create: func(ctx context.Context, r *Request, p *additionProperties) (Result, error) {
			id := r.generatedName(maxGroupName)
			if err := change(ctx, r, &additionProperties{}, p); err != nil {
				return Result{}, undo(ctx, err, func(ctx context.Context) error { return change(ctx, r, p, &additionProperties{GroupName: p.GroupName}) })
			}
			return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}}, r.initiated(id)
		},
		update: func(ctx context.Context, r *Request, old, p *additionProperties) (Result, error) {
			return Result{PhysicalID: r.PhysicalID}, change(ctx, r, old, p)
		},
		delete: func(ctx context.Context, r *Request, p *additionProperties) error {
			return change(ctx, r, p, &additionProperties{GroupName: p.GroupName})
		},
	}.handler()
}

// accessKeyProperties are those of AWS::IAM::AccessKey.
type accessKeyProperties struct {
	UserName string
	Status   *string
	Serial   *int64
}

// accessKeyHandler handles AWS::IAM::AccessKey.
func accessKeyHandler() *Handler {
	return typed[accessKeyProperties]{
		iam: true,
		schema: &stack.Schema{
			Type: "AWS::IAM::AccessKey", Attributes: []string{"SecretAccessKey", "Id"},
			Properties: properties{"UserName": fixed(required(text())), "Serial": fixed(integer()), "Status": text()},
		},
		create: createAccessKey,
		update: func(ctx context.Context, r *Request, _, p *accessKeyProperties) (Result, error) {
			return Result{PhysicalID: r.PhysicalID}, r.setStatus(ctx, r.PhysicalID, p)
		},
		delete: func(ctx context.Context, r *Request, p *accessKeyProperties) error {
			return r.removeAccessKey(ctx, r.PhysicalID, p)
		},
	}.handler()
}

// createAccessKey makes an access key. One that was made before a crash is
// deleted, for its secret is not known any more.
func createAccessKey(ctx context.Context, r *Request, p *accessKeyProperties) (Result, error) {
	if r.PhysicalID != "" {
		if err := r.removeAccessKey(ctx, r.PhysicalID, p); err != nil {
			return Result{}, err
		}
	}
	out, err := call[api.CreateAccessKeyResponse](ctx, r.Client, iamService, "CreateAccessKey", &api.CreateAccessKeyRequest{UserName: &p.UserName})
	if err != nil {
		return Result{}, err
	}
	key := out.AccessKey
	if err = r.initiated(*key.AccessKeyId); err == nil && p.Status != nil {
		err = r.setStatus(ctx, *key.AccessKeyId, p)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeAccessKey(ctx, *key.AccessKeyId, p) })
	}
	return Result{PhysicalID: *key.AccessKeyId, Attributes: map[string]any{"SecretAccessKey": *key.SecretAccessKey, "Id": *key.AccessKeyId}}, nil
}

func (r *Request) setStatus(ctx context.Context, id string, p *accessKeyProperties) error {
	status := p.Status
	byDefault(&status, "Active")
	return r.Client.do(ctx, iamService, "UpdateAccessKey", &api.UpdateAccessKeyRequest{UserName: &p.UserName, AccessKeyId: &id, Status: status})
}

func (r *Request) removeAccessKey(ctx context.Context, id string, p *accessKeyProperties) error {
	return r.Client.without(ctx, step{iamService, "DeleteAccessKey", &api.DeleteAccessKeyRequest{UserName: &p.UserName, AccessKeyId: &id}})
}
