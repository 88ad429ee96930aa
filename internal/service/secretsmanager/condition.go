package secretsmanager

import (
	"context"
	"strconv"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// kmsKeyARN is the condition key that only the store can tell.
const kmsKeyARN = "secretsmanager:kmskeyarn"

// conditions returns what a request gives for a condition key in lower case
// (AWS docs). A member that is left out counts as its default, so that a
// policy cannot be evaded by leaving it out (assumed).
func conditions(in wire.Input, key string) iam.Value {
	service, name, _ := strings.Cut(key, ":")
	if service == "aws" {
		return requestTags(in, key)
	}
	switch in := in.(type) {
	case *api.GetSecretValueRequest:
		if name == "versionid" {
			return text(in.VersionId)
		}
	case *api.UpdateSecretVersionStageRequest:
		if name == "versionstage" {
			return text(in.VersionStage)
		}
	case *api.CreateSecretRequest:
		return createConditions(in, name)
	case *api.UpdateSecretRequest:
		return updateConditions(in, name)
	case *api.DeleteSecretRequest:
		return deleteConditions(in, name)
	case *api.RotateSecretRequest:
		return rotateConditions(in, name)
	case *api.ReplicateSecretToRegionsRequest:
		return replicaConditions(in.AddReplicaRegions, in.ForceOverwriteReplicaSecret, name)
	case *api.PutResourcePolicyRequest:
		if name == "blockpublicpolicy" {
			return iam.Bool(given(in.BlockPublicPolicy))
		}
	case *api.ValidateResourcePolicyRequest:
		if name == "blockpublicpolicy" {
			return iam.Bool(true) // what it checks is just that
		}
	}
	return iam.Value{}
}

func createConditions(in *api.CreateSecretRequest, name string) iam.Value {
	switch name {
	case "name":
		return text(in.Name)
	case "description":
		return text(in.Description)
	case "kmskeyid":
		return text(in.KmsKeyId)
	case "type":
		return text(in.Type)
	}
	if in.AddReplicaRegions == nil {
		return iam.Value{}
	}
	return replicaConditions(in.AddReplicaRegions, in.ForceOverwriteReplicaSecret, name)
}

func updateConditions(in *api.UpdateSecretRequest, name string) iam.Value {
	switch name {
	case "description":
		return text(in.Description)
	case "kmskeyid":
		return text(in.KmsKeyId)
	case "type":
		return text(in.Type)
	}
	return iam.Value{}
}

func deleteConditions(in *api.DeleteSecretRequest, name string) iam.Value {
	force := given(in.ForceDeleteWithoutRecovery)
	switch {
	case name == "forcedeletewithoutrecovery":
		return iam.Bool(force)
	case name != "recoverywindowindays":
	case in.RecoveryWindowInDays != nil:
		return iam.Text(strconv.FormatInt(*in.RecoveryWindowInDays, 10))
	case !force:
		return iam.Text(strconv.Itoa(defaultWindow))
	}
	return iam.Value{}
}

func rotateConditions(in *api.RotateSecretRequest, name string) iam.Value {
	switch name {
	case "rotationlambdaarn":
		return text(in.RotationLambdaARN)
	case "modifyrotationrules":
		return iam.Bool(in.RotationRules != nil)
	case "rotateimmediately":
		return iam.Bool(in.RotateImmediately == nil || *in.RotateImmediately)
	}
	return iam.Value{}
}

func replicaConditions(regions []api.ReplicaRegionType, overwrite *bool, name string) iam.Value {
	switch name {
	case "addreplicaregions":
		list := make([]string, len(regions))
		for i := range regions {
			list[i] = given(regions[i].Region)
		}
		return iam.List(list)
	case "forceoverwritereplicasecret":
		return iam.Bool(given(overwrite))
	}
	return iam.Value{}
}

// requestTags returns aws:RequestTag/KEY and aws:TagKeys.
func requestTags(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.CreateSecretRequest:
		return iam.RequestTags(key, tagsIn(in.Tags))
	case *api.TagResourceRequest:
		return iam.RequestTags(key, tagsIn(in.Tags))
	case *api.UntagResourceRequest:
		if key == "aws:tagkeys" {
			return iam.List(in.TagKeys)
		}
	}
	return iam.Value{}
}

// text is the value of a member; none for one that is missing or empty.
func text(s *string) iam.Value { return iam.NonEmpty(given(s)) }

// resolveKey notes in the call which key its KmsKeyId names, for the condition
// key secretsmanager:KmsKeyArn. IDs and aliases are the account's.
func (s *Service) resolveKey(ctx context.Context, call *wire.Call, account string, id *string) error {
	call.Resolved = nil
	if given(id) == "" {
		return nil
	}
	address := ""
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		address = ""
		rec, err := s.Guard.KeyIn(tx, account, call.Region, *id)
		switch {
		case rec != nil:
			address = rec.ARN() // in whatever state
		case fault.Is(err, fault.Internal), fault.Is(err, fault.Unavailable):
			return err
		default:
			if a, ok := arn.Parse(*id); ok && strings.HasPrefix(a.Resource, "key/") {
				address = *id
			}
		}
		return nil
	})
	if err != nil || address == "" {
		return err
	}
	call.Resolved = func(key string) iam.Value {
		if key == kmsKeyARN {
			return iam.Text(address)
		}
		return iam.Value{}
	}
	return nil
}

// checkResolved reports, with errStale, that the call was authorised for
// another key than the one that its KmsKeyId names by now.
func checkResolved(call *wire.Call, keyARN string) error {
	if v := call.Condition(kmsKeyARN); !v.IsZero() && v.Strings()[0] != keyARN {
		return errStale
	}
	return nil
}

// ownerOf returns the account of the secret that id names: its ARN's, or the
// caller's.
func ownerOf(call *wire.Call, id string) string {
	if ref := arn.ParseSecretRef(id); ref.Account != "" {
		return ref.Account
	}
	return call.Principal.Account
}
