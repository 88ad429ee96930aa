package gather_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/rotate"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// canary is a password that must not be in any evidence.
const canary = "Canary-7f3a9c-password"

// kit is a server with secrets and functions.
type kit struct {
	*apitest.Server
	t testing.TB
}

func newKit(t testing.TB) *kit {
	return &kit{apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), t}
}

// secret makes a secret, and has it rotated by the function at once.
func (k *kit) secret(name, function string) (arn string) {
	k.t.Helper()
	out, err := k.Secrets.CreateSecret(k.t.Context(), &secretsmanager.CreateSecretInput{
		Name: &name, SecretString: aws.String(`{"engine":"postgres","username":"app","password":"` + canary + `"}`),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	_, err = k.Secrets.RotateSecret(k.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &name, RotationLambdaARN: &function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return *out.ARN
}

// reported waits until the engine's reports on the secret match a pattern.
func (k *kit) reported(arn, pattern string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	filter := fmt.Sprintf(`{ $.secretArn = %q && %s }`, arn, pattern)
	for {
		out, err := k.Logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(rotate.EngineGroup), FilterPattern: &filter})
		if err == nil && len(out.Events) > 0 {
			return
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("no report %s: %v", filter, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// gather collects the evidence as somebody, and searches it for the canary.
func (k *kit) gather(cfg aws.Config, id string) *doctor.Evidence {
	k.t.Helper()
	started := time.Now()
	e, err := gather.New(cfg, gather.Options{}).Secret(k.t.Context(), id)
	if err != nil {
		k.t.Fatal(err)
	}
	if took := time.Since(started); took > 3*time.Second {
		k.t.Errorf("gathering took %s", took)
	}
	b, err := json.Marshal(e)
	if err != nil {
		k.t.Fatal(err)
	}
	if strings.Contains(string(b), "7f3a9c") {
		k.t.Errorf("the evidence holds the password: %s", b)
	}
	return e
}

// leaky raises in setSecret, and its log holds what it must not.
const leaky = `
import boto3, json, os
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    value = sm.get_secret_value(SecretId=arn)["SecretString"]
    print(step + ": event", json.dumps(event))
    print(value)
    print(json.loads(value))
    print("connecting to postgresql://app:" + json.loads(value)["password"] + "@db:5432/x")
    if step == "createSecret":
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=value, VersionStages=["AWSPENDING"])
    if step == "setSecret":
        raise ValueError("ALTER USER app PASSWORD '" + json.loads(value)["password"] + "' failed")
`

func TestFailedRotation(t *testing.T) {
	k := newKit(t)
	f := apitest.PythonCode(t, "failing", leaky)
	f.Environment = map[string]string{"EXCLUDE_CHARACTERS": "@/", "OTHER": "other-value"}
	function := k.NewFunction(t, f)
	arn := k.secret("app/db", function)
	k.reported(arn, `$.status = "failed" && $.step = "setSecret"`)
	e := k.gather(k.Config, "app/db")
	if len(e.Gaps) > 0 {
		t.Errorf("got gaps %+v", e.Gaps)
	}
	if !e.Keyturn || e.Endpoint != k.URL || e.Account != apitest.Account || e.Region != apitest.Region || e.Partition != "aws" || !strings.HasSuffix(e.Caller, ":root") {
		t.Errorf("got keyturn %v at %s of %s %s %s as %s", e.Keyturn, e.Endpoint, e.Partition, e.Account, e.Region, e.Caller)
	}
	if s := e.Secret; !s.Found || s.ARN != arn || s.Name != "app/db" || !aws.ToBool(s.RotationEnabled) || s.FunctionARN != function || s.Rules.AfterDays != 30 {
		t.Errorf("got the secret %+v", s)
	}
	pending := e.Secret.Labels["AWSPENDING"]
	if len(e.Versions) != 2 || e.Versions[0].ID != pending || !e.Versions[0].HasValue || !slices.Contains(e.Versions[1].Labels, "AWSCURRENT") {
		t.Errorf("got the versions %+v", e.Versions)
	}
	k.wantEvents(e, pending)
	k.wantFunction(e, "failing")
	k.wantInvocations(e, pending)
	if e.Role == nil || !e.Role.Found || e.Role.Statements["rights"] == "" || !strings.Contains(e.Role.Trust, "lambda.amazonaws.com") {
		t.Errorf("got the role %+v", e.Role)
	}
	for _, want := range []string{"secretsmanager:PutSecretValue", "secretsmanager:GetRandomPassword", "logs:PutLogEvents"} {
		i := slices.IndexFunc(e.Role.Decisions, func(d doctor.Decision) bool { return d.Action == want })
		if i < 0 || e.Role.Decisions[i].Decision != "allowed" {
			t.Errorf("got the decisions %+v, want %s allowed", e.Role.Decisions, want)
		}
	}
	if e.Load == nil || e.Load.AccountLimit == 0 || e.Load.Secrets != 1 || e.Load.Peak != 1 || e.Load.MeanTook == 0 {
		t.Errorf("got the load %+v", e.Load)
	}
	if e.Network != nil || e.Stack != nil || e.Key != nil || e.Superuser != nil {
		t.Errorf("got network %v, stack %v, key %v, superuser %v of a secret without", e.Network, e.Stack, e.Key, e.Superuser)
	}
}

func (k *kit) wantEvents(e *doctor.Evidence, pending string) {
	k.t.Helper()
	failed := slices.IndexFunc(e.Events, func(v doctor.Event) bool { return v.Name == "RotationFailed" })
	if failed < 0 {
		k.t.Fatalf("got the events %+v", e.Events)
	}
	v := e.Events[failed]
	if !v.Service || v.Token != pending || v.SecretID != e.Secret.ARN || v.Invoker != "secretsmanager.amazonaws.com" || !strings.Contains(v.ErrorMessage, "during setSecret step") {
		k.t.Errorf("got the failure %+v", v)
	}
	put := slices.IndexFunc(e.Events, func(v doctor.Event) bool { return v.Name == "PutSecretValue" })
	if put < 0 || e.Events[put].Token != pending || !strings.HasSuffix(e.Events[put].Principal, ":assumed-role/failing-role/failing") {
		k.t.Errorf("got no PutSecretValue of the function among %+v", e.Events)
	}
	if len(e.Reports) < 4 || e.Reports[0].Status != "started" || e.Reports[0].Token != pending {
		k.t.Errorf("got the reports %+v", e.Reports)
	}
}

func (k *kit) wantFunction(e *doctor.Evidence, name string) {
	k.t.Helper()
	f := e.Function
	if f == nil || !f.Found || f.Name != name || f.Timeout != 30*time.Second || f.State != "Active" || !strings.HasPrefix(f.Runtime, "python") || f.ModifiedAt.IsZero() {
		k.t.Fatalf("got the function %+v", f)
	}
	if f.Variables["EXCLUDE_CHARACTERS"] != "@/" || f.Variables["OTHER"] != "" {
		k.t.Errorf("got the variables %v, want the value of the first alone", f.Variables)
	}
	if _, kept := f.Variables["OTHER"]; !kept {
		k.t.Error("the name of a variable is missing")
	}
	if !f.PolicyKnown || !strings.Contains(f.Policy, "secretsmanager.amazonaws.com") {
		k.t.Errorf("got the policy %q", f.Policy)
	}
	if f.Code == nil || !f.Code.HandlerFound || f.Code.PassesToken == nil || *f.Code.PassesToken {
		k.t.Errorf("got the code %+v", f.Code)
	}
}

func (k *kit) wantInvocations(e *doctor.Evidence, pending string) {
	k.t.Helper()
	if len(e.Invocations) < 2 {
		k.t.Fatalf("got the invocations %+v", e.Invocations)
	}
	for i, step := range []string{"createSecret", "setSecret"} {
		inv := e.Invocations[i]
		if inv.Step != step || inv.Token != pending || !inv.Complete || inv.Took == 0 || inv.MemoryMB != 128 || len(inv.Lines) == 0 {
			k.t.Errorf("got the invocation %+v, want %s", inv, step)
		}
	}
	last := e.Invocations[1].Lines
	if text := last[len(last)-1].Text; !strings.Contains(text, "ALTER USER app PASSWORD '***' failed") {
		k.t.Errorf("got the last line %q", text)
	}
}

// user makes one with a policy.
func (k *kit) user(name, policy string) aws.Config {
	k.t.Helper()
	cfg := k.NewUser(k.t, name)
	made, err := k.IAM.CreatePolicy(k.t.Context(), &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &policy})
	if err != nil {
		k.t.Fatal(err)
	}
	_, err = k.IAM.AttachUserPolicy(k.t.Context(), &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: made.Policy.Arn})
	if err != nil {
		k.t.Fatal(err)
	}
	return cfg
}

// A survey on Keyturn, and the list of what rotates.
func TestSurvey(t *testing.T) {
	k := newKit(t)
	bad := k.secret("bad", k.NewFunction(t, apitest.StepFunction(t, "raises", "setSecret", "raise")))
	good := k.secret("good", k.NewFunction(t, apitest.StepFunction(t, "works", "", "")))
	if _, err := k.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("plain"), SecretString: aws.String(canary)}); err != nil {
		t.Fatal(err)
	}
	k.reported(bad, `$.status = "failed"`)
	k.reported(good, `$.status = "succeeded"`)
	g := gather.New(k.Config, gather.Options{})
	ids, err := g.All(t.Context())
	if slices.Sort(ids); err != nil || !slices.Equal(ids, []string{bad, good}) {
		t.Errorf("got %v, %v", ids, err)
	}
	cfg := k.user("surveyor", gather.Policy("aws", apitest.Account, apitest.Region, ""))
	s, err := gather.New(cfg, gather.Options{}).Survey(t.Context())
	if err != nil || len(s.Secrets) != 2 || len(s.Gaps) > 0 || !s.Keyturn {
		t.Fatalf("got %+v, %v", s, err)
	}
	slices.SortFunc(s.Secrets, func(a, b doctor.Surveyed) int { return strings.Compare(a.Name, b.Name) })
	if x := s.Secrets[0]; x.Failures != 1 || x.LastFailure == nil || x.Pending == "" || x.Pending == x.Current || !x.SucceededAt.IsZero() || x.Function.Name != "raises" {
		t.Errorf("got %+v", x)
	}
	if x := s.Secrets[1]; x.Failures != 0 || x.SucceededAt.IsZero() || x.LastRotatedAt.IsZero() || x.Current == "" || x.Function.Name != "works" {
		t.Errorf("got %+v", x)
	}
	if _, err := gather.New(k.NewUser(t, "none"), gather.Options{}).Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "secretsmanager:ListSecrets") {
		t.Errorf("without permissions: got %v", err)
	}
}

// A call that is cancelled is an error, and no evidence with gaps.
func TestCancelled(t *testing.T) {
	k := newKit(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	if e, err := gather.New(k.Config, gather.Options{}).Secret(ctx, "x"); !errors.Is(err, errStop) || e != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := gather.New(k.Config, gather.Options{}).Survey(ctx); err == nil {
		t.Error("the survey did not stop")
	}
}

var errStop = errors.New("stop")
