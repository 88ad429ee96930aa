package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
)

// leaky is a rotation function that prints what it must not.
const leaky = `
import boto3, os
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    value = sm.get_secret_value(SecretId=event["SecretId"])["SecretString"]
    print("the value is", value)
    raise ValueError("cannot use " + value)
`

// A rotation that fails is diagnosed at once: the report and the event tell
// what was found, without a word of the function's log, and nobody is recorded
// as having looked.
func TestDiagnosed(t *testing.T) {
	t.Parallel()
	const canary = "canary-5b1d9f"
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("ill"), SecretString: aws.String(canary)})
	if err != nil {
		t.Fatal(err)
	}
	function := s.NewFunction(t, apitest.PythonCode(t, "leaky", leaky))
	_, err = s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: out.ARN, RotationLambdaARN: &function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		t.Fatal(err)
	}
	pending := ""
	d, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: out.ARN})
	if err != nil {
		t.Fatal(err)
	}
	for id, labels := range d.VersionIdsToStages {
		if labels[0] == "AWSPENDING" {
			pending = id
		}
	}
	found := findingOf(t, s, *out.ARN, pending)
	if found == nil || found.Code == "" || found.Title == "" || len(found.Remedies) == 0 {
		t.Fatalf("got finding %+v", found)
	}
	if text, _ := json.Marshal(found); strings.Contains(string(text), canary) {
		t.Errorf("the finding quotes the function's log: %s", text)
	}
	records := trailOf(t, s)
	if !strings.Contains(records, `"Finding":"`+found.Code+`"`) {
		t.Errorf("no event names %s", found.Code)
	}
	for _, looked := range []string{"KeyturnDoctor", "SimulatePrincipalPolicy", canary} {
		if strings.Contains(records, looked) {
			t.Errorf("the trail has %q", looked)
		}
	}
}

// findingOf returns the finding in the report of a rotation's first failure.
func findingOf(t *testing.T, s *apitest.Server, secretARN, token string) (found *rotate.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := rotate.Follow(ctx, rotate.NewClients(s.Config), secretARN, token, time.Now())
	err := r.Watch(ctx, func(l rotate.Line) {
		t.Log(l.Text())
		if l.Report != nil && l.Report.Status == rotate.Retrying {
			found = l.Report.Finding
			cancel()
		}
	})
	if found == nil {
		t.Logf("the watch ended with %v", err)
	}
	return found
}

// trailOf is all that the trail has, as text.
func trailOf(t *testing.T, s *apitest.Server) string {
	t.Helper()
	var b strings.Builder
	pages := cloudtrail.NewLookupEventsPaginator(s.Trail, &cloudtrail.LookupEventsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			b.WriteString(aws.ToString(e.CloudTrailEvent))
			b.WriteByte('\n')
		}
	}
	return b.String()
}
