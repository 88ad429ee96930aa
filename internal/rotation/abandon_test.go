package rotation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

func lookup(key, value string) []trailtypes.LookupAttribute {
	return []trailtypes.LookupAttribute{{AttributeKey: trailtypes.LookupAttributeKey(key), AttributeValue: &value}}
}

// start makes a secret whose rotation hangs in setSecret.
func startHanging(t *testing.T, s *apitest.Server, name string) (*world, string, string) {
	t.Helper()
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, arn: *out.ARN}
	f := apitest.PythonCode(t, name, failing)
	f.Timeout = 5
	f.Environment = map[string]string{"FAIL_STEP": "setSecret", "FAIL_HOW": "hang"}
	function := s.NewFunction(t, f)
	rotated, err := s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &function})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("createSecret stored its value", func() bool {
		_, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.arn, VersionId: rotated.VersionId})
		return err == nil
	})
	return w, *out.VersionId, *rotated.VersionId
}

// A value put by hand during a rotation ends it: the value stays current,
// AWSPENDING goes, RotationAbandoned is recorded and nothing is promoted.
func TestForeignValueAbandons(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, options(t))
	w, _, token := startHanging(t, s, "abandoned")
	put, err := s.Secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &w.arn, SecretString: aws.String("by hand")})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.events(), "RotationAbandoned") {
		t.Errorf("RotationAbandoned is not recorded: %v", w.events())
	}
	time.Sleep(6 * time.Second) // the hanging step times out meanwhile
	holders := w.holders()
	if got := holders["AWSCURRENT"]; !slices.Equal(got, []string{*put.VersionId}) {
		t.Errorf("AWSCURRENT is on %v, want the value put by hand", got)
	}
	if got := holders["AWSPENDING"]; len(got) != 0 {
		t.Errorf("AWSPENDING is on %v, want nowhere", got)
	}
	if events := w.events(); slices.Contains(events, "RotationFailed") || slices.Contains(events, "RotationSucceeded") {
		t.Errorf("the abandoned rotation went on: %v", events)
	}
	if _, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.arn, VersionId: &token}); err != nil {
		t.Errorf("the abandoned value is lost, though the database may have it: %v", err)
	}
}

// CancelRotateSecret stops the rotation before its next step and leaves the
// labels.
func TestCancelStops(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, options(t))
	w, first, token := startHanging(t, s, "cancelled")
	out, err := s.Secrets.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &w.arn})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.VersionId) != token {
		t.Errorf("got version %s, want the partial one %s", aws.ToString(out.VersionId), token)
	}
	time.Sleep(6 * time.Second)
	holders := w.holders()
	if !slices.Equal(holders["AWSCURRENT"], []string{first}) || !slices.Equal(holders["AWSPENDING"], []string{token}) {
		t.Errorf("labels after cancelling: %v", holders)
	}
	d, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &w.arn})
	if err != nil {
		t.Fatal(err)
	}
	if d.RotationEnabled == nil || *d.RotationEnabled || d.NextRotationDate != nil || d.RotationLambdaARN == nil {
		t.Errorf("after cancelling: enabled %v, next %v, function %v", d.RotationEnabled, d.NextRotationDate, d.RotationLambdaARN)
	}
}
