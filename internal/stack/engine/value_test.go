package engine_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

// labels are where the staging labels of a secret are, and its value.
func (w *world) labels(name string) map[string]string {
	w.t.Helper()
	found := map[string]string{}
	d, err := w.Secrets.DescribeSecret(w.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
	w.must(err)
	for id, list := range d.VersionIdsToStages {
		for _, label := range list {
			found[label] = id
		}
	}
	v, err := w.Secrets.GetSecretValue(w.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
	w.must(err)
	found["value"] = *v.SecretString
	return found
}

// secretTemplate is a stack of one secret; more follows its resources.
func secretTemplate(value, more string) *string {
	return aws.String(`{"Resources":{"S":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":"s",` + value + `}}` + more + `}}`)
}

// trap is a resource that cannot be made, after another one.
func trap(after string) string {
	return `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"` + after + `","Properties":{"LogGroupName":"/taken"}}`
}

// A rollback makes the very version current again that was before, over
// several updates that failed.
func TestRollbackOfValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	name := aws.String("v")
	generated := `"GenerateSecretString":{"PasswordLength":20}`
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: secretTemplate(generated, "")}, types.StackStatusCreateComplete)
	first := w.labels("s")
	w.fail(*name, *secretTemplate(`"GenerateSecretString":{"PasswordLength":21}`, trap("S")))
	w.fail(*name, *secretTemplate(`"SecretString":"typed"`, trap("S")))
	if got := w.labels("s"); got["value"] != "typed" || got["AWSPREVIOUS"] == first["AWSCURRENT"] {
		t.Fatalf("got %v after two updates that failed", got)
	}
	_, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name})
	w.must(err)
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff(first, w.labels("s")); diff != "" {
		t.Errorf("after the rollback (-before +now):\n%s", diff)
	}
	// What is stable by now is where the next rollback leads.
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: secretTemplate(`"SecretString":"two"`, "")}, types.StackStatusUpdateComplete)
	second := w.labels("s")
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: secretTemplate(`"SecretString":"three"`, trap("S"))}, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff(second, w.labels("s")); diff != "" || second["AWSPREVIOUS"] != first["AWSCURRENT"] {
		t.Errorf("after the second rollback (-before +now):\n%s", diff)
	}
}

// An attachment that an update had made leaves the secret as it found it.
func TestRollbackOfAttachment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	_, err := w.RDS.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("db"), Engine: aws.String("postgres"), DBInstanceClass: aws.String("db.t3.micro"), MasterUsername: aws.String("root"),
		MasterUserPassword: aws.String("x"), Tags: []rdstypes.Tag{{Key: aws.String("keyturn:endpoint"), Value: aws.String("db.example.com")}},
	})
	w.must(err)
	value := `"GenerateSecretString":{"SecretStringTemplate":"{\"username\":\"u\"}","GenerateStringKey":"password"}`
	name := aws.String("a")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: secretTemplate(value, "")}, types.StackStatusCreateComplete)
	before := w.labels("s")
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: secretTemplate(value,
		`,"A":{"Type":"AWS::SecretsManager::SecretTargetAttachment","Properties":{"SecretId":{"Ref":"S"},"TargetId":"db","TargetType":"AWS::RDS::DBInstance"}}`+trap("A"))},
		types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff(before, w.labels("s")); diff != "" {
		t.Errorf("after the rollback (-before +now):\n%s", diff)
	}
}

// A value that a rotation has put meanwhile stays: the service behind the
// secret has it by now.
func TestRollbackAfterRotation(t *testing.T) {
	t.Parallel()
	runtime, python := apitest.Python(t)
	s := apitest.Start(t, apitest.Options{Interpreters: map[string]string{runtime: python}})
	w := &world{s, t}
	w.occupy()
	arn := s.NewFunction(t, apitest.StepFunction(t, "rotate", "", ""))
	name := aws.String("r")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: secretTemplate(`"SecretString":"one"`, "")}, types.StackStatusCreateComplete)
	w.fail(*name, *secretTemplate(`"SecretString":"two"`, trap("S")))
	out, err := w.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: aws.String("s"), RotationLambdaARN: &arn, RotationRules: nil, RotateImmediately: aws.Bool(true),
	})
	w.must(err)
	rotated := func() map[string]string { return w.labels("s") }
	for until := time.Now().Add(within); rotated()["AWSCURRENT"] != *out.VersionId || rotated()["AWSPENDING"] != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the secret was not rotated")
		}
	}
	before := rotated()
	_, err = w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name})
	w.must(err)
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff(before, rotated()); diff != "" {
		t.Errorf("after the rollback (-before +now):\n%s", diff)
	}
}
