package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
)

// user makes a user.
func (b *bench) user(name string) *types.User {
	b.t.Helper()
	out, err := b.c.CreateUser(b.t.Context(), &sdk.CreateUserInput{UserName: &name})
	b.must(err)
	return out.User
}

// policy makes a managed policy and returns its ARN.
func (b *bench) policy(name string) string {
	b.t.Helper()
	out, err := b.c.CreatePolicy(b.t.Context(), &sdk.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(policy)})
	b.must(err)
	return *out.Policy.Arn
}

func TestUser(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	began := time.Now().Truncate(time.Second)
	bound := b.policy("bound")
	made, err := b.c.CreateUser(ctx, &sdk.CreateUserInput{
		UserName: aws.String("Alice"), Path: aws.String("/ops/"), PermissionsBoundary: &bound,
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a b")}},
	})
	b.must(err)
	u := made.User
	if *u.Arn != "arn:aws:iam::123456789012:user/ops/Alice" || *u.Path != "/ops/" || *u.UserName != "Alice" || !strings.HasPrefix(*u.UserId, "AIDA") ||
		len(*u.UserId) != 21 || u.CreateDate.Before(began) || len(u.Tags) != 1 || *u.PermissionsBoundary.PermissionsBoundaryArn != bound {
		t.Errorf("got %+v", u)
	}
	got, err := b.c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("aLICE")}) // names fold case
	b.must(err)
	if *got.User.UserId != *u.UserId || *got.User.Tags[0].Value != "a b" || got.User.PermissionsBoundary == nil {
		t.Errorf("got %+v", got.User)
	}
	_, err = b.c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("ALICE")})
	servicetest.WantError(t, "taken", err, "EntityAlreadyExists", 409, "User with name ALICE already exists.")

	b.user("bob")
	rename := func(from, to string) error {
		_, err := b.c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: &from, NewUserName: &to, NewPath: aws.String("/")})
		return err
	}
	servicetest.WantError(t, "a name that is taken", rename("alice", "BOB"), "EntityAlreadyExists", 409, "User with name BOB already exists.")
	b.must(rename("alice", "Carol"))
	got, err = b.c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("carol")})
	b.must(err)
	if *got.User.UserId != *u.UserId || *got.User.Arn != "arn:aws:iam::123456789012:user/Carol" {
		t.Errorf("got %+v", got.User)
	}
	_, err = b.c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("carol")})
	b.must(err)
	_, err = b.c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("carol")})
	servicetest.WantError(t, "a deleted user", err, "NoSuchEntity", 404, "The user with name carol cannot be found.")
}

// The root asks for itself.
func TestGetUserRoot(t *testing.T) {
	b := newBench(t)
	out, err := b.c.GetUser(t.Context(), &sdk.GetUserInput{})
	b.must(err)
	if aws.ToString(out.User.Arn) != "arn:aws:iam::123456789012:root" || aws.ToString(out.User.UserId) != servicetest.Account || out.User.UserName != nil {
		t.Errorf("got %+v", out.User)
	}
}

func TestListUsers(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for i := range 5 {
		path := []string{"/", "/odd/"}[i%2]
		_, err := b.c.CreateUser(ctx, &sdk.CreateUserInput{
			UserName: aws.String(fmt.Sprint("u", i)), Path: &path, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		})
		b.must(err)
	}
	list := func(in *sdk.ListUsersInput) (names []string) {
		t.Helper()
		for p := sdk.NewListUsersPaginator(b.c, in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			for _, u := range page.Users {
				names = append(names, *u.UserName)
				if u.Tags != nil {
					t.Errorf("a list shows tags %v", u.Tags)
				}
			}
		}
		return names
	}
	if diff := cmp.Diff([]string{"u0", "u1", "u2", "u3", "u4"}, list(&sdk.ListUsersInput{MaxItems: aws.Int32(2)})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"u1", "u3"}, list(&sdk.ListUsersInput{PathPrefix: aws.String("/odd/")})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUserTags(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	name := aws.String("u")
	_, err := b.c.TagUser(ctx, &sdk.TagUserInput{UserName: name, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
	b.must(err)
	_, err = b.c.UntagUser(ctx, &sdk.UntagUserInput{UserName: name, TagKeys: []string{"A"}})
	b.must(err)
	out, err := b.c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: name})
	b.must(err)
	if len(out.Tags) != 1 || *out.Tags[0].Key != "b" || out.IsTruncated {
		t.Errorf("got %v", out.Tags)
	}
	var many []types.Tag
	for i := range 50 {
		many = append(many, types.Tag{Key: aws.String(fmt.Sprint("k", i)), Value: aws.String("")})
	}
	_, err = b.c.TagUser(ctx, &sdk.TagUserInput{UserName: name, Tags: many})
	servicetest.WantError(t, "51 tags", err, "LimitExceeded", 409, "Cannot exceed quota for TagsPerUser: 50")
}

// Users have access keys and no other credentials.
func TestOtherCredentials(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	name := aws.String("u")
	const text = "Login Profile for User u cannot be found."
	_, err := b.c.GetLoginProfile(ctx, &sdk.GetLoginProfileInput{UserName: name})
	servicetest.WantError(t, "get", err, "NoSuchEntity", 404, text)
	_, err = b.c.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: name})
	servicetest.WantError(t, "delete", err, "NoSuchEntity", 404, text)
	for what, count := range map[string]func() (int, error){
		"MFA devices": func() (int, error) {
			out, err := b.c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: name})
			return len(out.MFADevices), err
		},
		"virtual MFA devices": func() (int, error) {
			out, err := b.c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{})
			return len(out.VirtualMFADevices), err
		},
		"SSH keys": func() (int, error) {
			out, err := b.c.ListSSHPublicKeys(ctx, &sdk.ListSSHPublicKeysInput{UserName: name})
			return len(out.SSHPublicKeys), err
		},
		"certificates": func() (int, error) {
			out, err := b.c.ListSigningCertificates(ctx, &sdk.ListSigningCertificatesInput{UserName: name})
			return len(out.Certificates), err
		},
		"credentials": func() (int, error) {
			out, err := b.c.ListServiceSpecificCredentials(ctx, &sdk.ListServiceSpecificCredentialsInput{UserName: name})
			return len(out.ServiceSpecificCredentials), err
		},
	} {
		if n, err := count(); n != 0 || err != nil {
			t.Errorf("%s: got %d, %v", what, n, err)
		}
	}
}

// A user is not deleted while it has anything; every reason has its text.
func TestDeleteUserConflicts(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	name := aws.String("u")
	arn := b.policy("p")
	b.user("u")
	_, err := b.c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")})
	b.must(err)
	key, err := b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	b.must(err)
	_, err = b.c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{UserName: name, GroupName: aws.String("g")})
	b.must(err)
	_, err = b.c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: &arn})
	b.must(err)
	_, err = b.c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("in"), PolicyDocument: aws.String(policy)})
	b.must(err)
	for _, step := range []struct {
		text string
		end  func() error
	}{
		{"Cannot delete entity, must delete access keys first.", func() error {
			_, err := b.c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKey.AccessKeyId})
			return err
		}},
		{"Cannot delete entity, must remove users from group first.", func() error {
			_, err := b.c.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{UserName: name, GroupName: aws.String("g")})
			return err
		}},
		{"Cannot delete entity, must detach all policies first.", func() error {
			_, err := b.c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: name, PolicyArn: &arn})
			return err
		}},
		{"Cannot delete entity, must delete policies first.", func() error {
			_, err := b.c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("in")})
			return err
		}},
	} {
		_, err := b.c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
		servicetest.WantError(t, "delete", err, "DeleteConflict", 409, step.text)
		b.must(step.end())
	}
	_, err = b.c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
	b.must(err)
}

func TestUserPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	name := aws.String("u")
	put := func(policy, document string) error {
		_, err := b.c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: &policy, PolicyDocument: &document})
		return err
	}
	b.must(put("p", policy))
	got, err := b.c.GetUserPolicy(ctx, &sdk.GetUserPolicyInput{UserName: name, PolicyName: aws.String("p")})
	b.must(err)
	wantDocument(t, got.PolicyDocument, policy)
	names, err := b.c.ListUserPolicies(ctx, &sdk.ListUserPoliciesInput{UserName: name})
	b.must(err)
	if len(names.PolicyNames) != 1 || names.PolicyNames[0] != "p" {
		t.Errorf("got %v", names.PolicyNames)
	}
	large := strings.Replace(policy, `"*"`, `"arn:aws:s3:::`+strings.Repeat("x", 1900)+`"`, 1)
	servicetest.WantError(t, "too large", put("d", large), "LimitExceeded", 409, "Maximum policy size of 2048 bytes exceeded for user u")
	_, err = b.c.GetUserPolicy(ctx, &sdk.GetUserPolicyInput{UserName: name, PolicyName: aws.String("none")})
	servicetest.WantError(t, "get", err, "NoSuchEntity", 404, "The user policy with name none cannot be found.")
	own := b.policy("own")
	for range 2 {
		_, err = b.c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: &own})
		b.must(err)
	}
	list, err := b.c.ListAttachedUserPolicies(ctx, &sdk.ListAttachedUserPoliciesInput{UserName: name})
	b.must(err)
	if len(list.AttachedPolicies) != 1 || *list.AttachedPolicies[0].PolicyArn != own || *list.AttachedPolicies[0].PolicyName != "own" {
		t.Errorf("got %v", list.AttachedPolicies)
	}
	list, err = b.c.ListAttachedUserPolicies(ctx, &sdk.ListAttachedUserPoliciesInput{UserName: name, PathPrefix: aws.String("/x/")})
	b.must(err)
	if len(list.AttachedPolicies) != 0 {
		t.Errorf("below another path: got %v", list.AttachedPolicies)
	}
}

// Boundaries of users and of roles are set, shown and taken away.
func TestBoundaries(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	b.role("r")
	name, role, arn := aws.String("u"), aws.String("r"), b.policy("b")
	_, err := b.c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: &arn})
	b.must(err)
	_, err = b.c.PutRolePermissionsBoundary(ctx, &sdk.PutRolePermissionsBoundaryInput{RoleName: role, PermissionsBoundary: &arn})
	b.must(err)
	shown := func() (user, role *types.AttachedPermissionsBoundary) {
		t.Helper()
		u, err := b.c.GetUser(ctx, &sdk.GetUserInput{UserName: name})
		b.must(err)
		r, err := b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("r")})
		b.must(err)
		return u.User.PermissionsBoundary, r.Role.PermissionsBoundary
	}
	if u, r := shown(); u == nil || r == nil || *u.PermissionsBoundaryArn != arn || *r.PermissionsBoundaryArn != arn || u.PermissionsBoundaryType != "Policy" {
		t.Errorf("got %v and %v", u, r)
	}
	_, err = b.c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: &arn})
	servicetest.WantError(t, "delete the boundary's policy", err, "DeleteConflict", 409, "Cannot delete a policy attached to entities.")
	none := "arn:aws:iam::123456789012:policy/none"
	text := "Scope ARN: " + none + " does not exist or is not attachable."
	_, err = b.c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: &none})
	servicetest.WantError(t, "no such policy", err, "NoSuchEntity", 404, text)
	_, err = b.c.PutRolePermissionsBoundary(ctx, &sdk.PutRolePermissionsBoundaryInput{RoleName: role, PermissionsBoundary: &none})
	servicetest.WantError(t, "no such policy", err, "NoSuchEntity", 404, text)
	for range 2 { // the second time there is none
		_, err = b.c.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: name})
		b.must(err)
		_, err = b.c.DeleteRolePermissionsBoundary(ctx, &sdk.DeleteRolePermissionsBoundaryInput{RoleName: role})
		b.must(err)
	}
	if u, r := shown(); u != nil || r != nil {
		t.Errorf("got %v and %v", u, r)
	}
}

func TestUpdateRole(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	name := aws.String("r")
	_, err := b.c.UpdateRole(ctx, &sdk.UpdateRoleInput{RoleName: name, Description: aws.String("new"), MaxSessionDuration: aws.Int32(7200)})
	b.must(err)
	_, err = b.c.UpdateRole(ctx, &sdk.UpdateRoleInput{RoleName: name}) // what is not given stays
	b.must(err)
	got, err := b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name})
	b.must(err)
	if *got.Role.Description != "new" || *got.Role.MaxSessionDuration != 7200 {
		t.Errorf("got %+v", got.Role)
	}
	out, err := b.c.UpdateRoleDescription(ctx, &sdk.UpdateRoleDescriptionInput{RoleName: name, Description: aws.String("newer")})
	b.must(err)
	if *out.Role.Description != "newer" {
		t.Errorf("got %+v", out.Role)
	}
	profiles, err := b.c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: name})
	b.must(err)
	if len(profiles.InstanceProfiles) != 0 || profiles.IsTruncated {
		t.Errorf("got %+v", profiles)
	}
	_, err = b.c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: aws.String("none")})
	servicetest.WantError(t, "no such role", err, "NoSuchEntity", 404, "The role with name none cannot be found.")
}

// Principals of a trust policy exist, if their account is hosted here.
func TestTrustedPrincipals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	u := b.user("u")
	b.role("r")
	_, err := b.c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("p"), Path: aws.String("/x/")})
	b.must(err)
	for i, tc := range []struct {
		principal string
		known     bool
	}{
		{"123456789012", true},
		{"arn:aws:iam::123456789012:root", true},
		{"arn:aws:iam::123456789012:user/u", true},
		{"arn:aws:iam::123456789012:user/U", false},
		{"arn:aws:iam::123456789012:user/none", false},
		{"arn:aws:iam::123456789012:user/p", false}, // its path is another
		{"arn:aws:iam::123456789012:user/x/p", true},
		{"arn:aws:iam::123456789012:role/r", true},
		{"arn:aws:iam::123456789012:role/none", false},
		{"arn:aws:sts::123456789012:assumed-role/r/session", true},
		{"arn:aws:sts::123456789012:assumed-role/none/session", false},
		{"arn:aws:iam::999999999999:role/of-another-account", true},
		{"AIDAOFSOMEONE", false},
		{*u.UserId, true},
	} {
		document := strings.Replace(trust, `{"Service":"lambda.amazonaws.com"}`, `{"AWS":["*","`+tc.principal+`"]}`, 1)
		_, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String(fmt.Sprint("new", i)), AssumeRolePolicyDocument: &document})
		if tc.known {
			if err != nil {
				t.Errorf("%s: %v", tc.principal, err)
			}
			continue
		}
		servicetest.WantError(t, tc.principal, err, "MalformedPolicyDocument", 400, `Invalid principal in policy: "AWS":"`+tc.principal+`"`)
		_, err = b.c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("r"), PolicyDocument: &document})
		servicetest.WantError(t, tc.principal, err, "MalformedPolicyDocument", 400, `Invalid principal in policy: "AWS":"`+tc.principal+`"`)
	}
}

// What a trust policy grants to a user goes with it: a namesake gets nothing,
// and another name takes it along.
func TestTrustOutlivesNoUser(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	u := b.user("u")
	document := strings.Replace(trust, `{"Service":"lambda.amazonaws.com"}`, `{"AWS":"arn:aws:iam::123456789012:user/u"}`, 1)
	made, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: &document})
	b.must(err)
	wantDocument(t, made.Role.AssumeRolePolicyDocument, document)
	shown := func(principal string) {
		t.Helper()
		want := strings.Replace(document, "arn:aws:iam::123456789012:user/u", principal, 1)
		got, err := b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("r")})
		b.must(err)
		wantDocument(t, got.Role.AssumeRolePolicyDocument, want)
		list, err := b.c.ListRoles(ctx, &sdk.ListRolesInput{})
		b.must(err)
		wantDocument(t, list.Roles[0].AssumeRolePolicyDocument, want)
		details, err := b.c.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{})
		b.must(err)
		wantDocument(t, details.RoleDetailList[0].AssumeRolePolicyDocument, want)
	}
	shown("arn:aws:iam::123456789012:user/u")
	_, err = b.c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: aws.String("u"), NewUserName: aws.String("v"), NewPath: aws.String("/x/")})
	b.must(err)
	shown("arn:aws:iam::123456789012:user/x/v")
	_, err = b.c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("v")})
	b.must(err)
	b.user("u")
	shown(*u.UserId)
}
