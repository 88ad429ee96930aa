package probe_test

import (
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/probe"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

const rotatorName = "postgres.single"

// newWorld makes a secret that rotates by a built-in rotator.
func newWorld(t *testing.T, s *apitest.Server) (*rotatortest.World, *doctor.Evidence, *pgserver.Server) {
	t.Helper()
	db := apitest.Database(t)
	user := apitest.NewUser(t, db)
	target := &rotatortest.Target{Secret: map[string]any{}}
	if err := json.Unmarshal([]byte(user.Value(user.Password)), &target.Secret); err != nil {
		t.Fatal(err)
	}
	suite := rotatortest.Suite{Rotator: rotatorName, Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)}}
	name := rotatortest.Unique("rotate")
	w := rotatortest.NewWorld(t, s, target, s.NewFunction(t, suite.Function(name)))
	d, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &w.ARN})
	if err != nil {
		t.Fatal(err)
	}
	e := &doctor.Evidence{
		Secret:   doctor.Secret{ARN: w.ARN, FunctionARN: *d.RotationLambdaARN},
		Function: &doctor.Function{ARN: *d.RotationLambdaARN, Name: name, Rotator: rotatorName, Variables: suite.Environment},
	}
	return w, e, db
}

// byLabel are the probes from one place.
func byLabel(e *doctor.Evidence, from string) map[string]doctor.Probe {
	all := map[string]doctor.Probe{}
	for _, p := range e.Probes {
		if p.From == from {
			all[p.Label] = p
		}
	}
	return all
}

// put stores a value under a label.
func put(t *testing.T, w *rotatortest.World, value, label string) {
	t.Helper()
	_, err := w.Secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &w.ARN, SecretString: &value, VersionStages: []string{label}})
	if err != nil {
		t.Fatal(err)
	}
}

// silent demands that evidence holds none of the passwords.
func silent(t *testing.T, e *doctor.Evidence, passwords ...any) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range passwords {
		if strings.Contains(string(text), p.(string)) {
			t.Error("the evidence holds a password")
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	w, e, _ := newWorld(t, s)
	first := w.Value("AWSCURRENT")
	if lines, err := w.Rotate(); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	cur := w.Value("AWSCURRENT")
	pending := map[string]any{}
	for k, v := range cur {
		pending[k] = v
	}
	pending["password"] = "canary-Password-9"
	text, err := json.Marshal(pending)
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, string(text), "AWSPENDING")
	e.Invocations = []doctor.Invocation{{Lines: []doctor.Line{{Text: "connecting with " + cur["password"].(string) + ", then canary-Password-9"}}}}
	probe.Run(t.Context(), s.Config, e, probe.Options{Here: true, InFunction: true})
	if got := e.Invocations[0].Lines[0].Text; got != "connecting with ****, then ****" {
		t.Error("the function's line holds more than it should")
	}
	if len(e.Gaps) > 0 {
		t.Errorf("got gaps %+v", e.Gaps)
	}
	for _, from := range []string{"here", "function"} {
		probes := byLabel(e, from)
		if p, ok := probes["AWSPREVIOUS"]; ok {
			t.Errorf("%s: AWSPREVIOUS was tried although AWSCURRENT logs in: got %+v", from, p)
		}
		for label, want := range map[string]bool{"AWSCURRENT": true, "AWSPENDING": false} {
			p, ok := probes[label]
			if !ok || p.LogsIn != want || p.Method != "SCRAM-SHA-256" || !p.PlainRefused || p.VersionID == "" {
				t.Errorf("%s, %s: got %+v, want logs in %v", from, label, p, want)
			}
			if last := p.Stages[len(p.Stages)-1]; !want && (last.Name != "auth" || last.Cause != "authentication" || last.Code != "28P01") {
				t.Errorf("%s, %s: got the last stage %+v", from, label, last)
			}
		}
	}
	if len(e.Values) != 3 || e.Values[0].Label != "AWSCURRENT" || !e.Values[0].Object || e.Values[0].Username != cur["username"] || e.Values[0].PasswordLength != 32 {
		t.Errorf("got values %+v", e.Values)
	}
	silent(t, e, first["password"], cur["password"], "canary-Password-9")
}

// TestFunctionRefuses asks a function about secrets that are not its own.
func TestFunctionRefuses(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	_, mine, _ := newWorld(t, s)
	other, theirs, _ := newWorld(t, s)
	for _, c := range []struct{ name, secret, want string }{
		{"another function's secret", other.ARN, "does not rotate by this function"},
		{"no ARN", "app/user", "needs the secret's ARN"},
		{"no secret", mine.Secret.ARN + "x", ""},
	} {
		payload, err := json.Marshal(map[string]string{"Step": "probe", "SecretId": c.secret})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &mine.Secret.FunctionARN, Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		if out.FunctionError == nil || !strings.Contains(string(out.Payload), c.want) {
			t.Errorf("%s: got %s, want %q refused", c.name, out.Payload, c.want)
		}
	}
	theirs.Secret.FunctionARN = mine.Secret.FunctionARN
	probe.Run(t.Context(), s.Config, theirs, probe.Options{InFunction: true})
	if len(theirs.Probes) > 0 || len(theirs.Gaps) != 1 || !strings.Contains(theirs.Gaps[0].Error, "does not rotate by this function") {
		t.Errorf("got %+v and %+v, want a gap", theirs.Probes, theirs.Gaps)
	}
}

// TestNotBuiltIn sends nothing to functions that do not know the question.
func TestNotBuiltIn(t *testing.T) {
	t.Parallel()
	e := &doctor.Evidence{Secret: doctor.Secret{FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:own"}, Function: &doctor.Function{}}
	probe.Run(t.Context(), aws.Config{}, e, probe.Options{InFunction: true})
	if len(e.Gaps) != 1 || e.Gaps[0].Denied || e.Gaps[0].Action != "lambda:InvokeFunction" {
		t.Errorf("got gaps %+v", e.Gaps)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	w, e, _ := newWorld(t, s)
	nobody := s.NewUser(t, "nobody")
	probe.Run(t.Context(), nobody, e, probe.Options{Here: true, InFunction: true})
	if len(e.Gaps) != 2 || !e.Gaps[0].Denied || !e.Gaps[1].Denied || e.Gaps[0].Action != "secretsmanager:DescribeSecret" {
		t.Errorf("got gaps %+v", e.Gaps)
	}
	e.Gaps = nil
	e.Secret.ARN = w.ARN + "x"
	probe.Run(t.Context(), s.Config, e, probe.Options{Here: true})
	if len(e.Gaps) != 1 || e.Gaps[0].Denied || len(e.Values) > 0 {
		t.Errorf("no such secret: got %+v", e.Gaps)
	}
}

// TestSuperuser follows masterarn.
func TestSuperuser(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	w, e, db := newWorld(t, s)
	admin, err := json.Marshal(map[string]any{"engine": "postgres", "host": db.Host, "port": db.Port, "username": pgserver.Superuser, "password": db.Password})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("admin"), SecretString: aws.String(string(admin))})
	if err != nil {
		t.Fatal(err)
	}
	cur := w.Value("AWSCURRENT")
	cur["masterarn"] = *out.ARN
	text, err := json.Marshal(cur)
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, string(text), "AWSCURRENT")
	probe.Run(t.Context(), s.Config, e, probe.Options{Here: true})
	probes := byLabel(e, "here")
	if p := probes["superuser"]; !p.LogsIn || p.Username != pgserver.Superuser {
		t.Errorf("got the superuser's %+v", p)
	}
	if p := probes["AWSCURRENT"]; !p.LogsIn || p.Verifier != "SCRAM-SHA-256" {
		t.Errorf("got the user's %+v", p)
	}
	if e.Superuser == nil || e.Superuser.ARN != *out.ARN || !e.Superuser.Found {
		t.Errorf("got %+v", e.Superuser)
	}
	same := map[string][]string{}
	for _, v := range e.Values {
		same[v.Label] = v.SamePassword
	}
	if want := map[string][]string{"AWSCURRENT": {"AWSPREVIOUS"}, "AWSPREVIOUS": {"AWSCURRENT"}, "superuser": nil}; !cmp.Equal(same, want) {
		t.Errorf("got the same passwords %v, want %v", same, want)
	}
	silent(t, e, cur["password"], db.Password)
}

// address is where a server of this host listens.
func address(t *testing.T, db *pgserver.Server) string {
	t.Helper()
	return net.JoinHostPort(db.Host, strconv.Itoa(db.Port))
}
