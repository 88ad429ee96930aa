package kms

import (
	"strconv"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/wire"
)

// conditions returns the condition keys that requests of KMS give (AWS docs);
// the key concerned and its use give others.
func conditions(in wire.Input, name string) iam.Value {
	switch in := in.(type) {
	case *api.CreateKeyRequest:
		return ofNewKey(in, name)
	case *api.PutKeyPolicyRequest:
		if name == "kms:bypasspolicylockoutsafetycheck" {
			return iam.Bool(isTrue(in.BypassPolicyLockoutSafetyCheck))
		}
	case *api.CreateGrantRequest:
		return ofGrant(in, name)
	case *api.ListGrantsRequest, *api.RevokeGrantRequest:
		if name == "kms:grantisforawsresource" {
			return iam.Bool(false)
		}
	case *api.EnableKeyRotationRequest:
		if name == "kms:rotationperiodindays" {
			return number(in.RotationPeriodInDays, key.DefaultRotationDays)
		}
	case *api.ScheduleKeyDeletionRequest:
		if name == "kms:schedulekeydeletionpendingwindowindays" {
			return number(in.PendingWindowInDays, key.DefaultDeletionDays)
		}
	case *api.EncryptRequest, *api.DecryptRequest, *api.ReEncryptRequest:
		if name == "kms:encryptionalgorithm" {
			return iam.Text(symmetric)
		}
	case *api.TagResourceRequest:
		return ofTags(in.Tags, name)
	case *api.UntagResourceRequest:
		if name == "aws:tagkeys" {
			return iam.List(in.TagKeys)
		}
	}
	return iam.Value{}
}

func ofNewKey(in *api.CreateKeyRequest, name string) iam.Value {
	switch name {
	case "kms:bypasspolicylockoutsafetycheck":
		return iam.Bool(isTrue(in.BypassPolicyLockoutSafetyCheck))
	case "kms:keyspec", "kms:customermasterkeyspec":
		return either(in.KeySpec, in.CustomerMasterKeySpec, symmetric)
	case "kms:keyusage", "kms:customermasterkeyusage":
		return either(in.KeyUsage, nil, "ENCRYPT_DECRYPT")
	case "kms:keyorigin":
		return either(in.Origin, nil, "AWS_KMS")
	case "kms:multiregion":
		return iam.Bool(isTrue(in.MultiRegion))
	}
	return ofTags(in.Tags, name)
}

func ofGrant(in *api.CreateGrantRequest, name string) iam.Value {
	switch name {
	case "kms:grantisforawsresource":
		return iam.Bool(false)
	case "kms:granteeprincipal":
		return iam.Text(principalARN(*in.GranteePrincipal))
	case "kms:retiringprincipal":
		if in.RetiringPrincipal != nil {
			return iam.Text(principalARN(*in.RetiringPrincipal))
		}
	case "kms:grantoperations":
		return iam.List(in.Operations)
	case "kms:grantconstrainttype":
		if c := in.Constraints; c != nil && c.EncryptionContextEquals != nil {
			return iam.Text("EncryptionContextEquals")
		} else if c != nil && c.EncryptionContextSubset != nil {
			return iam.Text("EncryptionContextSubset")
		}
	}
	return iam.Value{}
}

func ofTags(tags []api.Tag, name string) iam.Value {
	set := make([]key.Tag, len(tags))
	for i, t := range tags {
		set[i] = key.Tag{Key: *t.TagKey, Value: *t.TagValue}
	}
	return iam.RequestTags(name, set)
}

func number(n *int64, otherwise int) iam.Value {
	return iam.Text(strconv.Itoa(pageSize(n, otherwise)))
}

// either returns the first text that is given.
func either(a, b *string, otherwise string) iam.Value {
	for _, s := range []*string{a, b} {
		if s != nil {
			return iam.Text(*s)
		}
	}
	return iam.Text(otherwise)
}
