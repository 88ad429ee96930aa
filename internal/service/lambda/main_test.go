package lambda_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/service/lambda"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

func TestMain(m *testing.M) {
	environment.LaunchIfAsked()
	os.Exit(m.Run())
}

const (
	account  = "123456789012"
	region   = "us-east-1"
	roleARN  = "arn:aws:iam::" + account + ":role/execution"
	python   = "python3.11"
	handler  = "lambda_function.lambda_handler"
	codeSite = "https://code.example/"
)

// functionARN is the address of a function of the test account.
func functionARN(name string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + name
}

// kit is a server of the Lambda API alone, with a client.
type kit struct {
	*sdk.Client
	t       testing.TB
	store   *store.Store
	invoker *invocation.Invoker
	keyring *authz.Keyring
	root    authz.Root
	url     string
	pool    *environment.Pool
}

// newKit starts a server that ends with the test. Work that goes on by
// itself, such as versions that become Active, needs run.
func newKit(t testing.TB) *kit {
	t.Helper()
	k := &kit{t: t, root: authz.NewRoot(account)}
	dir := t.TempDir()
	var err error
	if k.store, err = sqlite.Open(t.Context(), sqlite.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, k.store.Close()) })
	holder, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	check(t, err)
	wrapped, err := key.NewSealerKey(t.Context(), holder)
	check(t, err)
	sealer, err := key.NewSealer(t.Context(), holder, wrapped)
	check(t, err)
	k.keyring = authz.NewKeyring(k.root, sealer)
	logger := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	k.invoker = invocation.New(invocation.Config{
		Store: k.store, Sealer: sealer, Node: "node", Concurrency: 200, Logger: logger, Lease: time.Second,
		Credentials: func(_ context.Context, role *iam.Role, session string, d time.Duration) (environment.Credentials, error) {
			c, err := k.keyring.Issue(role, session, d)
			return environment.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires}, err
		},
	})
	recorder, err := trail.NewRecorder(dir + "/trail")
	check(t, err)
	t.Cleanup(func() { check(t, recorder.Close()) })
	service := lambda.New(lambda.Config{
		Store: k.store, Guard: authz.NewGuard(k.store, holder), Invoker: k.invoker, Concurrency: 200, Logger: logger,
		CodeURL: func(sha256 string) string { return codeSite + sha256 },
	})
	server := httptest.NewServer(wire.NewHandler(wire.Config{
		Services: []*wire.Service{service.Wire()}, Authenticate: k.authenticate, Record: recorder.Record, Log: logger,
	}))
	t.Cleanup(server.Close)
	k.url = server.URL
	k.pool, err = environment.New(environment.Config{
		Dir: dir + "/functions", EndpointURL: server.URL, Grace: time.Second, Credentials: k.invoker.Credentials, Logs: k.invoker.Logs, Logger: logger,
	})
	check(t, err)
	k.invoker.Use(k.pool)
	k.Client = sdk.New(sdk.Options{
		Region: region, BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.root.AccessKeyID, k.root.SecretAccessKey, ""),
	})
	k.newRole("execution", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	k.goRun(k.pool.Run)
	return k
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// goRun runs a long-lived part until the test ends, or until the function
// that it returns is called.
func (k *kit) goRun(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			k.t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	k.t.Cleanup(stop)
	return stop
}

// run does the server's own work until the test ends.
func (k *kit) run() *kit {
	k.goRun(k.invoker.Run)
	return k
}

func (k *kit) authenticate(_ context.Context, q *sigv4.Request, body []byte, service string) (iam.Principal, error) {
	now := time.Now()
	secret, principal, err := k.keyring.Secret(q.Scope.AccessKeyID, q.Token, now)
	if err != nil {
		return iam.Principal{}, err
	}
	want := sigv4.Expected{Service: service, Region: func(string) bool { return true }}
	err = sigv4.NewKeyCache(1).Verify(q, body, now, want, func() (string, error) { return secret, nil })
	return principal, err
}

func (k *kit) newRole(name, trust string) {
	k.t.Helper()
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error {
		return tx.SaveRole(nil, &iam.Role{Account: account, Name: name, Path: "/", ID: "AROA" + strings.ToUpper(name), TrustPolicy: trust, CreatedAt: time.Now()})
	}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// zipOf makes a package of one Python file.
func zipOf(t testing.TB, source string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("lambda_function.py")
	check(t, err)
	_, err = io.WriteString(w, source)
	check(t, errors.Join(err, z.Close()))
	return b.Bytes()
}

const echo = "def lambda_handler(event, context):\n    print('got', event)\n    return event\n"

// input is what a test function is created from.
func (k *kit) input(name, source string) *sdk.CreateFunctionInput {
	k.t.Helper()
	return &sdk.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(roleARN), Runtime: python, Handler: aws.String(handler), Timeout: aws.Int32(20),
		Code: &types.FunctionCode{ZipFile: zipOf(k.t, source)},
	}
}

// create makes a function and waits until it is Active.
func (k *kit) create(in *sdk.CreateFunctionInput) *sdk.CreateFunctionOutput {
	k.t.Helper()
	out, err := k.CreateFunction(k.t.Context(), in)
	check(k.t, err)
	k.waitActive(*in.FunctionName)
	return out
}

// pause is the least time between two looks of a waiter.
const pause = 20 * time.Millisecond

func (k *kit) waitActive(name string) {
	k.t.Helper()
	err := sdk.NewFunctionActiveV2Waiter(k.Client, func(o *sdk.FunctionActiveV2WaiterOptions) { o.MinDelay = pause }).Wait(k.t.Context(), &sdk.GetFunctionInput{FunctionName: &name}, time.Minute)
	if err != nil {
		k.t.Fatalf("waiting for %s: %v", name, err)
	}
}

func (k *kit) waitUpdated(name string) {
	k.t.Helper()
	err := sdk.NewFunctionUpdatedV2Waiter(k.Client, func(o *sdk.FunctionUpdatedV2WaiterOptions) { o.MinDelay = pause }).Wait(k.t.Context(), &sdk.GetFunctionInput{FunctionName: &name}, time.Minute)
	if err != nil {
		k.t.Fatalf("waiting for %s: %v", name, err)
	}
}

// publish publishes a version and waits until it is Active.
func (k *kit) publish(name string) string {
	k.t.Helper()
	v, err := k.PublishVersion(k.t.Context(), &sdk.PublishVersionInput{FunctionName: &name})
	check(k.t, err)
	k.waitActive(name + ":" + *v.Version)
	return *v.Version
}

// wantError fails the test unless err is AWS's error with the code, status
// and message.
func wantError(t testing.TB, err error, code string, status int, message string) {
	t.Helper()
	failed, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if failed.ErrorCode() != code || failed.ErrorMessage() != message {
		t.Errorf("got  %s: %s\nwant %s: %s", failed.ErrorCode(), failed.ErrorMessage(), code, message)
	}
	if r, ok := errors.AsType[*awshttp.ResponseError](err); !ok || r.HTTPStatusCode() != status {
		t.Errorf("%s: got status %d, want %d", code, r.HTTPStatusCode(), status)
	}
}

// log returns what a function has logged, all streams in the order of time.
func (k *kit) log(group string) string {
	k.t.Helper()
	var b strings.Builder
	check(k.t, k.store.View(k.t.Context(), func(tx *store.Tx) error {
		b.Reset()
		g, err := tx.LogGroup(account, region, group)
		if err != nil {
			return err
		}
		entries, err := tx.LogEntries(g.ID, store.LogQuery{Limit: 10000})
		for _, e := range entries {
			b.WriteString(e.Message)
			if !strings.HasSuffix(e.Message, "\n") {
				b.WriteByte('\n')
			}
		}
		return err
	}))
	return b.String()
}

// layerZip makes a layer with a Python module dep that holds a text.
func layerZip(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("python/dep.py")
	check(t, err)
	_, err = io.WriteString(w, "NAME = '"+text+"'\n")
	check(t, errors.Join(err, z.Close()))
	return b.Bytes()
}
