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

// rotated waits until a secret has been rotated and nothing of that is left
// to do, and returns where its labels are by then.
func (w *world) rotated(name string, done func(map[string]string) bool) map[string]string {
	w.t.Helper()
	for until := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if l := w.labels(name); l["AWSPENDING"] == "" && done(l) {
			return l
		}
		if time.Now().After(until) {
			w.t.Fatal("the secret was not rotated")
		}
	}
}

// rotating is a world with a rotation function.
func rotating(t *testing.T) (w *world, function string) {
	t.Helper()
	runtime, python := apitest.Python(t)
	w = &world{apitest.Start(t, apitest.Options{Interpreters: map[string]string{runtime: python}}), t}
	w.occupy()
	return w, w.NewFunction(t, apitest.StepFunction(t, "rotate", "", ""))
}

// A value that a rotation has put meanwhile stays: the service behind the
// secret has it by now.
func TestRollbackAfterRotation(t *testing.T) {
	t.Parallel()
	w, arn := rotating(t)
	name := aws.String("r")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: secretTemplate(`"SecretString":"one"`, "")}, types.StackStatusCreateComplete)
	w.fail(*name, *secretTemplate(`"SecretString":"two"`, trap("S")))
	out, err := w.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String("s"), RotationLambdaARN: &arn})
	w.must(err)
	before := w.rotated("s", func(l map[string]string) bool { return l["AWSCURRENT"] == *out.VersionId })
	_, err = w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name})
	w.must(err)
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff(before, w.labels("s")); diff != "" {
		t.Errorf("after the rollback (-before +now):\n%s", diff)
	}
}

// A rollback changes the rules of a rotation back and rotates nothing; the
// rotation that the update had begun comes to its end.
func TestRollbackOfSchedule(t *testing.T) {
	t.Parallel()
	w, arn := rotating(t)
	schedule := func(days, more string) *string {
		return secretTemplate(`"SecretString":"one"`, `,"R":{"Type":"AWS::SecretsManager::RotationSchedule","Properties":{"SecretId":{"Ref":"S"},"RotationLambdaARN":"`+arn+
			`","RotationRules":{"AutomaticallyAfterDays":`+days+`}}}`+more)
	}
	name := aws.String("rs")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: schedule("7", "")}, types.StackStatusCreateComplete)
	first := w.rotated("s", func(l map[string]string) bool { return l["value"] != "one" })
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: schedule("8", trap("R"))}, types.StackStatusUpdateRollbackComplete)
	second := w.rotated("s", func(l map[string]string) bool { return l["AWSCURRENT"] != first["AWSCURRENT"] })
	if second["AWSPREVIOUS"] != first["AWSCURRENT"] {
		t.Errorf("the secret was rotated twice: %s, want %s to be the previous version", second["AWSPREVIOUS"], first["AWSCURRENT"])
	}
	d, err := w.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("s")})
	if err != nil || d.RotationRules == nil || aws.ToInt64(d.RotationRules.AutomaticallyAfterDays) != 7 {
		t.Errorf("got the rules %+v, %v, want 7 days", d.RotationRules, err)
	}
}
