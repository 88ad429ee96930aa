package gather

import (
	"encoding/json"
	"strings"
)

// statement is one of the policy that Policy prints.
type statement struct {
	Sid      string
	Effect   string
	Action   []string
	Resource []string
}

// scopes are the resources to which the permissions can be narrowed, by what
// the names of operations begin with; P, A, R and S stand for partition,
// account, region and the secret's ARN. What is not listed has no resource in
// IAM (AWS docs: service authorization reference).
var scopes = []struct {
	sid       string
	actions   []string
	resources []string
}{
	{"Secret", []string{"secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy", "secretsmanager:ListSecretVersionIds"}, []string{"S"}},
	{"SuperuserSecret", []string{"secretsmanager:DescribeSecret"}, []string{"arn:P:secretsmanager:R:A:secret:*"}},
	{"Function", []string{
		"lambda:GetFunction", "lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration", "lambda:GetPolicy",
		"lambda:GetProvisionedConcurrencyConfig", "lambda:ListTags",
	}, []string{"arn:P:lambda:R:A:function:*"}},
	{"Logs", []string{"logs:FilterLogEvents"}, []string{"arn:P:logs:R:A:log-group:*"}},
	{"Role", []string{
		"iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:SimulatePrincipalPolicy",
	}, []string{"arn:P:iam::A:role/*"}},
	{"RolePolicies", []string{"iam:GetPolicy", "iam:GetPolicyVersion"}, []string{"arn:P:iam::A:policy/*", "arn:P:iam::aws:policy/*"}},
	{"Key", []string{"kms:DescribeKey", "kms:GetKeyPolicy"}, []string{"arn:P:kms:R:A:key/*"}},
	{"Stack", []string{"cloudformation:DescribeStacks", "cloudformation:GetTemplateSummary"}, []string{"arn:P:cloudformation:R:A:stack/*"}},
	{"Databases", []string{"rds:DescribeDBClusters", "rds:DescribeDBInstances", "rds:DescribeDBSubnetGroups"}, []string{
		"arn:P:rds:R:A:cluster:*", "arn:P:rds:R:A:db:*", "arn:P:rds:R:A:subgrp:*",
	}},
	{"WithoutResource", []string{
		"cloudtrail:LookupEvents", "cloudwatch:GetMetricStatistics",
		"ec2:DescribeInternetGateways", "ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces",
		"ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
		"ec2:DescribeVpcAttribute", "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs",
		"lambda:GetAccountSettings", "secretsmanager:ListSecrets", "sts:GetCallerIdentity",
	}, []string{"*"}},
}

// Policy returns the policy document by which a caller can gather everything
// about a secret and nothing else. Actions without resources in IAM are on "*".
// An empty secretARN stands for every secret of the account and region, as a
// survey needs it.
func Policy(partition, account, region, secretARN string) string {
	if secretARN == "" {
		secretARN = "arn:" + partition + ":secretsmanager:" + region + ":" + account + ":secret:*"
	}
	parts := strings.NewReplacer(":P:", ":"+partition+":", ":R:", ":"+region+":", ":A:", ":"+account+":")
	var all []statement
	for _, s := range scopes {
		x := statement{Sid: s.sid, Effect: "Allow", Action: s.actions}
		for _, r := range s.resources {
			if r == "S" {
				r = secretARN
			}
			// Twice, as neighbours share a colon.
			x.Resource = append(x.Resource, parts.Replace(parts.Replace(r)))
		}
		all = append(all, x)
	}
	b, _ := json.MarshalIndent(struct { // texts always marshal
		Version   string
		Statement []statement
	}{"2012-10-17", all}, "", "  ")
	return string(b) + "\n"
}
