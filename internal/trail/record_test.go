package trail

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
)

// The recorded shape of a failed rotation (rotation.md section 3.1).
func TestServiceEventShape(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-a1b2c3"
	e := Event{
		ID: "e", Time: time.Date(2025, 3, 10, 8, 17, 48, 5e8, time.UTC), Type: ServiceEvent,
		Account: "111122223333", Region: "eu-west-1", Source: "secretsmanager.amazonaws.com", Name: "RotationFailed",
		Principal: iam.Principal{Type: iam.Service, Account: "111122223333", InvokedBy: "secretsmanager.amazonaws.com"},
		SourceIP:  "secretsmanager.amazonaws.com", UserAgent: "secretsmanager.amazonaws.com",
		ErrorMessage: "Error when executing lambda arn:aws:lambda:eu-west-1:111122223333:function:rot-pg during setSecret step",
		Additional:   json.RawMessage(`{"SecretId":"` + arn + `"}`), RequestID: "Rotation-" + arn + "-0f6f",
	}
	want := `{"eventVersion":"1.08","userIdentity":{"accountId":"111122223333","invokedBy":"secretsmanager.amazonaws.com"},` +
		`"eventTime":"2025-03-10T08:17:48Z","eventSource":"secretsmanager.amazonaws.com","eventName":"RotationFailed","awsRegion":"eu-west-1",` +
		`"sourceIPAddress":"secretsmanager.amazonaws.com","userAgent":"secretsmanager.amazonaws.com",` +
		`"errorMessage":"Error when executing lambda arn:aws:lambda:eu-west-1:111122223333:function:rot-pg during setSecret step",` +
		`"requestParameters":null,"responseElements":null,"additionalEventData":{"SecretId":"` + arn + `"},` +
		`"requestID":"Rotation-` + arn + `-0f6f","eventID":"e","readOnly":false,"eventType":"AwsServiceEvent","managementEvent":true,` +
		`"recipientAccountId":"111122223333","eventCategory":"Management"}`
	got, err := e.Record()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got.JSON)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseRecordRoundTrip(t *testing.T) {
	session := event("GetSecretValue", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	session.Principal = iam.Principal{
		Type: iam.AssumedRole, Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/r/fn",
		ID: "AROAX:fn", Name: "r", Session: "fn", RoleARN: "arn:aws:iam::123456789012:role/r", AccessKeyID: "ASIA",
	}
	root := event("CreateSecret", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	root.Principal = iam.Principal{Type: iam.Root, Account: "123456789012", ARN: "arn:aws:iam::123456789012:root", ID: "123456789012"}
	root.Resources = []Resource{{"AWS::SecretsManager::Secret", "arn:x"}}
	for _, e := range []*Event{event("DescribeSecret", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), session, root} {
		want, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRecord(want.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Name, diff)
		}
	}
}
