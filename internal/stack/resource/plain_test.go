package resource_test

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/stack/resource"
)

// newKey makes a key and returns its ID.
func (k *kit) newKey() string {
	k.Helper()
	out, err := k.kms.CreateKey(k.Context(), &kms.CreateKeyInput{})
	k.must(err)
	return *out.KeyMetadata.KeyId
}

func keyScenarios() []scenario {
	const root = `"Principal":{"AWS":"arn:aws:iam::123456789012:root"}`
	policy := func(sid string) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"` + sid + `","Effect":"Allow",` + root + `,"Action":"kms:*","Resource":"*"}]}`
	}
	return []scenario{
		{
			typ: "AWS::KMS::Key", look: (*kit).lookKey, setup: func(k *kit) map[string]string { return map[string]string{"USER": k.newUser("x")} },
			properties: `{"Description":"first","KeyPolicy":` + policy("one") + `,"EnableKeyRotation":true,"PendingWindowInDays":9,"Tags":[{"Key":"team","Value":"db"}]}`,
			want:       "first Enabled rotation=true one tags=map[team:db]",
			after:      " PendingDeletion rotation=- two tags=map[a:b] days=7",
			attributes: map[string]string{"Ref": "$ID", "KeyId": "$ID", "Arn": "arn:aws:kms:us-east-1:123456789012:key/$ID"},
			updates: []change{
				{
					"description, rotation, state and tags", `{"Description":"second","KeyPolicy":` + policy("one") + `,"Enabled":false,"PendingWindowInDays":9,"Tags":[{"Key":"a","Value":"b"}]}`,
					"second Disabled rotation=- one tags=map[a:b]",
				},
				{
					"policy and what is left out", `{"KeyPolicy":` + policy("two") + `,"EnableKeyRotation":true,"PendingWindowInDays":7,"Tags":[{"Key":"a","Value":"b"}]}`,
					" Enabled rotation=true two tags=map[a:b]",
				},
			},
			unchanging: []string{"BypassPolicyLockoutSafetyCheck", "RotationPeriodInDays", "KeySpec", "KeyUsage", "MultiRegion", "Origin"},
			refused: []refusal{
				{
					"a policy that locks out", `{"KeyPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/x"},"Action":"kms:*","Resource":"*"}]}}`,
					resource.InvalidRequest, "The new key policy will not allow you to update the key policy in the future.",
				},
				{"an unknown spec", `{"KeySpec":"RSA_2048"}`, resource.InvalidRequest, "Only single-region symmetric encryption keys with material made here are supported."},
				{
					"an impossible rotation", `{"EnableKeyRotation":true,"RotationPeriodInDays":1}`, resource.InvalidRequest,
					"1 validation error detected: Value '1' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than or equal to 90",
				},
			},
		},
		{
			typ:   "AWS::KMS::Alias",
			setup: func(k *kit) map[string]string { return map[string]string{"ONE": k.newKey(), "TWO": k.newKey()} },
			look: func(k *kit, res resource.Result) string {
				d, err := k.kms.DescribeKey(k.Context(), &kms.DescribeKeyInput{KeyId: &res.PhysicalID})
				return seen(err, func() string { return *d.KeyMetadata.KeyId })
			},
			properties: `{"AliasName":"alias/db","TargetKeyId":"${ONE}"}`, want: "${ONE}", attributes: map[string]string{"Ref": "alias/db"},
			updates: []change{{"target", `{"AliasName":"alias/db","TargetKeyId":"${TWO}"}`, "${TWO}"}},
			refused: []refusal{
				{
					"a bad name", `{"AliasName":"db","TargetKeyId":"${ONE}"}`, resource.InvalidRequest,
					`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`,
				},
				{
					"a missing key", `{"AliasName":"alias/x","TargetKeyId":"00000000-0000-4000-8000-000000000000"}`, resource.NotFound,
					"Key 'arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000' does not exist",
				},
			},
		},
	}
}

func (k *kit) lookKey(res resource.Result) string {
	d, err := k.kms.DescribeKey(k.Context(), &kms.DescribeKeyInput{KeyId: &res.PhysicalID})
	return seen(err, func() string {
		rotation, days := "-", ""
		if s, err := k.kms.GetKeyRotationStatus(k.Context(), &kms.GetKeyRotationStatusInput{KeyId: &res.PhysicalID}); err == nil && s.KeyRotationEnabled {
			rotation = "true"
		}
		p, err := k.kms.GetKeyPolicy(k.Context(), &kms.GetKeyPolicyInput{KeyId: &res.PhysicalID})
		k.must(err)
		list, err := k.kms.ListResourceTags(k.Context(), &kms.ListResourceTagsInput{KeyId: &res.PhysicalID})
		k.must(err)
		tags := map[string]string{}
		for _, t := range list.Tags {
			tags[*t.TagKey] = *t.TagValue
		}
		statements := k.tree(*p.Policy)["Statement"].([]any)
		if d.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion {
			rotation = "-"
			days = fmt.Sprintf(" days=%.0f", d.KeyMetadata.DeletionDate.Sub(*d.KeyMetadata.CreationDate).Hours()/24)
		}
		return fmt.Sprintf("%s %s rotation=%s %v tags=%s%s", text(d.KeyMetadata.Description), d.KeyMetadata.KeyState, rotation,
			statements[0].(map[string]any)["Sid"], k.users(tags), days)
	})
}

func plainScenarios() []scenario {
	nothing := func(k *kit, res resource.Result) string { return "nothing" }
	return []scenario{
		{
			typ: "AWS::Logs::LogGroup", look: (*kit).lookGroup,
			properties: `{"RetentionInDays":7,"Tags":[{"Key":"team","Value":"db"}]}`, want: "7 key=- STANDARD tags=map[team:db]",
			attributes: map[string]string{"Ref": "shop-Thing-*", "Arn": "arn:aws:logs:us-east-1:123456789012:log-group:$ID:*"},
			updates: []change{
				{
					"retention, key and tags", `{"RetentionInDays":30,"KmsKeyId":"arn:aws:kms:us-east-1:123456789012:key/x","Tags":[{"Key":"team","Value":"app"}]}`,
					"30 key=arn:aws:kms:us-east-1:123456789012:key/x STANDARD tags=map[team:app]",
				},
				{"nothing", `{}`, "0 key=- STANDARD tags=map[]"},
			},
			unchanging: []string{"DeletionProtectionEnabled"},
			refused: []refusal{{
				"a wrong retention", `{"LogGroupName":"wrong","RetentionInDays":2}`, resource.InvalidRequest,
				"1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: " +
					"[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]",
			}},
		},
		{typ: "AWS::CDK::Metadata", look: nothing, properties: `{"Analytics":"x"}`, want: "nothing", after: "nothing", updates: []change{{"analytics", `{"Analytics":"y"}`, "nothing"}}},
		{typ: "AWS::CloudFormation::WaitConditionHandle", look: nothing, properties: `{}`, want: "nothing", after: "nothing"},
		{
			typ: "AWS::CloudFormation::WaitCondition", look: nothing, properties: `{"Count":0}`, want: "nothing", after: "nothing", unchanging: []string{"Count"},
			attributes: map[string]string{"Data": "{}"},
			updates:    []change{{"timeout", `{"Count":0,"Timeout":"10","Handle":"x"}`, "nothing"}},
			refused: []refusal{{
				"a count", `{"Count":1}`, resource.InvalidRequest, "A WaitCondition can only have a Count of 0 here: this server receives no signals.",
			}},
		},
	}
}

func (k *kit) lookGroup(res resource.Result) string {
	out, err := k.logs.DescribeLogGroups(k.Context(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &res.PhysicalID})
	if err == nil && len(out.LogGroups) == 0 {
		return absent
	}
	return seen(err, func() string {
		g, days := out.LogGroups[0], int32(0)
		if g.RetentionInDays != nil {
			days = *g.RetentionInDays
		}
		list, err := k.logs.ListTagsForResource(k.Context(), &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: g.LogGroupArn})
		k.must(err)
		return fmt.Sprintf("%d key=%s %s tags=%s", days, text(g.KmsKeyId), g.LogGroupClass, k.users(list.Tags))
	})
}
