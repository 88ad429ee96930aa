// Package doctortest makes rotations fail for real, on a server with a
// database, and demands that the doctor names the cause, that its remedy
// cures, and that it finds nothing in rotations that are well.
package doctortest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// patient is a secret with its rotation function and all that they need, in
// good health until a fault makes it ill.
type patient struct {
	*apitest.Server
	t                   *testing.T
	name                string
	secret              string
	function, role, key string
	db                  *pgserver.Server
	user                apitest.User
	proxy               *rotatortest.Proxy
	// master is the superuser's secret; "" for none.
	master string
	// kept are the passwords that were put into its secrets.
	kept []string
	// refused is RotateSecret's own answer, if it was one.
	refused error
	// told is the finding in the engine's report of the failure.
	told *rotate.Finding
	// started is the version of the last rotation, asked for at asked.
	started string
	asked   time.Time
}

// plan says what a patient is made of.
type plan struct {
	// code is the function; the example's with a database if nil.
	code func(t *testing.T, name string) apitest.Function
	// edit changes the function before it is made.
	edit func(*apitest.Function)
	// value is the secret's, given the user; the user's own if nil.
	value func(p *patient) string
	// without leaves the secret without a value, binary gives it one of bytes.
	without, binary bool
	// throughProxy puts a proxy between function and database.
	throughProxy bool
	// rules are the rotation's; every 30 days if nil.
	rules *smtypes.RotationRulesType
}

// scrupulous is a rotation function that uses every permission of the
// official templates, without a service behind the secret.
const scrupulous = `
import boto3, os, time
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT") or os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    described = sm.describe_secret(SecretId=arn)
    stages = described["VersionIdsToStages"]
    if not described.get("RotationEnabled"):
        raise ValueError("Secret %s is not enabled for rotation" % arn)
    if token not in stages:
        raise ValueError("Secret version %s has no stage for rotation of secret %s." % (token, arn))
    if "AWSCURRENT" in stages[token]:
        return
    if "AWSPENDING" not in stages[token]:
        raise ValueError("Secret version %s not set as AWSPENDING for rotation of secret %s." % (token, arn))
    if step == "createSecret":
        sm.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")
        try:
            sm.get_secret_value(SecretId=arn, VersionId=token, VersionStage="AWSPENDING")
        except sm.exceptions.ResourceNotFoundException:
            password = sm.get_random_password(ExcludePunctuation=True)["RandomPassword"]
            sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=password, VersionStages=["AWSPENDING"])
    # HERE
    if step == "testSecret":
        sm.get_secret_value(SecretId=arn, VersionId=token, VersionStage="AWSPENDING")
    if step == "finishSecret":
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

// plain is the scrupulous function.
func plain(t *testing.T, name string) apitest.Function {
	return apitest.PythonCode(t, name, scrupulous)
}

// saying is the scrupulous function with Python lines of its own in the middle
// of a step.
func saying(step string, lines ...string) func(*testing.T, string) apitest.Function {
	return func(t *testing.T, name string) apitest.Function {
		body := "    if step == \"" + step + "\":\n        " + strings.Join(lines, "\n        ")
		return apitest.PythonCode(t, name, strings.Replace(scrupulous, "    # HERE", body, 1))
	}
}

// postgres is the example's function.
func postgres(t *testing.T, name string) apitest.Function {
	return apitest.PythonRotation(t, name)
}

// newPatient makes a patient in good health, as far as the plan goes.
func newPatient(t *testing.T, s *apitest.Server, name string, o plan) *patient {
	t.Helper()
	p := &patient{Server: s, t: t, name: name, role: name + "-role", db: apitest.Database(t)}
	p.user = apitest.NewUser(t, p.db)
	if o.throughProxy {
		p.proxy = rotatortest.NewProxy(t, net.JoinHostPort(p.db.Host, strconv.Itoa(p.db.Port)))
	}
	key, err := s.KMS.CreateKey(t.Context(), &kms.CreateKeyInput{})
	p.must(err)
	p.key = *key.KeyMetadata.Arn
	in := &secretsmanager.CreateSecretInput{Name: &name, KmsKeyId: &p.key}
	value := p.value()
	if o.value != nil {
		value = o.value(p)
	}
	p.keep(value)
	switch {
	case o.binary:
		in.SecretBinary = []byte(value)
	case !o.without:
		in.SecretString = &value
	}
	out, err := s.Secrets.CreateSecret(t.Context(), in)
	p.must(err)
	p.secret = *out.ARN
	if o.code == nil {
		o.code = postgres
	}
	f := o.code(t, name)
	f.NoPolicy, f.NoPermission = true, true
	if o.edit != nil {
		o.edit(&f)
	}
	p.function = s.NewFunction(t, f)
	p.give(p.rights()...)
	p.permit(nil)
	return p
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// fields are the members of the user's secret.
func (p *patient) fields() map[string]any {
	var v map[string]any
	_ = json.Unmarshal([]byte(p.user.Value(p.user.Password)), &v)
	if p.proxy != nil {
		v["port"] = p.proxy.Port
	}
	return v
}

func (p *patient) value() string { return object(p.fields()) }

// with is the user's secret with members changed; nil removes one.
func (p *patient) with(changes map[string]any) string {
	v := p.fields()
	for k, x := range changes {
		if x == nil {
			delete(v, k)
			continue
		}
		v[k] = x
	}
	return object(v)
}

func object(v any) string {
	b, _ := json.Marshal(v) // strings and numbers always marshal
	return string(b)
}

// statement is one of a policy.
type statement struct {
	Effect    string `json:",omitempty"`
	Principal any    `json:",omitempty"`
	Action    any
	Resource  any                          `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

func document(statements ...statement) *string {
	for i := range statements {
		if statements[i].Effect == "" {
			statements[i].Effect = "Allow"
		}
	}
	return new(object(map[string]any{"Version": "2012-10-17", "Statement": statements}))
}

// fourActions are what a rotation function does with its secret.
var fourActions = []string{
	"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
}

// rights are the statements of an execution role that has what it needs.
func (p *patient) rights() []statement {
	list := []statement{
		{Action: fourActions, Resource: p.secret},
		{Action: "secretsmanager:GetRandomPassword", Resource: "*"},
		{Action: []string{"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}, Resource: "*"},
		{Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: p.key},
	}
	if p.master != "" {
		list = append(list, statement{Action: []string{"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"}, Resource: p.master})
	}
	return list
}

// give makes the statements the role's own.
func (p *patient) give(statements ...statement) {
	p.t.Helper()
	_, err := p.IAM.PutRolePolicy(p.t.Context(), &iam.PutRolePolicyInput{
		RoleName: &p.role, PolicyName: new("rotation"), PolicyDocument: document(statements...),
	})
	p.must(err)
}

// without leaves one of the four actions out.
func (p *patient) without(action string) {
	p.t.Helper()
	rest := p.rights()
	rest[0].Action = slices.DeleteFunc(slices.Clone(fourActions), func(a string) bool { return a == "secretsmanager:"+action })
	p.give(rest...)
}

// recover gives the role all that it needs.
func (p *patient) recover() { p.give(p.rights()...) }

// permit is what lets Secrets Manager invoke the function; more narrows it.
func (p *patient) permit(more func(*lambda.AddPermissionInput)) {
	p.t.Helper()
	in := &lambda.AddPermissionInput{
		FunctionName: &p.function, StatementId: new("SecretsManager"), Action: new("lambda:InvokeFunction"),
		Principal: new("secretsmanager.amazonaws.com"), SourceAccount: new(apitest.Account),
	}
	if more != nil {
		more(in)
	}
	_, err := p.Lambda.AddPermission(p.t.Context(), in)
	p.must(err)
}

func (p *patient) forbid() {
	p.t.Helper()
	_, err := p.Lambda.RemovePermission(p.t.Context(), &lambda.RemovePermissionInput{FunctionName: &p.function, StatementId: new("SecretsManager")})
	p.must(err)
}

// keyPolicy is the policy of the secret's key: its account's root, and what
// else is given.
func (p *patient) keyPolicy(delegates bool, more ...statement) {
	p.t.Helper()
	root := statement{Principal: map[string]string{"AWS": "arn:aws:iam::" + apitest.Account + ":root"}, Action: "kms:*", Resource: "*"}
	if !delegates { // root itself keeps its rights, its users get none
		root.Condition = map[string]map[string]string{"StringEquals": {"aws:PrincipalType": "Account"}}
	}
	_, err := p.KMS.PutKeyPolicy(p.t.Context(), &kms.PutKeyPolicyInput{KeyId: &p.key, Policy: document(append([]statement{root}, more...)...)})
	p.must(err)
}

func (p *patient) resourcePolicy(statements ...statement) {
	p.t.Helper()
	_, err := p.Secrets.PutResourcePolicy(p.t.Context(), &secretsmanager.PutResourcePolicyInput{SecretId: &p.secret, ResourcePolicy: document(statements...)})
	p.must(err)
}

// reconfigure changes the function and waits until that is in force.
func (p *patient) reconfigure(in lambda.UpdateFunctionConfigurationInput) {
	p.t.Helper()
	in.FunctionName = &p.function
	_, err := p.Lambda.UpdateFunctionConfiguration(p.t.Context(), &in)
	if err == nil {
		err = lambda.NewFunctionUpdatedV2Waiter(p.Lambda).Wait(p.t.Context(), &lambda.GetFunctionInput{FunctionName: &p.function}, time.Minute)
	}
	p.must(err)
}

// variables makes them the function's own; none takes them away.
func (p *patient) variables(pairs ...string) {
	p.t.Helper()
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	p.reconfigure(lambda.UpdateFunctionConfigurationInput{Environment: &lambdatypes.Environment{Variables: vars}})
}

// recode gives the function other code.
func (p *patient) recode(code func(*testing.T, string) apitest.Function) {
	p.t.Helper()
	f := code(p.t, p.name)
	_, err := p.Lambda.UpdateFunctionCode(p.t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: &p.function, ZipFile: f.Code})
	if err == nil {
		err = lambda.NewFunctionUpdatedV2Waiter(p.Lambda).Wait(p.t.Context(), &lambda.GetFunctionInput{FunctionName: &p.function}, time.Minute)
	}
	p.must(err)
}

// put puts a value by hand.
func (p *patient) put(value string) { p.putTo(p.secret, value) }

func (p *patient) putTo(secret, value string) {
	p.t.Helper()
	p.keep(value)
	_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &secret, SecretString: &value})
	p.must(err)
}

// store makes another secret, under the same key.
func (p *patient) store(name, value string) string {
	p.t.Helper()
	p.keep(value)
	out, err := p.Secrets.CreateSecret(p.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value, KmsKeyId: &p.key})
	p.must(err)
	return *out.ARN
}

func (p *patient) exec(statement string) {
	p.t.Helper()
	apitest.Exec(p.t, p.db, strings.ReplaceAll(statement, "$USER", p.user.Name))
}

func (p *patient) describe() *secretsmanager.DescribeSecretOutput {
	p.t.Helper()
	d, err := p.Secrets.DescribeSecret(p.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &p.secret})
	p.must(err)
	return d
}

// holder is the version with a label; "" for none.
func (p *patient) holder(label string) string {
	p.t.Helper()
	for id, labels := range p.describe().VersionIdsToStages {
		if slices.Contains(labels, label) {
			return id
		}
	}
	return ""
}

// unlabel takes AWSPENDING off.
func (p *patient) unlabel() {
	p.t.Helper()
	if id := p.holder("AWSPENDING"); id != "" {
		_, err := p.Secrets.UpdateSecretVersionStage(p.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: &p.secret, VersionStage: new("AWSPENDING"), RemoveFromVersionId: &id,
		})
		p.must(err)
	}
}

// configure asks for a rotation, with the whole configuration. It does not
// wait.
func (p *patient) configure(rules *smtypes.RotationRulesType) error {
	if rules == nil {
		rules = &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}
	}
	p.asked = time.Now()
	out, err := p.Secrets.RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &p.secret, RotationLambdaARN: &p.function, RotationRules: rules,
	})
	if err == nil {
		p.started = *out.VersionId
	}
	return err
}

// rotate rotates and follows that until the first attempt has an end, which
// it returns. A RotateSecret that is refused is kept.
func (p *patient) rotate(rules *smtypes.RotationRulesType) rotate.Status {
	p.t.Helper()
	if p.refused = p.configure(rules); p.refused != nil {
		return rotate.Failed
	}
	return p.follow()
}

// follow waits for the end of the attempt that is under way.
func (p *patient) follow() (status rotate.Status) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	r := rotate.Follow(ctx, rotate.NewClients(p.Config), p.secret, p.started, p.asked)
	err := r.Watch(ctx, func(l rotate.Line) {
		p.t.Log(l.Text())
		if l.Report == nil || l.Report.Step != "" {
			return
		}
		status = l.Report.Status
		if l.Report.Finding != nil {
			p.told = l.Report.Finding
		}
		if status == rotate.Retrying {
			cancel()
		}
	})
	if status == "" {
		p.t.Fatalf("the rotation has no end: %v", err)
	}
	if status == rotate.Succeeded && err != nil {
		p.t.Fatal(err)
	}
	return status
}

// rotates demands that a rotation passes: the one that waits, or a new one.
func (p *patient) rotates() {
	p.t.Helper()
	before := aws.ToTime(p.describe().LastRotatedDate)
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := p.configure(nil)
		refused, again := errors.AsType[*smtypes.InvalidRequestException](err)
		if err != nil && !(again && strings.Contains(refused.ErrorMessage(), "isn't complete")) {
			p.t.Fatalf("rotating after the cure: %v", err)
		}
		if err == nil || time.Now().After(end) {
			break
		}
		if aws.ToTime(p.describe().LastRotatedDate).After(before) {
			return
		}
	}
	if got := p.follow(); got != rotate.Succeeded {
		p.t.Fatalf("after the cure the rotation %s", got)
	}
}
