package secretsmanager

import (
	"strings"
	"testing"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/secret"
)

// conditionCases has for each condition key a request and a condition that
// holds for it, or, with a "!" in front, does not. {KEY} stands for a customer
// key's ID, {ARN} for the secret's ARN.
var conditionCases = []struct{ operation, members, condition string }{
	{"CreateSecret", `"Name":"new/n"`, `"StringLike":{"secretsmanager:Name":"new/*"}`},
	{"CreateSecret", `"Name":"old/n"`, `!"StringLike":{"secretsmanager:Name":"new/*"}`},
	{"CreateSecret", `"Name":"n","Description":"d"`, `"StringEquals":{"secretsmanager:Description":"d"}`},
	{"CreateSecret", `"Name":"n"`, `"Null":{"secretsmanager:Description":"true","secretsmanager:KmsKeyId":"true","secretsmanager:KmsKeyArn":"true","secretsmanager:AddReplicaRegions":"true"}`},
	{"CreateSecret", `"Name":"n","Type":"t"`, `"StringEquals":{"secretsmanager:Type":"t"}`},
	{"CreateSecret", `"Name":"n","KmsKeyId":"alias/k"`, `"StringEquals":{"secretsmanager:KmsKeyId":"alias/k"}`},
	{"CreateSecret", `"Name":"n","KmsKeyId":"alias/k"`, `"ArnEquals":{"secretsmanager:KmsKeyArn":"arn:aws:kms:us-east-1:123456789012:key/{KEY}"}`},
	{"CreateSecret", `"Name":"n","KmsKeyId":"{KEY}"`, `"ArnEquals":{"secretsmanager:KmsKeyArn":"arn:aws:kms:us-east-1:123456789012:key/{KEY}"}`},
	{"CreateSecret", `"Name":"n","KmsKeyId":"arn:aws:kms:us-east-1:123456789012:alias/k"`, `"ArnEquals":{"secretsmanager:KmsKeyArn":"arn:aws:kms:us-east-1:123456789012:key/{KEY}"}`},
	{"CreateSecret", `"Name":"n","KmsKeyId":"alias/k"`, `!"ArnNotEquals":{"secretsmanager:KmsKeyArn":"arn:aws:kms:us-east-1:123456789012:key/{KEY}"}`},
	{"CreateSecret", `"Name":"n","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-southeast-2"}]`, `"ForAllValues:StringEquals":{"secretsmanager:AddReplicaRegions":["eu-west-1","ap-southeast-2"]}`},
	{"CreateSecret", `"Name":"n","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-southeast-2"}]`, `!"ForAllValues:StringEquals":{"secretsmanager:AddReplicaRegions":"eu-west-1"}`},
	{"CreateSecret", `"Name":"n","AddReplicaRegions":[{"Region":"eu-west-1"}]`, `"Bool":{"secretsmanager:ForceOverwriteReplicaSecret":"false"}`},
	{"CreateSecret", `"Name":"n","Tags":[{"Key":"Team","Value":"blue"},{"Key":"x","Value":""}]`, `"StringEquals":{"aws:RequestTag/team":"blue"},"ForAllValues:StringEquals":{"aws:TagKeys":["Team","x"]}`},
	{"CreateSecret", `"Name":"n","Tags":[{"Key":"Team","Value":"red"}]`, `!"StringEquals":{"aws:RequestTag/Team":"blue"}`},
	{"CreateSecret", `"Name":"n"`, `!"StringLike":{"aws:RequestTag/Team":"*"}`},
	{"UpdateSecret", `"SecretId":"s","Description":"d"`, `"StringEquals":{"secretsmanager:Description":"d"}`},
	{"UpdateSecret", `"SecretId":"s","Type":"t"`, `"StringEquals":{"secretsmanager:Type":"t"}`},
	{"UpdateSecret", `"SecretId":"s","KmsKeyId":"alias/k"`, `"StringLike":{"secretsmanager:KmsKeyId":"alias/*","secretsmanager:KmsKeyArn":"*{KEY}"}`},
	{"UpdateSecret", `"SecretId":"s","KmsKeyId":"alias/k"`, `!"StringNotLike":{"secretsmanager:KmsKeyArn":"*{KEY}"}`},
	{"DeleteSecret", `"SecretId":"s","ForceDeleteWithoutRecovery":true`, `!"Bool":{"secretsmanager:ForceDeleteWithoutRecovery":"false"}`},
	{"DeleteSecret", `"SecretId":"s","ForceDeleteWithoutRecovery":true`, `"Null":{"secretsmanager:RecoveryWindowInDays":"true"}`},
	{"DeleteSecret", `"SecretId":"s"`, `"Bool":{"secretsmanager:ForceDeleteWithoutRecovery":"false"},"NumericEquals":{"secretsmanager:RecoveryWindowInDays":"30"}`},
	{"DeleteSecret", `"SecretId":"s","RecoveryWindowInDays":7`, `!"NumericGreaterThan":{"secretsmanager:RecoveryWindowInDays":"13"}`},
	{"RotateSecret", `"SecretId":"s","RotationLambdaARN":"` + function + `"`, `"ArnEquals":{"secretsmanager:RotationLambdaARN":"` + function + `"}`},
	{"RotateSecret", `"SecretId":"s","RotationLambdaARN":"` + function + `","RotationRules":{"AutomaticallyAfterDays":3}`, `"Bool":{"secretsmanager:ModifyRotationRules":"true","secretsmanager:RotateImmediately":"true"}`},
	{"RotateSecret", `"SecretId":"s","RotationLambdaARN":"` + function + `","RotateImmediately":false`, `"Bool":{"secretsmanager:ModifyRotationRules":"false","secretsmanager:RotateImmediately":"false"}`},
	{"PutResourcePolicy", `"SecretId":"s","BlockPublicPolicy":true,"ResourcePolicy":"{}"`, `"Bool":{"secretsmanager:BlockPublicPolicy":"true"}`},
	{"PutResourcePolicy", `"SecretId":"s","ResourcePolicy":"{}"`, `!"Bool":{"secretsmanager:BlockPublicPolicy":"true"}`},
	{"PutResourcePolicy", `"SecretId":"s","ResourcePolicy":"{}"`, `"Bool":{"secretsmanager:BlockPublicPolicy":"false"}`},
	{"ReplicateSecretToRegions", `"SecretId":"s","ForceOverwriteReplicaSecret":true,"AddReplicaRegions":[{"Region":"eu-west-1"}]`, `"ForAnyValue:StringEquals":{"secretsmanager:AddReplicaRegions":"eu-west-1"},"Bool":{"secretsmanager:ForceOverwriteReplicaSecret":"true"}`},
	{"TagResource", `"SecretId":"s","Tags":[{"Key":"k","Value":"v"}]`, `"StringEquals":{"aws:RequestTag/k":"v"},"ForAllValues:StringEquals":{"aws:TagKeys":"k"}`},
	{"TagResource", `"SecretId":"s","Tags":[{"Key":"k","Value":"v"},{"Key":"l","Value":"w"}]`, `!"ForAllValues:StringEquals":{"aws:TagKeys":"k"}`},
	{"UntagResource", `"SecretId":"s","TagKeys":["k"]`, `"ForAllValues:StringEquals":{"aws:TagKeys":"k"}`},
	{"UntagResource", `"SecretId":"s","TagKeys":["k","Team"]`, `!"ForAllValues:StringEquals":{"aws:TagKeys":"k"}`},
	{"UpdateSecretVersionStage", `"SecretId":"s","VersionStage":"x"`, `"StringEquals":{"secretsmanager:VersionStage":"x"}`},
	{"DescribeSecret", `"SecretId":"s"`, `"ArnEquals":{"secretsmanager:SecretId":"{ARN}"},"StringEquals":{"secretsmanager:resource/Type":"kind","aws:ResourceTag/Team":"blue","secretsmanager:SecretPrimaryRegion":"us-east-1"}`},
	{"DescribeSecret", `"SecretId":"none"`, `"ArnLike":{"secretsmanager:SecretId":"arn:aws:secretsmanager:us-east-1:123456789012:secret:none-??????"},"StringEquals":{"secretsmanager:SecretPrimaryRegion":"us-east-1"}`},
	{"GetSecretValue", `"SecretId":"s","VersionId":"` + tok("v1") + `"`, `"StringEquals":{"secretsmanager:VersionId":"` + tok("v1") + `"}`},
	// Labels are those of the version that is read, by whatever it is named.
	{"GetSecretValue", `"SecretId":"s"`, `"StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}`},
	{"GetSecretValue", `"SecretId":"s","VersionStage":"AWSCURRENT"`, `"ForAnyValue:StringEquals":{"secretsmanager:VersionStage":"other"}`},
	{"GetSecretValue", `"SecretId":"s","VersionId":"` + tok("v2") + `"`, `"ForAnyValue:StringEquals":{"secretsmanager:VersionStage":["other","AWSCURRENT"]}`},
	{"GetSecretValue", `"SecretId":"s","VersionId":"` + tok("v1") + `"`, `!"ForAnyValue:StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}`},
	{"GetSecretValue", `"SecretId":"s","VersionStage":"AWSPENDING"`, `!"ForAnyValue:StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}`},
	{"GetSecretValue", `"SecretId":"s","VersionStage":"AWSPENDING"`, `"ForAnyValue:StringEquals":{"secretsmanager:VersionStage":"AWSPENDING"}`},
	{"GetSecretValue", `"SecretId":"none"`, `"StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}`},
	{"BatchGetSecretValue", `"SecretIdList":["s"]`, `"StringEqualsIfExists":{"secretsmanager:VersionStage":"AWSCURRENT"}`},
}

// Every condition key of the reference (13.2) has the request's value: a user
// to whom all is allowed under the condition is refused exactly where the
// condition does not hold.
func TestConditionKeys(t *testing.T) {
	for _, tc := range conditionCases {
		t.Run(tc.operation, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			id := b.addKey(home, "k")
			address := b.create("s", "1")
			b.put("s", "v2", "2", `["AWSCURRENT","other"]`)
			b.edit(home, "s", func(s *secret.Secret) { s.Type, s.Tags = "kind", []secret.Tag{{Key: "Team", Value: "blue"}} })
			condition, not := strings.CutPrefix(tc.condition, "!")
			fill := strings.NewReplacer("{KEY}", id, "{ARN}", address)
			ann := b.user(account, "ann", `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*","Condition":{`+fill.Replace(condition)+`}},
				{"Effect":"Allow","Action":["kms:*","lambda:*"],"Resource":"*"}`)
			_, refused := b.post(ann, tc.operation, `{`+fill.Replace(tc.members)+`,"ClientRequestToken":"`+tok("new")+`"}`)
			if got := refused != nil && refused.code == "AccessDeniedException"; got != not {
				t.Errorf("%s under %s: got %+v, want it refused: %v", tc.members, tc.condition, refused, not)
			}
		})
	}
}

// The request keys of the hottest operation cost no allocation.
func TestConditionAllocations(t *testing.T) {
	in := &api.GetSecretValueRequest{SecretId: new("s"), VersionId: new(tok("v1"))}
	var got iam.Value
	n := testing.AllocsPerRun(100, func() {
		got = conditions(in, "secretsmanager:versionid")
		_ = conditions(in, "aws:requesttag/team")
		_ = conditions(in, "secretsmanager:resourcetag/team")
	})
	if n != 0 || got.Strings()[0] != tok("v1") {
		t.Errorf("got %v allocations and %v, want none", n, got.Strings())
	}
}

// Some calls take more permissions than the one of their name.
func TestMorePermissions(t *testing.T) {
	b := newBench(t)
	create := b.user(account, "create", `{"Effect":"Allow","Action":"secretsmanager:CreateSecret","Resource":"*"}`)
	tagger := b.user(account, "tagger", `{"Effect":"Allow","Action":["secretsmanager:CreateSecret","secretsmanager:TagResource"],"Resource":"*"}`)
	spread := b.user(account, "spread", `{"Effect":"Allow","Action":["secretsmanager:CreateSecret","secretsmanager:ReplicateSecretToRegions"],"Resource":"*"}`)
	const tags, regions = `"Tags":[{"Key":"k","Value":"v"}]`, `"AddReplicaRegions":[{"Region":"eu-west-1"}]`
	b.refusedAs(create, "CreateSecret", withToken(`"Name":"a",`+tags), "AccessDeniedException", denied("user/create", "TagResource", "a"))
	b.refusedAs(create, "CreateSecret", withToken(`"Name":"a",`+regions), "AccessDeniedException", denied("user/create", "ReplicateSecretToRegions", "a"))
	b.refusedAs(tagger, "CreateSecret", withToken(`"Name":"a",`+tags+`,`+regions), "AccessDeniedException", denied("user/tagger", "ReplicateSecretToRegions", "a"))
	b.okAs(create, "CreateSecret", withToken(`"Name":"a"`))
	b.okAs(tagger, "CreateSecret", withToken(`"Name":"b",`+tags))
	b.okAs(spread, "CreateSecret", withToken(`"Name":"c",`+regions))

	// A change of tags must not cost the caller the permission for it.
	b.edit(home, "b", func(s *secret.Secret) { s.Tags = []secret.Tag{{Key: "team", Value: "blue"}} })
	blue := b.user(account, "blue", `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"blue"}}}`)
	b.refusedAs(blue, "TagResource", `{"SecretId":"b","Tags":[{"Key":"team","Value":"red"}]}`, "AccessDeniedException", denied("user/blue", "TagResource", "b"))
	b.refusedAs(blue, "UntagResource", `{"SecretId":"b","TagKeys":["team"]}`, "AccessDeniedException", denied("user/blue", "UntagResource", "b"))
	b.okAs(blue, "TagResource", `{"SecretId":"b","Tags":[{"Key":"other","Value":"red"}]}`)
	if got := len(b.stored(home, "b").Tags); got != 2 {
		t.Errorf("got %d tags, want two", got)
	}
}

// Refusals of what concerns no secret name none.
func TestRefusalsWithoutResource(t *testing.T) {
	b := newBench(t)
	nobody := b.user(account, "nobody", "")
	for operation, body := range map[string]string{
		"GetRandomPassword": `{}`, "ListSecrets": `{}`, "BatchGetSecretValue": `{"SecretIdList":["s"]}`,
	} {
		text := strings.Replace(denied("user/nobody", operation, ""), " on resource: ", "", 1)
		b.refusedAs(nobody, operation, body, "AccessDeniedException", text)
	}
	// Filters take the permission to list.
	batch := b.user(account, "batch", `{"Effect":"Allow","Action":"secretsmanager:BatchGetSecretValue","Resource":"*"}`)
	b.refusedAs(batch, "BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["s"]}]}`, "AccessDeniedException",
		strings.Replace(denied("user/batch", "ListSecrets", ""), " on resource: ", "", 1))
}
