package lambda_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/service/lambda"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

func TestMain(m *testing.M) {
	environment.LaunchIfAsked()
	os.Exit(m.Run())
}

const (
	account  = servicetest.Account
	region   = servicetest.Region
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
	*servicetest.Parts
	t       testing.TB
	store   *store.Store
	invoker *invocation.Invoker
	pool    *environment.Pool
	url     string
	cfg     aws.Config
}

// newKit starts a server that ends with the test. Work that goes on by
// itself, such as versions that become Active, needs run.
func newKit(t testing.TB) *kit {
	t.Helper()
	k := &kit{t: t, Parts: servicetest.NewParts(t)}
	k.store = k.Parts.Store
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	k.invoker = invocation.New(invocation.Config{
		Store: k.store, Guard: k.Guard, Sealer: k.Sealer, Keys: key.NewRing(k.Keeper, 16), Node: "node", Concurrency: 200, Logger: logger, Principal: k.Principal,
		Credentials: func(_ context.Context, role *iam.Role, session string, d time.Duration, given *iam.Session) (environment.Credentials, error) {
			c, err := k.Keyring.Issue(role, session, d, given)
			return environment.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires}, err
		},
	})
	service := lambda.New(lambda.Config{
		Store: k.store, Guard: k.Guard, Invoker: k.invoker, Concurrency: 200, Logger: logger,
		CodeURL: func(sha256 string) string { return codeSite + sha256 },
	})
	k.url, k.cfg = k.Serve(t, service.Wire())
	k.Client = sdk.NewFromConfig(k.cfg)
	var err error
	k.pool, err = environment.New(environment.Config{
		Dir: t.TempDir() + "/functions", EndpointURL: k.url, Grace: time.Second, Credentials: k.invoker.Credentials, Logs: k.invoker.Logs, Logger: logger,
	})
	check(t, err)
	k.invoker.Use(k.pool)
	k.newRole("execution", lambdaTrust)
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

// lambdaTrust lets Lambda assume a role.
const lambdaTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// basics let a role log and be attached to a VPC.
const basics = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents",
	"ec2:CreateNetworkInterface","ec2:DescribeNetworkInterfaces","ec2:DeleteNetworkInterface"],"Resource":"*"}}`

func (k *kit) newRole(name, trust string) {
	k.t.Helper()
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error {
		return tx.SaveRole(nil, &iam.Role{
			Account: account, Name: name, Path: "/", ID: "AROA" + strings.ToUpper(name), TrustPolicy: trust, CreatedAt: time.Now(),
			Holdings: iam.Holdings{Inline: map[string]string{"basics": basics}},
		})
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

// testNetwork is a VPC with two subnets and two security groups.
type testNetwork struct {
	vpc             string
	subnets, groups []string
}

// newNetwork stores a VPC.
func (k *kit) newNetwork() testNetwork {
	k.t.Helper()
	s := &network.Snapshot{Account: account, Region: region}
	vpc, _ := s.New(netip.MustParsePrefix("10.0.0.0/16"), time.Now())
	n := testNetwork{vpc: vpc.ID}
	for i, block := range []string{"10.0.1.0/28", "10.0.2.0/28"} {
		subnet, _ := s.AddSubnet(vpc, netip.MustParsePrefix(block), network.Zones(region)[i], time.Now())
		g := &network.SecurityGroup{Record: network.Record{ID: network.NewID(network.PrefixGroup), VPCID: vpc.ID}, Name: block, Rules: []network.Rule{network.OpenEgress()}}
		s.Add(g)
		n.subnets, n.groups = append(n.subnets, subnet.ID), append(n.groups, g.ID)
	}
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error { return tx.SaveNetwork(account, region, s.Objects()...) }))
	return n
}

// interfaces returns the network interfaces of functions.
func (k *kit) interfaces() []*network.Interface {
	k.t.Helper()
	var s *network.Snapshot
	check(k.t, k.store.View(k.t.Context(), func(tx *store.Tx) (err error) {
		s, err = tx.Network(account, region, network.KindInterface)
		return err
	}))
	return s.Interfaces
}
