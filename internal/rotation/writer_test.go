package rotation_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// delegate is a role under which functions put values.
const delegate = "arn:aws:iam::123456789012:role/delegate"

// A function that puts the new value under another role is recognised by the
// RotationToken only. Without it the rotation fails before the next step, so
// that no database is touched; what the error says to do helps.
func TestPendingValueOfAnotherRole(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, options(t))
	r := newRecorder(t)
	without := s.NewFunction(t, r.function("without", map[string]string{"OTHER_ROLE": delegate}))
	with := s.NewFunction(t, r.function("with", map[string]string{"OTHER_ROLE": delegate, "PASS_TOKEN": "yes"}))
	_, err := s.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: aws.String("delegate"),
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":[` +
			`"arn:aws:iam::123456789012:role/with-role","arn:aws:iam::123456789012:role/without-role"]}}]}`),
	})
	if err == nil {
		_, err = s.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
			RoleName: aws.String("delegate"), PolicyName: aws.String("put"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"secretsmanager:PutSecretValue","Resource":"*"}}`),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	w := plain(t, s, "app")
	token := w.begin(without)
	w.eventually("the rotation fails", func() bool { return slices.Contains(w.events(), "RotationFailed") })
	w.wantFailure("Pending secret version " + token + " for Secret " + w.arn + " was not created by Lambda " + without +
		". Remove the AWSPENDING staging label and restart rotation")
	for _, row := range r.rows() {
		if row.Name != "createSecret" {
			t.Errorf("%s ran although the pending value was not the function's", row.Name)
		}
	}
	writer := w.writerOf(token)
	if !strings.Contains(writer, "assumed-role/delegate/") {
		t.Errorf("the value was put by %s, not under the other role: the test shows nothing", writer)
	}

	_, err = s.Secrets.UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &w.arn, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &token,
	})
	if err != nil {
		t.Fatal(err)
	}
	token = w.begin(with)
	w.eventually("the rotation completes", func() bool { return w.rotatedTo(token) })
	if got := r.steps(token); !slices.Equal(got, allSteps) {
		t.Errorf("with the token: got steps %v, want %v", got, allSteps)
	}
	if writer := w.writerOf(token); !strings.Contains(writer, "assumed-role/delegate/") {
		t.Errorf("the value was put by %s, not under the other role", writer)
	}
}

// writerOf returns the record of the PutSecretValue of a version, which names
// its caller.
func (w *world) writerOf(version string) string {
	w.t.Helper()
	out, err := w.Trail.LookupEvents(w.t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: lookup("EventName", "PutSecretValue")})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range out.Events {
		if strings.Contains(*e.CloudTrailEvent, version) {
			return *e.CloudTrailEvent
		}
	}
	return "nobody"
}
