package secretsmanager

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
)

const (
	notFoundText = "Secrets Manager can't find the specified secret."
	markedText   = "You can't perform this operation on the secret because it was marked for deletion."
	replicaText  = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
	tokenText    = "You must provide a ClientRequestToken value. We recommend a UUID-type value."
	nameText     = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
	bothText     = "You can't specify both a binary secret value and a string secret value in the same secret."
	invokeText   = "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."
)

// withToken adds a token to the members of a request.
func withToken(members string) string {
	return `{` + members + `,"ClientRequestToken":"` + tok("new") + `"}`
}

// catalogue has the errors of reference 7 that need no special state beyond
// that of TestErrorCatalogue; {ARN} stands for the ARN of the secret "live".
var catalogue = []struct{ operation, body, code, text string }{
	{"GetSecretValue", `{"SecretId":"none"}`, "ResourceNotFoundException", notFoundText},
	{
		"GetSecretValue", `{"SecretId":"live","VersionStage":"nope"}`, "ResourceNotFoundException",
		"Secrets Manager can't find the specified secret value for staging label: nope",
	},
	{
		"GetSecretValue", `{"SecretId":"empty"}`, "ResourceNotFoundException",
		"Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
	},
	{
		"GetSecretValue", `{"SecretId":"live","VersionId":"` + tok("no") + `"}`, "ResourceNotFoundException",
		"Secrets Manager can't find the specified secret value for VersionId: " + tok("no"),
	},
	{
		"GetSecretValue", `{"SecretId":"live","VersionId":"` + tok("v1") + `","VersionStage":"other"}`, "InvalidRequestException",
		"You provided a VersionStage that is not associated to the provided VersionId.",
	},
	{"GetSecretValue", `{"SecretId":"gone"}`, "InvalidRequestException", markedText},
	{
		"CreateSecret", withToken(`"Name":"gone","SecretString":"x"`), "InvalidRequestException",
		"You can't create this secret because a secret with this name is already scheduled for deletion.",
	},
	{"CreateSecret", `{"Name":"n","SecretString":"x"}`, "InvalidRequestException", tokenText},
	{"UpdateSecret", `{"SecretId":"none","SecretString":"x"}`, "InvalidRequestException", tokenText},
	{"PutSecretValue", `{"SecretId":"none","SecretString":"x"}`, "InvalidRequestException", tokenText},
	{"RotateSecret", `{"SecretId":"none","SecretString":"x","Description":"d"}`, "InvalidParameterException", tokenText},
	{"RotateSecret", withToken(`"SecretId":"live"`), "InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."},
	{
		"RotateSecret", withToken(`"SecretId":"live","RotationLambdaARN":"` + function + `","RotationRules":{"AutomaticallyAfterDays":1,"ScheduleExpression":"rate(2 days)"}`),
		"InvalidParameterException", "You cannot specify both rotation frequency and schedule expression together.",
	},
	{
		"RotateSecret", withToken(`"SecretId":"live","RotationLambdaARN":"` + function + `","RotationRules":{"ScheduleExpression":"rate(3 hours)"}`),
		"InvalidParameterException", "Rate in hour should be least 4 and less than 24.",
	},
	{
		"RotateSecret", withToken(`"SecretId":"live","RotationLambdaARN":"arn:aws:lambda:eu-west-1:123456789012:function:f"`), "InvalidParameterException",
		"Invalid rotation Lambda ARN. Ensure the ARN matches format arn:aws:lambda:<region>:<account>:function:<functionName>.",
	},
	{"PutSecretValue", withToken(`"SecretId":"live"`), "InvalidRequestException", "You must provide either SecretString or SecretBinary."},
	{
		"DeleteSecret", `{"SecretId":"gone"}`, "InvalidRequestException",
		"You can't perform this operation on the secret because it was already scheduled for deletion.",
	},
	{"CreateSecret", withToken(`"Name":"live","SecretString":"x"`), "ResourceExistsException", "The operation failed because the secret live already exists."},
	{
		"PutSecretValue", `{"SecretId":"live","SecretString":"z","ClientRequestToken":"` + tok("v1") + `"}`, "ResourceExistsException",
		"You can't use ClientRequestToken " + tok("v1") + " because that value is already in use for a version of secret {ARN}.",
	},
	{
		"UpdateSecretVersionStage", `{"SecretId":"live","VersionStage":"AWSCURRENT","MoveToVersionId":"` + tok("v2") + `"}`, "InvalidParameterException",
		"The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version " + tok("v1") +
			", so you must explicitly reference that version in RemoveFromVersionId.",
	},
	{
		"UpdateSecretVersionStage", `{"SecretId":"live","VersionStage":"AWSCURRENT","RemoveFromVersionId":"` + tok("v1") + `"}`, "InvalidParameterException",
		"You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.",
	},
	{
		"UpdateSecretVersionStage", `{"SecretId":"live","VersionStage":"x","MoveToVersionId":"` + tok("no") + `"}`, "ResourceNotFoundException",
		"Secrets Manager can't find the specified secret value for VersionId: " + tok("no"),
	},
	{"CreateSecret", withToken(`"Name":"n","SecretBinary":"AA==","SecretString":"x"`), "InvalidParameterException", bothText},
	{"PutSecretValue", withToken(`"SecretId":"live","SecretBinary":"AA==","SecretString":"x"`), "InvalidParameterException", bothText},
	{"UpdateSecret", withToken(`"SecretId":"live","SecretBinary":"AA==","SecretString":"x"`), "InvalidParameterException", bothText},
	{"CreateSecret", withToken(`"Name":"n","KmsKeyId":"alias/none","SecretString":"x"`), "InvalidParameterException", "The operation failed because of an invalid KMS key: Invalid keyId"},
	{"UpdateSecret", withToken(`"SecretId":"live","KmsKeyId":"none"`), "InvalidParameterException", "The operation failed because of an invalid KMS key: Invalid keyId"},
	{"CreateSecret", withToken(`"Name":"n","AddReplicaRegions":[{"Region":"us-east-1"}]`), "InvalidParameterException", "Invalid replica region."},
	{"CreateSecret", withToken(`"Name":"n","AddReplicaRegions":[{}]`), "InvalidParameterException", "Invalid replica region."},
	{"ReplicateSecretToRegions", `{"SecretId":"live","AddReplicaRegions":[{"Region":"mars-north-1"}]}`, "InvalidParameterException", "Invalid replica region."},
	{
		"DeleteSecret", `{"SecretId":"live","ForceDeleteWithoutRecovery":true,"RecoveryWindowInDays":7}`, "InvalidParameterException",
		"You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
	},
	{
		"DeleteSecret", `{"SecretId":"live","RecoveryWindowInDays":6}`, "InvalidParameterException",
		"The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
	},
	{
		"DeleteSecret", `{"SecretId":"live","RecoveryWindowInDays":0}`, "InvalidParameterException",
		"The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
	},
	{"GetRandomPassword", `{"PasswordLength":3}`, "InvalidParameterException", "Password length is too short based on the required types."},
	{"GetRandomPassword", `{"ExcludeCharacters":"0123456789"}`, "InvalidParameterException", "All characters of the desired type have been excluded"},
	{
		"GetRandomPassword", `{"ExcludeNumbers":true,"ExcludePunctuation":true,"ExcludeUppercase":true,"ExcludeLowercase":true}`, "InvalidParameterException",
		"All characters have been excluded from selection",
	},
	{"PutResourcePolicy", `{"SecretId":"live","ResourcePolicy":"{}"}`, "MalformedPolicyDocumentException", "This policy has invalid syntax."},
	{"BatchGetSecretValue", `{}`, "InvalidParameterException", "Either 'SecretIdList' or 'Filters' must be provided, but not both."},
	{
		"BatchGetSecretValue", `{"SecretIdList":["live"],"MaxResults":1}`, "InvalidParameterException",
		"'Filters' not specified. 'Filters' must also be specified when 'MaxResults' is provided.",
	},
	{"ListSecrets", `{"NextToken":"made-up"}`, "InvalidNextTokenException", "The NextToken value is invalid."},
	{"ListSecretVersionIds", `{"SecretId":"live","NextToken":"made-up"}`, "InvalidNextTokenException", "The NextToken value is invalid."},
	{"BatchGetSecretValue", `{"SecretIdList":["live"],"NextToken":"x"}`, "InvalidNextTokenException", "The NextToken value is invalid."},
	{"ListSecrets", `{"Filters":[{"Values":["x"]}]}`, "InvalidParameterException", "Invalid filter key"},
	{"ListSecrets", `{"Filters":[{"Key":"name"}]}`, "InvalidParameterException", "Invalid filter values for key: name"},
	{"TagResource", `{"SecretId":"live","Tags":[{"Key":"aws:x","Value":"y"}]}`, "InvalidParameterException", "Tag keys that start with aws: are reserved for AWS use."},
	{"StopReplicationToReplica", `{"SecretId":"live"}`, "InvalidParameterException", "The secret {ARN} isn't a replica."},
	{
		"RemoveRegionsFromReplication", `{"SecretId":"live","RemoveReplicaRegions":["eu-west-1"]}`, "InvalidParameterException",
		"The secret {ARN} isn't replicated to the region eu-west-1.",
	},
	{
		"RotateSecret", withToken(`"SecretId":"live","ExternalSecretRotationRoleArn":"arn:aws:iam::123456789012:role/r"`), "InvalidParameterException",
		"Rotation of managed external secrets is not supported…",
	},
	{"CancelRotateSecret", `{"SecretId":"live"}`, "InvalidRequestException", "You can't cancel rotation for a secret that does not have rotation configured."},
	{
		"CreateSecret", withToken(`"Name":"n","SecretString":""`), "ValidationException",
		"1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must have length greater than or equal to 1",
	},
	{"CreateSecret", withToken(`"Name":"n","SecretString":"` + strings.Repeat("é", 40000) + `"`), "ValidationException", "1 validation error detected: Value at 'secretString' failed…"},
}

// TestErrorCatalogue raises the errors of the catalogue; the others are in the
// tests of their operations.
func TestErrorCatalogue(t *testing.T) {
	b := newBench(t)
	address := b.create("live", "x")
	b.create("gone", "x")
	b.ok("DeleteSecret", `{"SecretId":"gone"}`)
	b.ok("CreateSecret", withToken(`"Name":"empty"`))
	b.put("live", "v2", "y", `["other"]`)
	for _, tc := range catalogue {
		b.refused(tc.operation, tc.body, tc.code, strings.ReplaceAll(tc.text, "{ARN}", address))
	}
	if b.wakes != 0 {
		t.Errorf("refused calls woke the rotation engine")
	}
	if got := b.labels("live"); got != "v1[AWSCURRENT] v2[other]" {
		t.Errorf("refused calls changed the secret: %s", got)
	}
}

// TestInvalidNames tries bad characters with every operation that takes a
// SecretId (reference 2.2).
func TestInvalidNames(t *testing.T) {
	b := newBench(t)
	more := map[string]string{
		"PutResourcePolicy":            `,"ResourcePolicy":"{}"`,
		"ValidateResourcePolicy":       `,"ResourcePolicy":"{}"`,
		"RemoveRegionsFromReplication": `,"RemoveReplicaRegions":["eu-west-1"]`,
		"ReplicateSecretToRegions":     `,"AddReplicaRegions":[{"Region":"eu-west-1"}]`,
		"TagResource":                  `,"Tags":[]`,
		"UntagResource":                `,"TagKeys":[]`,
		"UpdateSecretVersionStage":     `,"VersionStage":"x"`,
	}
	none := map[string]bool{"BatchGetSecretValue": true, "CreateSecret": true, "GetRandomPassword": true, "ListSecrets": true}
	for _, op := range b.Wire().Model.Operations {
		if none[op.Name] {
			continue
		}
		for _, id := range []string{"a b", " a", "a*", "a?", `a\\`, "a]", "a:b"} {
			b.refused(op.Name, `{"SecretId":"`+id+`"`+more[op.Name]+`}`, "ValidationException", nameText)
		}
	}
	b.refused("CreateSecret", withToken(`"Name":"a b"`), "ValidationException", nameText)
	b.ok("CreateSecret", withToken(`"Name":"!a/B_9+=.@-"`))
}

// TestLookup applies the rule of partial ARNs (reference 3.2).
func TestLookup(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"app", "app2", "Name-a1b2", "Name-a1b2c3", "Name-a1b2c3-"} {
		full := b.create(name, name)
		partial := full[:len(full)-7]
		if got := b.value(root, full); got != name {
			t.Errorf("%s by its ARN: got %s", name, got)
		}
		if name == "Name-a1b2c3" {
			b.refused("GetSecretValue", `{"SecretId":"`+partial+`"}`, "ResourceNotFoundException", notFoundText)
		} else if got := b.value(root, partial); got != name {
			t.Errorf("%s by a partial ARN: got %s", name, got)
		}
		b.refused("GetSecretValue", `{"SecretId":"`+full[:len(full)-3]+`"}`, "ResourceNotFoundException", notFoundText)
		b.refused("GetSecretValue", `{"SecretId":"`+strings.TrimPrefix(full, "arn:aws:secretsmanager:us-east-1:123456789012:secret:")+`"}`, "ResourceNotFoundException", notFoundText)
		b.refusedAs(rootAway, "GetSecretValue", `{"SecretId":"`+full+`"}`, "ResourceNotFoundException", notFoundText)
	}
	b.refused("GetSecretValue", `{"SecretId":"APP"}`, "ResourceNotFoundException", notFoundText)
	b.refused("GetSecretValue", `{"SecretId":"arn:aws:s3:::bucket"}`, "ResourceNotFoundException", notFoundText)
}

// TestDeniedComesFirst asks for another account's secrets, whether they exist
// or not.
func TestDeniedComesFirst(t *testing.T) {
	b := newBench(t)
	there := b.create("app", "x")
	for _, id := range []string{there, strings.Replace(there, "app", "none", 1)} {
		b.refusedAs(foreign, "GetSecretValue", `{"SecretId":"`+id+`"}`, "AccessDeniedException",
			"User: arn:aws:iam::999999999999:root is not authorized to perform: secretsmanager:GetSecretValue on resource: "+id+
				" because no resource-based policy allows the secretsmanager:GetSecretValue action")
	}
	b.refusedAs(foreign, "GetSecretValue", `{"SecretId":"app"}`, "ResourceNotFoundException", notFoundText)
}

func TestDisabledKey(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	b.ok("CreateSecret", withToken(`"Name":"s","KmsKeyId":"alias/k","SecretString":"x"`))
	for _, state := range []key.State{key.Disabled, key.PendingDeletion} {
		b.setKeyState(home, id, state)
		b.refused("GetSecretValue", `{"SecretId":"s"}`, "DecryptionFailure", "Secrets Manager can't decrypt…")
		b.refused("PutSecretValue", `{"SecretId":"s","SecretString":"y","ClientRequestToken":"`+tok("v2")+`"}`, "EncryptionFailure", "Secrets Manager can't encrypt…")
		b.refused("CreateSecret", `{"Name":"t","KmsKeyId":"alias/k","SecretString":"y","ClientRequestToken":"`+tok("v2")+`"}`, "EncryptionFailure", "Secrets Manager can't encrypt…")
	}
	b.setKeyState(home, id, key.Enabled)
	if got := b.value(root, "s"); got != "x" {
		t.Errorf("got %s, want the value again", got)
	}
}

// TestInternalErrorsAreHidden makes the rotation's function lookup fail.
func TestInternalErrorsAreHidden(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	b.cannot = errors.New("canary in the coal mine")
	_, refused := b.post(root, "RotateSecret", withToken(`"SecretId":"s","RotationLambdaARN":"`+function+`"`))
	if refused == nil || refused.status != 500 || refused.code != "InternalServiceError" || strings.Contains(refused.message, "canary") {
		t.Errorf("got %+v, want an internal error that tells nothing", refused)
	}
	if !strings.Contains(b.log.String(), "canary") {
		t.Error("the cause is not logged")
	}
}

func TestEveryKindHasACode(t *testing.T) {
	for _, k := range []fault.Kind{
		fault.NotFound, fault.Exists, fault.Parameter, fault.State, fault.Validation, fault.Denied, fault.Limit, fault.Conflict,
		fault.Precondition, fault.Policy, fault.PublicPolicy, fault.PageToken, fault.Decryption, fault.Encryption,
	} {
		if code, ok := codeOf(fault.New(k, "")); !ok || code == "" {
			t.Errorf("kind %q has no code", k)
		}
	}
	for code, want := range map[fault.Kind]int{fault.NotFound: 400, fault.Internal: 500} {
		if got := codes[code].Status; got != want {
			t.Errorf("kind %q has status %d, want %d", code, got, want)
		}
	}
}
