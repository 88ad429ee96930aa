package rehearse

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// The private server's region and account.
const (
	region  = "us-east-1"
	account = "123456789012"
)

// server is the private Keyturn server, a process of its own that ends with
// this one.
type server struct {
	url     string
	cfg     aws.Config
	secrets *secretsmanager.Client
	lambda  *lambda.Client
	logs    *cloudwatchlogs.Client
	role    string

	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// kept are the variables of this process that mean the private server too.
var kept = []string{"KEYTURN_RUNTIME", "KEYTURN_STRICT_RUNTIMES"}

// cleanEnvironment is this process's environment without what leads to real
// servers, accounts and keys.
func cleanEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return (strings.HasPrefix(name, "KEYTURN_") || strings.HasPrefix(name, "AWS_")) && !slices.Contains(kept, name)
	})
}

// startServer runs the program as a server on a temporary folder and a
// loopback port. Its root key is nowhere but in memory, so that what a killed
// rehearsal leaves on the disk opens nothing.
func startServer(ctx context.Context, w *workspace, o Options, bundle []string) (_ *server, err error) {
	s := &server{exited: make(chan struct{})}
	if s.dir, err = w.folder("server"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	args := []string{"serve", "--data", filepath.Join(s.dir, "data"), "--listen", "127.0.0.1:0", "--region", region, "--account", account,
		"--grace", "1s", "--log-level", "warn"}
	for _, name := range slices.Sorted(maps.Keys(o.Interpreters)) {
		args = append(args, "--runtime", name+"="+o.Interpreters[name])
	}
	access, key := "AKIA"+rand.Text()[:16], rand.Text()
	root := make([]byte, 32)
	_, _ = rand.Read(root) // never fails
	s.cmd = exec.Command(o.Program, args...)
	s.cmd.Env = append(cleanEnvironment(), "KEYTURN_ROOT_ACCESS_KEY_ID="+access, "KEYTURN_ROOT_SECRET_ACCESS_KEY="+key,
		"KEYTURN_ROOT_KEY="+base64.StdEncoding.EncodeToString(root),
		"KEYTURN_CA_BUNDLE="+strings.Join(bundle, ","))
	s.cmd.Env = append(s.cmd.Env, o.Environment...)
	if err := s.launch(); err != nil {
		return nil, err
	}
	s.cfg = aws.Config{
		Region: region, BaseEndpoint: &s.url, Credentials: credentials.NewStaticCredentialsProvider(access, key, ""),
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	s.secrets, s.lambda, s.logs = secretsmanager.NewFromConfig(s.cfg), lambda.NewFromConfig(s.cfg), cloudwatchlogs.NewFromConfig(s.cfg)
	return s, s.makeRole(ctx)
}

// launch starts the process and waits until it says where it listens. The
// death of the starting thread would end it, so one locked thread starts it
// and waits for its end.
func (s *server) launch() error {
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	started, found := make(chan error), make(chan string, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err != nil {
			close(s.exited)
			return
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if i := strings.Index(lines.Text(), "http://"); i >= 0 {
				found <- strings.Fields(lines.Text()[i:])[0]
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = s.cmd.Wait() // how it ended is in its log
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", s.cmd.Path, err)
	}
	select {
	case s.url = <-found:
		return nil
	case <-s.exited:
	case <-time.After(time.Minute):
	}
	said, _ := os.ReadFile(log.Name())
	return fmt.Errorf("the private server did not start:\n%s", said)
}

// stop ends the process and removes its folder.
func (s *server) stop() error {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone by itself
		select {
		case <-s.exited:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
			<-s.exited
		}
	}
	return os.RemoveAll(s.dir)
}

const (
	trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	// rights are those of the function: in the private server there is nothing
	// that it may not see.
	rights = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:*","kms:*","logs:*","sts:*","rds:Describe*"],"Resource":"*"}}`
)

func (s *server) makeRole(ctx context.Context) error {
	client := iam.NewFromConfig(s.cfg)
	role, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("rehearsal"), AssumeRolePolicyDocument: aws.String(trust)})
	if err != nil {
		return fmt.Errorf("making a role in the private server: %w", err)
	}
	s.role = *role.Role.Arn
	_, err = client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String("rehearsal"), PolicyName: aws.String("rights"), PolicyDocument: aws.String(rights),
	})
	return err
}

// makeFunction makes the function under a name of its own, with its calls led
// to the gateway, and returns its ARN.
func (s *server) makeFunction(ctx context.Context, name string, f *Function, timeout int32, gateway string) (string, error) {
	layers, err := s.publish(ctx, name, f.Layers)
	if err != nil {
		return "", err
	}
	variables := map[string]string{}
	for name, content := range f.Environment {
		if strings.HasPrefix(name, "AWS_ENDPOINT_URL") {
			content = gateway // no service's calls go anywhere else
		}
		variables[name] = content
	}
	for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "SECRETS_MANAGER_ENDPOINT"} {
		variables[variable] = gateway
	}
	if variables["AWS_MAX_ATTEMPTS"] == "" {
		variables["AWS_MAX_ATTEMPTS"] = "2" // the engine repeats steps: SDKs need not wait long
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Role: &s.role, Runtime: types.Runtime(f.Runtime), Handler: &f.Handler, Timeout: &timeout, MemorySize: &f.Memory,
		Code: &types.FunctionCode{ZipFile: f.Code}, Environment: &types.Environment{Variables: variables}, Layers: layers,
	}
	if f.Architecture != "" {
		in.Architectures = []types.Architecture{types.Architecture(f.Architecture)}
	}
	fn, err := s.lambda.CreateFunction(ctx, in)
	if err != nil {
		return "", fmt.Errorf("making the function in the private server: %w", err)
	}
	_, err = s.lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: aws.String("SecretsManager"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("secretsmanager.amazonaws.com"),
	})
	if err != nil {
		return "", fmt.Errorf("admitting Secrets Manager to the function: %w", err)
	}
	if err := lambda.NewFunctionActiveV2Waiter(s.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		return "", fmt.Errorf("waiting for the function: %w", err)
	}
	return *fn.FunctionArn, nil
}

func (s *server) publish(ctx context.Context, name string, layers [][]byte) (arns []string, err error) {
	for i, content := range layers {
		out, err := s.lambda.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
			LayerName: aws.String(fmt.Sprintf("%s-%d", name, i)), Content: &types.LayerVersionContentInput{ZipFile: content},
		})
		if err != nil {
			return nil, fmt.Errorf("publishing layer %d in the private server: %w", i+1, err)
		}
		arns = append(arns, *out.LayerVersionArn)
	}
	return arns, nil
}

// Zip makes the package of a function's folder.
func Zip(dir string) ([]byte, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder", dir)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := errors.Join(z.AddFS(os.DirFS(dir)), z.Close()); err != nil {
		return nil, fmt.Errorf("packing the folder %s: %w", dir, err)
	}
	return b.Bytes(), nil
}

// BuiltIn is the function of a built-in rotator.
func BuiltIn(rotator string) Function {
	return Function{
		Name: rotator, Runtime: "provided.al2023", Handler: "rotator." + rotator,
		Code: append([]byte("PK\x05\x06"), make([]byte, 18)...), // a zip without entries: its end record alone
	}
}
