package iam

import "strings"

// ManagedPolicy is a policy that AWS maintains and every account can attach.
type ManagedPolicy struct {
	// ARN names no account: arn:aws:iam::aws:policy and the path and name.
	ARN string
	// Path starts and ends with a slash.
	Path        string
	Name        string
	Description string
	// Document is the JSON text.
	Document string
}

// ManagedPolicies returns the AWS managed policies that the documentation of
// rotation names, in order of their ARNs (AWS docs). ReadOnlyAccess is cut down
// to the services that are served.
func ManagedPolicies() []ManagedPolicy {
	list := make([]ManagedPolicy, len(managedPolicies))
	for i, m := range managedPolicies {
		list[i] = m.policy()
	}
	return list
}

// managedPrefix begins the ARNs of AWS managed policies.
const managedPrefix = "arn:aws:iam::aws:policy/"

// ManagedPolicyByARN returns one of ManagedPolicies. No other spelling of the
// ARN will do, because conditions such as those on iam:PolicyARN compare what
// requests say.
func ManagedPolicyByARN(s string) (ManagedPolicy, bool) {
	name, ok := strings.CutPrefix(s, managedPrefix)
	if !ok {
		return ManagedPolicy{}, false
	}
	for _, m := range managedPolicies {
		if m.name == name {
			return m.policy(), true
		}
	}
	return ManagedPolicy{}, false
}

// managedPolicy is a ManagedPolicy in short: the name with its path, and the
// statements of the document.
type managedPolicy struct{ name, description, statements string }

func (m managedPolicy) policy() ManagedPolicy {
	slash := strings.LastIndexByte(m.name, '/') + 1
	return ManagedPolicy{
		ARN:         managedPrefix + m.name,
		Path:        "/" + m.name[:slash],
		Name:        m.name[slash:],
		Description: m.description,
		Document:    `{"Version":"2012-10-17","Statement":[` + m.statements + `]}`,
	}
}

var managedPolicies = []managedPolicy{
	{"AWSKeyManagementServicePowerUser", "Use of KMS short of administering keys.", `
  {"Effect":"Allow","Resource":"*","Action":["kms:CreateAlias","kms:CreateKey","kms:DeleteAlias","kms:Describe*","kms:GenerateRandom",
   "kms:Get*","kms:List*","kms:TagResource","kms:UntagResource","iam:ListGroups","iam:ListRoles","iam:ListUsers"]}`},
	{"AWSLambda_FullAccess", "Everything in Lambda, and what its console reads elsewhere.", `
  {"Effect":"Allow","Resource":"*","Action":["cloudformation:DescribeStacks","cloudformation:ListStackResources","cloudwatch:ListMetrics",
   "cloudwatch:GetMetricData","ec2:DescribeSecurityGroups","ec2:DescribeSubnets","ec2:DescribeVpcs","kms:ListAliases","iam:GetPolicy",
   "iam:GetPolicyVersion","iam:GetRole","iam:GetRolePolicy","iam:ListAttachedRolePolicies","iam:ListRolePolicies","iam:ListRoles",
   "lambda:*","logs:DescribeLogGroups","states:DescribeStateMachine","states:ListStateMachines","tag:GetResources",
   "xray:GetTraceSummaries","xray:BatchGetTraces"]},
  {"Effect":"Allow","Resource":"*","Action":"iam:PassRole","Condition":{"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}}},
  {"Effect":"Allow","Resource":"arn:aws:logs:*:*:log-group:/aws/lambda/*",
   "Action":["logs:DescribeLogStreams","logs:GetLogEvents","logs:FilterLogEvents"]}`},
	{"AdministratorAccess", "Everything.", `
  {"Effect":"Allow","Action":"*","Resource":"*"}`},
	{"AmazonRDSReadOnlyAccess", "Reading of RDS and what its console reads elsewhere.", `
  {"Effect":"Allow","Resource":"*","Action":["rds:Describe*","rds:ListTagsForResource","ec2:DescribeAccountAttributes",
   "ec2:DescribeAvailabilityZones","ec2:DescribeInternetGateways","ec2:DescribeSecurityGroups","ec2:DescribeSubnets","ec2:DescribeVpcAttribute",
   "ec2:DescribeVpcs"]},
  {"Effect":"Allow","Resource":"*","Action":["cloudwatch:GetMetricStatistics","cloudwatch:ListMetrics","cloudwatch:GetMetricData",
   "logs:DescribeLogStreams","logs:GetLogEvents"]}`},
	{"CloudWatchLogsFullAccess", "Everything in CloudWatch Logs.", `
  {"Effect":"Allow","Resource":"*","Action":["logs:*","cloudwatch:GenerateQuery"]}`},
	{"IAMFullAccess", "Everything in IAM.", `
  {"Effect":"Allow","Resource":"*","Action":["iam:*","organizations:DescribeAccount","organizations:DescribeOrganization",
   "organizations:DescribeOrganizationalUnit","organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents",
   "organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies","organizations:ListTargetsForPolicy"]}`},
	{"PowerUserAccess", "Everything but users, groups, organisations, accounts and the deployment itself.", `
  {"Effect":"Allow","Resource":"*","NotAction":["iam:*","organizations:*","account:*","keyturn:*"]},
  {"Effect":"Allow","Resource":"*","Action":["account:GetAccountInformation","account:GetPrimaryEmail","account:ListRegions",
   "iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeOrganization"]}`},
	{"ReadOnlyAccess", "Reading of everything but the values of secrets.", `
  {"Effect":"Allow","Resource":"*","Action":["cloudformation:Describe*","cloudformation:EstimateTemplateCost","cloudformation:Get*",
   "cloudformation:List*","cloudformation:ValidateTemplate","cloudtrail:Describe*","cloudtrail:Get*","cloudtrail:List*","cloudtrail:LookupEvents",
   "cloudwatch:Describe*","cloudwatch:Get*","cloudwatch:List*","ec2:Describe*","ec2:Get*","iam:Generate*","iam:Get*","iam:List*","iam:Simulate*",
   "kms:Describe*","kms:Get*","kms:List*","lambda:Get*","lambda:List*","logs:Describe*","logs:FilterLogEvents","logs:Get*","logs:List*",
   "logs:StartQuery","logs:StopQuery","logs:TestMetricFilter","rds:Describe*","rds:Download*","rds:List*","s3:Get*","s3:List*",
   "secretsmanager:Describe*","secretsmanager:GetResourcePolicy","secretsmanager:List*","serverlessrepo:Get*","serverlessrepo:List*",
   "serverlessrepo:SearchApplications","ssm:Describe*","ssm:Get*","ssm:List*","sts:GetAccessKeyInfo","sts:GetCallerIdentity",
   "sts:GetSessionToken","tag:Get*"]}`},
	{"SecretsManagerReadWrite", "Everything in Secrets Manager, and setting up rotation.", `
  {"Sid":"BasicPermissions","Effect":"Allow","Resource":"*","Action":["secretsmanager:*","cloudformation:CreateChangeSet",
   "cloudformation:DescribeChangeSet","cloudformation:DescribeStackResource","cloudformation:DescribeStacks","cloudformation:ExecuteChangeSet",
   "docdb-elastic:GetCluster","docdb-elastic:ListClusters","ec2:DescribeSecurityGroups","ec2:DescribeSubnets","ec2:DescribeVpcs",
   "kms:DescribeKey","kms:ListAliases","kms:ListKeys","lambda:ListFunctions","rds:DescribeDBClusters","rds:DescribeDBInstances",
   "redshift:DescribeClusters","redshift-serverless:ListWorkgroups","redshift-serverless:GetNamespace","tag:GetResources"]},
  {"Sid":"LambdaPermissions","Effect":"Allow","Resource":"arn:aws:lambda:*:*:function:SecretsManager*",
   "Action":["lambda:AddPermission","lambda:CreateFunction","lambda:GetFunction","lambda:InvokeFunction","lambda:UpdateFunctionConfiguration"]},
  {"Sid":"SARPermissions","Effect":"Allow","Resource":"arn:aws:serverlessrepo:*:*:applications/SecretsManager*",
   "Action":["serverlessrepo:CreateCloudFormationChangeSet","serverlessrepo:GetApplication"]},
  {"Sid":"S3Permissions","Effect":"Allow","Action":"s3:GetObject",
   "Resource":["arn:aws:s3:::awsserverlessrepo-changesets*","arn:aws:s3:::secrets-manager-rotation-apps-*/*"]}`},
	{"service-role/AWSLambdaBasicExecutionRole", "Writing of a function's log.", `
  {"Effect":"Allow","Resource":"*","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"]}`},
	{"service-role/AWSLambdaVPCAccessExecutionRole", "Writing of a function's log, and its network interfaces.", `
  {"Effect":"Allow","Resource":"*","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents","ec2:CreateNetworkInterface",
   "ec2:DescribeNetworkInterfaces","ec2:DescribeSubnets","ec2:DeleteNetworkInterface","ec2:AssignPrivateIpAddresses",
   "ec2:UnassignPrivateIpAddresses"]}`},
}
