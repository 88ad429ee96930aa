package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
)

// world is a server with a database and a secret of one of its users.
type world struct {
	*apitest.Server
	t    testing.TB
	db   *pgserver.Server
	user apitest.User
	arn  string
}

func newWorld(t testing.TB, s *apitest.Server) *world {
	t.Helper()
	w := &world{Server: s, t: t, db: apitest.Database(t)}
	w.user = apitest.NewUser(t, w.db)
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("app/" + w.user.Name), SecretString: aws.String(w.user.Value(w.user.Password)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.arn = *out.ARN
	return w
}

func options(t testing.TB) apitest.Options {
	return apitest.Options{Interpreters: apitest.Interpreters(t), CABundle: []string{apitest.Database(t).CAFile}}
}

// configure turns rotation on without rotating and waits for the test of the
// configuration.
func (w *world) configure(function string, days int64) {
	w.t.Helper()
	_, err := w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &w.arn, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: &days},
	})
	if err != nil {
		w.t.Fatalf("configuring rotation: %v", err)
	}
	w.eventually("the configuration test ends", func() bool { return len(w.holders()["AWSPENDING"]) == 0 })
}

// rotate rotates and waits for the end; it returns the watch's error.
func (w *world) rotate() error {
	w.t.Helper()
	r, err := rotate.Start(w.t.Context(), rotate.NewClients(w.Config), w.arn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	return r.Watch(ctx, func(l rotate.Line) { w.t.Log(l.Text()) })
}

func (w *world) describe() *secretsmanager.DescribeSecretOutput {
	w.t.Helper()
	out, err := w.Secrets.DescribeSecret(w.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &w.arn})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// holders returns the versions that hold each label.
func (w *world) holders() map[string][]string {
	w.t.Helper()
	holders := map[string][]string{}
	for id, labels := range w.describe().VersionIdsToStages {
		for _, label := range labels {
			holders[label] = append(holders[label], id)
		}
	}
	return holders
}

// password returns the password in the version with the label.
func (w *world) password(label string) string {
	w.t.Helper()
	out, err := w.Secrets.GetSecretValue(w.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.arn, VersionStage: &label})
	if err != nil {
		w.t.Fatalf("reading %s: %v", label, err)
	}
	return apitest.PasswordIn(w.t, *out.SecretString)
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("still waiting: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// events returns the names of the secret's service events and rotation
// calls, oldest first.
func (w *world) events() []string {
	w.t.Helper()
	var names []string
	pages := cloudtrail.NewLookupEventsPaginator(w.Trail, &cloudtrail.LookupEventsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range page.Events {
			record := aws.ToString(e.CloudTrailEvent)
			rotation := strings.Contains(*e.EventName, "Rotat") // RotateSecret, RotationStarted, TestRotationStarted
			if rotation && strings.Contains(record, w.arn) {
				names = append(names, *e.EventName)
			}
		}
	}
	slices.Reverse(names)
	return names
}

// wantEvents demands that the secret's events are these.
func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.events()); diff != "" {
		w.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// proveRotated demands that the password changed to the current version's,
// that the old one is refused, and that the labels are as after a rotation.
func (w *world) proveRotated(old string) string {
	w.t.Helper()
	current := w.password("AWSCURRENT")
	if current == old {
		w.t.Fatal("the password did not change")
	}
	if err := w.user.Login(w.t.Context(), current); err != nil {
		w.t.Errorf("the new password does not log in: %v", err)
	}
	if w.user.Login(w.t.Context(), old) == nil {
		w.t.Error("the old password still logs in")
	}
	if got := w.password("AWSPREVIOUS"); got != old {
		w.t.Error("AWSPREVIOUS is not the old password")
	}
	holders := w.holders()
	if len(holders["AWSCURRENT"]) != 1 || len(holders["AWSPREVIOUS"]) != 1 || len(holders["AWSPENDING"]) != 0 {
		w.t.Errorf("labels after the rotation: %v", holders)
	}
	return current
}

// The examples in three languages rotate a real password, on both stores.
func TestRotatesRealPassword(t *testing.T) {
	stores := map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return apitest.StoreURL(t) }}
	functions := map[string]func(testing.TB, string) apitest.Function{
		"python": apitest.PythonRotation, "node": apitest.NodeRotation, "go": apitest.GoRotation,
	}
	if testing.Short() { // the race detector sees the same server whatever the language
		delete(functions, "node")
		delete(functions, "go")
	}
	for store, url := range stores {
		t.Run(store, func(t *testing.T) {
			o := options(t)
			o.StoreURL = url()
			s := apitest.Start(t, o)
			for language, function := range functions {
				t.Run(language, func(t *testing.T) {
					w := newWorld(t, s)
					w.configure(s.NewFunction(t, function(t, "rotate-"+language)), 30)
					if err := w.user.Login(t.Context(), w.user.Password); err != nil {
						t.Fatalf("the configuration test changed the password: %v", err)
					}
					old := w.user.Password
					for range 2 {
						if err := w.rotate(); err != nil {
							t.Fatal(err)
						}
						old = w.proveRotated(old)
					}
					want := []string{
						"RotateSecret", "TestRotationStarted", "TestRotationSucceeded",
						"RotateSecret", "RotationStarted", "RotationSucceeded",
						"RotateSecret", "RotationStarted", "RotationSucceeded",
					}
					w.wantEvents(want...)
				})
			}
		})
	}
}

// failing is a function on the contract that fails in one step, once or
// always, and otherwise does what a rotation without a service would do.
const failing = `
import boto3, os, time
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    if step == os.environ["FAIL_STEP"]:
        how = os.environ["FAIL_HOW"]
        if how == "raise":
            raise ValueError("no luck")
        if how == "hang":
            time.sleep(60)
        if how == "exit":
            os._exit(3)
        if how == "skip":
            return
    if step == "createSecret":
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString="new-" + token, VersionStages=["AWSPENDING"])
    if step == "finishSecret":
        stages = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

// A step that fails, in whatever way, stops the rotation: nothing is
// promoted, AWSPENDING stays, the event says which step, and a second
// RotateSecret is refused and makes the first go on.
func TestFailedStepNeverPromotes(t *testing.T) {
	s := apitest.Start(t, options(t))
	for i, tc := range []struct{ step, how string }{
		{"createSecret", "raise"}, {"setSecret", "raise"}, {"testSecret", "raise"}, {"finishSecret", "raise"},
		{"setSecret", "hang"}, {"testSecret", "exit"}, {"createSecret", "skip"}, {"finishSecret", "skip"},
	} {
		t.Run(tc.step+"/"+tc.how, func(t *testing.T) {
			t.Parallel()
			out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
				Name: aws.String(fmt.Sprintf("failing/%d", i)), SecretString: aws.String("first"),
			})
			if err != nil {
				t.Fatal(err)
			}
			w := &world{Server: s, t: t, arn: *out.ARN}
			f := apitest.PythonCode(t, fmt.Sprintf("failing-%d", i), failing)
			if tc.how == "hang" {
				f.Timeout = 4
			}
			f.Environment = map[string]string{"FAIL_STEP": tc.step, "FAIL_HOW": tc.how}
			function := s.NewFunction(t, f)
			rotated, err := s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &function})
			if err != nil {
				t.Fatal(err)
			}
			w.eventually("RotationFailed is recorded", func() bool { return slices.Contains(w.events(), "RotationFailed") })
			holders := w.holders()
			if got := holders["AWSCURRENT"]; len(got) != 1 || got[0] != *out.VersionId {
				t.Errorf("AWSCURRENT is on %v, want the first version", got)
			}
			if got := holders["AWSPENDING"]; len(got) != 1 || got[0] != *rotated.VersionId {
				t.Errorf("AWSPENDING is on %v, want the rotation's version", got)
			}
			w.wantFailure("Error when executing lambda " + function + " during " + tc.step + " step")
			_, err = s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn})
			invalid, ok := errors.AsType[*smtypes.InvalidRequestException](err)
			if !ok || invalid.ErrorMessage() != "A previous rotation isn't complete. That rotation will be reattempted." {
				t.Errorf("a second RotateSecret: %v", err)
			}
		})
	}
}

// wantFailure demands that the last RotationFailed event says text.
func (w *world) wantFailure(text string) {
	w.t.Helper()
	out, err := w.Trail.LookupEvents(w.t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: lookup("EventName", "RotationFailed")})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range out.Events {
		if record := *e.CloudTrailEvent; strings.Contains(record, w.arn) {
			if !strings.Contains(record, `"errorMessage":"`+text+`"`) {
				w.t.Errorf("the event does not say %q:\n%s", text, record)
			}
			return
		}
	}
	w.t.Error("there is no RotationFailed event")
}
