package key

import (
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
)

// PolicyName is the only name that a key policy can have (AWS docs).
const PolicyName = "default"

// The policies are laid out as KMS lays out its own.
const defaultPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "ROOT"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

const managedPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "auto-secretsmanager-1",
  "Statement" : [ {
    "Sid" : "Allow access through AWS Secrets Manager for all principals in the account that are authorized to use AWS Secrets Manager",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:ViaService" : "secretsmanager.REGION.amazonaws.com",
        "kms:CallerAccount" : "ACCOUNT"
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "ROOT"
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`

// DefaultPolicy returns the policy of a key made without one: IAM of the
// account decides (AWS docs).
func DefaultPolicy(region, account string) string { return fillPolicy(defaultPolicy, region, account) }

// ManagedPolicy returns the policy of the AWS-managed key for Secrets
// Manager: whoever may use the secret may use the key through it (AWS docs).
func ManagedPolicy(region, account string) string { return fillPolicy(managedPolicy, region, account) }

func fillPolicy(policy, region, account string) string {
	root := arn.ARN{Partition: arn.Partition(region), Service: "iam", Account: account, Resource: "root"}
	return strings.NewReplacer("ROOT", root.String(), "REGION", region, "ACCOUNT", account).Replace(policy)
}
