package cloudformation_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// cdk is the CDK's CLI with an app.
type cdk struct {
	dir string
	env []string
	t   *testing.T
}

// newCDK installs the CDK below the build folder, once for all runs; in a
// folder that "./..." leaves out, as the CDK brings Go templates along.
func newCDK(t *testing.T, s *apitest.Server, runtime string) *cdk {
	t.Helper()
	dir := filepath.Join(apitest.Root(), "build", ".cdk")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, file := range []string{"package.json", "app.js"} {
		b, err := os.ReadFile(filepath.Join("testdata", "cdk", file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		if old, err := os.ReadFile(path); err != nil || string(old) != string(b) {
			changed = changed || file == "package.json"
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "aws-cdk-lib")); err != nil || changed {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			_ = os.Remove(filepath.Join(dir, "package.json")) // so that the next run installs
			t.Fatalf("npm install of the CDK: %v\n%s", err, out)
		}
	}
	return &cdk{dir: dir, t: t, env: append(os.Environ(),
		"HOME="+t.TempDir(), "CI=true", "CDK_DISABLE_CLI_TELEMETRY=true", "RUNTIME="+runtime, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL="+s.URL, "AWS_REGION="+apitest.Region, "AWS_DEFAULT_REGION="+apitest.Region,
		"AWS_ACCESS_KEY_ID="+apitest.AccessKey, "AWS_SECRET_ACCESS_KEY="+apitest.SecretKey)}
}

// run runs the CLI and returns what it said.
func (c *cdk) run(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.dir, "node_modules", ".bin", "cdk"), append(args, "--no-color", "--no-notices")...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("cdk %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

// says demands a text of the CLI's.
func (c *cdk) says(out, want string) {
	c.t.Helper()
	if !strings.Contains(out, want) {
		c.t.Errorf("the CDK does not say %q:\n%s", want, out)
	}
}

// The CDK's own CLI deploys a stack without assets whose secret is rotated at
// once, deploys it again, changes it and destroys it.
func TestCDKDeploy(t *testing.T) {
	t.Parallel()
	runtime, python := apitest.Python(t)
	s := apitest.Start(t, apitest.Options{Interpreters: map[string]string{runtime: python}})
	c, ctx, assembly := newCDK(t, s, runtime), t.Context(), t.TempDir()
	c.says(c.run("deploy", "--app", "node app.js", "--output", assembly, "--require-approval", "never"), "Rotation.Arn = arn:aws:secretsmanager:"+apitest.Region)
	st, err := s.Stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("Rotation")})
	if err != nil {
		t.Fatal(err)
	}
	arn := st.Stacks[0].Outputs[0].OutputValue
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		v, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: arn})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(*v.SecretString, `"rotated": true`) {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the secret was not rotated")
		}
	}

	c.says(c.run("deploy", "--app", assembly, "--require-approval", "never"), "Rotation (no changes)")

	path := filepath.Join(assembly, "Rotation.template.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), `"Timeout": 30`, `"Timeout": 45`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	c.says(c.run("deploy", "--app", assembly, "--require-approval", "never"), "Stack ARN:")
	functions, err := s.Lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	if err != nil || len(functions.Functions) != 1 || *functions.Functions[0].Timeout != 45 {
		t.Errorf("got the functions %+v, %v, want one with a timeout of 45", functions, err)
	}

	c.says(c.run("destroy", "--app", assembly, "--force"), "Rotation: destroyed")
	if v, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: arn}); err == nil {
		t.Errorf("the secret is still there: %s", *v.ARN)
	}
}
