package doctortest

import (
	"net"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func exampleSource(t *testing.T) string {
	t.Helper()
	source, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// builtinCode is a built-in rotator as a function.
func builtinCode(rotator string) func(*testing.T, string) apitest.Function {
	return func(_ *testing.T, name string) apitest.Function {
		return apitest.Function{
			Name: name, Runtime: "provided.al2023", Handler: builtin.Handler(rotator),
			Code: append([]byte("PK\x05\x06"), make([]byte, 18)...), // a zip without entries
		}
	}
}

// doing is a patient whose function does something in a step; the cure is
// other code.
func doing(step string, lines ...string) plan { return plan{code: saying(step, lines...)} }

func recoded(p *patient) { p.recode(plain) }

// silence listens and never answers.
func silence(p *patient) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	p.t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// functionFaults are those of the function's code and configuration.
func functionFaults() []fault {
	short := func(o plan, seconds int32) plan {
		o.edit = func(f *apitest.Function) { f.Timeout = seconds }
		return o
	}
	var variablesKey string
	return []fault{
		{name: "Secrets Manager's endpoint never answers", code: "D01", plan: short(plan{}, 3),
			ill: func(p *patient) { p.variables("SECRETS_MANAGER_ENDPOINT", silence(p)) }, cure: func(p *patient) { p.variables() }},
		{name: "Secrets Manager's endpoint is closed", code: "D01",
			ill: func(p *patient) { p.variables("SECRETS_MANAGER_ENDPOINT", "http://127.0.0.1:1") }, cure: func(p *patient) { p.variables() }},
		{name: "the function's timeout is too short", code: "D02",
			plan: short(doing("createSecret", "print('createSecret: Successfully put secret for ARN %s' % arn, flush=True)", "time.sleep(4)"), 3),
			cure: func(p *patient) { p.reconfigure(lambda.UpdateFunctionConfigurationInput{Timeout: aws.Int32(30)}) }},
		{name: "the function's reserved concurrency is 0", code: "D44", plan: bare,
			ill: func(p *patient) {
				_, err := p.Lambda.PutFunctionConcurrency(p.t.Context(), &lambda.PutFunctionConcurrencyInput{
					FunctionName: &p.function, ReservedConcurrentExecutions: aws.Int32(0)})
				p.must(err)
			},
			cure: func(p *patient) {
				_, err := p.Lambda.DeleteFunctionConcurrency(p.t.Context(), &lambda.DeleteFunctionConcurrencyInput{FunctionName: &p.function})
				p.must(err)
			}},
		{name: "another role puts the value, without the RotationToken", code: "D31",
			plan: plan{code: foreignWriter},
			ill:  (*patient).otherWriter,
			cure: func(p *patient) {
				p.recode(plain)
				p.unlabel()
			}},
		{name: "createSecret writes the version twice", code: "D32",
			plan: doing("createSecret", `sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString="another", VersionStages=["AWSPENDING"])`),
			cure: recoded},
		{name: "setSecret and testSecret are not written yet", code: "D36",
			plan: plan{code: func(t *testing.T, name string) apitest.Function {
				source, err := examples.Files.ReadFile("rotation-template/lambda_function.py")
				if err != nil {
					t.Fatal(err)
				}
				return apitest.PythonCode(t, name, string(source))
			}},
			cure: recoded},
		{name: "the handler names a module that is not there", code: "D49",
			plan: plan{code: plain, edit: func(f *apitest.Function) { f.Handler = "rotate.lambda_handler" }},
			cure: func(p *patient) {
				p.reconfigure(lambda.UpdateFunctionConfigurationInput{Handler: aws.String("lambda_function.lambda_handler")})
			}},
		{name: "the function imports a module that is not in its package", code: "D49",
			plan: doing("createSecret", "import pgdriver"), cure: recoded},
		{name: "the function needs more memory than it has", code: "D52",
			plan: doing("createSecret", "hoard = bytearray(150 << 20)"),
			cure: func(p *patient) { p.reconfigure(lambda.UpdateFunctionConfigurationInput{MemorySize: aws.Int32(512)}) }},
		{name: "the key of the function's variables is disabled", code: "K11", plan: bare,
			ill: func(p *patient) {
				out, err := p.KMS.CreateKey(p.t.Context(), &kms.CreateKeyInput{})
				p.must(err)
				variablesKey = *out.KeyMetadata.Arn
				p.reconfigure(lambda.UpdateFunctionConfigurationInput{
					KMSKeyArn: &variablesKey, Environment: &lambdatypes.Environment{Variables: map[string]string{"MODE": "quiet"}}})
				_, err = p.KMS.DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &variablesKey})
				p.must(err)
			},
			cure: func(p *patient) {
				_, err := p.KMS.EnableKey(p.t.Context(), &kms.EnableKeyInput{KeyId: &variablesKey})
				p.must(err)
			}},
		{name: "createSecret returns and has stored nothing", code: "K09",
			plan: plan{code: func(t *testing.T, name string) apitest.Function {
				return apitest.PythonCode(t, name, "def lambda_handler(event, context):\n    pass\n")
			}},
			cure: recoded},
		{name: "the function fails for a reason of its own", code: "K13",
			plan: doing("setSecret", `raise ValueError("the other service is closed on Sundays")`), cure: recoded},
	}
}

// foreignWriter puts the value as another role than its own.
func foreignWriter(t *testing.T, name string) apitest.Function {
	f := apitest.PythonCode(t, name, `
import boto3, os
def lambda_handler(event, context):
    url = os.environ["AWS_ENDPOINT_URL"]
    got = boto3.client("sts", endpoint_url=url).assume_role(RoleArn=os.environ["WRITER"], RoleSessionName="writer")["Credentials"]
    sm = boto3.client("secretsmanager", endpoint_url=url, aws_access_key_id=got["AccessKeyId"],
        aws_secret_access_key=got["SecretAccessKey"], aws_session_token=got["SessionToken"])
    if event["Step"] == "createSecret":
        sm.put_secret_value(SecretId=event["SecretId"], ClientRequestToken=event["ClientRequestToken"],
            SecretString="made-by-another", VersionStages=["AWSPENDING"])
`)
	f.Environment = map[string]string{"WRITER": writerOf(name)}
	return f
}

func writerOf(name string) string {
	return "arn:aws:iam::" + apitest.Account + ":role/" + name + "-writer"
}

// otherWriter makes the role by which foreignWriter writes.
func (p *patient) otherWriter() {
	p.t.Helper()
	role := p.name + "-writer"
	trust := document(statement{Principal: map[string]string{"AWS": "arn:aws:iam::" + apitest.Account + ":root"}, Action: "sts:AssumeRole"})
	_, err := p.IAM.CreateRole(p.t.Context(), &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: trust})
	p.must(err)
	_, err = p.IAM.PutRolePolicy(p.t.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: new("rotation"), PolicyDocument: document(p.rights()...)})
	p.must(err)
	p.give(append(p.rights(), statement{Action: "sts:AssumeRole", Resource: writerOf(p.name)})...)
}
