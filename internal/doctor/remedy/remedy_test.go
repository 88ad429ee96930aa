package remedy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/remedy"
	"github.com/keyturn/keyturn/internal/rotate"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// patient is a secret whose rotation fails in setSecret, until cured.
type patient struct {
	*apitest.Server
	t                *testing.T
	surgeon          *remedy.Surgeon
	secret, function string
	// first is the current version, pending the one that failed.
	first, pending string
}

func newPatient(t *testing.T, s *apitest.Server, name string) *patient {
	t.Helper()
	p := &patient{Server: s, t: t, surgeon: remedy.New(s.Config)}
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	p.secret, p.first = *out.ARN, *out.VersionId
	p.function = s.NewFunction(t, apitest.StepFunction(t, name, "setSecret", "raise"))
	return p
}

// fail rotates, which leaves a pending version with a value.
func (p *patient) fail() {
	p.t.Helper()
	out, err := p.Secrets.RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &p.secret, RotationLambdaARN: &p.function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.pending = *out.VersionId
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.secret, VersionId: &p.pending})
		if err == nil {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the pending version got no value: %v", err)
		}
	}
}

// cure makes the function work.
func (p *patient) cure() {
	p.t.Helper()
	_, err := p.Lambda.UpdateFunctionConfiguration(p.t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &p.function, Environment: &types.Environment{Variables: map[string]string{}}})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) labels() map[string][]string {
	p.t.Helper()
	d, err := p.Secrets.DescribeSecret(p.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &p.secret})
	if err != nil {
		p.t.Fatal(err)
	}
	return d.VersionIdsToStages
}

// apply demands that a change is made, and that the same again is stale.
func (p *patient) apply(a doctor.Action, want string) {
	p.t.Helper()
	a.Secret = p.secret
	done, err := p.surgeon.Apply(p.t.Context(), a)
	if err != nil || !strings.Contains(done, want) {
		p.t.Fatalf("%s: got %q, %v; want %q", a.Kind, done, err, want)
	}
	if a.Kind == doctor.AddPermission {
		return // another statement can always be added
	}
	if done, err := p.surgeon.Apply(p.t.Context(), a); !errors.Is(err, remedy.ErrStale) {
		p.t.Errorf("%s again: got %q, %v; want that it is stale", a.Kind, done, err)
	}
}

func TestRemovePending(t *testing.T) {
	t.Parallel()
	p := newPatient(t, apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), "stuck")
	p.fail()
	_, err := p.surgeon.Apply(t.Context(), doctor.Action{Kind: doctor.RemovePending, Secret: p.secret, Version: p.first})
	if !errors.Is(err, remedy.ErrStale) {
		t.Errorf("for the current version: got %v, want that it is stale", err)
	}
	p.cure()
	p.apply(doctor.Action{Kind: doctor.RemovePending, Version: p.pending}, "removed AWSPENDING from version "+p.pending)
	if got := p.labels(); len(got[p.pending]) != 0 || !slices.Contains(got[p.first], "AWSCURRENT") {
		t.Errorf("got labels %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.surgeon.Verify(ctx, p.secret, func(l rotate.Line) { t.Log(l.Text()) }); err != nil {
		t.Error(err)
	}
}

func TestPromotePending(t *testing.T) {
	t.Parallel()
	p := newPatient(t, apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), "ahead")
	p.fail()
	p.apply(doctor.Action{Kind: doctor.PromotePending, Version: p.pending}, "moved AWSCURRENT from version "+p.first+" to "+p.pending)
	got := p.labels()
	if !slices.Contains(got[p.pending], "AWSCURRENT") || !slices.Contains(got[p.first], "AWSPREVIOUS") {
		t.Errorf("got labels %v", got)
	}
}

func TestFunction(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	p := newPatient(t, s, "function")
	p.apply(doctor.Action{Kind: doctor.RaiseTimeout, Function: p.function, Seconds: 60}, "from 3 to 60 seconds")
	p.apply(doctor.Action{Kind: doctor.RaiseMemory, Function: p.function, MB: 512}, "from 128 to 512 MB")
	_, err := s.Lambda.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &p.function, ReservedConcurrentExecutions: aws.Int32(0)})
	if err != nil {
		t.Fatal(err)
	}
	p.apply(doctor.Action{Kind: doctor.FreeConcurrency, Function: p.function}, "which was 0")
	// newPatient has permitted Secrets Manager under another name.
	p.apply(doctor.Action{Kind: doctor.AddPermission, Function: p.function}, "SecretsManagerRotation to")
	p.apply(doctor.Action{Kind: doctor.AddPermission, Function: p.function}, "SecretsManagerRotation2 to")
	policy, err := s.Lambda.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: &p.function})
	if err != nil {
		t.Fatal(err)
	}
	if text := *policy.Policy; strings.Count(text, `"AWS:SourceAccount":"`+apitest.Account+`"`) != 2 {
		t.Errorf("got policy %s", text)
	}
	qualified := doctor.Action{Kind: doctor.RaiseTimeout, Secret: p.secret, Function: p.function + ":live", Seconds: 90}
	if _, err := p.surgeon.Apply(t.Context(), qualified); !errors.Is(err, remedy.ErrStale) {
		t.Errorf("an alias: got %v, want that nothing is done", err)
	}
	if _, err := p.surgeon.Apply(t.Context(), doctor.Action{Kind: "delete everything", Secret: p.secret}); err == nil {
		t.Error("an unknown action was applied")
	}
}

func TestPlan(t *testing.T) {
	first := func(a doctor.Action) []doctor.Remedy {
		return []doctor.Remedy{{Text: "do it", Action: &a}, {Action: &doctor.Action{Kind: doctor.FreeConcurrency}}}
	}
	remove := doctor.Action{Kind: doctor.RemovePending, Secret: "s", Version: "v", Rotates: true}
	permit := doctor.Action{Kind: doctor.AddPermission, Secret: "s", Function: "f"}
	d := doctor.Diagnosis{Findings: []doctor.Finding{
		{Code: "D48", Remedies: first(remove)},
		{Code: "D10", Remedies: []doctor.Remedy{{Text: "a person's"}, {Action: &doctor.Action{Kind: doctor.RaiseMemory}}}},
		{Code: "D20", Remedies: first(permit)},
		{Code: "D22", Remedies: first(doctor.Action{Kind: doctor.RemovePending, Secret: "s", Version: "v"})},
		{Code: "D40", Remedies: first(doctor.Action{Kind: doctor.PromotePending, Secret: "s", Version: "v"})},
		{Code: "D50"},
		{Code: "D44", Remedies: first(doctor.Action{Kind: doctor.FreeConcurrency, Secret: "s"})}, // names no function
	}}
	plan := remedy.Plan(d)
	want := []remedy.Step{{Action: permit, Code: "D20", Text: "do it"}, {Action: remove, Code: "D48", Text: "do it"}}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if !remedy.Rotates(plan) || remedy.Rotates(plan[:1]) {
		t.Error("only the second step rotates")
	}
}

// The list of what is ever called is closed: it is this one, and the clients
// refuse the rest before anything is sent.
func TestOperations(t *testing.T) {
	want := []string{
		"cloudtrail:LookupEvents", "lambda:AddPermission", "lambda:DeleteFunctionConcurrency", "lambda:GetFunctionConcurrency",
		"lambda:GetFunctionConfiguration", "lambda:GetPolicy", "lambda:UpdateFunctionConfiguration", "logs:FilterLogEvents",
		"secretsmanager:DescribeSecret", "secretsmanager:RotateSecret", "secretsmanager:UpdateSecretVersionStage",
	}
	if diff := cmp.Diff(want, remedy.Operations()); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	cfg := remedy.Restricted(apitest.ConfigFor("http://127.0.0.1:1", apitest.Region))
	_, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
	if err == nil || !strings.Contains(err.Error(), "secretsmanager:GetSecretValue is not one of the operations") {
		t.Errorf("GetSecretValue: got %v", err)
	}
	_, err = lambda.NewFromConfig(cfg).DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("f")})
	if err == nil || !strings.Contains(err.Error(), "lambda:DeleteFunction is not one of the operations") {
		t.Errorf("DeleteFunction: got %v", err)
	}
}
