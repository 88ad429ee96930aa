package server_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// clientEnv is what makes AWS clients reach a server.
func clientEnv(s *apitest.Server) []string {
	return append(os.Environ(),
		"AWS_ENDPOINT_URL="+s.URL, "AWS_DEFAULT_REGION="+apitest.Region, "AWS_REGION="+apitest.Region, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID="+apitest.AccessKey, "AWS_SECRET_ACCESS_KEY="+apitest.SecretKey, "AWS_MAX_ATTEMPTS=1")
}

// forEachStore runs a test on both stores.
func forEachStore(t *testing.T, test func(t *testing.T, o apitest.Options)) {
	for name, url := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return apitest.StoreURL(t) }} {
		t.Run(name, func(t *testing.T) {
			test(t, apitest.Options{StoreURL: url(), Interpreters: apitest.Interpreters(t)})
		})
	}
}

// The client that most rotation functions use, unmodified.
func TestBoto3(t *testing.T) {
	t.Parallel()
	runtime, python := apitest.Python(t)
	forEachStore(t, func(t *testing.T, o apitest.Options) {
		s := apitest.Start(t, o)
		cmd := exec.CommandContext(t.Context(), python, "testdata/client.py", runtime)
		cmd.Env = clientEnv(s)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// The walk-through of the README, with the AWS CLI.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	aws, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed here; boto3, which it is made of, is tested above")
	}
	runtime, _ := apitest.Python(t)
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	zip := filepath.Join(t.TempDir(), "f.zip")
	if err := os.WriteFile(zip, apitest.PythonRotation(t, "f").Code, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), aws, append(args, "--endpoint-url", s.URL, "--output", "json")...)
		cmd.Env = clientEnv(s)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return string(out)
	}
	run("secretsmanager", "create-secret", "--name", "cli/db", "--secret-string", "one")
	if got := run("secretsmanager", "get-secret-value", "--secret-id", "cli/db", "--query", "SecretString"); got != "\"one\"\n" {
		t.Errorf("got %q", got)
	}
	run("iam", "create-role", "--role-name", "rotation", "--assume-role-policy-document", apitest.TrustPolicy)
	run("lambda", "create-function", "--function-name", "rotate", "--runtime", runtime, "--role", "arn:aws:iam::123456789012:role/rotation",
		"--handler", "lambda_function.lambda_handler", "--zip-file", "fileb://"+zip)
	run("lambda", "wait", "function-active", "--function-name", "rotate")
	run("lambda", "add-permission", "--function-name", "rotate", "--statement-id", "s", "--action", "lambda:InvokeFunction",
		"--principal", "secretsmanager.amazonaws.com")
	run("secretsmanager", "rotate-secret", "--secret-id", "cli/db", "--no-rotate-immediately", "--rotation-rules", "AutomaticallyAfterDays=30",
		"--rotation-lambda-arn", "arn:aws:lambda:us-east-1:123456789012:function:rotate")
	if got := run("secretsmanager", "describe-secret", "--secret-id", "cli/db", "--query", "RotationRules"); !strings.Contains(got, "30") {
		t.Errorf("rotation rules: %s", got)
	}
	run("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=RotateSecret")
}

// What operators and scrapers ask for needs no signature.
func TestHealthAndMetrics(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	for path, want := range map[string]string{"/health": `"ok"`, "/metrics": "keyturn_requests_total"} {
		if path == "/metrics" { // a counter shows once it counts
			if _, err := s.STS.GetCallerIdentity(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		res, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.Contains(body.String(), want) {
			t.Errorf("%s: %s\n%s", path, res.Status, &body)
		}
	}
}
