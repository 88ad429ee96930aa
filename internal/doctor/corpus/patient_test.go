package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/doctor/probe"
	"github.com/keyturn/keyturn/internal/doctor/remedy"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const firstPassword = "first-Password-1"

// fault is a row of the corpus.
type fault struct {
	code, name string
	// short has it made in go test -short too.
	short bool
	// rotator is the built-in rotator that the function runs; "" for the
	// Python source. With alternating users there is a superuser's secret.
	rotator, python string
	env             map[string]string
	timeout         int32
	// user names the database user; "" for a fresh name.
	user string
	// broken changes the value before it is stored at all, make breaks what
	// worked: one of the two, or both.
	broken func(value map[string]any)
	make   func(p *patient)
	// act starts the rotation that fails; nil rotates and waits. It returns
	// the answer of a RotateSecret that was refused.
	act func(p *patient) *doctor.Request
	// probe has the doctor try the logins.
	probe bool
	// fix does what the remedy leaves to a person; nil for nothing: the
	// actions of --fix are applied in any case.
	fix func(p *patient)
	// quiet marks faults that are told before a rotation fails, and risk those
	// that break nothing.
	quiet, risk bool
}

// patient is a secret whose rotation has a fault.
type patient struct {
	*apitest.Server
	t              *testing.T
	f              *fault
	db             *pgserver.Server
	name, user     string
	function, role string
	arn, super     string
	value          map[string]any
	token          string // of the last rotation
	key            string // of KMS, where the fault is about one
}

// newPatient makes the function, the database user and the secret, and turns
// rotation on, which works until the fault is made.
func newPatient(t *testing.T, s *apitest.Server, db *pgserver.Server, f *fault) *patient {
	t.Helper()
	p := &patient{Server: s, t: t, f: f, db: db, name: rotatortest.Unique("corpus")}
	p.user, p.role = p.name, p.name+"-role"
	if f.user != "" {
		p.user = f.user
	}
	p.makeFunction()
	apitest.Exec(t, db, fmt.Sprintf("CREATE ROLE %q LOGIN PASSWORD '%s'", p.user, firstPassword))
	p.value = p.login(p.user, firstPassword)
	if strings.HasSuffix(f.rotator, ".alternating") {
		admin := p.name + "_admin"
		apitest.Exec(t, db, fmt.Sprintf("CREATE ROLE %q LOGIN SUPERUSER PASSWORD '%s'", admin, firstPassword))
		p.super = p.store(p.name+"/admin", p.login(admin, firstPassword))
		p.value["masterarn"] = p.super
	}
	if f.broken != nil {
		f.broken(p.value)
	}
	p.arn = p.store(p.name, p.value)
	p.configure()
	return p
}

func (p *patient) login(user, password string) map[string]any {
	return map[string]any{"engine": "postgres", "host": p.db.Host, "port": p.db.Port, "dbname": "postgres", "username": user, "password": password, "ssl": true}
}

func (p *patient) store(name string, value map[string]any) string {
	p.t.Helper()
	out, err := p.Secrets.CreateSecret(p.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(text(value))})
	p.must(err)
	return *out.ARN
}

func text(value map[string]any) string {
	b, _ := json.Marshal(value) // strings, numbers and booleans always marshal
	return string(b)
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) makeFunction() {
	p.t.Helper()
	f := rotatortest.Suite{Rotator: p.f.rotator, Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(p.t, p.db.CAFile)}}.Function(p.name)
	if p.f.rotator == "" {
		f = apitest.PythonCode(p.t, p.name, p.f.python)
		f.Environment = map[string]string{}
	}
	f.Timeout = p.f.timeout
	if p.f.env != nil {
		maps.Copy(f.Environment, p.f.env)
	}
	p.function = p.NewFunction(p.t, f)
}

// configure turns rotation on without rotating, and waits until the test of
// the configuration has ended, well or not.
func (p *patient) configure() {
	p.t.Helper()
	_, err := p.Secrets.RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &p.arn, RotationLambdaARN: &p.function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	p.must(err)
	p.eventually("the configuration test ends", func() bool { return p.version("AWSPENDING") == "" })
}

func (p *patient) eventually(what string, holds func() bool) {
	p.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("still waiting: %s", what)
		}
	}
}

// version returns the version with a label; "" for none.
func (p *patient) version(label string) string {
	p.t.Helper()
	d, err := p.Secrets.DescribeSecret(p.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &p.arn})
	p.must(err)
	for id, labels := range d.VersionIdsToStages {
		if slices.Contains(labels, label) {
			return id
		}
	}
	return ""
}

// rotate rotates until the rotation has ended, or failed for the first time.
func (p *patient) rotate() (log []string, err error) {
	p.t.Helper()
	r, err := rotate.Start(p.t.Context(), rotate.NewClients(p.Config), p.arn)
	if err != nil {
		return nil, err
	}
	p.token = r.Token
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	err = r.Watch(ctx, func(l rotate.Line) {
		log = append(log, l.Text())
		if l.Report != nil && l.Report.Status == rotate.Retrying {
			cancel()
		}
	})
	return log, err
}

// refuse asks for a rotation that is refused.
func refuse(p *patient, in *secretsmanager.RotateSecretInput, client *secretsmanager.Client) *doctor.Request {
	p.t.Helper()
	in.SecretId = &p.arn
	_, err := client.RotateSecret(p.t.Context(), in)
	refusal, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		p.t.Fatalf("got %v, want a refusal", err)
	}
	return &doctor.Request{Action: "RotateSecret", At: time.Now(), Code: refusal.ErrorCode(), Text: refusal.ErrorMessage()}
}

// diagnose asks the doctor. The function's last lines may be on their way.
func (p *patient) diagnose(asked *doctor.Request) (doctor.Diagnosis, *doctor.Evidence) {
	p.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		_, e := p.look()
		e.Request = asked
		d := doctor.Diagnose(e)
		if len(d.Findings) > 0 && d.Findings[0].Code == p.f.code || time.Now().After(end) {
			return d, e
		}
	}
}

func (p *patient) look() (doctor.Diagnosis, *doctor.Evidence) {
	p.t.Helper()
	e, err := gather.New(p.Config, gather.Options{Since: time.Hour}).Secret(p.t.Context(), p.arn)
	p.must(err)
	if p.f.probe {
		probe.Run(p.t.Context(), p.Config, e, probe.Options{Here: true, CABundle: p.db.CAFile})
	}
	return doctor.Diagnose(e), e
}

// silent demands that no report shows a password.
func (p *patient) silent(d doctor.Diagnosis, e *doctor.Evidence) string {
	p.t.Helper()
	var b bytes.Buffer
	p.must(doctor.WriteText(&b, d, e, doctor.TextOptions{Width: 120}))
	shown := b.String()
	p.must(doctor.WriteMarkdown(&b, d, e))
	p.must(json.NewEncoder(&b).Encode(struct {
		D doctor.Diagnosis
		E *doctor.Evidence
	}{d, e}))
	for _, label := range []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} {
		out, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.arn, VersionStage: &label})
		var value map[string]any
		if err != nil || out.SecretString == nil || json.Unmarshal([]byte(*out.SecretString), &value) != nil {
			continue
		}
		if password, _ := value["password"].(string); password != "" && strings.Contains(b.String(), password) {
			p.t.Errorf("the report shows the password of %s", label)
		}
	}
	return shown
}

// mend does what a person would, then what --fix does, and rotates.
func (p *patient) mend(d doctor.Diagnosis) {
	p.t.Helper()
	if p.f.fix != nil {
		p.f.fix(p)
	}
	surgeon := remedy.New(p.Config)
	for _, s := range remedy.Plan(d) {
		if _, err := surgeon.Apply(p.t.Context(), s.Action); err != nil && !errors.Is(err, remedy.ErrStale) {
			p.t.Fatalf("%s: %v", s.Action.Kind, err)
		}
	}
	if t := p.version("AWSPENDING"); t != "" && t != p.version("AWSCURRENT") && !p.f.risk {
		// What the report prints and leaves to a person who has looked.
		_, err := p.Secrets.UpdateSecretVersionStage(p.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: &p.arn, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &t,
		})
		p.must(err)
	}
	if log, err := p.rotate(); err != nil {
		p.t.Fatalf("after the remedy: %v\n%s", err, strings.Join(log, "\n"))
	}
}

// put stores a value with changes.
func (p *patient) put(changes map[string]any) {
	p.t.Helper()
	maps.Copy(p.value, changes)
	p.putText(text(p.value))
}

func (p *patient) putText(value string) {
	p.t.Helper()
	_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &p.arn, SecretString: &value})
	p.must(err)
}

// sql runs a statement as the database's superuser; %q is the user.
func (p *patient) sql(format string, args ...any) {
	p.t.Helper()
	apitest.Exec(p.t, p.db, fmt.Sprintf(format, args...))
}

// reconfigure changes the function's configuration and waits.
func (p *patient) reconfigure(change func(*lambda.UpdateFunctionConfigurationInput)) {
	p.t.Helper()
	in := &lambda.UpdateFunctionConfigurationInput{FunctionName: &p.name}
	change(in)
	_, err := p.Lambda.UpdateFunctionConfiguration(p.t.Context(), in)
	p.must(err)
	p.settled()
}

func (p *patient) settled() {
	p.t.Helper()
	p.must(lambda.NewFunctionUpdatedV2Waiter(p.Lambda).Wait(p.t.Context(), &lambda.GetFunctionInput{FunctionName: &p.name}, time.Minute))
}

// variables sets environment variables of the function beside those that it
// has; "" takes one away.
func (p *patient) variables(changes map[string]string) {
	p.t.Helper()
	c, err := p.Lambda.GetFunctionConfiguration(p.t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &p.name})
	p.must(err)
	all := map[string]string{}
	if c.Environment != nil {
		all = c.Environment.Variables
	}
	for name, value := range changes {
		if value == "" {
			delete(all, name)
		} else {
			all[name] = value
		}
	}
	p.reconfigure(func(in *lambda.UpdateFunctionConfigurationInput) {
		in.Environment = &lambdatypes.Environment{Variables: all}
	})
}

// code replaces the Python function's source.
func (p *patient) code(source string) {
	p.t.Helper()
	_, err := p.Lambda.UpdateFunctionCode(p.t.Context(), &lambda.UpdateFunctionCodeInput{
		FunctionName: &p.name, ZipFile: apitest.Zip(p.t, map[string][]byte{"lambda_function.py": []byte(source)}),
	})
	p.must(err)
	p.settled()
}

// rights replaces the role's policy by one that allows these actions.
func (p *patient) rights(actions ...string) {
	p.t.Helper()
	b, _ := json.Marshal(actions)
	_, err := p.IAM.PutRolePolicy(p.t.Context(), &iam.PutRolePolicyInput{
		RoleName: &p.role, PolicyName: aws.String("rights"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":` + string(b) + `,"Resource":"*"}}`),
	})
	p.must(err)
}

// shut keeps Secrets Manager from invoking the function.
func (p *patient) shut() {
	p.t.Helper()
	_, err := p.Lambda.RemovePermission(p.t.Context(), &lambda.RemovePermissionInput{FunctionName: &p.name, StatementId: aws.String("SecretsManager")})
	p.must(err)
}
