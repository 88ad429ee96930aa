package rotation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// crossing is a function on the contract that passes the RotationToken on if
// it is told to, past an SDK that may be too old to know of it.
const crossing = `
import boto3, json, os
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    print("doing", step)
    if step == "createSecret":
        def add(params, **_):
            params["body"] = json.dumps(json.loads(params["body"]) | {"RotationToken": event["RotationToken"]}).encode()
        if "PASS_TOKEN" in os.environ:
            sm.meta.events.register("before-call.secrets-manager.PutSecretValue", add)
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString="new-" + token, VersionStages=["AWSPENDING"])
    if step == "finishSecret":
        stages = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

// A function of another account rotates a secret once every side has agreed:
// it runs and logs in its own account, under its own role, and is recognised
// by the RotationToken alone.
func TestRotationAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, options(t))
	other := s.NewAccount(t, foreign)
	away := other.NewFunction(t, apitest.PythonCode(t, "away", crossing))
	const awayRole = "arn:aws:iam::" + foreign + ":role/away-role"
	key, err := s.KMS.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: document(t,
		statement{Principal: map[string]string{"AWS": apitest.Account}, Action: "kms:*", Resource: "*"},
		statement{Principal: map[string]string{"AWS": awayRole}, Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: "*"},
	)})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("shared"), SecretString: aws.String("first"), KmsKeyId: key.KeyMetadata.Arn,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, arn: *made.ARN}

	// Its policy admits Secrets Manager, but not yet who turns rotation on.
	_, err = s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &away})
	const refused = "User: arn:aws:iam::" + apitest.Account + ":root is not authorized to perform: lambda:InvokeFunction on resource: "
	if err == nil || !strings.Contains(err.Error(), refused+away+" because no resource-based policy allows the lambda:InvokeFunction action") {
		t.Errorf("without the account's permission: got %v", err)
	}
	_, err = other.Lambda.AddPermission(t.Context(), &lambda.AddPermissionInput{
		FunctionName: &away, StatementId: aws.String("home"), Action: aws.String("lambda:InvokeFunction"), Principal: aws.String(apitest.Account),
	})
	if err != nil {
		t.Fatal(err)
	}

	// The secret does not let the role in yet.
	token := w.begin(away)
	w.eventually("the rotation fails", func() bool { return slices.Contains(w.events(), "RotationFailed") })
	w.wantFailure("Error when executing lambda " + away + " during createSecret step")
	said := `AccessDeniedException) when calling the PutSecretValue operation: User: arn:aws:sts::` + foreign + `:assumed-role/away-role/away is not authorized to perform: ` +
		`secretsmanager:PutSecretValue on resource: ` + w.arn + ` because no resource-based policy allows the secretsmanager:PutSecretValue action`
	w.eventually("the function's log tells why", func() bool { return strings.Contains(logOf(t, other, "/aws/lambda/away"), said) })
	_, err = s.Logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/away")})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("the secret's account has a log of the function: %v", err)
	}
	_, err = s.Secrets.PutResourcePolicy(t.Context(), &secretsmanager.PutResourcePolicyInput{SecretId: &w.arn, ResourcePolicy: document(t,
		statement{Principal: map[string]string{"AWS": awayRole}, Action: fourActions, Resource: "*"},
	)})
	if err != nil {
		t.Fatal(err)
	}

	// Now it can write, and is not recognised.
	w.again(token)
	token = w.begin(away)
	text := "Pending secret version " + token + " for Secret " + w.arn + " was not created by Lambda " + away + ". Remove the AWSPENDING staging label and restart rotation"
	w.eventually("the rotation fails for its writer", func() bool { return w.failedWith(text) })

	_, err = other.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &away, Environment: &lambdatypes.Environment{Variables: map[string]string{"PASS_TOKEN": "yes"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = lambda.NewFunctionUpdatedV2Waiter(other.Lambda).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &away}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.again(token)
	token = w.begin(away)
	w.eventually("the rotation completes", func() bool { return w.rotatedTo(token) })
	if writer := w.writerOf(token); !strings.Contains(writer, `"type":"AWSAccount"`) || !strings.Contains(writer, `"accountId":"`+foreign) {
		t.Errorf("the value was put by %s, not from the other account", writer)
	}
}

// again takes AWSPENDING from a version, as the failure says to.
func (w *world) again(token string) {
	w.t.Helper()
	_, err := w.Secrets.UpdateSecretVersionStage(w.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &w.arn, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &token,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// logOf returns what a log group has, "" if there is none.
func logOf(t *testing.T, s *apitest.Server, group string) string {
	t.Helper()
	out, err := s.Logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group})
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, e := range out.Events {
		b.WriteString(*e.Message)
	}
	return b.String()
}

// failedWith reports whether some RotationFailed event has the text.
func (w *world) failedWith(text string) bool {
	w.t.Helper()
	out, err := w.Trail.LookupEvents(w.t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: lookup("EventName", "RotationFailed")})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.ContainsFunc(out.Events, func(e trailtypes.Event) bool { return strings.Contains(*e.CloudTrailEvent, text) })
}
