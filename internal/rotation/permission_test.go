package rotation_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/servicetest"
)

// scrupulous is a rotation function that uses every permission of the
// official templates and prints why it fails.
const scrupulous = `
import boto3, os
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT") or os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    stages = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
    if step == "createSecret":
        sm.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")
        password = sm.get_random_password(ExcludePunctuation=True)["RandomPassword"]
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=password, VersionStages=["AWSPENDING"])
    if step == "testSecret":
        sm.get_secret_value(SecretId=arn, VersionId=token, VersionStage="AWSPENDING")
    if step == "finishSecret":
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

// patient is a secret with a rotation function, both in good health until a
// case makes them ill.
type patient struct {
	*world
	name, role, function, key string
}

// statement is one of a policy.
type statement struct {
	Effect    string `json:",omitempty"`
	Principal any    `json:",omitempty"`
	Action    any
	Resource  any                          `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

func document(t testing.TB, statements ...statement) *string {
	t.Helper()
	for i := range statements {
		if statements[i].Effect == "" {
			statements[i].Effect = "Allow"
		}
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return new(string(b))
}

// fourActions are what a rotation function does with its secret.
var fourActions = []string{
	"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
}

// healthy are the statements of an execution role that has what it needs.
func (p *patient) healthy() []statement {
	return []statement{
		{Action: fourActions, Resource: p.arn},
		{Action: "secretsmanager:GetRandomPassword", Resource: "*"},
		{Action: []string{"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}, Resource: "*"},
		{Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: p.key},
	}
}

// give makes the statements the role's own.
func (p *patient) give(statements ...statement) {
	p.t.Helper()
	_, err := p.IAM.PutRolePolicy(p.t.Context(), &iam.PutRolePolicyInput{
		RoleName: &p.role, PolicyName: new("rotation"), PolicyDocument: document(p.t, statements...),
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// without leaves one of the four actions out.
func (p *patient) without(action string) {
	p.t.Helper()
	rest := p.healthy()
	var actions []string
	for _, a := range fourActions {
		if a != action {
			actions = append(actions, a)
		}
	}
	rest[0].Action = actions
	p.give(rest...)
}

// keyPolicy is the policy of the secret's key: its account's root, and what
// else is given.
func (p *patient) keyPolicy(delegates bool, more ...statement) {
	p.t.Helper()
	root := statement{Principal: map[string]string{"AWS": "arn:aws:iam::" + apitest.Account + ":root"}, Action: "kms:*", Resource: "*"}
	if !delegates { // root itself keeps its rights, its users get none
		root.Condition = map[string]map[string]string{"StringEquals": {"aws:PrincipalType": "Account"}}
	}
	_, err := p.KMS.PutKeyPolicy(p.t.Context(), &kms.PutKeyPolicyInput{KeyId: &p.key, Policy: document(p.t, append([]statement{root}, more...)...)})
	if err != nil {
		p.t.Fatal(err)
	}
}

// permit is what lets Secrets Manager invoke the function; more narrows it.
func (p *patient) permit(more func(*lambda.AddPermissionInput)) {
	p.t.Helper()
	in := &lambda.AddPermissionInput{
		FunctionName: &p.function, StatementId: new("SecretsManager"), Action: new("lambda:InvokeFunction"),
		Principal: new("secretsmanager.amazonaws.com"),
	}
	if more != nil {
		more(in)
	}
	if _, err := p.Lambda.AddPermission(p.t.Context(), in); err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) forbid() {
	p.t.Helper()
	_, err := p.Lambda.RemovePermission(p.t.Context(), &lambda.RemovePermissionInput{FunctionName: &p.function, StatementId: new("SecretsManager")})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) resourcePolicy(statements ...statement) {
	p.t.Helper()
	_, err := p.Secrets.PutResourcePolicy(p.t.Context(), &secretsmanager.PutResourcePolicyInput{SecretId: &p.arn, ResourcePolicy: document(p.t, statements...)})
	if err != nil {
		p.t.Fatal(err)
	}
}

// through makes the function call by way of a VPC endpoint.
func (p *patient) through(endpoint string) {
	p.t.Helper()
	_, err := p.Lambda.UpdateFunctionConfiguration(p.t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &p.function, Environment: &lambdatypes.Environment{Variables: map[string]string{"SECRETS_MANAGER_ENDPOINT": p.EndpointURL(endpoint)}},
	})
	if err == nil {
		err = lambda.NewFunctionUpdatedV2Waiter(p.Lambda).Wait(p.t.Context(), &lambda.GetFunctionInput{FunctionName: &p.function}, time.Minute)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// session is how refusals name the function.
func (p *patient) session() string {
	return "arn:aws:sts::" + apitest.Account + ":assumed-role/" + p.role + "/" + p.name
}

// log is all that the function has logged.
func (p *patient) log() string {
	p.t.Helper()
	out, err := p.Logs.FilterLogEvents(p.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: new("/aws/lambda/" + p.name)})
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, e := range out.Events {
		b.WriteString(*e.Message)
	}
	return b.String()
}

const notAdmitted = "Secrets Manager cannot invoke the specified Lambda function. " +
	"Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."

// ailment is a row of the rotation guide about permissions.
type ailment struct {
	name string
	ill  func(*patient)
	// refused is RotateSecret's own answer; else the rotation fails in step,
	// and the function's log says logged.
	refused, step string
	logged        func(*patient) string
	cure          func(*patient)
}

func denied(operation, resource, because string) func(*patient) string {
	return func(p *patient) string {
		r := resource
		if r == "" {
			r = p.arn
		}
		action := "secretsmanager:" + operation
		return "An error occurred (AccessDeniedException) when calling the " + operation + " operation: User: " + p.session() +
			" is not authorized to perform: " + action + " on resource: " + r + " " + strings.ReplaceAll(because, "ACTION", action)
	}
}

func says(text string) func(*patient) string { return func(*patient) string { return text } }

const (
	noIdentityPolicy = "because no identity-based policy allows the ACTION action"
	kmsRefused       = "An error occurred (AccessDeniedException) when calling the GetSecretValue operation: Access to KMS is not allowed"
)

func (p *patient) recover() { p.give(p.healthy()...) }

var ailments = []ailment{
	{
		name: "D20 function policy missing", refused: notAdmitted,
		ill:  (*patient).forbid,
		cure: func(p *patient) { p.permit(nil) },
	},
	{
		name: "D20 function policy for another account", refused: notAdmitted,
		ill: func(p *patient) {
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { in.SourceAccount = new("999999999999") })
		},
		cure: func(p *patient) {
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { in.SourceAccount = new(apitest.Account) })
		},
	},
	{
		name: "D20 function policy for another secret", refused: notAdmitted,
		ill: func(p *patient) {
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { in.SourceArn = new(p.arn + "x") })
		},
		cure: func(p *patient) {
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { in.SourceArn = &p.arn })
		},
	},
	{
		name: "D04 no DescribeSecret", step: "createSecret", logged: denied("DescribeSecret", "", noIdentityPolicy),
		ill: func(p *patient) { p.without("secretsmanager:DescribeSecret") }, cure: (*patient).recover,
	},
	{
		name: "D04 no GetSecretValue", step: "createSecret", logged: denied("GetSecretValue", "", noIdentityPolicy),
		ill: func(p *patient) { p.without("secretsmanager:GetSecretValue") }, cure: (*patient).recover,
	},
	{
		name: "D04 no PutSecretValue", step: "createSecret", logged: denied("PutSecretValue", "", noIdentityPolicy),
		ill: func(p *patient) { p.without("secretsmanager:PutSecretValue") }, cure: (*patient).recover,
	},
	{
		name: "D04 no GetRandomPassword", step: "createSecret",
		logged: says("is not authorized to perform: secretsmanager:GetRandomPassword because no identity-based policy allows the secretsmanager:GetRandomPassword action"),
		ill: func(p *patient) {
			all := p.healthy()
			p.give(all[0], all[2], all[3])
		},
		cure: (*patient).recover,
	},
	{
		name: "D39 no UpdateSecretVersionStage", step: "finishSecret", logged: denied("UpdateSecretVersionStage", "", noIdentityPolicy),
		ill: func(p *patient) { p.without("secretsmanager:UpdateSecretVersionStage") }, cure: (*patient).recover,
	},
	{
		name: "D04 ARN without its suffix", step: "createSecret", logged: denied("DescribeSecret", "", noIdentityPolicy),
		ill: func(p *patient) {
			all := p.healthy()
			all[0].Resource = p.arn[:len(p.arn)-len("-XXXXXX")]
			p.give(all...)
		},
		cure: func(p *patient) {
			all := p.healthy()
			all[0].Resource = p.arn[:len(p.arn)-len("XXXXXX")] + "??????"
			p.give(all...)
		},
	},
	{
		name: "D04 the resource policy denies", step: "createSecret",
		logged: denied("GetSecretValue", "", "with an explicit deny in a resource-based policy"),
		ill: func(p *patient) {
			p.resourcePolicy(statement{Effect: "Deny", Principal: "*", Action: "secretsmanager:GetSecretValue", Resource: "*",
				Condition: map[string]map[string]string{"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::" + apitest.Account + ":root"}}})
		},
		cure: func(p *patient) {
			if _, err := p.Secrets.DeleteResourcePolicy(p.t.Context(), &secretsmanager.DeleteResourcePolicyInput{SecretId: &p.arn}); err != nil {
				p.t.Fatal(err)
			}
		},
	},
	{
		name: "D03 the key policy leaves the role out", step: "createSecret", logged: says(kmsRefused),
		ill: func(p *patient) { p.keyPolicy(false) },
		cure: func(p *patient) {
			p.keyPolicy(false, statement{Principal: map[string]string{"AWS": "arn:aws:iam::" + apitest.Account + ":role/" + p.role},
				Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: "*",
				Condition: map[string]map[string]string{"StringEquals": {
					"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com", "kms:EncryptionContext:SecretARN": p.arn,
				}}})
		},
	},
	{
		name: "D03 the encryption context names another secret", step: "createSecret", logged: says(kmsRefused),
		ill: func(p *patient) {
			all := p.healthy()
			all[3].Condition = map[string]map[string]string{"StringEquals": {"kms:EncryptionContext:SecretARN": p.arn + "x"}}
			p.give(all...)
		},
		cure: func(p *patient) {
			all := p.healthy()
			all[3].Condition = map[string]map[string]string{"StringEquals": {"kms:EncryptionContext:SecretARN": p.arn}}
			p.give(all...)
		},
	},
	{
		name: "D03 the role may not use the key", step: "createSecret", logged: says(kmsRefused),
		ill: func(p *patient) { p.give(p.healthy()[:3]...) }, cure: (*patient).recover,
	},
	{
		name: "D03 the key is disabled", step: "createSecret",
		logged: says("An error occurred (DecryptionFailure) when calling the GetSecretValue operation: "),
		ill: func(p *patient) {
			if _, err := p.KMS.DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &p.key}); err != nil {
				p.t.Fatal(err)
			}
		},
		cure: func(p *patient) {
			if _, err := p.KMS.EnableKey(p.t.Context(), &kms.EnableKeyInput{KeyId: &p.key}); err != nil {
				p.t.Fatal(err)
			}
		},
	},
	{
		name: "D02 the endpoint policy", step: "createSecret",
		logged: denied("PutSecretValue", "", "because no VPC endpoint policy allows the ACTION action"),
		ill:    func(p *patient) { p.through("vpce-reading") },
		cure:   func(p *patient) { p.through("vpce-all") },
	},
	{
		name: "D02 the secret is for another endpoint only", step: "createSecret",
		logged: denied("GetSecretValue", "", "with an explicit deny in a resource-based policy"),
		ill: func(p *patient) {
			p.resourcePolicy(statement{Effect: "Deny", Principal: "*", Action: "secretsmanager:GetSecretValue", Resource: "*",
				Condition: map[string]map[string]string{
					"StringNotEquals": {"aws:SourceVpce": "vpce-all"}, "ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::" + apitest.Account + ":root"},
				}})
		},
		cure: func(p *patient) { p.through("vpce-all") },
	},
}

// Every ailment of the rotation guide that is one of permissions fails as it
// does on AWS, with AWS's words where AWS puts them, and what the guide says
// cures it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Endpoints = []server.Endpoint{
		{ID: "vpce-all", VPC: "vpc-1", Listen: "127.0.0.1:0"},
		{ID: "vpce-reading", VPC: "vpc-1", Listen: "127.0.0.1:0", Policy: json.RawMessage(*document(t,
			statement{Principal: "*", Action: []string{"secretsmanager:Get*", "secretsmanager:Describe*"}, Resource: "*"}))},
	}
	s := apitest.Start(t, o)
	limit := make(chan struct{}, 4)
	for i, a := range ailments {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			limit <- struct{}{}
			defer func() { <-limit }()
			p := newPatient(t, s, "rotate-"+string(rune('a'+i)))
			a.ill(p)
			p.wantIll(a)
			a.cure(p)
			token := p.begin(p.function)
			p.eventually("the rotation completes after the cure", func() bool { return p.rotatedTo(token) })
		})
	}
}

// newPatient makes a secret under a key of its own and a function with a role
// that has the least it needs.
func newPatient(t *testing.T, s *apitest.Server, name string) *patient {
	t.Helper()
	ctx := t.Context()
	key, err := s.KMS.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{name: name, role: name + "-role", key: *key.KeyMetadata.Arn}
	secret, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: new("first"), KmsKeyId: &p.key})
	if err != nil {
		t.Fatal(err)
	}
	p.world = &world{Server: s, t: t, arn: *secret.ARN}
	f := apitest.PythonCode(t, name, scrupulous)
	f.NoPolicy = true
	p.function = s.NewFunction(t, f)
	p.recover()
	return p
}

// wantIll demands that a rotation is refused or fails as the ailment says.
func (p *patient) wantIll(a ailment) {
	p.t.Helper()
	out, err := p.Secrets.RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &p.arn, RotationLambdaARN: &p.function})
	if a.refused != "" {
		api, ok := errors.AsType[smithy.APIError](err)
		if !ok || api.ErrorCode() != "AccessDeniedException" || api.ErrorMessage() != a.refused {
			p.t.Fatalf("got %v, want AccessDeniedException: %s", err, a.refused)
		}
		if len(p.holders()["AWSPENDING"]) != 0 {
			p.t.Error("a refused call left a pending version")
		}
		return
	}
	if err != nil {
		p.t.Fatal(err)
	}
	want := a.logged(p)
	p.eventually("the function's log says "+want, func() bool { return strings.Contains(p.log(), want) })
	p.eventually("RotationFailed is recorded", func() bool {
		events := p.events()
		return len(events) > 0 && events[len(events)-1] == "RotationFailed"
	})
	p.wantFailure("Error when executing lambda " + p.function + " during " + a.step + " step")
	// The guide's cure of a rotation that failed: the label goes, and the
	// rotation is begun anew.
	_, err = p.Secrets.UpdateSecretVersionStage(p.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &p.arn, VersionStage: new("AWSPENDING"), RemoveFromVersionId: out.VersionId,
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// Who rotates needs RotateSecret, InvokeFunction on the function, and PassRole
// to make one.
func TestOperatorPermissions(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, options(t))
	p := newPatient(t, s, "rotate-operator")
	user := s.NewUser(t, "operator")
	give := func(statements ...statement) {
		t.Helper()
		_, err := s.IAM.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
			UserName: new("operator"), PolicyName: new("own"), PolicyDocument: document(t, statements...),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets, functions := secretsmanager.NewFromConfig(user), lambda.NewFromConfig(user)
	rotate := func() error {
		_, err := secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &p.arn, RotationLambdaARN: &p.function})
		return err
	}
	role := "arn:aws:iam::" + apitest.Account + ":role/" + p.role
	create := func() error {
		f := apitest.PythonCode(t, "another", scrupulous)
		_, err := functions.CreateFunction(t.Context(), f.Input(role))
		return err
	}
	const who = "User: arn:aws:iam::123456789012:user/operator is not authorized to perform: "
	want := func(what string, err error, status int, text string) {
		t.Helper()
		if text == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		servicetest.WantError(t, what, err, "AccessDeniedException", status, who+text)
	}
	rotateAction := statement{Action: "secretsmanager:RotateSecret", Resource: p.arn}
	invoke := statement{Action: "lambda:InvokeFunction", Resource: p.function}
	createAction := statement{Action: "lambda:CreateFunction", Resource: "*"}
	pass := statement{Action: "iam:PassRole", Resource: role, Condition: map[string]map[string]string{"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}

	give(invoke)
	want("rotate", rotate(), http.StatusBadRequest, "secretsmanager:RotateSecret on resource: "+p.arn+
		" because no identity-based policy allows the secretsmanager:RotateSecret action")
	give(rotateAction)
	want("rotate", rotate(), http.StatusBadRequest, "lambda:InvokeFunction on resource: "+p.function+
		" because no identity-based policy allows the lambda:InvokeFunction action")
	give(rotateAction, invoke)
	want("rotate", rotate(), 0, "")

	give(pass)
	want("create", create(), http.StatusForbidden, "lambda:CreateFunction on resource: arn:aws:lambda:us-east-1:123456789012:function:another"+
		" because no identity-based policy allows the lambda:CreateFunction action")
	give(createAction)
	want("create", create(), http.StatusForbidden, "iam:PassRole on resource: "+role+
		" because no identity-based policy allows the iam:PassRole action")
	give(createAction, pass)
	want("create", create(), 0, "")
}
