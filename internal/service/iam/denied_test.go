package iam_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	records "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/service/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/wire"
)

// anyPolicy is policy where that name is another's.
const anyPolicy = policy

const annARN = "arn:aws:iam::123456789012:user/ann"

// caller makes calls in process, as the user ann with one policy.
type caller struct {
	*bench
	handler *wire.Handler
	ann     records.Principal
}

func (b *bench) as(policy string) *caller {
	b.t.Helper()
	p, err := records.CompileText(policy, "of ann")
	b.must(err)
	h := wire.NewHandler(wire.Config{
		Services: []*wire.Service{iam.New(iam.Config{Store: b.Store, Guard: b.Guard, Sealer: b.Sealer}).Wire()}, Record: b.Recorder.Record,
	})
	return &caller{b, h, records.Principal{
		Type: records.IAMUser, Account: servicetest.Account, ARN: annARN, ID: "AIDAANN", Name: "ann",
		Identity: &records.Identity{Policies: []*records.Policy{p}},
	}}
}

func (c *caller) call(operation string, in wire.Input) error {
	_, err := c.handler.Call(c.t.Context(), &wire.Call{Service: "iam", Operation: operation, Region: servicetest.Region, Principal: c.ann}, in)
	return err
}

// want demands that a call was refused, or went on, on a resource.
func (c *caller) want(what string, err error, allowed bool, action, resource string) {
	c.t.Helper()
	text := "User: " + annARN + " is not authorized to perform: " + action + " on resource: " + resource + " because no identity-based policy allows the " + action + " action"
	switch {
	case !allowed && (!fault.Is(err, fault.Denied) || !strings.HasSuffix(err.Error(), text)):
		c.t.Errorf("%s:\ngot  %v\nwant %s", what, err, text)
	case allowed && err != nil:
		c.t.Errorf("%s: %v", what, err)
	}
}

// Every operation is refused to a user without permissions, on the ARN that
// policies name, whether there is such a thing or not.
func TestEverythingIsGuarded(t *testing.T) {
	b := newBench(t)
	nobody := b.as(statements(`"Effect":"Allow","Action":"sts:*","Resource":"*"`))
	const (
		account  = "arn:aws:iam::123456789012:"
		user     = account + "user/u"
		group    = account + "group/g"
		role     = account + "role/r"
		policy   = account + "policy/x/p"
		provider = account + "oidc-provider/k8s.example"
	)
	u, g, r, p, o, x := new("u"), new("g"), new("r"), new(policy), new(provider), new("x")
	key, tags, keys := new("AKIAAAAAAAAAAAAAAAAA"), []api.Tag{{Key: x, Value: x}}, []string{"x"}
	calls := []struct {
		operation string
		in        wire.Input
		resource  string
	}{
		{"AddClientIDToOpenIDConnectProvider", &api.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o, ClientID: x}, provider},
		{"AddUserToGroup", &api.AddUserToGroupRequest{GroupName: g, UserName: u}, group},
		{"AttachGroupPolicy", &api.AttachGroupPolicyRequest{GroupName: g, PolicyArn: p}, group},
		{"AttachRolePolicy", &api.AttachRolePolicyRequest{RoleName: r, PolicyArn: p}, role},
		{"AttachUserPolicy", &api.AttachUserPolicyRequest{UserName: u, PolicyArn: p}, user},
		{"CreateAccessKey", &api.CreateAccessKeyRequest{UserName: u}, user},
		{"CreateAccessKey", &api.CreateAccessKeyRequest{}, annARN},
		{"CreateAccountAlias", &api.CreateAccountAliasRequest{AccountAlias: new("alias")}, "*"},
		{"CreateGroup", &api.CreateGroupRequest{GroupName: g}, group},
		{"CreateOpenIDConnectProvider", &api.CreateOpenIDConnectProviderRequest{Url: new("https://k8s.example")}, provider},
		{"CreatePolicy", &api.CreatePolicyRequest{PolicyName: new("p"), Path: new("/x/"), PolicyDocument: x}, policy},
		{"CreatePolicyVersion", &api.CreatePolicyVersionRequest{PolicyArn: p, PolicyDocument: x}, policy},
		{"CreateRole", &api.CreateRoleRequest{RoleName: r, AssumeRolePolicyDocument: x}, role},
		{"CreateUser", &api.CreateUserRequest{UserName: u}, user},
		{"DeleteAccessKey", &api.DeleteAccessKeyRequest{UserName: u, AccessKeyId: key}, user},
		{"DeleteAccountAlias", &api.DeleteAccountAliasRequest{AccountAlias: new("alias")}, "*"},
		{"DeleteGroup", &api.DeleteGroupRequest{GroupName: g}, group},
		{"DeleteGroupPolicy", &api.DeleteGroupPolicyRequest{GroupName: g, PolicyName: x}, group},
		{"DeleteLoginProfile", &api.DeleteLoginProfileRequest{UserName: u}, user},
		{"DeleteOpenIDConnectProvider", &api.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o}, provider},
		{"DeletePolicy", &api.DeletePolicyRequest{PolicyArn: p}, policy},
		{"DeletePolicyVersion", &api.DeletePolicyVersionRequest{PolicyArn: p, VersionId: new("v1")}, policy},
		{"DeleteRole", &api.DeleteRoleRequest{RoleName: r}, role},
		{"DeleteRolePermissionsBoundary", &api.DeleteRolePermissionsBoundaryRequest{RoleName: r}, role},
		{"DeleteRolePolicy", &api.DeleteRolePolicyRequest{RoleName: r, PolicyName: x}, role},
		{"DeleteUser", &api.DeleteUserRequest{UserName: u}, user},
		{"DeleteUserPermissionsBoundary", &api.DeleteUserPermissionsBoundaryRequest{UserName: u}, user},
		{"DeleteUserPolicy", &api.DeleteUserPolicyRequest{UserName: u, PolicyName: x}, user},
		{"DetachGroupPolicy", &api.DetachGroupPolicyRequest{GroupName: g, PolicyArn: p}, group},
		{"DetachRolePolicy", &api.DetachRolePolicyRequest{RoleName: r, PolicyArn: p}, role},
		{"DetachUserPolicy", &api.DetachUserPolicyRequest{UserName: u, PolicyArn: p}, user},
		{"GetAccessKeyLastUsed", &api.GetAccessKeyLastUsedRequest{AccessKeyId: key}, "*"},
		{"GetAccountAuthorizationDetails", &api.GetAccountAuthorizationDetailsRequest{}, "*"},
		{"GetAccountSummary", &api.GetAccountSummaryRequest{}, "*"},
		{"GetContextKeysForCustomPolicy", &api.GetContextKeysForCustomPolicyRequest{PolicyInputList: keys}, "*"},
		{"GetContextKeysForPrincipalPolicy", &api.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: new(user)}, user},
		{"GetGroup", &api.GetGroupRequest{GroupName: g}, group},
		{"GetGroupPolicy", &api.GetGroupPolicyRequest{GroupName: g, PolicyName: x}, group},
		{"GetLoginProfile", &api.GetLoginProfileRequest{UserName: u}, user},
		{"GetOpenIDConnectProvider", &api.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o}, provider},
		{"GetPolicy", &api.GetPolicyRequest{PolicyArn: p}, policy},
		{"GetPolicy", &api.GetPolicyRequest{PolicyArn: new(readWrite)}, readWrite},
		{"GetPolicyVersion", &api.GetPolicyVersionRequest{PolicyArn: p, VersionId: new("v1")}, policy},
		{"GetRole", &api.GetRoleRequest{RoleName: r}, role},
		{"GetRolePolicy", &api.GetRolePolicyRequest{RoleName: r, PolicyName: x}, role},
		{"GetUser", &api.GetUserRequest{UserName: u}, user},
		{"GetUser", &api.GetUserRequest{}, annARN},
		{"GetUserPolicy", &api.GetUserPolicyRequest{UserName: u, PolicyName: x}, user},
		{"ListAccessKeys", &api.ListAccessKeysRequest{UserName: u}, user},
		{"ListAccessKeys", &api.ListAccessKeysRequest{}, annARN},
		{"ListAccountAliases", &api.ListAccountAliasesRequest{}, "*"},
		{"ListAttachedGroupPolicies", &api.ListAttachedGroupPoliciesRequest{GroupName: g}, group},
		{"ListAttachedRolePolicies", &api.ListAttachedRolePoliciesRequest{RoleName: r}, role},
		{"ListAttachedUserPolicies", &api.ListAttachedUserPoliciesRequest{UserName: u}, user},
		{"ListEntitiesForPolicy", &api.ListEntitiesForPolicyRequest{PolicyArn: p}, policy},
		{"ListGroupPolicies", &api.ListGroupPoliciesRequest{GroupName: g}, group},
		{"ListGroups", &api.ListGroupsRequest{}, "*"},
		{"ListGroupsForUser", &api.ListGroupsForUserRequest{UserName: u}, user},
		{"ListInstanceProfilesForRole", &api.ListInstanceProfilesForRoleRequest{RoleName: r}, role},
		{"ListMFADevices", &api.ListMFADevicesRequest{UserName: u}, user},
		{"ListServiceSpecificCredentials", &api.ListServiceSpecificCredentialsRequest{UserName: u}, user},
		{"ListSigningCertificates", &api.ListSigningCertificatesRequest{UserName: u}, user},
		{"ListSSHPublicKeys", &api.ListSSHPublicKeysRequest{UserName: u}, user},
		{"ListVirtualMFADevices", &api.ListVirtualMFADevicesRequest{}, "*"},
		{"ListOpenIDConnectProviders", &api.ListOpenIDConnectProvidersRequest{}, "*"},
		{"ListOpenIDConnectProviderTags", &api.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: o}, provider},
		{"ListPolicies", &api.ListPoliciesRequest{}, "*"},
		{"ListPolicyTags", &api.ListPolicyTagsRequest{PolicyArn: p}, policy},
		{"ListPolicyVersions", &api.ListPolicyVersionsRequest{PolicyArn: p}, policy},
		{"ListRolePolicies", &api.ListRolePoliciesRequest{RoleName: r}, role},
		{"ListRoles", &api.ListRolesRequest{}, "*"},
		{"ListRoleTags", &api.ListRoleTagsRequest{RoleName: r}, role},
		{"ListUserPolicies", &api.ListUserPoliciesRequest{UserName: u}, user},
		{"ListUsers", &api.ListUsersRequest{}, "*"},
		{"ListUserTags", &api.ListUserTagsRequest{UserName: u}, user},
		{"PutGroupPolicy", &api.PutGroupPolicyRequest{GroupName: g, PolicyName: x, PolicyDocument: x}, group},
		{"PutRolePermissionsBoundary", &api.PutRolePermissionsBoundaryRequest{RoleName: r, PermissionsBoundary: p}, role},
		{"PutRolePolicy", &api.PutRolePolicyRequest{RoleName: r, PolicyName: x, PolicyDocument: x}, role},
		{"PutUserPermissionsBoundary", &api.PutUserPermissionsBoundaryRequest{UserName: u, PermissionsBoundary: p}, user},
		{"PutUserPolicy", &api.PutUserPolicyRequest{UserName: u, PolicyName: x, PolicyDocument: x}, user},
		{"RemoveClientIDFromOpenIDConnectProvider", &api.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o, ClientID: x}, provider},
		{"RemoveUserFromGroup", &api.RemoveUserFromGroupRequest{GroupName: g, UserName: u}, group},
		{"SetDefaultPolicyVersion", &api.SetDefaultPolicyVersionRequest{PolicyArn: p, VersionId: new("v1")}, policy},
		{"SimulateCustomPolicy", &api.SimulateCustomPolicyRequest{PolicyInputList: keys, ActionNames: []string{"a:B"}}, "*"},
		{"SimulatePrincipalPolicy", &api.SimulatePrincipalPolicyRequest{PolicySourceArn: new(role), ActionNames: []string{"a:B"}}, role},
		{"TagOpenIDConnectProvider", &api.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o, Tags: tags}, provider},
		{"TagPolicy", &api.TagPolicyRequest{PolicyArn: p, Tags: tags}, policy},
		{"TagRole", &api.TagRoleRequest{RoleName: r, Tags: tags}, role},
		{"TagUser", &api.TagUserRequest{UserName: u, Tags: tags}, user},
		{"UntagOpenIDConnectProvider", &api.UntagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: o, TagKeys: keys}, provider},
		{"UntagPolicy", &api.UntagPolicyRequest{PolicyArn: p, TagKeys: keys}, policy},
		{"UntagRole", &api.UntagRoleRequest{RoleName: r, TagKeys: keys}, role},
		{"UntagUser", &api.UntagUserRequest{UserName: u, TagKeys: keys}, user},
		{"UpdateAccessKey", &api.UpdateAccessKeyRequest{UserName: u, AccessKeyId: key, Status: new("Active")}, user},
		{"UpdateAssumeRolePolicy", &api.UpdateAssumeRolePolicyRequest{RoleName: r, PolicyDocument: x}, role},
		{"UpdateGroup", &api.UpdateGroupRequest{GroupName: g}, group},
		{"UpdateOpenIDConnectProviderThumbprint", &api.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: o, ThumbprintList: []string{strings.Repeat("0", 40)}}, provider},
		{"UpdateRole", &api.UpdateRoleRequest{RoleName: r}, role},
		{"UpdateRoleDescription", &api.UpdateRoleDescriptionRequest{RoleName: r, Description: x}, role},
		{"UpdateUser", &api.UpdateUserRequest{UserName: u}, user},
	}
	check := func(what string) {
		t.Helper()
		asked := map[string]bool{}
		for _, c := range calls {
			asked[c.operation] = true
			nobody.want(what+": "+c.operation, nobody.call(c.operation, c.in), false, "iam:"+c.operation, c.resource)
		}
		for _, op := range api.Model().Operations {
			if !asked[op.Name] {
				t.Errorf("%s is not in the table", op.Name)
			}
		}
	}
	check("nothing exists")
	b.user("u")
	b.user("ann")
	b.group("g")
	b.role("r")
	ctx := t.Context()
	_, err := b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), Path: aws.String("/x/"), PolicyDocument: aws.String(anyPolicy)})
	b.must(err)
	_, err = b.c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://k8s.example")})
	b.must(err)
	check("everything exists")
}

// A user's own access keys: the policy of AWS's documentation for managing
// them by oneself.
func TestOwnAccessKeys(t *testing.T) {
	b := newBench(t)
	b.user("ann")
	b.user("bob")
	ann := b.as(statements(`"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::*:user/${aws:username}"`))
	ann.want("her own", ann.call("CreateAccessKey", &api.CreateAccessKeyRequest{}), true, "", "")
	ann.want("her own by name", ann.call("ListAccessKeys", &api.ListAccessKeysRequest{UserName: new("ann")}), true, "", "")
	ann.want("bob's", ann.call("CreateAccessKey", &api.CreateAccessKeyRequest{UserName: new("bob")}), false, "iam:CreateAccessKey", "arn:aws:iam::123456789012:user/bob")
	keys, err := b.c.ListAccessKeys(t.Context(), &sdk.ListAccessKeysInput{UserName: aws.String("ann")})
	b.must(err)
	if len(keys.AccessKeyMetadata) != 1 {
		t.Fatalf("ann has %d keys", len(keys.AccessKeyMetadata))
	}
	id := keys.AccessKeyMetadata[0].AccessKeyId
	ann.want("last used", ann.call("GetAccessKeyLastUsed", &api.GetAccessKeyLastUsedRequest{AccessKeyId: id}), true, "", "")
	bob := b.as(statements(`"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::*:user/bob"`))
	bob.want("last used", bob.call("GetAccessKeyLastUsed", &api.GetAccessKeyLastUsedRequest{AccessKeyId: id}), false, "iam:GetAccessKeyLastUsed", annARN)
}

// Sessions have to say whose user they mean.
func TestSessionHasNoUser(t *testing.T) {
	b := newBench(t)
	c := b.as(statements(`"Effect":"Allow","Action":"*","Resource":"*"`))
	c.ann.Type, c.ann.ARN = records.AssumedRole, "arn:aws:sts::123456789012:assumed-role/r/s"
	for operation, in := range map[string]wire.Input{
		"GetUser": &api.GetUserRequest{}, "CreateAccessKey": &api.CreateAccessKeyRequest{}, "ListAccessKeys": &api.ListAccessKeysRequest{},
	} {
		err := c.call(operation, in)
		if !fault.Is(err, fault.Validation) || !strings.HasSuffix(err.Error(), "Must specify userName when calling with non-User credentials") {
			t.Errorf("%s: got %v", operation, err)
		}
	}
}

// The condition keys that policies of delegated administration use.
func TestConditions(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	bound, other := b.policy("bound"), b.policy("other")
	_, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{
		RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trust), PermissionsBoundary: &bound,
		Tags: []types.Tag{{Key: aws.String("Team"), Value: aws.String("blue")}},
	})
	b.must(err)
	b.role("free")
	_, err = b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{
		PolicyName: aws.String("tagged"), PolicyDocument: aws.String(policy), Tags: []types.Tag{{Key: aws.String("Team"), Value: aws.String("blue")}},
	})
	b.must(err)
	blue := []api.Tag{{Key: new("team"), Value: new("blue")}}
	create := func(boundary *string, tags []api.Tag) *api.CreateUserRequest {
		return &api.CreateUserRequest{UserName: new("new"), PermissionsBoundary: boundary, Tags: tags}
	}
	const user, role, free = "arn:aws:iam::123456789012:user/new", "arn:aws:iam::123456789012:role/r", "arn:aws:iam::123456789012:role/free"
	put := func(role, boundary string) *api.PutRolePermissionsBoundaryRequest {
		return &api.PutRolePermissionsBoundaryRequest{RoleName: &role, PermissionsBoundary: &boundary}
	}
	inline := func(role string) *api.PutRolePolicyRequest {
		return &api.PutRolePolicyRequest{RoleName: &role, PolicyName: new("p"), PolicyDocument: new(policy)}
	}
	attach := func(arn string) *api.AttachRolePolicyRequest {
		return &api.AttachRolePolicyRequest{RoleName: new("r"), PolicyArn: &arn}
	}
	for _, tc := range []struct {
		condition, operation string
		in                   wire.Input
		resource             string
		allowed              bool
	}{
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "CreateUser", create(nil, nil), user, false},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "CreateUser", create(&other, nil), user, false},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "CreateUser", create(&bound, nil), user, true},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "PutRolePermissionsBoundary", put("r", other), role, false},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "PutRolePermissionsBoundary", put("free", bound), free, true},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + bound + `"}`, "PutRolePolicy", inline("r"), role, true},
		{`"StringEquals":{"iam:PermissionsBoundary":"` + other + `"}`, "PutRolePolicy", inline("r"), role, false},
		{`"ArnEquals":{"iam:PolicyARN":"` + other + `"}`, "AttachRolePolicy", attach(other), role, true},
		{`"ArnEquals":{"iam:PolicyARN":"` + other + `"}`, "AttachRolePolicy", attach(readWrite), role, false},
		{`"StringEquals":{"aws:ResourceTag/team":"blue"}`, "GetRole", &api.GetRoleRequest{RoleName: new("r")}, role, true},
		{`"StringEquals":{"iam:ResourceTag/Team":"blue"}`, "GetRole", &api.GetRoleRequest{RoleName: new("r")}, role, true},
		{`"StringEquals":{"iam:ResourceTag/Team":"red"}`, "GetRole", &api.GetRoleRequest{RoleName: new("r")}, role, false},
		{`"StringEquals":{"iam:ResourceTag/Team":"blue"}`, "GetPolicy", &api.GetPolicyRequest{PolicyArn: new(strings.Replace(bound, "bound", "tagged", 1))}, "", true},
		{`"StringEquals":{"aws:RequestTag/Team":"blue"}`, "TagRole", &api.TagRoleRequest{RoleName: new("r"), Tags: blue}, role, true},
		{`"StringEquals":{"aws:RequestTag/Team":"red"}`, "TagRole", &api.TagRoleRequest{RoleName: new("r"), Tags: blue}, role, false},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`, "TagRole", &api.TagRoleRequest{RoleName: new("r"), Tags: blue}, role, true},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["other"]}`, "UntagRole", &api.UntagRoleRequest{RoleName: new("r"), TagKeys: []string{"team"}}, role, false},
	} {
		c := b.as(statements(`"Effect":"Allow","Action":"iam:*","Resource":"*","Condition":{` + tc.condition + `}`))
		c.want(tc.operation+" with "+tc.condition, c.call(tc.operation, tc.in), tc.allowed, "iam:"+tc.operation, tc.resource)
	}
}

// A new name has to be allowed as well as the old one.
func TestRenameNeedsBoth(t *testing.T) {
	b := newBench(t)
	b.user("u")
	c := b.as(statements(`"Effect":"Allow","Action":"iam:UpdateUser","Resource":"arn:aws:iam::*:user/u*"`))
	rename := func(from, to string) error {
		return c.call("UpdateUser", &api.UpdateUserRequest{UserName: &from, NewUserName: &to})
	}
	c.want("to another's", rename("u", "v"), false, "iam:UpdateUser", "arn:aws:iam::123456789012:user/v")
	c.want("to hers", rename("u", "u2"), true, "", "")
}
