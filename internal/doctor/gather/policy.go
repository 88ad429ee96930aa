package gather

import (
	"encoding/json"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotate"
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
// about a secret and nothing else. Actions without resources in IAM are on "*";
// what is not known from the secret's ARN, such as its function, is every one of
// the account and region: PolicyFor knows more. An empty secretARN stands for
// every secret of the account and region, as a survey needs it.
func Policy(partition, account, region, secretARN string) string {
	return policy(partition, account, region, secretARN, nil)
}

// PolicyFor is Policy narrowed to what evidence that was gathered once names:
// the secret's function with its log, role, stack and key. A secret that gets
// another function needs another policy.
func PolicyFor(e *doctor.Evidence) string {
	narrow := map[string][]string{}
	if f := e.Function; f != nil && f.Found {
		plain := unqualified(f.ARN)
		narrow["Function"] = []string{plain, plain + ":*"}
		groups := "arn:" + e.Partition + ":logs:" + e.Region + ":" + e.Account + ":log-group:"
		narrow["Logs"] = []string{groups + f.LogGroup + ":*"}
		if e.Keyturn {
			narrow["Logs"] = append(narrow["Logs"], groups+rotate.EngineGroup+":*")
		}
		narrow["Role"] = []string{f.RoleARN}
	}
	if u := e.Superuser; u != nil {
		narrow["SuperuserSecret"] = []string{u.ARN}
	}
	if k := e.Key; k != nil && k.Found && (e.Superuser == nil || e.Superuser.KeyID == "") {
		narrow["Key"] = []string{k.ID}
	}
	if s := e.Stack; s != nil && s.ID != "" {
		narrow["Stack"] = []string{s.ID, "arn:" + e.Partition + ":cloudformation:" + e.Region + ":" + e.Account + ":stack/" + s.RootName + "/*"}
	}
	return policy(e.Partition, e.Account, e.Region, e.Secret.ARN, narrow)
}

func policy(partition, account, region, secretARN string, narrow map[string][]string) string {
	if secretARN == "" {
		secretARN = "arn:" + partition + ":secretsmanager:" + region + ":" + account + ":secret:*"
	}
	parts := strings.NewReplacer(":P:", ":"+partition+":", ":R:", ":"+region+":", ":A:", ":"+account+":")
	var all []statement
	for _, s := range scopes {
		x := statement{Sid: s.sid, Effect: "Allow", Action: s.actions, Resource: narrow[s.sid]}
		if x.Resource == nil {
			for _, r := range s.resources {
				if r == "S" {
					r = secretARN
				}
				// Twice, as neighbours share a colon.
				x.Resource = append(x.Resource, parts.Replace(parts.Replace(r)))
			}
		}
		all = append(all, x)
	}
	b, _ := json.MarshalIndent(struct { // texts always marshal
		Version   string
		Statement []statement
	}{"2012-10-17", all}, "", "  ")
	return string(b) + "\n"
}
