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
	step := remedy.Step{Action: a, Current: p.first}
	done, err := p.surgeon.Apply(p.t.Context(), step)
	if err != nil || !strings.Contains(done, want) {
		p.t.Fatalf("%s: got %q, %v; want %q", a.Kind, done, err, want)
	}
	p.stale(step)
}

// stale demands that a change is not made.
func (p *patient) stale(step remedy.Step) {
	p.t.Helper()
	step.Action.Secret = p.secret
	if done, err := p.surgeon.Apply(p.t.Context(), step); !errors.Is(err, remedy.ErrStale) {
		p.t.Errorf("%s: got %q, %v; want that it is stale", step.Action.Kind, done, err)
	}
}

func TestRemovePending(t *testing.T) {
	t.Parallel()
	p := newPatient(t, apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), "stuck")
	p.fail()
	// The current version; one whose AWSCURRENT has moved; and nothing known.
	p.stale(remedy.Step{Action: doctor.Action{Kind: doctor.RemovePending, Version: p.first}, Current: p.first})
	p.stale(remedy.Step{Action: doctor.Action{Kind: doctor.RemovePending, Version: p.pending}, Current: "another"})
	p.stale(remedy.Step{Action: doctor.Action{Kind: doctor.RemovePending, Version: p.pending}})
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
	p.stale(remedy.Step{Action: doctor.Action{Kind: doctor.PromotePending, Version: p.pending}, Current: "another"})
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
	p.apply(doctor.Action{Kind: doctor.RaiseTimeout, Function: p.function, Seconds: 60}, "to 60 seconds")
	// newPatient has permitted Secrets Manager: nothing is to be added.
	permit := remedy.Step{Action: doctor.Action{Kind: doctor.AddPermission, Function: p.function}}
	p.stale(permit)
	_, err := s.Lambda.RemovePermission(t.Context(), &lambda.RemovePermissionInput{FunctionName: &p.function, StatementId: aws.String("SecretsManager")})
	if err != nil {
		t.Fatal(err)
	}
	p.apply(permit.Action, "SecretsManagerRotation to")
	policy, err := s.Lambda.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: &p.function})
	if err != nil {
		t.Fatal(err)
	}
	if text := *policy.Policy; !strings.Contains(text, `"AWS:SourceAccount":"`+apitest.Account+`"`) || !strings.Contains(text, p.secret) {
		t.Errorf("got policy %s", text)
	}
	p.stale(remedy.Step{Action: doctor.Action{Kind: doctor.RaiseTimeout, Function: p.function + ":live", Seconds: 90}})
	for _, kind := range []doctor.ActionKind{"delete everything", doctor.FreeConcurrency, doctor.RaiseMemory} {
		if _, err := p.surgeon.Apply(t.Context(), remedy.Step{Action: doctor.Action{Kind: kind, Secret: p.secret, Function: p.function, MB: 512}}); err == nil {
			t.Errorf("%s was applied", kind)
		}
	}
}

func TestPlan(t *testing.T) {
	a := func(kind doctor.ActionKind) *doctor.Action {
		return &doctor.Action{Kind: kind, Secret: "s", Function: "f", Version: "v", Seconds: 60, MB: 512}
	}
	finding := func(code string, c doctor.Confidence, a *doctor.Action) doctor.Finding {
		return doctor.Finding{Code: code, Confidence: c, Remedies: []doctor.Remedy{{Text: "do it", Action: a}, {Action: &doctor.Action{Kind: doctor.Rotate, Secret: "s"}}}}
	}
	shown := finding("D39", doctor.Certain, a(doctor.PromotePending))
	shown.Facts = []doctor.Fact{{Source: "probe"}}
	retrying := []doctor.Report{{Status: "failed", Step: "setSecret"}, {Status: "retrying"}}
	given := []doctor.Report{{Status: "failed", Step: "setSecret"}, {Status: "failed"}}
	for name, tc := range map[string]struct {
		findings []doctor.Finding
		reports  []doctor.Report
		want     string
	}{
		"in order, each once": {[]doctor.Finding{
			finding("D48", doctor.Certain, a(doctor.RemovePending)), finding("D20", doctor.Certain, a(doctor.AddPermission)),
			finding("D22", doctor.Certain, a(doctor.RemovePending)), {Code: "D50"},
		}, given, "D20 let Secrets Manager invoke the function, D48 remove AWSPENDING"},
		"the cause is a person's":        {[]doctor.Finding{finding("D17", doctor.Certain, nil), finding("D48", doctor.Certain, a(doctor.RemovePending))}, nil, ""},
		"the cause is not certain":       {[]doctor.Finding{finding("D02", doctor.Likely, a(doctor.RaiseTimeout))}, nil, ""},
		"not certain, beside one":        {[]doctor.Finding{finding("D20", doctor.Certain, a(doctor.AddPermission)), finding("D02", doctor.Possible, a(doctor.RaiseTimeout))}, nil, "D20 let Secrets Manager invoke the function"},
		"is tried again by itself":       {[]doctor.Finding{finding("D20", doctor.Certain, a(doctor.AddPermission)), finding("D48", doctor.Certain, a(doctor.RemovePending))}, retrying, "D20 let Secrets Manager invoke the function"},
		"nothing shows the live one":     {[]doctor.Finding{finding("D39", doctor.Certain, a(doctor.PromotePending))}, nil, ""},
		"a login shows the live one":     {[]doctor.Finding{shown, finding("D48", doctor.Certain, a(doctor.RemovePending))}, nil, "D39 make the pending version current"},
		"what is printed only":           {[]doctor.Finding{finding("D44", doctor.Certain, a(doctor.FreeConcurrency))}, nil, ""},
		"memory is printed only":         {[]doctor.Finding{finding("D52", doctor.Certain, a(doctor.RaiseMemory))}, nil, ""},
		"an action that names no target": {[]doctor.Finding{finding("D20", doctor.Certain, &doctor.Action{Kind: doctor.AddPermission, Secret: "s"})}, nil, ""},
	} {
		e := &doctor.Evidence{Reports: tc.reports}
		e.Secret.Labels = map[string]string{"AWSCURRENT": "now", "AWSPENDING": "v"}
		plan := remedy.Plan(doctor.Diagnosis{Findings: tc.findings}, e)
		var got []string
		for _, s := range plan {
			got = append(got, s.Code+" "+string(s.Action.Kind))
			if s.Current != "now" {
				t.Errorf("%s: the step does not know the current version", name)
			}
		}
		if text := strings.Join(got, ", "); text != tc.want {
			t.Errorf("%s: got %q, want %q", name, text, tc.want)
		}
		if e.Secret.Labels["AWSCURRENT"] = "moved"; len(remedy.Still(plan, remedy.Plan(doctor.Diagnosis{Findings: tc.findings}, e))) != 0 {
			t.Errorf("%s: the plan stands though AWSCURRENT has moved", name)
		}
	}
}

// The list of what is ever called is closed: it is this one, and the clients
// refuse the rest before anything is sent.
func TestOperations(t *testing.T) {
	want := []string{
		"cloudtrail:LookupEvents", "lambda:AddPermission",
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
