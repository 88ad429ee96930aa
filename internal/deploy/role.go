package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

const (
	// policyName is the name of the role's only policy.
	policyName = "rotation"
	// roleTag names, on a role that was made here, its function.
	roleTag = "keyturn:function"
)

// RoleName is the name of the execution role that a function gets.
func RoleName(function string) string { return function + "-role" }

// role returns the ARN of the execution role, which has the policy it needs.
func (d *deployment) role(ctx context.Context) (string, error) {
	if d.Role != "" {
		return d.Role, nil
	}
	name := RoleName(d.Name)
	out, err := d.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	_, missing := errors.AsType[*types.NoSuchEntityException](err)
	switch {
	case missing:
		return d.createRole(ctx, name)
	case err != nil:
		return "", roleError("looking at", name, err)
	case !madeHere(out.Role.Tags, d.Name):
		return "", fmt.Errorf("there is a role %s that was not made for the function %s: choose another name for the function, or take that role as it is with --role %s",
			name, d.Name, *out.Role.Arn)
	}
	d.did(Change{"role", name, Unchanged, ""})
	return *out.Role.Arn, d.rolePolicy(ctx, name)
}

func (d *deployment) createRole(ctx context.Context, name string) (string, error) {
	out, err := d.iam.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &name, AssumeRolePolicyDocument: aws.String(trustPolicy), Description: aws.String("Rotation function " + d.Name + ", made by keyturn function create"),
		Tags: []types.Tag{{Key: aws.String(roleTag), Value: &d.Name}},
	})
	if err != nil {
		return "", roleError("creating", name, err)
	}
	d.did(Change{"role", name, Created, ""})
	return *out.Role.Arn, d.rolePolicy(ctx, name)
}

func roleError(doing, name string, err error) error {
	if denied(err) {
		return fmt.Errorf("%s the role %s: %w; have the policy examples/policies/rotator-operator.json, or give a role that exists with --role", doing, name, err)
	}
	return fmt.Errorf("%s the role %s: %w", doing, name, err)
}

func madeHere(tags []types.Tag, function string) bool {
	for _, t := range tags {
		if *t.Key == roleTag && *t.Value == function {
			return true
		}
	}
	return false
}

// rolePolicy gives the role its policy.
func (d *deployment) rolePolicy(ctx context.Context, role string) error {
	text, err := d.policy(d.names)
	if err != nil {
		return err
	}
	change := Change{"role policy", role + "/" + policyName, Created, ""}
	out, err := d.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String(policyName)})
	_, missing := errors.AsType[*types.NoSuchEntityException](err)
	if err != nil && !missing {
		return roleError("reading the policy of", role, err)
	}
	if !missing {
		change.Action = Updated
		if old, err := url.PathUnescape(aws.ToString(out.PolicyDocument)); err == nil && same(old, text) {
			change.Action = Unchanged
			d.did(change)
			return nil
		}
	}
	_, err = d.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String(policyName), PolicyDocument: &text})
	if err != nil {
		return roleError("giving its policy to", role, err)
	}
	d.did(change)
	return nil
}
