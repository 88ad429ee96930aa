package corpus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func pem(t testing.TB, file string) string { return rotatortest.PEM(t, file) }

// good is a rotation function on the contract, as AWS's generic template has
// it, for secrets without a service behind them. A line of it is replaced to
// make a fault.
const good = `
import boto3, json, logging, os, time
logger = logging.getLogger()
logger.setLevel(logging.INFO)

def lambda_handler(event, context):
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    sm = boto3.client("secretsmanager")
    d = sm.describe_secret(SecretId=arn)
    labels = d["VersionIdsToStages"]
    if "RotationEnabled" in d and not d["RotationEnabled"]:
        raise ValueError("Secret %s is not enabled for rotation" % arn)
    if token not in labels:
        raise ValueError("Secret version %s has no stage for rotation of secret %s." % (token, arn))
    if "AWSCURRENT" in labels[token]:
        return
    if "AWSPENDING" not in labels[token]:
        raise ValueError("Secret version %s not set as AWSPENDING for rotation of secret %s." % (token, arn))
    {"createSecret": create_secret, "setSecret": set_secret, "testSecret": test_secret, "finishSecret": finish_secret}[step](sm, arn, token)

def create_secret(sm, arn, token):
    value = json.loads(sm.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")["SecretString"])
    try:
        sm.get_secret_value(SecretId=arn, VersionId=token, VersionStage="AWSPENDING")
        return
    except sm.exceptions.ResourceNotFoundException:
        pass
    value["password"] = sm.get_random_password()["RandomPassword"]
    sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=["AWSPENDING"])
    logger.info("createSecret: Successfully put secret for ARN %s and version %s." % (arn, token))

def set_secret(sm, arn, token):
    pass # SET

def test_secret(sm, arn, token):
    pass # TEST

def finish_secret(sm, arn, token):
    labels = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
    current = next(v for v in labels if "AWSCURRENT" in labels[v])
    sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

var sleepy = wrong("pass # SET", "time.sleep(2)")

// wrong is the good function with a text of it replaced.
func wrong(what, by string) string {
	if !strings.Contains(good, what) {
		panic("the good function has no " + what)
	}
	return strings.Replace(good, what, by, 1)
}

// codeFault is one of the function's source.
func codeFault(code, name, what, by string) *fault {
	return &fault{code: code, name: name, python: good,
		make: func(p *patient) { p.code(wrong(what, by)) }, fix: func(p *patient) { p.code(good) }}
}

const putLine = `sm.put_secret_value(SecretId=arn,`

func codeFaults() []*fault {
	put := `sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=["AWSPENDING"])`
	foreign := fmt.Sprintf(`boto3.client("secretsmanager", aws_access_key_id=%q, aws_secret_access_key=%q, aws_session_token="").put_secret_value(SecretId=arn,`, apitest.AccessKey, apitest.SecretKey)
	unfinished := codeFault("D36", "setSecret not implemented", "pass # SET", "raise NotImplementedError")
	unfinished.short = true
	slow := codeFault("D02", "timeout too short", "sm.put_secret_value(SecretId=arn,", "logger.info('createSecret: working'); time.sleep(4); sm.put_secret_value(SecretId=arn,")
	slow.timeout, slow.fix = 3, nil // raising the timeout is what --fix does
	late := codeFault("D02", "statement hangs", "pass # SET", "logger.info(\"Successfully established SSL/TLS connection as user 'app' with host: 'db'\"); time.sleep(60)")
	late.timeout = 3
	hangs := codeFault("D10", "hangs before it has logged in", "pass # SET", "logger.info('setSecret: connecting'); time.sleep(60)")
	hangs.timeout = 3
	return []*fault{
		unfinished, slow, late, hangs,
		codeFault("D36", "testSecret not implemented", "pass # TEST", "raise NotImplementedError"),
		codeFault("D31", "value put under another identity", putLine, foreign),
		codeFault("K09", "createSecret stores nothing", put, "pass"),
		codeFault("K09", "finishSecret moves nothing", `sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)`, "pass"),
		codeFault("D52", "process killed", "pass # SET", "os.kill(os.getpid(), 9)"),
		codeFault("D49", "module missing", "import boto3,", "import no_such_module, boto3,"),
		codeFault("D49", "syntax error", "def set_secret(", "def set_secret(("),
		codeFault("K13", "an error of its own", "pass # SET", "1/0"),
		codeFault("D39", "AWSCURRENT moved by a wrong id", "RemoveFromVersionId=current)", `RemoveFromVersionId="x" * 32)`),
		codeFault("D40", "AWSPENDING taken away by the function", "pass # SET", `sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=token); raise ValueError("Secret version %s not set as AWSPENDING for rotation of secret %s." % (token, arn))`),
		{code: "D49", name: "handler missing", python: good,
			make: func(p *patient) {
				p.reconfigure(func(in *lambda.UpdateFunctionConfigurationInput) { in.Handler = aws.String("lambda_function.main") })
			},
			fix: func(p *patient) {
				p.reconfigure(func(in *lambda.UpdateFunctionConfigurationInput) {
					in.Handler = aws.String("lambda_function.lambda_handler")
				})
			}},
	}
}
