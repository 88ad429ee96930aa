package wire_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

func violations(in wire.Input) string {
	var v wire.Violations
	in.Validate(&v)
	err := v.Err()
	if err == nil {
		return ""
	}
	return err.(*fault.Error).Message
}

func repeat(s string, n int) *string { return new(strings.Repeat(s, n)) }

// TestConstraintTexts checks each form of message (reference: constraint
// messages of Secrets Manager and its family).
func TestConstraintTexts(t *testing.T) {
	const one = "1 validation error detected: Value "
	const fails = " failed to satisfy constraint: Member must "
	id := new("db")
	token := repeat("t", 36)
	tests := []struct {
		name string
		in   wire.Input
		want string
	}{
		{"required", &secretsmanager.GetSecretValueRequest{}, one + "null at 'secretId'" + fails + "not be null"},
		{"minimum length", &secretsmanager.GetSecretValueRequest{SecretId: new("")}, one + "'' at 'secretId'" + fails + "have length greater than or equal to 1"},
		{
			"maximum length", &secretsmanager.CreateSecretRequest{Name: repeat("n", 513)},
			one + "'" + strings.Repeat("n", 513) + "' at 'name'" + fails + "have length less than or equal to 512",
		},
		{"length counts code points", &secretsmanager.CreateSecretRequest{Name: repeat("é", 512)}, ""},
		{
			"length counts code points, one more", &secretsmanager.CreateSecretRequest{Name: repeat("😀", 513)},
			one + "'" + strings.Repeat("😀", 513) + "' at 'name'" + fails + "have length less than or equal to 512",
		},
		{
			"sensitive string, empty", &secretsmanager.CreateSecretRequest{Name: id, SecretString: new("")},
			one + "at 'secretString'" + fails + "have length greater than or equal to 1",
		},
		{
			"sensitive string, too long", &secretsmanager.PutSecretValueRequest{SecretId: id, SecretString: repeat("x", 65537)},
			one + "at 'secretString'" + fails + "have length less than or equal to 65536",
		},
		{"the longest secret", &secretsmanager.PutSecretValueRequest{SecretId: id, SecretString: repeat("x", 65536)}, ""},
		{
			"blob counts bytes", &secretsmanager.PutSecretValueRequest{SecretId: id, SecretBinary: make([]byte, 65537)},
			one + "at 'secretBinary'" + fails + "have length less than or equal to 65536",
		},
		{
			"blob, empty", &secretsmanager.PutSecretValueRequest{SecretId: id, SecretBinary: []byte{}},
			one + "at 'secretBinary'" + fails + "have length greater than or equal to 1",
		},
		{
			"sensitive pattern", &secretsmanager.PutSecretValueRequest{SecretId: id, RotationToken: repeat("_", 36)},
			one + "at 'rotationToken'" + fails + `satisfy regular expression pattern: ^[a-zA-Z0-9\-]+$`,
		},
		{
			"minimum value", &secretsmanager.GetRandomPasswordRequest{PasswordLength: new(int64(0))},
			one + "'0' at 'passwordLength'" + fails + "have value greater than or equal to 1",
		},
		{
			"maximum value", &secretsmanager.ListSecretsRequest{MaxResults: new(int64(101))},
			one + "'101' at 'maxResults'" + fails + "have value less than or equal to 100",
		},
		{
			"negative value", &secretsmanager.ListSecretsRequest{MaxResults: new(int64(-9223372036854775808))},
			one + "'-9223372036854775808' at 'maxResults'" + fails + "have value greater than or equal to 1",
		},
		{
			"enum", &secretsmanager.ListSecretsRequest{Filters: []secretsmanager.Filter{{Key: new("invalid"), Values: []string{"v"}}}},
			one + "'invalid' at 'filters.1.member.key'" + fails + "satisfy enum value set: [description, name, tag-key, tag-value, primary-region, owning-service, all]",
		},
		{
			"enum at the top", &secretsmanager.ListSecretsRequest{SortOrder: new("up")},
			one + "'up' at 'sortOrder'" + fails + "satisfy enum value set: [asc, desc]",
		},
		{
			"nested structure, two constraints of one member",
			&secretsmanager.RotateSecretRequest{SecretId: id, RotationRules: &secretsmanager.RotationRulesType{Duration: new("h")}},
			"2 validation errors detected: Value 'h' at 'rotationRules.duration'" + fails + "have length greater than or equal to 2; " +
				"Value 'h' at 'rotationRules.duration'" + fails + "satisfy regular expression pattern: [0-9]+h",
		},
		{
			"pattern matches the whole value",
			&secretsmanager.RotateSecretRequest{SecretId: id, RotationRules: &secretsmanager.RotationRulesType{Duration: new("h3h")}},
			one + "'h3h' at 'rotationRules.duration'" + fails + "satisfy regular expression pattern: [0-9]+h",
		},
		{
			"pattern of a schedule",
			&secretsmanager.RotateSecretRequest{SecretId: id, RotationRules: &secretsmanager.RotationRulesType{ScheduleExpression: new("cron(0 8 1 * ? *)\n")}},
			one + "'cron(0 8 1 * ? *)\n' at 'rotationRules.scheduleExpression'" + fails + `satisfy regular expression pattern: [0-9A-Za-z\(\)#\?\*\-\/, ]+`,
		},
		{
			"list elements count from 1, in member order",
			&secretsmanager.TagResourceRequest{SecretId: new(""), Tags: []secretsmanager.Tag{{Key: new("k")}, {Key: new(""), Value: repeat("v", 257)}}},
			"3 validation errors detected: Value '' at 'secretId'" + fails + "have length greater than or equal to 1; " +
				"Value '' at 'tags.2.member.key'" + fails + "have length greater than or equal to 1; " +
				"Value '" + strings.Repeat("v", 257) + "' at 'tags.2.member.value'" + fails + "have length less than or equal to 256",
		},
		{
			"list size", &secretsmanager.UpdateSecretVersionStageRequest{SecretId: id, VersionStage: new("s"), MoveToVersionId: new("short")},
			one + "'short' at 'moveToVersionId'" + fails + "have length greater than or equal to 32",
		},
		{
			"list, empty", &secretsmanager.PutSecretValueRequest{SecretId: id, ClientRequestToken: token, VersionStages: []string{}},
			one + "'[]' at 'versionStages'" + fails + "have length greater than or equal to 1",
		},
		{
			"list of structures, empty", &secretsmanager.ReplicateSecretToRegionsRequest{SecretId: id, AddReplicaRegions: []secretsmanager.ReplicaRegionType{}},
			one + "'[]' at 'addReplicaRegions'" + fails + "have length greater than or equal to 1",
		},
		{
			"list of structures, too long", &secretsmanager.ListSecretsRequest{Filters: make([]secretsmanager.Filter, 11)},
			one + "'[" + strings.TrimSuffix(strings.Repeat("{},", 11), ",") + "]' at 'filters'" + fails + "have length less than or equal to 10",
		},
		{
			"element of a plain list", &secretsmanager.PutSecretValueRequest{SecretId: id, VersionStages: []string{"a", ""}},
			one + "'[a, ]' at 'versionStages' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 256, Member must have length greater than or equal to 1]",
		},
		{
			"element with a pattern", &secretsmanager.RemoveRegionsFromReplicationRequest{SecretId: id, RemoveReplicaRegions: []string{"nowhere"}},
			one + "'[nowhere]' at 'removeReplicaRegions' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1, " +
				`Member must satisfy regular expression pattern: ^([a-z]+-)+\d+$]`,
		},
		{
			"elements of a list in a list of structures",
			&secretsmanager.BatchGetSecretValueRequest{Filters: []secretsmanager.Filter{{Key: new("name"), Values: []string{"ok", "#"}}}},
			one + "'[ok, #]' at 'filters.1.member.values' failed to satisfy constraint: Member must satisfy constraint: " +
				`[Member must have length less than or equal to 512, Member must satisfy regular expression pattern: ^\!?[a-zA-Z0-9 :_@\/\+\=\.\-\!]*$]`,
		},
		{
			"map", &logs.TagLogGroupRequest{LogGroupName: new("g"), Tags: map[string]string{"a": "1", "?": "2"}},
			one + "'{?=2, a=1}' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: " +
				"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1, " +
				`Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$]`,
		},
		{
			"map values", &logs.TagLogGroupRequest{LogGroupName: new("g"), Tags: map[string]string{"a": "?"}},
			one + "'{a=?}' at 'tags' failed to satisfy constraint: Map value must satisfy constraint: " +
				"[Member must have length less than or equal to 256, Member must satisfy regular expression pattern: " +
				`^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$]`,
		},
		{
			"map, empty", &logs.TagLogGroupRequest{LogGroupName: new("g"), Tags: map[string]string{}},
			one + "'{}' at 'tags'" + fails + "have length greater than or equal to 1",
		},
		{
			"sensitive map", &lambda.UpdateFunctionConfigurationRequest{
				FunctionName: new("f"), Environment: &lambda.Environment{Variables: map[string]string{"1": "hunter2"}},
			},
			one + "at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: " +
				"[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
		},
		{
			"map of numbers", &lambda.UpdateAliasRequest{
				FunctionName: new("f"), Name: new("a"), RoutingConfig: &lambda.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 1.5}},
			},
			one + "'{1=1.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: " +
				"[Member must have value less than or equal to 1, Member must have value greater than or equal to 0]",
		},
		{
			"pattern with look-ahead", &lambda.GetAliasRequest{FunctionName: new("f"), Name: new("123")},
			one + "'123' at 'name'" + fails + "satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
		},
		{"pattern with look-ahead, kept", &lambda.GetAliasRequest{FunctionName: new("f"), Name: new("v123")}, ""},
		{
			"pattern with Java escapes", &iam.PutRolePolicyRequest{RoleName: new("r"), PolicyName: new("p"), PolicyDocument: new("{\u0100}")},
			one + "'{\u0100}' at 'policyDocument'" + fails + `satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`,
		},
		{
			"pattern of a session name", &sts.AssumeRoleRequest{RoleArn: repeat("a", 20), RoleSessionName: new("a b")},
			one + "'a b' at 'roleSessionName'" + fails + `satisfy regular expression pattern: [\w+=,.@-]*`,
		},
		{"an open enum is the operation's to check", &lambda.UpdateFunctionConfigurationRequest{FunctionName: new("f"), Runtime: new("cobol")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := violations(tt.in); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestManyViolations checks that the count is whole and the message bounded.
func TestManyViolations(t *testing.T) {
	tags := make([]secretsmanager.Tag, 1000)
	for i := range tags {
		tags[i].Key = new("")
	}
	got := violations(&secretsmanager.TagResourceRequest{SecretId: new("s"), Tags: tags})
	if !strings.HasPrefix(got, "1000 validation errors detected: ") || strings.Count(got, "; ") != 49 {
		t.Errorf("got %d entries in %s", strings.Count(got, "; ")+1, got[:60])
	}
}
