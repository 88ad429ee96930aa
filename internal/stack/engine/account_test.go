package engine_test

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// account gathers what every service says of what there is, by what was
// asked.
type account struct {
	*world
	found map[string]any
}

// everything is what clients see of the account, without its stacks.
func (w *world) everything() map[string]any {
	w.t.Helper()
	a := &account{w, map[string]any{}}
	a.networks()
	a.databases()
	a.functions()
	a.identities()
	a.keys()
	a.theSecrets()
	a.logs()
	exports, err := w.Stacks.ListExports(w.t.Context(), &cloudformation.ListExportsInput{})
	a.note("exports", exports.Exports, err)
	return a.found
}

// note keeps an answer.
func (a *account) note(name string, answer any, err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	a.found[name] = plain(a.t, answer)
}

func (a *account) networks() {
	ctx := a.t.Context()
	vpcs, err := a.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	a.note("ec2 vpcs", vpcs, err)
	subnets, err := a.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	a.note("ec2 subnets", subnets, err)
	groups, err := a.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	a.note("ec2 groups", groups, err)
	rules, err := a.EC2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{})
	a.note("ec2 rules", rules, err)
	acls, err := a.EC2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{})
	a.note("ec2 acls", acls, err)
	tables, err := a.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
	a.note("ec2 route tables", tables, err)
	gateways, err := a.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{})
	a.note("ec2 internet gateways", gateways, err)
	endpoints, err := a.EC2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{})
	a.note("ec2 endpoints", endpoints, err)
}

func (a *account) databases() {
	ctx := a.t.Context()
	instances, err := a.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{})
	a.note("rds instances", instances, err)
	groups, err := a.RDS.DescribeDBSubnetGroups(ctx, &rds.DescribeDBSubnetGroupsInput{})
	a.must(err)
	tags := map[string]any{}
	for _, g := range groups.DBSubnetGroups {
		out, err := a.RDS.ListTagsForResource(ctx, &rds.ListTagsForResourceInput{ResourceName: g.DBSubnetGroupArn})
		a.must(err)
		tags[*g.DBSubnetGroupName] = out.TagList
	}
	a.note("rds subnet groups", []any{groups, tags}, nil)
}

func (a *account) functions() {
	ctx := a.t.Context()
	versions, err := a.Lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{FunctionVersion: lambdatypes.FunctionVersionAll})
	a.note("lambda versions", versions.Functions, err)
	more := map[string]any{}
	for _, f := range versions.Functions {
		if *f.Version != "$LATEST" {
			continue
		}
		out, err := a.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: f.FunctionName})
		a.must(err)
		aliases, err := a.Lambda.ListAliases(ctx, &lambda.ListAliasesInput{FunctionName: f.FunctionName})
		a.must(err)
		policy, err := a.Lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: f.FunctionName})
		a.must(err)
		more[*f.FunctionName] = []any{out.Configuration, out.Concurrency, out.Tags, aliases.Aliases, *policy.Policy}
	}
	a.note("lambda functions", more, nil)
	layers, err := a.Lambda.ListLayers(ctx, &lambda.ListLayersInput{})
	a.note("lambda layers", layers, err)
}

func (a *account) identities() {
	ctx, documents := a.t.Context(), map[string]any{}
	roles, err := a.IAM.ListRoles(ctx, &iam.ListRolesInput{})
	a.must(err)
	for _, r := range roles.Roles {
		out, err := a.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: r.RoleName})
		a.must(err)
		attached, err := a.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r.RoleName})
		a.must(err)
		inline, err := a.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		a.must(err)
		documents[*r.RoleName] = []any{out.Role, attached.AttachedPolicies}
		for _, name := range inline.PolicyNames {
			p, err := a.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &name})
			a.must(err)
			documents[*r.RoleName+" "+name] = *p.PolicyDocument
		}
	}
	a.note("iam roles", documents, nil)
	policies, err := a.IAM.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal})
	a.must(err)
	documents = map[string]any{}
	for _, p := range policies.Policies {
		v, err := a.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: p.DefaultVersionId})
		a.must(err)
		documents[*p.Arn] = []any{p, *v.PolicyVersion.Document}
	}
	a.note("iam policies", documents, nil)
	users, err := a.IAM.ListUsers(ctx, &iam.ListUsersInput{})
	a.must(err)
	documents = map[string]any{}
	for _, u := range users.Users {
		keys, err := a.IAM.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: u.UserName})
		a.must(err)
		tags, err := a.IAM.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: u.UserName})
		a.must(err)
		attached, err := a.IAM.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: u.UserName})
		a.must(err)
		documents[*u.UserName] = []any{u, keys.AccessKeyMetadata, tags.Tags, attached.AttachedPolicies}
	}
	a.note("iam users", documents, nil)
}

// keys leaves out those that wait for their deletion, which is as gone as
// keys get.
func (a *account) keys() {
	ctx, found := a.t.Context(), map[string]any{}
	keys, err := a.KMS.ListKeys(ctx, &kms.ListKeysInput{})
	a.must(err)
	for _, k := range keys.Keys {
		d, err := a.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
		a.must(err)
		if d.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion || d.KeyMetadata.KeyManager != kmstypes.KeyManagerTypeCustomer {
			continue
		}
		rotation, err := a.KMS.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: k.KeyId})
		a.must(err)
		tags, err := a.KMS.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: k.KeyId})
		a.must(err)
		aliases, err := a.KMS.ListAliases(ctx, &kms.ListAliasesInput{KeyId: k.KeyId})
		a.must(err)
		var names []string
		for _, alias := range aliases.Aliases {
			names = append(names, *alias.AliasName)
		}
		found[*k.KeyId] = []any{d.KeyMetadata, rotation.KeyRotationEnabled, tags.Tags, names}
	}
	a.note("kms keys", found, nil)
}

func (a *account) theSecrets() {
	ctx := a.t.Context()
	for _, name := range a.secrets() {
		d, err := a.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
		a.note("secret "+name, []any{d.ARN, d.Description, d.KmsKeyId, d.Tags, d.VersionIdsToStages}, err)
		v, err := a.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
		a.note("secret "+name+" value", []any{v.SecretString, v.VersionId}, err)
		p, err := a.Secrets.GetResourcePolicy(ctx, &secretsmanager.GetResourcePolicyInput{SecretId: &name})
		a.note("secret "+name+" policy", aws.ToString(p.ResourcePolicy)+" ", err)
	}
}

func (a *account) logs() {
	ctx, found := a.t.Context(), map[string]any{}
	groups, err := a.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
	a.must(err)
	for _, g := range groups.LogGroups {
		if strings.HasPrefix(*g.LogGroupName, "/keyturn/") { // the server's own
			continue
		}
		tags, err := a.Logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: g.LogGroupArn})
		a.must(err)
		found[*g.LogGroupName] = []any{g, tags.Tags}
	}
	a.note("log groups", found, nil)
}
