package iam_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

func TestAccountAlias(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	list := func() []string {
		t.Helper()
		out, err := b.c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})
		b.must(err)
		return out.AccountAliases
	}
	create := func(alias string) error {
		_, err := b.c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: &alias})
		return err
	}
	remove := func(alias string) error {
		_, err := b.c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: &alias})
		return err
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	b.must(create("first"))
	b.must(create("second"))
	if diff := cmp.Diff([]string{"second"}, list()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error { return tx.SetAccountAlias("999999999999", "theirs") }))
	servicetest.WantError(t, "taken", create("theirs"), "EntityAlreadyExists", 409, "The account alias theirs already exists.")
	servicetest.WantError(t, "not ours", remove("theirs"), "NoSuchEntity", 404, "The account alias theirs cannot be found.")
	b.must(remove("second"))
	if got := list(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestGetAccountSummary(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	b.user("v")
	b.group("g")
	b.role("r")
	arn := b.policy("p")
	_, err := b.c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: aws.String(policy)})
	b.must(err)
	for range 2 {
		_, err = b.c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{})
		b.must(err)
	}
	out, err := b.c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})
	b.must(err)
	for key, want := range map[string]int32{
		"Users": 2, "Groups": 1, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 2, "AccountAccessKeysPresent": 1, "Providers": 0,
		"AccessKeysPerUserQuota": 2, "RolePolicySizeQuota": 10240,
	} {
		if got, found := out.SummaryMap[key]; got != want || !found {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
}

func TestGetAccountAuthorizationDetails(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	own := b.policy("own")
	b.policy("idle")
	b.group("g")
	b.role("r1")
	b.role("r2")
	b.user("u")
	_, err := b.c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: aws.String("u")})
	b.must(err)
	_, err = b.c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("in"), PolicyDocument: aws.String(policy)})
	b.must(err)
	for _, arn := range []string{own, readWrite} {
		_, err = b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r1"), PolicyArn: &arn})
		b.must(err)
	}
	for _, tc := range []struct {
		in   sdk.GetAccountAuthorizationDetailsInput
		want []string
	}{
		{sdk.GetAccountAuthorizationDetailsInput{}, []string{"g", "r1 2", "r2 0", "u g in", "idle", "own", "SecretsManagerReadWrite"}},
		{sdk.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(1)}, []string{"g", "r1 2", "r2 0", "u g in", "idle", "own", "SecretsManagerReadWrite"}},
		{sdk.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(2)}, []string{"g", "r1 2", "r2 0", "u g in", "idle", "own", "SecretsManagerReadWrite"}},
		{sdk.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeAWSManagedPolicy}, MaxItems: aws.Int32(1)},
			[]string{"u g in", "SecretsManagerReadWrite"}},
	} {
		var got []string
		for p := sdk.NewGetAccountAuthorizationDetailsPaginator(b.c, &tc.in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			for _, g := range page.GroupDetailList {
				got = append(got, *g.GroupName)
			}
			for _, r := range page.RoleDetailList {
				got = append(got, *r.RoleName+" "+string(rune('0'+len(r.AttachedManagedPolicies))))
				wantDocument(t, r.AssumeRolePolicyDocument, trust)
			}
			for _, u := range page.UserDetailList {
				got = append(got, *u.UserName+" "+u.GroupList[0]+" "+*u.UserPolicyList[0].PolicyName)
				wantDocument(t, u.UserPolicyList[0].PolicyDocument, policy)
			}
			for _, p := range page.Policies {
				got = append(got, *p.PolicyName)
				if len(p.PolicyVersionList) != 1 || p.PolicyVersionList[0].Document == nil {
					t.Errorf("%s comes with versions %v", *p.PolicyName, p.PolicyVersionList)
				}
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.in, diff)
		}
	}
}
