//go:build linux

package environment

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestLogbook(t *testing.T) {
	tests := []struct {
		name   string
		pieces []string
		want   []string
	}{
		{"lines", []string{"a\nb\n"}, []string{"a\n", "b\n"}},
		{"pieces", []string{"a", "b", "c\nd", "\n"}, []string{"abc\n", "d\n"}},
		{"message of lines", []string{"[ERROR] x\rTraceback\r\u00a0\u00a0File\n"}, []string{"[ERROR] x\nTraceback\n\u00a0\u00a0File\n"}},
		{"windows", []string{"a\r\nb\r", "\n"}, []string{"a\n", "b\n"}},
		{"empty", []string{"\n"}, []string{"\n"}},
		{"not UTF-8", []string{"a\xffb\n"}, []string{"a\uFFFDb\n"}},
		{"unfinished", []string{"a\nunfinished"}, []string{"a\n", "unfinished"}},
		{"long", []string{strings.Repeat("é", maxEntry/2+10) + "\n"}, []string{strings.Repeat("é", maxEntry/2), strings.Repeat("é", 10) + "\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			l := &logbook{write: func(entries []Entry) {
				for _, e := range entries {
					got = append(got, e.Message)
				}
			}}
			for _, p := range test.pieces {
				l.output([]byte(p))
			}
			l.platform("END")
			if diff := cmp.Diff(append(test.want, "END\n"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tail := string(l.end()); !strings.HasSuffix(strings.Join(got, ""), tail) || len(tail) > maxTail {
				t.Errorf("the tail of %d bytes is not the log's end", len(tail))
			}
		})
	}
}

func FuzzLogbook(f *testing.F) {
	f.Add([]byte("a\nb\r\nc"), 2)
	f.Add([]byte("\xff\r\r\n\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var whole strings.Builder
		l := &logbook{write: func(entries []Entry) {
			for _, e := range entries {
				whole.WriteString(e.Message)
			}
		}}
		cut = max(0, min(cut, len(text)))
		l.output(text[:cut])
		l.output(text[cut:])
		l.platform("END")
		want := strings.ReplaceAll(strings.ReplaceAll(string(text), "\r\n", "\n"), "\r", "\n")
		if got := strings.TrimSuffix(whole.String(), "END\n"); len(text) < maxEntry && got != strings.ToValidUTF8(want, "\uFFFD") &&
			strings.ToValidUTF8(got, "") == got && !strings.Contains(want, "\uFFFD") && strings.ToValidUTF8(want, "") == want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestPlatformLines(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py(`print("hello")`), nil)
	ids := []string{uuid.NewString(), uuid.NewString()}
	for _, id := range ids {
		r, err := k.Invoke(t.Context(), s, free, Event{RequestID: id})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(r.LogTail), "START RequestId: "+id) || !strings.HasSuffix(string(r.LogTail), "\t\n") {
			t.Errorf("got the tail %q", r.LogTail)
		}
	}
	number := `\d+\.\d\d ms`
	patterns := []string{
		`INIT_START Runtime Version: python:3\.11\.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}`,
		`START RequestId: ` + ids[0] + ` Version: \$LATEST`,
		`hello`,
		`END RequestId: ` + ids[0],
		`REPORT RequestId: ` + ids[0] + `\tDuration: ` + number + `\tBilled Duration: \d+ ms\tMemory Size: 256 MB\tMax Memory Used: \d+ MB\tInit Duration: ` + number + `\t`,
		`START RequestId: ` + ids[1] + ` Version: \$LATEST`,
		`hello`,
		`END RequestId: ` + ids[1],
		`REPORT RequestId: ` + ids[1] + `\tDuration: ` + number + `\tBilled Duration: \d+ ms\tMemory Size: 256 MB\tMax Memory Used: \d+ MB\t`,
	}
	got := k.messages()
	if len(got) != len(patterns) {
		t.Fatalf("got %d entries, want %d: %q", len(got), len(patterns), got)
	}
	for i, p := range patterns {
		if !regexp.MustCompile("^" + p + "\n$").MatchString(got[i]) {
			t.Errorf("entry %d: got %q, want %s", i, got[i], p)
		}
	}
	for stream := range k.logs {
		if !regexp.MustCompile(`^/aws/lambda/rotator ` + time.Now().UTC().Format("2006/01/02/") + `\[\$LATEST\][0-9a-f]{32}$`).MatchString(stream) {
			t.Errorf("got the stream %q", stream)
		}
	}
}

func TestCustomLogGroup(t *testing.T) {
	k := newKit(t, nil)
	r := k.invoke(spec(t, py("pass"), func(s *Spec) { s.LogGroup, s.Version = "/shared", "7" }), "{}")
	if r.LogGroup != "/shared" || !regexp.MustCompile(`^\d{4}/\d\d/\d\d/rotator\[7\][0-9a-f]{32}$`).MatchString(r.LogStream) {
		t.Errorf("got %s %s", r.LogGroup, r.LogStream)
	}
}

// jsonLines decodes every entry of a JSON log; an entry that is not JSON fails.
func (k *kit) jsonLines() []map[string]any {
	k.t.Helper()
	var all []map[string]any
	for _, m := range k.messages() {
		all = append(all, decode[map[string]any](k.t, []byte(m)))
	}
	return all
}

func TestJSONFormat(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py(`import logging
log = logging.getLogger("step")
---
log.info("one\ntwo", extra={"secret": "arn"})
log.debug("hidden")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
if event.get("fail"): raise KeyError("gone")`), func(s *Spec) { s.LogFormat = "JSON" })
	id := uuid.NewString()
	if _, err := k.Invoke(t.Context(), s, free, Event{RequestID: id, Payload: []byte(`{"fail":1}`)}); err != nil {
		t.Fatal(err)
	}
	lines := k.jsonLines()
	var kinds []string
	for _, l := range lines {
		kind, _ := l["type"].(string)
		if kind == "" {
			kind, _ = l["level"].(string)
		}
		if kind == "" {
			kind, _ = l["log_level"].(string)
			kind = "sink " + kind
		}
		kinds = append(kinds, kind)
	}
	if diff := cmp.Diff([]string{"platform.initStart", "platform.start", "INFO", "ERROR", "sink ERROR", "platform.report"}, kinds); diff != "" {
		t.Fatalf("(-want +got):\n%s\n%v", diff, lines)
	}
	start := lines[0]["record"].(map[string]any)
	if start["initializationType"] != "on-demand" || start["phase"] != "init" || start["functionName"] != "rotator" || start["instanceMaxMemory"] != 256.0*1024*1024 {
		t.Errorf("got initStart %v", start)
	}
	if diff := cmp.Diff(map[string]any{"requestId": id, "functionArn": s.FunctionARN, "version": "$LATEST"}, lines[1]["record"]); diff != "" {
		t.Errorf("start (-want +got):\n%s", diff)
	}
	info := lines[2]
	delete(info, "timestamp")
	if diff := cmp.Diff(map[string]any{"level": "INFO", "message": "one\ntwo", "logger": "step", "secret": "arn", "requestId": id}, info); diff != "" {
		t.Errorf("application line (-want +got):\n%s", diff)
	}
	if e := lines[3]; e["errorType"] != "ZeroDivisionError" || e["errorMessage"] != "division by zero" || e["stackTrace"] == nil || e["location"] == nil {
		t.Errorf("got the exception %v", e)
	}
	if e := lines[4]; e["errorType"] != "KeyError" || e["requestId"] != id || e["errorMessage"] != "'gone'" {
		t.Errorf("got the error %v", e)
	}
	report := lines[5]["record"].(map[string]any)
	metrics := report["metrics"].(map[string]any)
	if report["requestId"] != id || report["status"] != "success" || metrics["memorySizeMB"] != 256.0 || metrics["initDurationMs"].(float64) <= 0 {
		t.Errorf("got the report %v", report)
	}
}

func TestJSONFormatTimeout(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py("import time\n---\ntime.sleep(30)"), func(s *Spec) { s.LogFormat, s.Timeout = "JSON", time.Second })
	k.invoke(s, "{}")
	lines := k.jsonLines()
	last := lines[len(lines)-1]
	if last["type"] != "platform.report" || last["record"].(map[string]any)["status"] != "timeout" {
		t.Errorf("got %v", last)
	}
}

func TestPythonLogging(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py(`import logging, sys, os, subprocess
logger = logging.getLogger()
logger.setLevel(logging.INFO)
logger.info("while loading")
---
logger.info("line %d\nof two", 1)
print("printed\ntwice")
sys.stderr.write("to stderr\n")
subprocess.run(["echo", "from a child"])
os.write(1, b"no newline")`), nil)
	id := uuid.NewString()
	if _, err := k.Invoke(t.Context(), s, free, Event{RequestID: id}); err != nil {
		t.Fatal(err)
	}
	stamp := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	var got []string
	for _, m := range k.messages() {
		if !strings.HasPrefix(m, "INIT_START") && !strings.HasPrefix(m, "REPORT") {
			got = append(got, stamp.ReplaceAllString(m, "TIME"))
		}
	}
	want := []string{
		"[INFO]\tTIME\t\twhile loading\n", "START RequestId: " + id + " Version: $LATEST\n",
		"[INFO]\tTIME\t" + id + "\tline 1\nof two\n", "printed\n", "twice\n", "to stderr\n", "from a child\n", "no newline",
		"END RequestId: " + id + "\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTracing(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py("import os\n---\nreturn os.environ['_X_AMZN_TRACE_ID']"), func(s *Spec) { s.TracingMode = "Active" })
	const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	r, err := k.Invoke(t.Context(), s, free, Event{RequestID: "r", TraceHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Payload) != `"`+header+`"` {
		t.Errorf("got %s, want %s", r.Payload, header)
	}
	if want := "\tXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t\n"; !strings.HasSuffix(string(r.LogTail), want) {
		t.Errorf("got %q, want the end %q", r.LogTail, want)
	}
}

func TestLogTailIsTheEnd(t *testing.T) {
	k := newKit(t, nil)
	r := k.invoke(spec(t, py("for i in range(2000): print('line', i)"), nil), "{}")
	if len(r.LogTail) != maxTail || !strings.Contains(string(r.LogTail), "line 1999\nEND RequestId") {
		t.Errorf("got %d bytes: %s", len(r.LogTail), r.LogTail)
	}
	if n := len(k.messages()); n != 2000+4 {
		t.Errorf("got %d entries, want 2004: some output was lost", n)
	}
}

func TestMemoryIsMeasured(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py("x = bytearray(event['mb'] << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nreturn len(x)"), nil)
	small, large := k.invoke(s, `{"mb":1}`), k.invoke(s, `{"mb":100}`)
	if small.MaxMemoryMB < 5 || small.MaxMemoryMB > 60 || large.MaxMemoryMB < small.MaxMemoryMB+90 || large.MaxMemoryMB > small.MaxMemoryMB+140 {
		t.Errorf("got %d MB and, with 100 MB more, %d MB", small.MaxMemoryMB, large.MaxMemoryMB)
	}
}

func TestPythonContext(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py(`return {
    "aws_request_id": context.aws_request_id, "function_name": context.function_name,
    "function_version": context.function_version, "invoked_function_arn": context.invoked_function_arn,
    "memory_limit_in_mb": context.memory_limit_in_mb, "log_group_name": context.log_group_name,
    "log_stream_name": context.log_stream_name, "client": context.client_context.custom,
    "title": context.client_context.client.app_title, "identity": context.identity.cognito_identity_id,
    "tenant_id": context.tenant_id, "left": 15000 < context.get_remaining_time_in_millis() <= 20000,
    "deadline": context.epoch_deadline_time_in_ms > 1e12,
}`), nil)
	id := uuid.NewString()
	r, err := k.Invoke(t.Context(), s, free, Event{
		RequestID: id, InvokedARN: s.FunctionARN + ":alias",
		ClientContext: `{"custom":{"a":"b"},"client":{"app_title":"T"}}`,
	})
	if err != nil || r.FunctionError != "" {
		t.Fatalf("%v %s", err, r.Payload)
	}
	want := map[string]any{
		"aws_request_id": id, "function_name": "rotator", "function_version": "$LATEST",
		"invoked_function_arn": s.FunctionARN + ":alias", "memory_limit_in_mb": "256",
		"log_group_name": "/aws/lambda/rotator", "log_stream_name": r.LogStream, "client": map[string]any{"a": "b"},
		"title": "T", "identity": nil, "tenant_id": nil, "left": true, "deadline": true,
	}
	if diff := cmp.Diff(want, decode[map[string]any](t, r.Payload)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("KEYTURN_ROOT_SECRET_ACCESS_KEY", "of the server")
	k := newKit(t, nil)
	s := spec(t, py("import os\n---\nreturn dict(os.environ)"), func(s *Spec) {
		s.Env = map[string]string{
			"SECRETS_MANAGER_ENDPOINT": "https://x", "TZ": "Europe/Berlin", "PATH": "/opt/bin:/usr/bin",
			"AWS_ENDPOINT_URL": "http://mine", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "MINE", "_HANDLER": "x.y",
		}
	})
	got := decode[map[string]string](t, []byte(k.value(s, "{}")))
	want := map[string]string{
		"SECRETS_MANAGER_ENDPOINT": "https://x", "TZ": "Europe/Berlin", "PATH": "/opt/bin:/usr/bin", "AWS_ENDPOINT_URL": "http://mine",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "secret-example", "AWS_SESSION_TOKEN": "token-example",
		"_HANDLER": "lambda_function.lambda_handler", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11", "LANG": "en_US.UTF-8",
		"LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "PWD": "/var/task", "PYTHONPATH": "/var/runtime",
		"AWS_LAMBDA_FUNCTION_NAME": "rotator", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/rotator", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_CA_BUNDLE": "/etc/pki/tls/cert.pem", "AWS_LAMBDA_LOG_FORMAT": "Text",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: got %q, want %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if strings.HasPrefix(name, "KEYTURN") || strings.Contains(value, "of the server") {
			t.Errorf("the function sees %s", name)
		}
	}
	if text, err := json.Marshal(k.text()); err != nil || strings.Contains(string(text), "secret-example") {
		t.Error("the log holds the credentials")
	}
}

// The URL that AWS's instructions give for Secrets Manager leads here, and no
// other does.
func TestSecretsManagerEndpoint(t *testing.T) {
	const here = "http://mine"
	for url, want := range map[string]string{
		"https://secretsmanager.us-east-1.amazonaws.com":             here,
		"https://secretsmanager.us-east-1.amazonaws.com/":            here,
		"https://secretsmanager.us-east-1.api.aws":                   here,
		"https://secretsmanager.us-east-1.amazonaws.com.example.org": "https://secretsmanager.us-east-1.amazonaws.com.example.org",
		"https://secretsmanager.eu-west-1.amazonaws.com":             "https://secretsmanager.eu-west-1.amazonaws.com",
		"https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com": "https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com",
		"http://127.0.0.1:4566":                                      "http://127.0.0.1:4566",
	} {
		s := spec(t, py("import os\n---\nreturn os.environ['SECRETS_MANAGER_ENDPOINT']"), func(s *Spec) {
			s.Env = map[string]string{"SECRETS_MANAGER_ENDPOINT": url, "AWS_ENDPOINT_URL": here}
		})
		if got := decode[string](t, []byte(newKit(t, nil).value(s, "{}"))); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
