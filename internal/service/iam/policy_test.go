package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	records "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const readWrite = "arn:aws:iam::aws:policy/SecretsManagerReadWrite"

func TestPolicy(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	made, err := b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{
		PolicyName: aws.String("Read"), Path: aws.String("/x/"), Description: aws.String("reads"), PolicyDocument: aws.String(policy),
		Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
	})
	b.must(err)
	arn := made.Policy.Arn
	if p := made.Policy; *arn != "arn:aws:iam::123456789012:policy/x/Read" || (*p.PolicyId)[:4] != "ANPA" || len(*p.PolicyId) != 21 ||
		*p.DefaultVersionId != "v1" || *p.AttachmentCount != 0 || !p.IsAttachable || *p.Path != "/x/" {
		t.Errorf("got %+v", p)
	}
	_, err = b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("READ"), PolicyDocument: aws.String(policy)})
	servicetest.WantError(t, "taken", err, "EntityAlreadyExists", 409, "A policy called READ already exists. Duplicate names are not allowed.")
	b.user("u")
	b.role("r")
	_, err = b.c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: aws.String("u"), PolicyArn: arn})
	b.must(err)
	_, err = b.c.PutRolePermissionsBoundary(ctx, &sdk.PutRolePermissionsBoundaryInput{RoleName: aws.String("r"), PermissionsBoundary: arn})
	b.must(err)
	got, err := b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: arn})
	b.must(err)
	if p := got.Policy; *p.AttachmentCount != 1 || *p.PermissionsBoundaryUsageCount != 1 || *p.Description != "reads" || len(p.Tags) != 1 {
		t.Errorf("got %+v", p)
	}
	_, err = b.c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn})
	servicetest.WantError(t, "in use", err, "DeleteConflict", 409, "Cannot delete a policy attached to entities.")
	_, err = b.c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: aws.String("u"), PolicyArn: arn})
	b.must(err)
	_, err = b.c.DeleteRolePermissionsBoundary(ctx, &sdk.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("r")})
	b.must(err)
	_, err = b.c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn})
	b.must(err)
	for _, missing := range []string{*arn, "arn:aws:iam::123456789012:policy/Read", "arn:aws:iam::aws:policy/NoneOfAWS"} {
		_, err = b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: &missing})
		servicetest.WantError(t, "get", err, "NoSuchEntity", 404, "Policy "+missing+" was not found.")
	}
	_, err = b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: aws.String("this-is-no-ARN-of-a-policy")})
	servicetest.WantError(t, "no ARN", err, "ValidationError", 400, "ARN this-is-no-ARN-of-a-policy is not valid.")
}

// The path in an ARN has to be the policy's.
func TestPolicyPath(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.policy("p")
	wrong := "arn:aws:iam::123456789012:policy/x/p"
	_, err := b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: &wrong})
	servicetest.WantError(t, "get", err, "NoSuchEntity", 404, "Policy "+wrong+" was not found.")
	b.role("r")
	_, err = b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &wrong})
	servicetest.WantError(t, "attach", err, "NoSuchEntity", 404, "Policy "+wrong+" does not exist or is not attachable.")
}

// Another account's policies are out of reach, whether they exist or not.
func TestForeignPolicy(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.SaveCustomerPolicy(nil, &records.CustomerPolicy{
			Account: "999999999999", Name: "p", Path: "/", ID: "ANPAFOREIGN", Default: "v1", Versions: []records.PolicyVersion{{ID: "v1", Document: policy}},
		})
	}))
	b.role("r")
	for _, arn := range []string{"arn:aws:iam::999999999999:policy/p", "arn:aws:iam::999999999999:policy/none"} {
		_, err := b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: &arn})
		servicetest.WantError(t, "get", err, "AccessDenied", 403, "User: arn:aws:iam::123456789012:root is not authorized to perform: iam:GetPolicy on resource: policy "+
			arn+" because no resource-based policy allows the iam:GetPolicy action")
		_, err = b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &arn})
		servicetest.WantError(t, "attach", err, "NoSuchEntity", 404, "Policy "+arn+" does not exist or is not attachable.")
	}
}

func TestPolicyDocuments(t *testing.T) {
	b := newBench(t)
	create := func(document string) error {
		_, err := b.c.CreatePolicy(t.Context(), &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: &document})
		return err
	}
	old := strings.Replace(policy, "2012-10-17", "2008-10-17", 1)
	servicetest.WantError(t, "old", create(old), "MalformedPolicyDocument", 400, "Policy document must be version 2012-10-17 or greater.")
	servicetest.WantError(t, "no JSON", create("{"), "MalformedPolicyDocument", 400, "This policy contains invalid Json")
	servicetest.WantError(t, "trust", create(trust), "MalformedPolicyDocument", 400, "Policy document should not specify a principal.")
	large := strings.Replace(policy, `"*"`, `"arn:aws:s3:::`+strings.Repeat("x", 6100)+`"`, 1)
	servicetest.WantError(t, "too large", create(large), "LimitExceeded", 409, "Cannot exceed quota for PolicySize: 6144")
	b.must(create(policy + strings.Repeat(" ", 7000)))
}

func TestPolicyVersions(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	arn := b.policy("p")
	document := func(n int) *string {
		return aws.String(strings.Replace(policy, "GetSecretValue", fmt.Sprint("Get", n), 1))
	}
	add := func(n int, inForce bool) (*types.PolicyVersion, error) {
		out, err := b.c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: document(n), SetAsDefault: inForce})
		if err != nil {
			return nil, err
		}
		return out.PolicyVersion, nil
	}
	for n := 2; n <= 5; n++ {
		v, err := add(n, n == 3)
		b.must(err)
		if *v.VersionId != fmt.Sprint("v", n) || v.IsDefaultVersion != (n == 3) || v.Document != nil {
			t.Errorf("got %+v", v)
		}
	}
	_, err := add(6, false)
	servicetest.WantError(t, "a sixth version", err, "LimitExceeded", 409,
		"A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
	list := func() (ids []string) {
		t.Helper()
		for p := sdk.NewListPolicyVersionsPaginator(b.c, &sdk.ListPolicyVersionsInput{PolicyArn: &arn, MaxItems: aws.Int32(2)}); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			for _, v := range page.Versions {
				id := *v.VersionId
				if v.IsDefaultVersion {
					id += "*"
				}
				ids = append(ids, id)
			}
		}
		return ids
	}
	if diff := cmp.Diff([]string{"v5", "v4", "v3*", "v2", "v1"}, list()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got, err := b.c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: &arn, VersionId: aws.String("v2")})
	b.must(err)
	wantDocument(t, got.PolicyVersion.Document, *document(2))
	remove := func(id string) error {
		_, err := b.c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: &id})
		return err
	}
	servicetest.WantError(t, "in force", remove("v3"), "DeleteConflict", 409, "Cannot delete the default version of a policy.")
	_, err = b.c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: &arn, VersionId: aws.String("v1")})
	b.must(err)
	b.must(remove("v5"))
	b.must(remove("v3"))
	v, err := add(6, false)
	b.must(err)
	if *v.VersionId != "v6" {
		t.Errorf("got version %s: a number was used again", *v.VersionId)
	}
	if diff := cmp.Diff([]string{"v6", "v4", "v2", "v1*"}, list()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text := "Policy " + arn + " version v3 does not exist or is not attachable."
	servicetest.WantError(t, "delete", remove("v3"), "NoSuchEntity", 404, text)
	_, err = b.c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: &arn, VersionId: aws.String("v3")})
	servicetest.WantError(t, "set default", err, "NoSuchEntity", 404, text)
	_, err = b.c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: &arn, VersionId: aws.String("v3")})
	servicetest.WantError(t, "get", err, "NoSuchEntity", 404, text)
	_, err = b.c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: &arn})
	servicetest.WantError(t, "several versions", err, "DeleteConflict", 409, "This policy has more than one version. Before you delete a policy, "+
		"you must delete the policy's versions. The default version is deleted with the policy.")
}

// AWS's policies can be read and not changed, also by roots.
func TestAWSPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	got, err := b.c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: aws.String(readWrite)})
	b.must(err)
	if p := got.Policy; *p.Arn != readWrite || *p.PolicyName != "SecretsManagerReadWrite" || *p.DefaultVersionId != "v1" || len(*p.PolicyId) != 21 {
		t.Errorf("got %+v", p)
	}
	version, err := b.c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: aws.String(readWrite), VersionId: aws.String("v1")})
	b.must(err)
	m, _ := records.ManagedPolicyByARN(readWrite)
	wantDocument(t, version.PolicyVersion.Document, m.Document)
	_, err = b.c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: aws.String(readWrite)})
	servicetest.WantError(t, "delete", err, "AccessDenied", 403, "User: arn:aws:iam::123456789012:root is not authorized to perform: iam:DeletePolicy on resource: policy "+
		readWrite+" because no resource-based policy allows the iam:DeletePolicy action")
}

func TestListPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	used, bound := b.policy("b-used"), b.policy("c-bound")
	b.policy("A-idle")
	_, err := b.c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("d"), Path: aws.String("/x/"), PolicyDocument: aws.String(policy)})
	b.must(err)
	_, err = b.c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("u"), PermissionsBoundary: &bound})
	b.must(err)
	for _, arn := range []string{used, readWrite} {
		_, err = b.c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: aws.String("u"), PolicyArn: &arn})
		b.must(err)
	}
	own := []string{"A-idle", "b-used", "c-bound", "d"}
	var all []string
	for _, m := range records.ManagedPolicies() {
		all = append(all, m.Name)
	}
	all = append(slices.Clone(own), all...)
	for _, tc := range []struct {
		in   sdk.ListPoliciesInput
		want []string
	}{
		{sdk.ListPoliciesInput{}, all},
		{sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAll, MaxItems: aws.Int32(3)}, all},
		{sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal, MaxItems: aws.Int32(1)}, own},
		{sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAws, MaxItems: aws.Int32(4)}, all[4:]},
		{sdk.ListPoliciesInput{PathPrefix: aws.String("/x/")}, []string{"d"}},
		{sdk.ListPoliciesInput{OnlyAttached: true, MaxItems: aws.Int32(1)}, []string{"b-used", "c-bound", "SecretsManagerReadWrite"}},
		{sdk.ListPoliciesInput{OnlyAttached: true, PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy}, []string{"b-used", "SecretsManagerReadWrite"}},
		{sdk.ListPoliciesInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsBoundary}, []string{"c-bound"}},
	} {
		var got []string
		for p := sdk.NewListPoliciesPaginator(b.c, &tc.in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			if page.IsTruncated != (page.Marker != nil) || tc.in.MaxItems != nil && len(page.Policies) > int(*tc.in.MaxItems) {
				t.Errorf("truncated %t with marker %v and %d policies", page.IsTruncated, page.Marker, len(page.Policies))
			}
			for _, p := range page.Policies {
				got = append(got, *p.PolicyName)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestListEntitiesForPolicy(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	arn := b.policy("p")
	b.group("g")
	b.role("r")
	b.user("u1")
	_, err := b.c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("u2"), Path: aws.String("/x/"), PermissionsBoundary: &arn})
	b.must(err)
	_, err = b.c.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: aws.String("g"), PolicyArn: &arn})
	b.must(err)
	_, err = b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &arn})
	b.must(err)
	for _, u := range []string{"u1", "u2"} {
		_, err = b.c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: &u, PolicyArn: &arn})
		b.must(err)
	}
	for _, tc := range []struct {
		in   sdk.ListEntitiesForPolicyInput
		want []string
	}{
		{sdk.ListEntitiesForPolicyInput{}, []string{"g", "r", "u1", "u2"}},
		{sdk.ListEntitiesForPolicyInput{MaxItems: aws.Int32(1)}, []string{"g", "r", "u1", "u2"}},
		{sdk.ListEntitiesForPolicyInput{EntityFilter: types.EntityTypeUser}, []string{"u1", "u2"}},
		{sdk.ListEntitiesForPolicyInput{EntityFilter: types.EntityTypeLocalManagedPolicy}, nil},
		{sdk.ListEntitiesForPolicyInput{PathPrefix: aws.String("/x/")}, []string{"u2"}},
		{sdk.ListEntitiesForPolicyInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsBoundary}, []string{"u2"}},
		{sdk.ListEntitiesForPolicyInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy}, []string{"g", "r", "u1", "u2"}},
	} {
		tc.in.PolicyArn = &arn
		var got []string
		for p := sdk.NewListEntitiesForPolicyPaginator(b.c, &tc.in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			for _, g := range page.PolicyGroups {
				got = append(got, *g.GroupName)
			}
			for _, r := range page.PolicyRoles {
				got = append(got, *r.RoleName)
			}
			for _, u := range page.PolicyUsers {
				got = append(got, *u.UserName)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestPolicyTags(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	arn := b.policy("p")
	_, err := b.c.TagPolicy(ctx, &sdk.TagPolicyInput{PolicyArn: &arn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
	b.must(err)
	_, err = b.c.UntagPolicy(ctx, &sdk.UntagPolicyInput{PolicyArn: &arn, TagKeys: []string{"B"}})
	b.must(err)
	out, err := b.c.ListPolicyTags(ctx, &sdk.ListPolicyTagsInput{PolicyArn: &arn})
	b.must(err)
	if len(out.Tags) != 1 || *out.Tags[0].Value != "1" {
		t.Errorf("got %v", out.Tags)
	}
}
