package gather

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/smithy-go/middleware"
)

// operations is everything that is ever called, by the names that IAM has for
// them. Clients refuse whatever is not in it before it is sent, so that to look
// can never change anything or show a secret's value.
var operations = []string{
	"cloudformation:DescribeStacks",
	"cloudformation:GetTemplateSummary",
	"cloudtrail:LookupEvents",
	"cloudwatch:GetMetricStatistics",
	"ec2:DescribeInternetGateways",
	"ec2:DescribeNatGateways",
	"ec2:DescribeNetworkAcls",
	"ec2:DescribeNetworkInterfaces",
	"ec2:DescribeRouteTables",
	"ec2:DescribeSecurityGroupRules",
	"ec2:DescribeSecurityGroups",
	"ec2:DescribeSubnets",
	"ec2:DescribeVpcAttribute",
	"ec2:DescribeVpcEndpoints",
	"ec2:DescribeVpcs",
	"iam:GetPolicy",
	"iam:GetPolicyVersion",
	"iam:GetRole",
	"iam:GetRolePolicy",
	"iam:ListAttachedRolePolicies",
	"iam:ListRolePolicies",
	"iam:SimulatePrincipalPolicy",
	"kms:DescribeKey",
	"kms:GetKeyPolicy",
	"lambda:GetAccountSettings",
	"lambda:GetFunction",
	"lambda:GetFunctionConcurrency",
	"lambda:GetFunctionConfiguration",
	"lambda:GetPolicy",
	"lambda:GetProvisionedConcurrencyConfig",
	"lambda:ListTags",
	"logs:FilterLogEvents",
	"rds:DescribeDBClusters",
	"rds:DescribeDBInstances",
	"rds:DescribeDBSubnetGroups",
	"secretsmanager:DescribeSecret",
	"secretsmanager:GetResourcePolicy",
	"secretsmanager:ListSecretVersionIds",
	"secretsmanager:ListSecrets",
	"sts:GetCallerIdentity",
}

// prefixes maps the SDK's service IDs to IAM's prefixes.
var prefixes = map[string]string{
	"CloudFormation": "cloudformation", "CloudTrail": "cloudtrail", "CloudWatch": "cloudwatch", "CloudWatch Logs": "logs", "EC2": "ec2", "IAM": "iam", "KMS": "kms",
	"Lambda": "lambda", "RDS": "rds", "Secrets Manager": "secretsmanager", "STS": "sts",
}

// Operations returns the API operations that a Gatherer may call, by the names
// of their permissions, sorted: all of them read, and none reads a value.
func Operations() []string { return slices.Clone(operations) }

// refusal is the error of an operation that is not in the list.
type refusal struct{ action string }

// Error names the operation.
func (e refusal) Error() string {
	return fmt.Sprintf("%s is not one of the operations by which evidence is gathered; it was not sent", e.action)
}

// guard is a middleware at the very beginning of every call: it lets only the
// listed operations pass, no faster than the rate.
type guard struct{ rate *rate }

// ID names the middleware.
func (guard) ID() string { return "KeyturnReadOnly" }

// HandleInitialize refuses, waits its turn, or both.
func (g guard) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, metadata middleware.Metadata, err error,
) {
	service := prefixes[middleware.GetServiceID(ctx)]
	action := service + ":" + middleware.GetOperationName(ctx)
	if _, listed := slices.BinarySearch(operations, action); !listed {
		return out, metadata, refusal{action}
	}
	if err := g.rate.wait(ctx, service); err != nil {
		return out, metadata, err
	}
	return next.HandleInitialize(ctx, in)
}

// add puts the middleware into a client's stack.
func (g guard) add(s *middleware.Stack) error { return s.Initialize.Add(g, middleware.Before) }
