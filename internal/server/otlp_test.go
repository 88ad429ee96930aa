package server_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/keyturn/keyturn/internal/apitest"
)

// wireCollector is a collector as far as the wire goes: it takes OTLP over
// HTTP and keeps what came.
type wireCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	raw   bytes.Buffer
}

func newWireCollector(t *testing.T) *wireCollector {
	c := &wireCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			zip, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = zip
		}
		b, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(b)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// find waits for a span of a name below another one, nil for below any.
func (c *wireCollector) find(t *testing.T, name string, parent *otlp.Span) *otlp.Span {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		spans := c.spans
		c.mu.Unlock()
		for _, s := range spans {
			if s.Name == name && (parent == nil || bytes.Equal(s.ParentSpanId, parent.SpanId) && bytes.Equal(s.TraceId, parent.TraceId)) {
				return s
			}
		}
		if time.Now().After(deadline) {
			var names []string
			for _, s := range spans {
				names = append(names, s.Name+" "+hex.EncodeToString(s.SpanId)+" below "+hex.EncodeToString(s.ParentSpanId))
			}
			t.Fatalf("no span %s; there are %q", name, names)
		}
	}
}

func attribute(s *otlp.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// tracedValue is in no span.
const tracedValue = "a-value-that-no-span-has"

// tracedRotation is a function that does what a rotation must.
const tracedRotation = `
import boto3, os
def lambda_handler(event, context):
    c = boto3.client("secretsmanager")
    id, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    if step == "createSecret":
        c.put_secret_value(SecretId=id, ClientRequestToken=token, SecretString="` + tracedValue + `", VersionStages=["AWSPENDING"])
    if step == "finishSecret":
        versions = c.describe_secret(SecretId=id)["VersionIdsToStages"]
        old = [v for v, labels in versions.items() if "AWSCURRENT" in labels][0]
        c.update_secret_version_stage(SecretId=id, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=old)
`

// A rotation, its steps, the function and what that calls are one trace, and
// so are a caller and its request. No span tells a secret's name or value.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := newWireCollector(t)
	s := apitest.StartProcess(t, apitest.Options{
		Interpreters: apitest.Interpreters(t),
		Environment:  []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=100"},
	})
	function := s.NewFunction(t, apitest.PythonCode(t, "traced", tracedRotation))
	created, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("unspoken/name"), SecretString: aws.String(tracedValue)})
	if err != nil {
		t.Fatal(err)
	}
	c.find(t, "secretsmanager.CreateSecret", nil)
	if _, err := s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: created.ARN, RotationLambdaARN: &function}); err != nil {
		t.Fatal(err)
	}
	rotation := c.find(t, "rotation", nil)
	if len(rotation.ParentSpanId) != 0 || attribute(rotation, "cloud.account.id") != apitest.Account || attribute(rotation, "keyturn.function") != function {
		t.Errorf("got %v", rotation)
	}
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		invoke := c.find(t, "invoke", c.find(t, step, rotation))
		if got := attribute(invoke, "faas.invoked_name"); got != "traced" || invoke.Kind != otlp.Span_SPAN_KIND_CLIENT {
			t.Errorf("%s: got %v", step, invoke)
		}
		if step == "createSecret" {
			put := c.find(t, "secretsmanager.PutSecretValue", invoke)
			if attribute(put, "rpc.method") != "PutSecretValue" || attribute(put, "cloud.account.id") != apitest.Account || attribute(put, "aws.request_id") == "" {
				t.Errorf("got %v", put)
			}
		}
	}
	if _, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("unspoken/other")}); err == nil {
		t.Fatal("there is such a secret")
	}
	refused := c.find(t, "secretsmanager.GetSecretValue", nil)
	if attribute(refused, "error.type") != "ResourceNotFoundException" || refused.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("got %v", refused)
	}
	checkCaller(t, c, s.URL)
	s.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, word := range []string{tracedValue, "unspoken"} {
		if bytes.Contains(c.raw.Bytes(), []byte(word)) {
			t.Errorf("%q is in the spans", word)
		}
	}
}

// checkCaller sends a request with a caller's span, in both forms.
func checkCaller(t *testing.T, c *wireCollector, url string) {
	t.Helper()
	for name, value := range map[string]string{
		"traceparent":     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
	} {
		caller := &otlp.Span{}
		caller.TraceId, _ = hex.DecodeString(map[bool]string{true: "0af7651916cd43dd8448eb211c80319c", false: "5759e988bd862e3fe1be46a994272793"}[name == "traceparent"])
		caller.SpanId, _ = hex.DecodeString(map[bool]string{true: "b7ad6b7169203331", false: "53995c3f42cd8ad8"}[name == "traceparent"])
		req, err := http.NewRequestWithContext(t.Context(), "POST", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(name, value)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		c.find(t, "request", caller)
	}
}
