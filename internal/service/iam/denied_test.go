package iam_test

import (
	"slices"
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

// shown is how a refusal of the action calls the resource with the ARN: what
// the request only names goes by its noun, what it makes by its ARN.
func shown(action, resource string) string {
	kind, name, _ := strings.Cut(strings.TrimPrefix(resource, accountARN), "/")
	switch {
	case strings.Contains(resource, ":policy/") && action != "iam:CreatePolicy":
		return "policy " + resource
	case (kind == "user" || kind == "group" || kind == "role") && !strings.EqualFold(action, "iam:Create"+kind):
		return kind + " " + name
	}
	return resource
}

// want demands that a call was refused, or went on, on a resource.
func (c *caller) want(what string, err error, allowed bool, action, resource string) {
	c.t.Helper()
	text := "User: " + annARN + " is not authorized to perform: " + action + " on resource: " + shown(action, resource) + " because no identity-based policy allows the " + action + " action"
	switch {
	case !allowed && (!fault.Is(err, fault.Denied) || !strings.HasSuffix(err.Error(), text)):
		c.t.Errorf("%s:\ngot  %v\nwant %s", what, err, text)
	case allowed && err != nil:
		c.t.Errorf("%s: %v", what, err)
	}
}

// What the calls of guardedCalls are about.
const (
	accountARN  = "arn:aws:iam::123456789012:"
	userARN     = accountARN + "user/u"
	groupARN    = accountARN + "group/g"
	roleARN     = accountARN + "role/r"
	policyARN   = accountARN + "policy/x/p"
	providerARN = accountARN + "oidc-provider/k8s.example"
)

// guardedCall is a call with the resource that it is authorised on.
type guardedCall struct {
	operation string
	in        wire.Input
	resource  string
}

// operands are the members of requests.
type operands struct {
	u, g, r, p, o, x, key *string
	tags                  []api.Tag
	keys                  []string
}

// guardedCalls has at least one call of each operation.
func guardedCalls() []guardedCall {
	m := operands{
		u: new("u"), g: new("g"), r: new("r"), p: new(policyARN), o: new(providerARN), x: new("x"), key: new("AKIAAAAAAAAAAAAAAAAA"), keys: []string{"x"},
	}
	m.tags = []api.Tag{{Key: m.x, Value: m.x}}
	return slices.Concat(m.writes(), m.deletions(), m.reads(), m.lists(), m.changes())
}

func (m *operands) writes() []guardedCall {
	return []guardedCall{
		{"AddClientIDToOpenIDConnectProvider", &api.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o, ClientID: m.x}, providerARN},
		{"AddUserToGroup", &api.AddUserToGroupRequest{GroupName: m.g, UserName: m.u}, groupARN},
		{"AttachGroupPolicy", &api.AttachGroupPolicyRequest{GroupName: m.g, PolicyArn: m.p}, groupARN},
		{"AttachRolePolicy", &api.AttachRolePolicyRequest{RoleName: m.r, PolicyArn: m.p}, roleARN},
		{"AttachUserPolicy", &api.AttachUserPolicyRequest{UserName: m.u, PolicyArn: m.p}, userARN},
		{"CreateAccessKey", &api.CreateAccessKeyRequest{UserName: m.u}, userARN},
		{"CreateAccessKey", &api.CreateAccessKeyRequest{}, annARN},
		{"CreateAccountAlias", &api.CreateAccountAliasRequest{AccountAlias: new("alias")}, "*"},
		{"CreateGroup", &api.CreateGroupRequest{GroupName: m.g}, groupARN},
		{"CreateOpenIDConnectProvider", &api.CreateOpenIDConnectProviderRequest{Url: new("https://k8s.example")}, providerARN},
		{"CreatePolicy", &api.CreatePolicyRequest{PolicyName: new("p"), Path: new("/x/"), PolicyDocument: m.x}, policyARN},
		{"CreatePolicyVersion", &api.CreatePolicyVersionRequest{PolicyArn: m.p, PolicyDocument: m.x}, policyARN},
		{"CreateRole", &api.CreateRoleRequest{RoleName: m.r, AssumeRolePolicyDocument: m.x}, roleARN},
		{"CreateUser", &api.CreateUserRequest{UserName: m.u}, userARN},
	}
}

func (m *operands) deletions() []guardedCall {
	return []guardedCall{
		{"DeleteAccessKey", &api.DeleteAccessKeyRequest{UserName: m.u, AccessKeyId: m.key}, userARN},
		{"DeleteAccountAlias", &api.DeleteAccountAliasRequest{AccountAlias: new("alias")}, "*"},
		{"DeleteGroup", &api.DeleteGroupRequest{GroupName: m.g}, groupARN},
		{"DeleteGroupPolicy", &api.DeleteGroupPolicyRequest{GroupName: m.g, PolicyName: m.x}, groupARN},
		{"DeleteLoginProfile", &api.DeleteLoginProfileRequest{UserName: m.u}, userARN},
		{"DeleteOpenIDConnectProvider", &api.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o}, providerARN},
		{"DeletePolicy", &api.DeletePolicyRequest{PolicyArn: m.p}, policyARN},
		{"DeletePolicyVersion", &api.DeletePolicyVersionRequest{PolicyArn: m.p, VersionId: new("v1")}, policyARN},
		{"DeleteRole", &api.DeleteRoleRequest{RoleName: m.r}, roleARN},
		{"DeleteRolePermissionsBoundary", &api.DeleteRolePermissionsBoundaryRequest{RoleName: m.r}, roleARN},
		{"DeleteRolePolicy", &api.DeleteRolePolicyRequest{RoleName: m.r, PolicyName: m.x}, roleARN},
		{"DeleteUser", &api.DeleteUserRequest{UserName: m.u}, userARN},
		{"DeleteUserPermissionsBoundary", &api.DeleteUserPermissionsBoundaryRequest{UserName: m.u}, userARN},
		{"DeleteUserPolicy", &api.DeleteUserPolicyRequest{UserName: m.u, PolicyName: m.x}, userARN},
		{"DetachGroupPolicy", &api.DetachGroupPolicyRequest{GroupName: m.g, PolicyArn: m.p}, groupARN},
		{"DetachRolePolicy", &api.DetachRolePolicyRequest{RoleName: m.r, PolicyArn: m.p}, roleARN},
		{"DetachUserPolicy", &api.DetachUserPolicyRequest{UserName: m.u, PolicyArn: m.p}, userARN},
	}
}

func (m *operands) reads() []guardedCall {
	return []guardedCall{
		{"GetAccessKeyLastUsed", &api.GetAccessKeyLastUsedRequest{AccessKeyId: m.key}, "*"},
		{"GetAccountAuthorizationDetails", &api.GetAccountAuthorizationDetailsRequest{}, "*"},
		{"GetAccountSummary", &api.GetAccountSummaryRequest{}, "*"},
		{"GetContextKeysForCustomPolicy", &api.GetContextKeysForCustomPolicyRequest{PolicyInputList: m.keys}, "*"},
		{"GetContextKeysForPrincipalPolicy", &api.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: new(userARN)}, userARN},
		{"GetGroup", &api.GetGroupRequest{GroupName: m.g}, groupARN},
		{"GetGroupPolicy", &api.GetGroupPolicyRequest{GroupName: m.g, PolicyName: m.x}, groupARN},
		{"GetLoginProfile", &api.GetLoginProfileRequest{UserName: m.u}, userARN},
		{"GetOpenIDConnectProvider", &api.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o}, providerARN},
		{"GetPolicy", &api.GetPolicyRequest{PolicyArn: m.p}, policyARN},
		{"GetPolicy", &api.GetPolicyRequest{PolicyArn: new(readWrite)}, readWrite},
		{"GetPolicyVersion", &api.GetPolicyVersionRequest{PolicyArn: m.p, VersionId: new("v1")}, policyARN},
		{"GetRole", &api.GetRoleRequest{RoleName: m.r}, roleARN},
		{"GetRolePolicy", &api.GetRolePolicyRequest{RoleName: m.r, PolicyName: m.x}, roleARN},
		{"GetUser", &api.GetUserRequest{UserName: m.u}, userARN},
		{"GetUser", &api.GetUserRequest{}, annARN},
		{"GetUserPolicy", &api.GetUserPolicyRequest{UserName: m.u, PolicyName: m.x}, userARN},
		{"SimulateCustomPolicy", &api.SimulateCustomPolicyRequest{PolicyInputList: m.keys, ActionNames: []string{"a:B"}}, "*"},
		{"SimulatePrincipalPolicy", &api.SimulatePrincipalPolicyRequest{PolicySourceArn: new(roleARN), ActionNames: []string{"a:B"}}, roleARN},
	}
}

func (m *operands) lists() []guardedCall {
	return []guardedCall{
		{"ListAccessKeys", &api.ListAccessKeysRequest{UserName: m.u}, userARN},
		{"ListAccessKeys", &api.ListAccessKeysRequest{}, annARN},
		{"ListAccountAliases", &api.ListAccountAliasesRequest{}, "*"},
		{"ListAttachedGroupPolicies", &api.ListAttachedGroupPoliciesRequest{GroupName: m.g}, groupARN},
		{"ListAttachedRolePolicies", &api.ListAttachedRolePoliciesRequest{RoleName: m.r}, roleARN},
		{"ListAttachedUserPolicies", &api.ListAttachedUserPoliciesRequest{UserName: m.u}, userARN},
		{"ListEntitiesForPolicy", &api.ListEntitiesForPolicyRequest{PolicyArn: m.p}, policyARN},
		{"ListGroupPolicies", &api.ListGroupPoliciesRequest{GroupName: m.g}, groupARN},
		{"ListGroups", &api.ListGroupsRequest{}, "*"},
		{"ListGroupsForUser", &api.ListGroupsForUserRequest{UserName: m.u}, userARN},
		{"ListInstanceProfilesForRole", &api.ListInstanceProfilesForRoleRequest{RoleName: m.r}, roleARN},
		{"ListMFADevices", &api.ListMFADevicesRequest{UserName: m.u}, userARN},
		{"ListServiceSpecificCredentials", &api.ListServiceSpecificCredentialsRequest{UserName: m.u}, userARN},
		{"ListSigningCertificates", &api.ListSigningCertificatesRequest{UserName: m.u}, userARN},
		{"ListSSHPublicKeys", &api.ListSSHPublicKeysRequest{UserName: m.u}, userARN},
		{"ListVirtualMFADevices", &api.ListVirtualMFADevicesRequest{}, "*"},
		{"ListOpenIDConnectProviders", &api.ListOpenIDConnectProvidersRequest{}, "*"},
		{"ListOpenIDConnectProviderTags", &api.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: m.o}, providerARN},
		{"ListPolicies", &api.ListPoliciesRequest{}, "*"},
		{"ListPolicyTags", &api.ListPolicyTagsRequest{PolicyArn: m.p}, policyARN},
		{"ListPolicyVersions", &api.ListPolicyVersionsRequest{PolicyArn: m.p}, policyARN},
		{"ListRolePolicies", &api.ListRolePoliciesRequest{RoleName: m.r}, roleARN},
		{"ListRoles", &api.ListRolesRequest{}, "*"},
		{"ListRoleTags", &api.ListRoleTagsRequest{RoleName: m.r}, roleARN},
		{"ListUserPolicies", &api.ListUserPoliciesRequest{UserName: m.u}, userARN},
		{"ListUsers", &api.ListUsersRequest{}, "*"},
		{"ListUserTags", &api.ListUserTagsRequest{UserName: m.u}, userARN},
	}
}

func (m *operands) changes() []guardedCall {
	return []guardedCall{
		{"PutGroupPolicy", &api.PutGroupPolicyRequest{GroupName: m.g, PolicyName: m.x, PolicyDocument: m.x}, groupARN},
		{"PutRolePermissionsBoundary", &api.PutRolePermissionsBoundaryRequest{RoleName: m.r, PermissionsBoundary: m.p}, roleARN},
		{"PutRolePolicy", &api.PutRolePolicyRequest{RoleName: m.r, PolicyName: m.x, PolicyDocument: m.x}, roleARN},
		{"PutUserPermissionsBoundary", &api.PutUserPermissionsBoundaryRequest{UserName: m.u, PermissionsBoundary: m.p}, userARN},
		{"PutUserPolicy", &api.PutUserPolicyRequest{UserName: m.u, PolicyName: m.x, PolicyDocument: m.x}, userARN},
		{"RemoveClientIDFromOpenIDConnectProvider", &api.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o, ClientID: m.x}, providerARN},
		{"RemoveUserFromGroup", &api.RemoveUserFromGroupRequest{GroupName: m.g, UserName: m.u}, groupARN},
		{"SetDefaultPolicyVersion", &api.SetDefaultPolicyVersionRequest{PolicyArn: m.p, VersionId: new("v1")}, policyARN},
		{"TagOpenIDConnectProvider", &api.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o, Tags: m.tags}, providerARN},
		{"TagPolicy", &api.TagPolicyRequest{PolicyArn: m.p, Tags: m.tags}, policyARN},
		{"TagRole", &api.TagRoleRequest{RoleName: m.r, Tags: m.tags}, roleARN},
		{"TagUser", &api.TagUserRequest{UserName: m.u, Tags: m.tags}, userARN},
		{"UntagOpenIDConnectProvider", &api.UntagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: m.o, TagKeys: m.keys}, providerARN},
		{"UntagPolicy", &api.UntagPolicyRequest{PolicyArn: m.p, TagKeys: m.keys}, policyARN},
		{"UntagRole", &api.UntagRoleRequest{RoleName: m.r, TagKeys: m.keys}, roleARN},
		{"UntagUser", &api.UntagUserRequest{UserName: m.u, TagKeys: m.keys}, userARN},
		{"UpdateAccessKey", &api.UpdateAccessKeyRequest{UserName: m.u, AccessKeyId: m.key, Status: new("Active")}, userARN},
		{"UpdateAssumeRolePolicy", &api.UpdateAssumeRolePolicyRequest{RoleName: m.r, PolicyDocument: m.x}, roleARN},
		{"UpdateGroup", &api.UpdateGroupRequest{GroupName: m.g}, groupARN},
		{"UpdateOpenIDConnectProviderThumbprint", &api.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: m.o, ThumbprintList: []string{strings.Repeat("0", 40)}}, providerARN},
		{"UpdateRole", &api.UpdateRoleRequest{RoleName: m.r}, roleARN},
		{"UpdateRoleDescription", &api.UpdateRoleDescriptionRequest{RoleName: m.r, Description: m.x}, roleARN},
		{"UpdateUser", &api.UpdateUserRequest{UserName: m.u}, userARN},
	}
}

// Every operation is refused to a user without permissions, on the ARN that
// policies name, whether there is such a thing or not.
func TestEverythingIsGuarded(t *testing.T) {
	b := newBench(t)
	nobody := b.as(statements(`"Effect":"Allow","Action":"sts:*","Resource":"*"`))
	check := func(what string) {
		t.Helper()
		asked := map[string]bool{}
		for _, c := range guardedCalls() {
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
	_, err := b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), Path: aws.String("/x/"), PolicyDocument: aws.String(policy)})
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

// A managed policy has one ARN: a spelling of it that policies do not know
// would get round what they say of it.
func TestManagedPolicyHasOneARN(t *testing.T) {
	b := newBench(t)
	b.user("u")
	c := b.as(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},
		{"Effect":"Deny","Action":"iam:*","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/AdministratorAccess"}}},
		{"Effect":"Deny","Action":"iam:*","Resource":"*","Condition":{"ArnEquals":{"iam:PermissionsBoundary":"arn:aws:iam::aws:policy/AdministratorAccess"}}}]}`)
	for _, arn := range []string{"arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws-cn:iam::aws:policy/AdministratorAccess", "arn:aws:x:iam::aws:policy/AdministratorAccess"} {
		if err := c.call("AttachUserPolicy", &api.AttachUserPolicyRequest{UserName: new("u"), PolicyArn: &arn}); err == nil {
			t.Errorf("%s was attached", arn)
		}
		if err := c.call("PutUserPermissionsBoundary", &api.PutUserPermissionsBoundaryRequest{UserName: new("u"), PermissionsBoundary: &arn}); err == nil {
			t.Errorf("%s was made the boundary", arn)
		}
	}
}

// Tags from the beginning take the permission for tagging as well (AWS docs),
// else they would open to their author what policies open by tags.
func TestTagsOfNew(t *testing.T) {
	b := newBench(t)
	tags := []api.Tag{{Key: new("team"), Value: new("red")}}
	for _, tc := range []struct {
		operation, tagging, resource string
		in, plain                    wire.Input
	}{
		{"CreateUser", "TagUser", userARN, &api.CreateUserRequest{UserName: new("u"), Tags: tags}, &api.CreateUserRequest{UserName: new("u")}},
		{
			"CreateRole", "TagRole", roleARN, &api.CreateRoleRequest{RoleName: new("r"), AssumeRolePolicyDocument: new(trust), Tags: tags},
			&api.CreateRoleRequest{RoleName: new("r"), AssumeRolePolicyDocument: new(trust)},
		},
		{
			"CreatePolicy", "TagPolicy", policyARN, &api.CreatePolicyRequest{PolicyName: new("p"), Path: new("/x/"), PolicyDocument: new(policy), Tags: tags},
			&api.CreatePolicyRequest{PolicyName: new("p"), Path: new("/x/"), PolicyDocument: new(policy)},
		},
		{
			"CreateOpenIDConnectProvider", "TagOpenIDConnectProvider", providerARN, &api.CreateOpenIDConnectProviderRequest{Url: new("https://k8s.example"), Tags: tags},
			&api.CreateOpenIDConnectProviderRequest{Url: new("https://k8s.example")},
		},
	} {
		c := b.as(statements(`"Effect":"Allow","Action":"iam:Create*","Resource":"*"`))
		c.want(tc.operation+" with tags", c.call(tc.operation, tc.in), false, "iam:"+tc.tagging, tc.resource)
		c.want(tc.operation+" without tags", c.call(tc.operation, tc.plain), true, "", "")
	}
}

// Tags of AWS's own are not to be had: policies may trust them.
func TestReservedTags(t *testing.T) {
	b := newBench(t)
	b.user("u")
	c := b.as(statements(`"Effect":"Allow","Action":"iam:*","Resource":"*"`))
	for _, key := range []string{"aws:x", "AWS:cloudformation:stack-name"} {
		tags := []api.Tag{{Key: &key, Value: new("v")}}
		for _, in := range []struct {
			operation string
			in        wire.Input
		}{
			{"TagUser", &api.TagUserRequest{UserName: new("u"), Tags: tags}}, {"CreateUser", &api.CreateUserRequest{UserName: new("v"), Tags: tags}},
		} {
			if err := c.call(in.operation, in.in); !fault.Is(err, fault.Parameter) {
				t.Errorf("%s with %s: got %v", in.operation, key, err)
			}
		}
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
