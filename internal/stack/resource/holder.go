package resource

import (
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/stack"
)

const iamService = "iam"

// holderKind is what policies can be put on.
type holderKind string

// The kinds of holders.
const (
	roleHolder  holderKind = "Role"
	userHolder  holderKind = "User"
	groupHolder holderKind = "Group"
)

// holder is a role, a user or a group.
type holder struct {
	kind holderKind
	name string
}

// inlinePolicy is a policy that is part of its holder.
type inlinePolicy struct{ PolicyName, PolicyDocument string }

func inlinePolicies() stack.Property {
	return listOf(object(properties{"PolicyName": required(text()), "PolicyDocument": required(document())}))
}

// attach puts a managed policy on the holder.
func (h holder) attach(policyARN string) step {
	switch h.kind {
	case userHolder:
		return step{iamService, "AttachUserPolicy", &api.AttachUserPolicyRequest{UserName: &h.name, PolicyArn: &policyARN}}
	case groupHolder:
		return step{iamService, "AttachGroupPolicy", &api.AttachGroupPolicyRequest{GroupName: &h.name, PolicyArn: &policyARN}}
	}
	return step{iamService, "AttachRolePolicy", &api.AttachRolePolicyRequest{RoleName: &h.name, PolicyArn: &policyARN}}
}

// detach takes a managed policy off the holder.
func (h holder) detach(policyARN string) step {
	switch h.kind {
	case userHolder:
		return step{iamService, "DetachUserPolicy", &api.DetachUserPolicyRequest{UserName: &h.name, PolicyArn: &policyARN}}
	case groupHolder:
		return step{iamService, "DetachGroupPolicy", &api.DetachGroupPolicyRequest{GroupName: &h.name, PolicyArn: &policyARN}}
	}
	return step{iamService, "DetachRolePolicy", &api.DetachRolePolicyRequest{RoleName: &h.name, PolicyArn: &policyARN}}
}

// put writes an inline policy.
func (h holder) put(p inlinePolicy) step {
	switch h.kind {
	case userHolder:
		return step{iamService, "PutUserPolicy", &api.PutUserPolicyRequest{UserName: &h.name, PolicyName: &p.PolicyName, PolicyDocument: &p.PolicyDocument}}
	case groupHolder:
		return step{iamService, "PutGroupPolicy", &api.PutGroupPolicyRequest{GroupName: &h.name, PolicyName: &p.PolicyName, PolicyDocument: &p.PolicyDocument}}
	}
	return step{iamService, "PutRolePolicy", &api.PutRolePolicyRequest{RoleName: &h.name, PolicyName: &p.PolicyName, PolicyDocument: &p.PolicyDocument}}
}

// remove takes an inline policy away.
func (h holder) remove(policy string) step {
	switch h.kind {
	case userHolder:
		return step{iamService, "DeleteUserPolicy", &api.DeleteUserPolicyRequest{UserName: &h.name, PolicyName: &policy}}
	case groupHolder:
		return step{iamService, "DeleteGroupPolicy", &api.DeleteGroupPolicyRequest{GroupName: &h.name, PolicyName: &policy}}
	}
	return step{iamService, "DeleteRolePolicy", &api.DeleteRolePolicyRequest{RoleName: &h.name, PolicyName: &policy}}
}

// bound sets the permissions boundary, or takes it away if it is nil; groups
// have none.
func (h holder) bound(policyARN *string) step {
	switch {
	case h.kind == userHolder && policyARN == nil:
		return step{iamService, "DeleteUserPermissionsBoundary", &api.DeleteUserPermissionsBoundaryRequest{UserName: &h.name}}
	case h.kind == userHolder:
		return step{iamService, "PutUserPermissionsBoundary", &api.PutUserPermissionsBoundaryRequest{UserName: &h.name, PermissionsBoundary: policyARN}}
	case policyARN == nil:
		return step{iamService, "DeleteRolePermissionsBoundary", &api.DeleteRolePermissionsBoundaryRequest{RoleName: &h.name}}
	}
	return step{iamService, "PutRolePermissionsBoundary", &api.PutRolePermissionsBoundaryRequest{RoleName: &h.name, PermissionsBoundary: policyARN}}
}

// holdings are the policies of a holder in a template.
type holdings struct {
	ManagedPolicyArns []string
	Policies          []inlinePolicy
}

// grant are the steps that give a new holder its policies.
func (p holdings) grant(h holder) (steps []step) {
	for _, arn := range p.ManagedPolicyArns {
		steps = append(steps, h.attach(arn))
	}
	for _, inline := range p.Policies {
		steps = append(steps, h.put(inline))
	}
	return steps
}

// change gives a holder policies in place of old ones. What is gone already
// does not matter.
func (p holdings) change(ctx context.Context, c *Client, h holder, old holdings) error {
	var steps []step
	for _, arn := range p.ManagedPolicyArns {
		if !slices.Contains(old.ManagedPolicyArns, arn) {
			steps = append(steps, h.attach(arn))
		}
	}
	for _, inline := range p.Policies {
		if !slices.Contains(old.Policies, inline) {
			steps = append(steps, h.put(inline))
		}
	}
	if err := c.each(ctx, steps...); err != nil {
		return err
	}
	kept := func(name string) bool {
		return slices.ContainsFunc(p.Policies, func(inline inlinePolicy) bool { return inline.PolicyName == name })
	}
	steps = nil
	for _, arn := range old.ManagedPolicyArns {
		if !slices.Contains(p.ManagedPolicyArns, arn) {
			steps = append(steps, h.detach(arn))
		}
	}
	for _, inline := range old.Policies {
		if !kept(inline.PolicyName) {
			steps = append(steps, h.remove(inline.PolicyName))
		}
	}
	return c.without(ctx, steps...)
}

// without performs steps that take something away, which may be gone.
func (c *Client) without(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := gone(c.do(ctx, s.service, s.operation, s.in)); err != nil {
			return err
		}
	}
	return nil
}

// holders are the roles, users and groups that a policy is on.
type holders struct{ Roles, Users, Groups []string }

func (p holders) list() (all []holder) {
	for _, of := range []struct {
		kind  holderKind
		names []string
	}{{roleHolder, p.Roles}, {userHolder, p.Users}, {groupHolder, p.Groups}} {
		for _, name := range of.names {
			all = append(all, holder{of.kind, name})
		}
	}
	return all
}

// steps are one step for each holder.
func (p holders) steps(one func(holder) step) (steps []step) {
	for _, h := range p.list() {
		steps = append(steps, one(h))
	}
	return steps
}

// missing are the holders of old that p has not.
func (p holders) missing(old holders) (list []holder) {
	now := p.list()
	for _, h := range old.list() {
		if !slices.Contains(now, h) {
			list = append(list, h)
		}
	}
	return list
}

func holdersSchema(more properties) properties {
	more["Roles"], more["Users"], more["Groups"] = texts(), texts(), texts()
	return more
}

func iamTags(all map[string]string) []api.Tag {
	return sortedTags(all, func(key, value *string) api.Tag { return api.Tag{Key: key, Value: value} })
}

// iamTag finds the value of a tag.
func iamTag(list []api.Tag) func(string) string {
	return func(key string) string {
		i := slices.IndexFunc(list, func(t api.Tag) bool { return *t.Key == key })
		if i < 0 {
			return ""
		}
		return *list[i].Value
	}
}
