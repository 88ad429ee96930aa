// Package apitest runs real servers for tests: in the test's own process, or
// as a process that can be killed. Clients are the AWS SDK's.
//
// A test binary that runs functions calls Main from its TestMain.
package apitest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/servicetest"
)

// What every test server has.
const (
	Region    = "us-east-1"
	Account   = "123456789012"
	AccessKey = "AKIATESTTESTTESTTEST"
	SecretKey = "test-only-root-secret-access-key"
)

// Main runs the tests of a binary: it lets execution environments start, and
// stops what the tests shared. Call it from TestMain.
func Main(m *testing.M) {
	environment.LaunchIfAsked()
	code := m.Run()
	shared.close()
	os.Exit(code)
}

// Options say what is special about a server; the zero value is an ordinary
// one on a fresh folder with SQLite.
type Options struct {
	// Dir is the data folder; a fresh one if empty.
	Dir string
	// StoreURL is a postgres:// URL.
	StoreURL string
	// Interpreters maps runtimes to executables.
	Interpreters map[string]string
	// CABundle lists authorities that functions trust.
	CABundle []string
	// Program is the executable of a process; one that is built if empty.
	Program string
	// Environment are more variables of a process, NAME=VALUE.
	Environment []string
	// Args are more flags of serve, for a process alone.
	Args []string
	// Endpoints are VPC endpoints.
	Endpoints []server.Endpoint
	// EnforceVPC holds functions to their VPC.
	EnforceVPC bool
}

// Server is a running server and its clients.
type Server struct {
	URL string
	Dir string
	// Config reaches the server as its root user.
	Config  aws.Config
	Secrets *secretsmanager.Client
	Lambda  *lambda.Client
	Logs    *cloudwatchlogs.Client
	Trail   *cloudtrail.Client
	IAM     *iam.Client
	STS     *sts.Client
	KMS     *kms.Client
	Stacks  *cloudformation.Client
	EC2     *ec2.Client
	RDS     *rds.Client
	Apps    *serverlessapplicationrepository.Client
	// EndpointURL tells where a VPC endpoint is, of a server in this process.
	EndpointURL func(id string) string
}

// Connect returns the clients of a server that runs elsewhere. They use the
// HTTP client, or one of their own if it is nil.
func Connect(url, dir string, client *http.Client) *Server {
	cfg := ConfigFor(url, Region)
	if client != nil {
		cfg.HTTPClient = client
	}
	return connect(url, dir, cfg)
}

func connect(url, dir string, cfg aws.Config) *Server {
	return &Server{
		URL: url, Dir: dir, Config: cfg, Secrets: secretsmanager.NewFromConfig(cfg), Lambda: lambda.NewFromConfig(cfg),
		Logs: cloudwatchlogs.NewFromConfig(cfg), Trail: cloudtrail.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), STS: sts.NewFromConfig(cfg), KMS: kms.NewFromConfig(cfg),
		Stacks: cloudformation.NewFromConfig(cfg), EC2: ec2.NewFromConfig(cfg), RDS: rds.NewFromConfig(cfg),
		Apps: serverlessapplicationrepository.NewFromConfig(cfg),
	}
}

// ConfigFor reaches a test server as its root user, in a region.
func ConfigFor(url, region string) aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: &url, RetryMaxAttempts: 1, HTTPClient: servicetest.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	}
}

// Start runs a server in this process until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	s, err := server.New(t.Context(), server.Config{
		Dir: dir, Listen: "127.0.0.1:0", StoreURL: o.StoreURL, Region: Region, Account: Account,
		RootAccessKeyID: AccessKey, RootSecretAccessKey: SecretKey, Interpreters: o.Interpreters, CABundle: o.CABundle, Endpoints: o.Endpoints, EnforceVPC: o.EnforceVPC,
		Grace: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatalf("making the server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("running the server: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	connected := Connect(s.URL(), dir, nil)
	connected.EndpointURL = s.EndpointURL
	return connected
}

// NewUser makes a user without policies and returns how it reaches the
// server.
func (s *Server) NewUser(t testing.TB, name string) aws.Config {
	t.Helper()
	if _, err := s.IAM.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatalf("creating the user %s: %v", name, err)
	}
	made, err := s.IAM.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatalf("making an access key for %s: %v", name, err)
	}
	cfg := s.Config.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*made.AccessKey.AccessKeyId, *made.AccessKey.SecretAccessKey, "")
	return cfg
}

// NewAccount makes another account and returns the clients of its root.
func (s *Server) NewAccount(t testing.TB, id string) *Server {
	t.Helper()
	client, err := admin.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.CreateAccount(t.Context(), "account "+id, id)
	if err != nil {
		t.Fatalf("creating the account %s: %v", id, err)
	}
	cfg := s.Config.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(made.AccessKey.AccessKeyID, made.AccessKey.SecretAccessKey, "")
	return connect(s.URL, s.Dir, cfg)
}

// testWriter puts the server's log into the test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("server: %s", b)
	return len(b), nil
}

// once makes a value on first use and ends it with the test binary.
type once[T any] struct {
	mu    sync.Mutex
	made  bool
	value T
	err   error
}

func (o *once[T]) get(make func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.made {
		o.made = true
		o.value, o.err = make()
	}
	return o.value, o.err
}

// sharedParts are made once for all tests of a binary.
type sharedParts struct {
	mu  sync.Mutex
	end []func() error
}

var shared sharedParts

func (s *sharedParts) atEnd(fn func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = append(s.end, fn)
}

func (s *sharedParts) close() {
	for _, fn := range s.end {
		if err := fn(); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
		}
	}
}
