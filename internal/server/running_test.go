package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
)

// The time from the start of the process to the line that says where it
// listens. The bound is loose, for busy machines; the time is in the log.
func TestStart(t *testing.T) {
	apitest.Binary(t)
	began := time.Now()
	p := apitest.StartProcess(t, apitest.Options{})
	took := time.Since(began)
	t.Logf("ready on an empty folder after %v", took)
	if took > 20*time.Second {
		t.Errorf("ready after %v", took)
	}
	p.Stop()
	began = time.Now()
	p.Restart()
	t.Logf("ready on a used folder after %v", time.Since(began))
}

// slow calls back to the server at the end, when that has long been told to
// stop.
const slow = `
import boto3, os, time
def lambda_handler(event, context):
    boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).put_secret_value(SecretId="drain", SecretString="begun")
    time.sleep(2)
    fresh = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    fresh.put_secret_value(SecretId="drain", SecretString="ended")
    return "all done"
`

// SIGTERM lets a request in flight end, with all that its function still
// does, and lets nobody else in.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	function := p.NewFunction(t, apitest.PythonCode(t, "slow", slow))
	ctx := t.Context()
	if _, err := p.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("drain"), SecretString: aws.String("new")}); err != nil {
		t.Fatal(err)
	}
	value := func() string {
		out, err := p.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("drain")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.SecretString
	}
	type result struct {
		out *lambda.InvokeOutput
		err error
	}
	invoked := make(chan result, 1)
	go func() {
		out, err := p.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function})
		invoked <- result{out, err}
	}()
	for value() != "begun" {
		time.Sleep(20 * time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.Stop()
	}()
	for refused := false; !refused; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
		if refused = err != nil; !refused {
			conn.Close()
		}
	}
	select {
	case r := <-invoked:
		t.Fatalf("the invocation ended before the door was shut: %v", r.err)
	default:
	}
	r := <-invoked
	if r.err != nil {
		t.Fatalf("the invocation was cut off: %v", r.err)
	}
	if r.out.FunctionError != nil || string(r.out.Payload) != `"all done"` {
		t.Errorf("got %s", r.out.Payload)
	}
	<-stopped
	p.Restart()
	if got := value(); got != "ended" {
		t.Errorf("after the restart the secret is %q, want what the function put last", got)
	}
}

// What takes longer than the grace is cut off, and the server ends all the
// same.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Interpreters = apitest.Interpreters(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	cfg.Grace = time.Second
	url, stop := start(t, cfg)
	s := apitest.Connect(url, cfg.Dir, nil)
	function := s.NewFunction(t, apitest.PythonCode(t, "endless", "import time\ndef lambda_handler(event, context):\n    print('begun')\n    time.sleep(100)\n"))
	invoked := make(chan error, 1)
	go func() {
		_, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &function})
		invoked <- err
	}()
	waitForMetric(t, url, `keyturn_requests_total\{code="",operation="GetFunction",service="lambda"\} [1-9]`)
	time.Sleep(500 * time.Millisecond) // the invocation is under way
	began := time.Now()
	stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopping took %v with a grace of %v", took, cfg.Grace)
	}
	if err := <-invoked; err == nil {
		t.Error("the invocation ended well")
	}
}

func waitForMetric(t *testing.T, url, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, body := get(t, url+"/metrics")
		if want.MatchString(body) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still no %s in\n%s", pattern, body)
		}
	}
}

// The names of metrics are a promise to whoever draws them.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	ctx := t.Context()
	_, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("none")})
	if _, ok := errors.AsType[smithy.APIError](err); !ok {
		t.Fatal(err)
	}
	function := s.NewFunction(t, apitest.PythonCode(t, "counted", "def lambda_handler(event, context):\n    raise ValueError()\n"))
	if _, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function}); err != nil {
		t.Fatal(err)
	}
	out, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("counted"), SecretString: aws.String("v")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: out.ARN, RotationLambdaARN: &function}); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{
		`keyturn_requests_total\{code="ResourceNotFoundException",operation="GetSecretValue",service="secretsmanager"\} 1\n`,
		`keyturn_requests_total\{code="",operation="CreateSecret",service="secretsmanager"\} 1\n`,
		`keyturn_request_seconds_count\{operation="Invoke",service="lambda"\} 1\n`,
		`keyturn_invocation_seconds_count\{outcome="error"\} [12]\n`,
		`keyturn_rotations_total\{outcome="retried"\} 1\n`,
		`keyturn_build_info\{commit="[^"]*",go="go1\.[^"]*",schema="[1-9]\d*",version="[^"]+"\} 1\n`,
		`keyturn_store_up 1\n`,
		`keyturn_store_updates_total [1-9]`,
		`keyturn_trail_events_total [1-9]`,
		`keyturn_trail_segments [1-9]`,
		`keyturn_feed_current 1\n`,
		`keyturn_cache_limit_bytes [1-9]`,
		`go_goroutines [1-9]`,
		`process_resident_memory_bytes [1-9]`,
	} {
		waitForMetric(t, s.URL, pattern)
	}
	_, body := get(t, s.URL+"/metrics")
	if got, want := servedMetrics(body), documentedMetrics(t); !slices.Equal(got, want) {
		t.Errorf("/metrics has %v, and docs/metrics.md %v", got, want)
	}
}

// A client that sends its header drop by drop is cut off; one that sends too
// long a header is told so.
func TestSlowAndLargeHeaders(t *testing.T) {
	t.Parallel()
	url, _ := start(t, config(t))
	address := strings.TrimPrefix(url, "http://")
	large, err := http.NewRequestWithContext(t.Context(), "GET", url+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	large.Header.Set("X-Large", strings.Repeat("x", 80<<10))
	res, err := http.DefaultClient.Do(large)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 80 KiB: got %s", res.Status)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	go func() {
		for _, c := range "GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
			if _, err := conn.Write([]byte(string(c))); err != nil {
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second)) // the read below tells
	_, err = io.ReadAll(bufio.NewReader(conn))
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || time.Since(began) > 25*time.Second {
		t.Errorf("a slow client was borne for %v", time.Since(began))
	}
}

// A body over the limit is refused before it is read.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	_, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("large"), SecretBinary: make([]byte, 12<<20), ClientRequestToken: aws.String(strings.Repeat("t", 32)),
	})
	refused, ok := errors.AsType[smithy.APIError](err)
	if !ok || refused.ErrorCode() != "RequestEntityTooLargeException" || !strings.Contains(refused.ErrorMessage(), "for the CreateSecret operation") {
		t.Errorf("got %v", err)
	}
}

// A server that was stopped in the middle of asynchronous invocations does
// them after its next start.
func TestAsyncSurvivesRestart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Interpreters = apitest.Interpreters(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	url, stop := start(t, cfg)
	s := apitest.Connect(url, cfg.Dir, nil)
	ctx := t.Context()
	if _, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("n"), SecretString: aws.String("0")}); err != nil {
		t.Fatal(err)
	}
	function := s.NewFunction(t, apitest.PythonCode(t, "later", `
import boto3, os
def lambda_handler(event, context):
    boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).put_secret_value(SecretId="n", SecretString=event["v"])
`))
	payload, err := json.Marshal(map[string]string{"v": "later"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, InvocationType: lambdatypes.InvocationTypeEvent, Payload: payload})
	if err != nil || out.StatusCode != http.StatusAccepted {
		t.Fatalf("got %v", err)
	}
	stop()
	url, _ = start(t, cfg)
	s = apitest.Connect(url, filepath.Clean(cfg.Dir), nil)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("n")})
		if err != nil {
			t.Fatal(err)
		}
		if *got.SecretString == "later" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the event was lost")
		}
	}
}
