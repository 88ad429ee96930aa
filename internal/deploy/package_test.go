package deploy_test

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/deploy"
)

// The package that goes to AWS, deployed here as an ordinary function with a
// bootstrap of its own, rotates a real secret.
func TestPackageRotates(t *testing.T) {
	s, db := apitest.Start(t, apitest.Options{}), apitest.Database(t)
	path := filepath.Join(t.TempDir(), "rotator.zip")
	if _, err := deploy.WritePackage(path, apitest.Binary(t), bundle(t, db)); err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	function := s.NewFunction(t, apitest.Function{
		Name: "packaged", Runtime: deploy.Runtime, Handler: "rotator.postgres.single", Code: code,
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": "ca-bundle.pem"},
	})
	user := apitest.NewUser(t, db)
	secret := newSecret(t, s, "app/db", user.Value(user.Password))
	_, err = s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &secret, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		t.Fatal(err)
	}
	rotateNow(t, s.Config, secret)
	if err := user.Login(t.Context(), password(t, s, secret)); err != nil {
		t.Errorf("the new password does not log in: %v", err)
	}
	if got := programs(t, "packaged"); len(got) != 1 || got[0] != "github.com/keyturn/keyturn/cmd/keyturn" {
		t.Errorf("the function ran on %q, want the package's own program", got)
	}
}

// programs returns what the processes of a function run.
func programs(t *testing.T, function string) []string {
	t.Helper()
	var list []string
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte("AWS_LAMBDA_FUNCTION_NAME="+function+"\x00")) {
			continue
		}
		info, err := buildinfo.ReadFile(filepath.Join(filepath.Dir(name), "exe"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, info.Path)
	}
	return list
}

// The same content makes the same bytes, and it is what Lambda expects.
func TestWritePackage(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var packages [][]byte
	for i := range 2 {
		path := filepath.Join(dir, strconv.Itoa(i)+".zip")
		size, err := deploy.WritePackage(path, program, []byte("authorities"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if size.Content != 20 || size.Zipped != int64(len(b)) || size.NeedsS3() {
			t.Errorf("got the size %+v of %d bytes", size, len(b))
		}
		packages = append(packages, b)
	}
	if !bytes.Equal(packages[0], packages[1]) {
		t.Error("two packages of the same differ")
	}
	if !(deploy.Size{Zipped: 50<<20 + 1}).NeedsS3() {
		t.Error("a package over 50 MB does not need S3")
	}
	z, err := zip.NewReader(bytes.NewReader(packages[0]), int64(len(packages[0])))
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{}
	for _, f := range z.File {
		modes[f.Name] = f.Mode().String()
	}
	if modes["bootstrap"] != "-rwxr-xr-x" || modes["ca-bundle.pem"] != "-rw-r--r--" || len(modes) != 2 {
		t.Errorf("got the files %v", modes)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("something was left beside the packages: %v (%v)", entries, err)
	}
}

// A package over Lambda's limit is refused and leaves nothing.
func TestPackageTooLarge(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	f, err := os.Create(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(250<<20 + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = deploy.WritePackage(filepath.Join(dir, "rotator.zip"), program, nil)
	if err == nil || !strings.Contains(err.Error(), "Lambda takes 262144000") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("something was left beside the program: %v (%v)", entries, err)
	}
}

// Programs are looked for where the documents say, and checked: another
// processor's, another program and none at all are refused with advice.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "keyturn-linux-arm64")
	buildTiny(t, foreign, "arm64")
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := apitest.Binary(t)
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, given, self, arch, want, err string }{
		{"itself", "", own, machine(t, own), own, ""},
		{"the one beside it", "", filepath.Join(dir, "keyturn"), "arm64", foreign, ""},
		{"the given one", foreign, own, "arm64", foreign, ""},
		{"of another processor", foreign, own, "amd64", "", "is a program for EM_AARCH64, not for amd64"},
		{"no program", text, own, "arm64", "", "is no program for Linux"},
		{"another program", test, own, machine(t, test), "", "is no keyturn program"},
		{"none", "", test, "arm64", "", "run \"make dist\" in Keyturn's source, which builds dist/keyturn-linux-arm64, and give that with --binary dist/keyturn-linux-arm64"},
	} {
		got, err := deploy.Program(c.given, c.self, c.arch)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: got %s (%v), want %s", c.name, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.err)
		}
	}
	path := filepath.Join(dir, "rotator.zip")
	if _, err := deploy.WritePackage(path, foreign, nil); err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(bootstrap(t, path)))
	if err != nil || f.Machine != elf.EM_AARCH64 {
		t.Errorf("the package's bootstrap is no program for arm64: %v", err)
	}
}

// buildTiny builds a program with the package path of keyturn's, and nothing
// in it, for another processor.
func buildTiny(t *testing.T, path, arch string) {
	t.Helper()
	dir := t.TempDir()
	main := filepath.Join(dir, "cmd", "keyturn")
	if err := os.MkdirAll(main, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "go.mod"):   "module github.com/keyturn/keyturn\n\ngo 1.26\n",
		filepath.Join(main, "main.go"): "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-o", path, "./cmd/keyturn")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// machine is the processor that a program is for.
func machine(t *testing.T, path string) string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
}

func bootstrap(t *testing.T, path string) []byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The template's role may do what the policy says, and its parts refer to
// what exists.
func TestTemplate(t *testing.T) {
	s := deploy.Spec{Name: "rot", Rotator: "postgres.alternating", Timeout: 30, Memory: 128, Hold: "2d", Every: "rate(12 hours)", Window: "2h"}
	text, err := s.Template("arm64")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Parameters, Conditions map[string]any
		Resources              map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal([]byte(text), &template); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Role": "AWS::IAM::Role", "Function": "AWS::Lambda::Function", "Permission": "AWS::Lambda::Permission",
		"Schedule": "AWS::SecretsManager::RotationSchedule",
	} {
		if got := template.Resources[name].Type; got != want {
			t.Errorf("%s: got the type %q, want %q", name, got, want)
		}
	}
	whole := map[string]any{}
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	referred(whole, func(name string) {
		name, _, _ = strings.Cut(name, ".")
		_, resource := template.Resources[name]
		if !strings.HasPrefix(name, "AWS::") && !resource && template.Parameters[name] == nil && template.Conditions[name] == nil {
			t.Errorf("the template refers to %s, which it does not have", name)
		}
	})
	for _, want := range []string{`"arm64"`, `"Handler": "rotator.postgres.alternating"`, "cloudtrail:LookupEvents", "${SuperuserSecretArn}",
		"resource/AllowRotationLambdaArn", `"ScheduleExpression": "rate(12 hours)"`, `"Duration": "2h"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the template lacks %s", want)
		}
	}
	policy, err := s.PolicyText()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"arn:aws:lambda:REGION:ACCOUNT:function:rot", "SUPERUSER_SECRET_ARN"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
}

// referred calls f with every name that a template refers to.
func referred(v any, f func(string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			referred(e, f)
		}
	case map[string]any:
		for key, value := range v {
			switch list, _ := value.([]any); key {
			case "Ref":
				f(value.(string))
			case "Fn::GetAtt", "Fn::If":
				f(list[0].(string))
			case "Fn::Sub":
				for _, part := range strings.Split(value.(string), "${")[1:] {
					name, _, _ := strings.Cut(part, "}")
					f(name)
				}
			case "DependsOn", "Condition":
				if name, ok := value.(string); ok {
					f(name)
				}
			}
			referred(value, f)
		}
	}
}

// The role of a rotator of keytabs may write those, and no other secrets.
func TestKeytabPolicy(t *testing.T) {
	const keytab = "arn:aws:secretsmanager:us-east-1:123456789012:secret:keytab-AbCdEf"
	s := deploy.Spec{Name: "rot", Rotator: "activedirectory.keytab", Timeout: 30, Memory: 128, Keytabs: []string{keytab}}
	text, err := s.PolicyText()
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct {
			Sid              string
			Action, Resource any
		}
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	for _, st := range policy.Statement {
		if st.Sid == "WriteKeytabs" {
			if !strings.Contains(fmt.Sprint(st.Action), "PutSecretValue") || fmt.Sprint(st.Resource) != "["+keytab+"]" {
				t.Errorf("got %v on %v", st.Action, st.Resource)
			}
			return
		}
	}
	t.Errorf("nothing lets the role write keytabs:\n%s", text)
}
