package apitest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/examples"
)

// TrustPolicy lets Lambda assume a role.
const TrustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// systemPython is Debian's interpreter, for which the packages of boto3 and
// psycopg2 are made.
const systemPython = "/usr/bin/python3"

// Python returns the runtime of the host's Python and its executable, which
// can import boto3 and psycopg2.
func Python(t testing.TB) (runtime, path string) {
	t.Helper()
	const probe = "import sys, boto3, psycopg2; print('python%d.%d' % sys.version_info[:2])"
	out, err := exec.Command(systemPython, "-c", probe).CombinedOutput()
	if err != nil {
		t.Fatalf("%s cannot import boto3 and psycopg2: run apt-get install python3-boto3 python3-psycopg2\n%s", systemPython, out)
	}
	return strings.TrimSpace(string(out)), systemPython
}

// Interpreters maps the runtime of Python to its executable, for Options.
func Interpreters(t testing.TB) map[string]string {
	t.Helper()
	runtime, path := Python(t)
	return map[string]string{runtime: path}
}

// Zip makes a code package. Entries are executable.
func Zip(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ZipFolder makes a code package of a folder's files.
func ZipFolder(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := errors.Join(z.AddFS(os.DirFS(dir)), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Function says what function to make.
type Function struct {
	Name, Runtime, Handler string
	Code                   []byte
	// Timeout is in seconds; 30 if zero.
	Timeout     int32
	Environment map[string]string
	// NoPermission leaves Secrets Manager without the right to invoke it.
	NoPermission bool
	// NoPolicy leaves its role without rights; otherwise it may rotate every
	// secret.
	NoPolicy bool
}

// rights let a role rotate every secret and write logs.
const rights = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:*","kms:*","logs:*","sts:AssumeRole"],"Resource":"*"}}`

// Input is the request that makes the function.
func (f *Function) Input(role string) *lambda.CreateFunctionInput {
	in := &lambda.CreateFunctionInput{
		FunctionName: &f.Name, Role: &role, Runtime: lambdatypes.Runtime(f.Runtime), Handler: &f.Handler,
		Code: &lambdatypes.FunctionCode{ZipFile: f.Code}, Timeout: aws.Int32(max(f.Timeout, 1)),
	}
	if f.Timeout == 0 {
		in.Timeout = aws.Int32(30)
	}
	if f.Environment != nil {
		in.Environment = &lambdatypes.Environment{Variables: f.Environment}
	}
	return in
}

// NewFunction makes a role and a function that Secrets Manager may invoke,
// waits until it is active, and returns its ARN.
func (s *Server) NewFunction(t testing.TB, f Function) string {
	t.Helper()
	ctx := t.Context()
	role, err := s.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(f.Name + "-role"), AssumeRolePolicyDocument: aws.String(TrustPolicy)})
	if err != nil {
		t.Fatalf("creating the role: %v", err)
	}
	if !f.NoPolicy {
		_, err := s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(f.Name + "-role"), PolicyName: aws.String("rights"), PolicyDocument: aws.String(rights)})
		if err != nil {
			t.Fatalf("giving the role its rights: %v", err)
		}
	}
	fn, err := s.Lambda.CreateFunction(ctx, f.Input(*role.Role.Arn))
	if err != nil {
		t.Fatalf("creating the function: %v", err)
	}
	if !f.NoPermission {
		s.Permit(t, *fn.FunctionArn)
	}
	err = lambda.NewFunctionActiveV2Waiter(s.Lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: fn.FunctionArn}, time.Minute)
	if err != nil {
		t.Fatalf("waiting for the function: %v", err)
	}
	return *fn.FunctionArn
}

// Permit lets Secrets Manager invoke a function.
func (s *Server) Permit(t testing.TB, function string) {
	t.Helper()
	_, err := s.Lambda.AddPermission(t.Context(), &lambda.AddPermissionInput{
		FunctionName: &function, StatementId: aws.String("SecretsManager"),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("secretsmanager.amazonaws.com"),
	})
	if err != nil {
		t.Fatalf("permitting Secrets Manager: %v", err)
	}
}

// PythonRotation is the example's Python function.
func PythonRotation(t testing.TB, name string) Function {
	t.Helper()
	source, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		t.Fatal(err)
	}
	runtime, _ := Python(t)
	return Function{
		Name: name, Runtime: runtime, Handler: "lambda_function.lambda_handler",
		Code: Zip(t, map[string][]byte{"lambda_function.py": source}),
	}
}

// PythonCode is a Python function with other source.
func PythonCode(t testing.TB, name, source string) Function {
	t.Helper()
	runtime, _ := Python(t)
	return Function{
		Name: name, Runtime: runtime, Handler: "lambda_function.lambda_handler",
		Code: Zip(t, map[string][]byte{"lambda_function.py": []byte(source)}),
	}
}

// stepFunction is on the rotation contract for secrets without a service
// behind them; it misbehaves in one step, if told to.
const stepFunction = `
import boto3, os, time
class RotationHeld(Exception):
    pass
def lambda_handler(event, context):
    sm = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    print("doing", step)
    if step == os.environ.get("STEP"):
        if os.environ["HOW"] == "raise":
            raise ValueError("no luck")
        if os.environ["HOW"] == "hang":
            time.sleep(60)
        if os.environ["HOW"] == "hold":
            made = sm.get_secret_value(SecretId=arn, VersionId=token, VersionStage="AWSPENDING")["CreatedDate"].timestamp()
            if time.time() < int(made) + 4:
                until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(made) + 4))
                raise RotationHeld("kept until " + until + " for arn:aws:iam::123456789012:user/reader")
    if step == "createSecret":
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString="new-" + token, VersionStages=["AWSPENDING"])
    if step == "finishSecret":
        stages = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`

// StepFunction is a Python rotation function that works, or, with a step,
// does there what how says: "raise", "hang" until its timeout of 4 seconds, or
// "hold" the rotation for a while.
func StepFunction(t testing.TB, name, step, how string) Function {
	t.Helper()
	f := PythonCode(t, name, stepFunction)
	if how == "hang" {
		f.Timeout = 4
	}
	if step != "" {
		f.Environment = map[string]string{"STEP": step, "HOW": how}
	}
	return f
}

var goRotation once[[]byte]

// GoRotation is the example's Go function.
func GoRotation(t testing.TB, name string) Function {
	t.Helper()
	program, err := goRotation.get(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "keyturn-go-function-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "bootstrap")
		cmd := exec.Command("go", "build", "-o", path, "./examples/postgres-go")
		cmd.Dir = Root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		return os.ReadFile(path)
	})
	if err != nil {
		t.Fatalf("building the Go function: %v", err)
	}
	return Function{Name: name, Runtime: "provided.al2023", Handler: "bootstrap", Code: Zip(t, map[string][]byte{"bootstrap": program})}
}

// nodeModules is where the Node example's dependencies are installed, once
// for all runs.
const nodeModules = "build/postgres-node"

// NodeRotation is the example's Node function with its dependencies, which
// npm installs below the build folder on first use.
func NodeRotation(t testing.TB, name string) Function {
	t.Helper()
	dir := filepath.Join(Root(), nodeModules)
	source := filepath.Join(Root(), "examples", "postgres-node")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"package.json", "index.mjs"} {
		b, err := os.ReadFile(filepath.Join(source, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "pg")); err != nil {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm install for the Node example: %v\n%s", err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), "node", "-p", "process.versions.node.split('.')[0]").Output()
	if err != nil {
		t.Fatalf("asking node for its version: run apt-get install nodejs: %v", err)
	}
	return Function{
		Name: name, Runtime: "nodejs" + strings.TrimSpace(string(out)) + ".x", Handler: "index.handler", Code: ZipFolder(t, dir),
	}
}
