package iam_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
)

// group makes a group.
func (b *bench) group(name string) *types.Group {
	b.t.Helper()
	out, err := b.c.CreateGroup(b.t.Context(), &sdk.CreateGroupInput{GroupName: &name})
	b.must(err)
	return out.Group
}

func TestGroup(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	made, err := b.c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("Ops"), Path: aws.String("/x/")})
	b.must(err)
	if g := made.Group; *g.Arn != "arn:aws:iam::123456789012:group/x/Ops" || (*g.GroupId)[:4] != "AGPA" || len(*g.GroupId) != 21 {
		t.Errorf("got %+v", g)
	}
	_, err = b.c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("OPS")})
	servicetest.WantError(t, "taken", err, "EntityAlreadyExists", 409, "Group with name OPS already exists.")
	b.group("dev")
	_, err = b.c.UpdateGroup(ctx, &sdk.UpdateGroupInput{GroupName: aws.String("ops"), NewGroupName: aws.String("DEV")})
	servicetest.WantError(t, "a name that is taken", err, "EntityAlreadyExists", 409, "Group with name DEV already exists.")
	_, err = b.c.UpdateGroup(ctx, &sdk.UpdateGroupInput{GroupName: aws.String("ops"), NewGroupName: aws.String("operators"), NewPath: aws.String("/")})
	b.must(err)
	out, err := b.c.ListGroups(ctx, &sdk.ListGroupsInput{})
	b.must(err)
	var arns []string
	for _, g := range out.Groups {
		arns = append(arns, *g.Arn)
	}
	if diff := cmp.Diff([]string{"arn:aws:iam::123456789012:group/dev", "arn:aws:iam::123456789012:group/operators"}, arns); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = b.c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: aws.String("dev")})
	b.must(err)
	_, err = b.c.GetGroup(ctx, &sdk.GetGroupInput{GroupName: aws.String("dev")})
	servicetest.WantError(t, "a deleted group", err, "NoSuchEntity", 404, "The group with name dev cannot be found.")
}

func TestMembership(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.group("Ops")
	add := func(group, user string) error {
		_, err := b.c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: &group, UserName: &user})
		return err
	}
	for _, name := range []string{"carol", "Alice", "bob"} {
		b.user(name)
		b.must(add("ops", name))
		b.must(add("OPS", name)) // once more changes nothing
	}
	var users []string
	for p := sdk.NewGetGroupPaginator(b.c, &sdk.GetGroupInput{GroupName: aws.String("ops"), MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		if *page.Group.GroupName != "Ops" {
			t.Errorf("got group %s", *page.Group.GroupName)
		}
		for _, u := range page.Users {
			users = append(users, *u.UserName)
		}
	}
	if diff := cmp.Diff([]string{"Alice", "bob", "carol"}, users); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i := range 9 {
		b.group(fmt.Sprint("g", i))
		b.must(add(fmt.Sprint("g", i), "bob"))
	}
	b.group("one-too-many")
	servicetest.WantError(t, "the eleventh group", add("one-too-many", "bob"), "LimitExceeded", 409, "Cannot exceed quota for GroupsPerUser: 10")
	var groups []string
	for p := sdk.NewListGroupsForUserPaginator(b.c, &sdk.ListGroupsForUserInput{UserName: aws.String("bob"), MaxItems: aws.Int32(4)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, g := range page.Groups {
			groups = append(groups, *g.GroupName)
		}
	}
	if diff := cmp.Diff([]string{"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "Ops"}, groups); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	_, err := b.c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: aws.String("ops")})
	servicetest.WantError(t, "with users", err, "DeleteConflict", 409, "Cannot delete entity, must remove users from group first.")
	remove := func(user string) error {
		_, err := b.c.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{GroupName: aws.String("ops"), UserName: &user})
		return err
	}
	b.must(remove("alice"))
	servicetest.WantError(t, "no member", remove("alice"), "NoSuchEntity", 404, "The user with name alice cannot be found in group Ops.")
	servicetest.WantError(t, "no user", remove("none"), "NoSuchEntity", 404, "The user with name none cannot be found.")
	servicetest.WantError(t, "no user", add("ops", "none"), "NoSuchEntity", 404, "The user with name none cannot be found.")
	servicetest.WantError(t, "no group", add("none", "bob"), "NoSuchEntity", 404, "The group with name none cannot be found.")
}

func TestGroupPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.group("g")
	name, in, own := aws.String("g"), aws.String("in"), b.policy("own")
	_, err := b.c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: name, PolicyName: in, PolicyDocument: aws.String(policy)})
	b.must(err)
	got, err := b.c.GetGroupPolicy(ctx, &sdk.GetGroupPolicyInput{GroupName: name, PolicyName: in})
	b.must(err)
	wantDocument(t, got.PolicyDocument, policy)
	_, err = b.c.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: name, PolicyArn: &own})
	b.must(err)
	names, err := b.c.ListGroupPolicies(ctx, &sdk.ListGroupPoliciesInput{GroupName: name})
	b.must(err)
	attached, err := b.c.ListAttachedGroupPolicies(ctx, &sdk.ListAttachedGroupPoliciesInput{GroupName: name})
	b.must(err)
	if len(names.PolicyNames) != 1 || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != own {
		t.Errorf("got %v and %v", names.PolicyNames, attached.AttachedPolicies)
	}
	_, err = b.c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: name})
	servicetest.WantError(t, "attached", err, "DeleteConflict", 409, "Cannot delete entity, must detach all policies first.")
	_, err = b.c.DetachGroupPolicy(ctx, &sdk.DetachGroupPolicyInput{GroupName: name, PolicyArn: &own})
	b.must(err)
	_, err = b.c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: name})
	servicetest.WantError(t, "inline", err, "DeleteConflict", 409, "Cannot delete entity, must delete policies first.")
	_, err = b.c.DeleteGroupPolicy(ctx, &sdk.DeleteGroupPolicyInput{GroupName: name, PolicyName: in})
	b.must(err)
	_, err = b.c.DeleteGroupPolicy(ctx, &sdk.DeleteGroupPolicyInput{GroupName: name, PolicyName: in})
	servicetest.WantError(t, "delete twice", err, "NoSuchEntity", 404, "The group policy with name in cannot be found.")
	_, err = b.c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: name})
	b.must(err)
}
