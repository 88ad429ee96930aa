package iam

import (
	"slices"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

// conditions returns what a request gives for a condition key in lower case
// (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	switch key {
	case "aws:tagkeys":
		if keys := removedTags(in); keys != nil {
			return iam.List(keys)
		}
	case "iam:policyarn":
		return iam.Optional(attachedPolicy(in))
	case "iam:permissionsboundary":
		return iam.Optional(boundary(in))
	}
	return iam.RequestTags(key, requestTags(userTags(tagsIn(in))))
}

// userTags leaves out the tags of AWS's services, which take no permission
// (assumed).
func userTags(all []api.Tag) []api.Tag {
	return slices.DeleteFunc(slices.Clone(all), func(t api.Tag) bool { return reserved(*t.Key) })
}

// tagsIn returns the tags that a request sets.
func tagsIn(in wire.Input) []api.Tag {
	switch in := in.(type) {
	case *api.CreateRoleRequest:
		return in.Tags
	case *api.CreateUserRequest:
		return in.Tags
	case *api.CreatePolicyRequest:
		return in.Tags
	case *api.CreateOpenIDConnectProviderRequest:
		return in.Tags
	case *api.TagRoleRequest:
		return in.Tags
	case *api.TagUserRequest:
		return in.Tags
	case *api.TagPolicyRequest:
		return in.Tags
	case *api.TagOpenIDConnectProviderRequest:
		return in.Tags
	}
	return nil
}

// removedTags returns the keys of the tags that a request removes.
func removedTags(in wire.Input) []string {
	switch in := in.(type) {
	case *api.UntagRoleRequest:
		return in.TagKeys
	case *api.UntagUserRequest:
		return in.TagKeys
	case *api.UntagPolicyRequest:
		return in.TagKeys
	case *api.UntagOpenIDConnectProviderRequest:
		return in.TagKeys
	}
	return nil
}

// attachedPolicy returns the managed policy that a request attaches or
// detaches.
func attachedPolicy(in wire.Input) *string {
	switch in := in.(type) {
	case *api.AttachRolePolicyRequest:
		return in.PolicyArn
	case *api.AttachUserPolicyRequest:
		return in.PolicyArn
	case *api.AttachGroupPolicyRequest:
		return in.PolicyArn
	case *api.DetachRolePolicyRequest:
		return in.PolicyArn
	case *api.DetachUserPolicyRequest:
		return in.PolicyArn
	case *api.DetachGroupPolicyRequest:
		return in.PolicyArn
	}
	return nil
}

// boundary returns the permissions boundary that a request sets.
func boundary(in wire.Input) *string {
	switch in := in.(type) {
	case *api.CreateRoleRequest:
		return in.PermissionsBoundary
	case *api.CreateUserRequest:
		return in.PermissionsBoundary
	case *api.PutRolePermissionsBoundaryRequest:
		return in.PermissionsBoundary
	case *api.PutUserPermissionsBoundaryRequest:
		return in.PermissionsBoundary
	}
	return nil
}
