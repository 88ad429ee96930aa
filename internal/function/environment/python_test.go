//go:build linux

package environment

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// pythonFailures holds every row of Lambda's function errors that a Python
// function can cause. RID stands for the request ID.
var pythonFailures = []struct {
	name    string
	code    files
	handler string
	payload string // the event
	want    string // the answer
	log     string // part of the log
}{{
	name: "handler raised",
	code: files{"lambda_function.py": "def lambda_handler(event, context):\n    raise ValueError(\"boom\")\n"},
	want: `{"errorMessage":"boom","errorType":"ValueError","requestId":"RID",` +
		`"stackTrace":["  File \"/var/task/lambda_function.py\", line 2, in lambda_handler\n    raise ValueError(\"boom\")\n"]}`,
	log: "[ERROR] ValueError: boom\nTraceback (most recent call last):\n" +
		"\u00a0\u00a0File \"/var/task/lambda_function.py\", line 2, in lambda_handler\n" +
		"\u00a0\u00a0\u00a0\u00a0raise ValueError(\"boom\")\n",
}, {
	name: "module not found",
	code: files{"lambda_function.py": "import psycopg2_missing\n"},
	want: `{"errorMessage":"Unable to import module 'lambda_function': No module named 'psycopg2_missing'",` +
		`"errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}`,
	log: "[ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named 'psycopg2_missing'\n" +
		"Traceback (most recent call last):\n",
}, {
	name: "code in a folder of its own",
	code: files{"project/lambda_function.py": "def lambda_handler(e, c): pass\n"},
	want: `{"errorMessage":"Unable to import module 'lambda_function': No module named 'lambda_function'",` +
		`"errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}`,
}, {
	name:    "handler missing",
	code:    py("pass"),
	handler: "lambda_function.x",
	want: `{"errorMessage":"Handler 'x' missing on module 'lambda_function'","errorType":"Runtime.HandlerNotFound",` +
		`"requestId":"","stackTrace":[]}`,
	log: "INIT_REPORT Init Duration: ",
}, {
	name:    "handler without a dot",
	code:    py("pass"),
	handler: "x",
	want: `{"errorMessage":"Bad handler 'x': not enough values to unpack (expected 2, got 1)",` +
		`"errorType":"Runtime.MalformedHandlerName","requestId":"","stackTrace":[]}`,
}, {
	name: "syntax error",
	code: files{"lambda_function.py": "def lambda_handler(:\n"},
	want: `{"errorMessage":"Syntax error in module 'lambda_function': invalid syntax (lambda_function.py, line 1)",` +
		`"errorType":"Runtime.UserCodeSyntaxError","requestId":"",` +
		`"stackTrace":["  File \"/var/task/lambda_function.py\" Line 1\n    def lambda_handler(:\n"]}`,
}, {
	name:    "built-in module",
	code:    py("pass"),
	handler: "sys.handler",
	want: `{"errorMessage":"Cannot use built-in module sys as a handler module","errorType":"Runtime.BuiltInModuleConflict",` +
		`"requestId":"","stackTrace":[]}`,
}, {
	name: "result not serialisable",
	code: py("import datetime\n---\nreturn datetime.datetime.now()"),
	want: `{"errorMessage":"Unable to marshal response: Object of type datetime is not JSON serializable",` +
		`"errorType":"Runtime.MarshalError","requestId":"RID","stackTrace":[]}`,
}, {
	name:    "event not JSON",
	code:    py("pass"),
	payload: `{"a":`,
	want: `{"errorMessage":"Unable to unmarshal input: Expecting value: line 1 column 6 (char 5)",` +
		`"errorType":"Runtime.UnmarshalError","requestId":"RID","stackTrace":[]}`,
}, {
	name: "exit 0",
	code: py("import os\n---\nos._exit(0)"),
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited without providing a reason"}`,
	log:  "RequestId: RID Error: Runtime exited without providing a reason\nRuntime.ExitError\n",
}, {
	name: "exit 1",
	code: py("import sys\n---\nsys.exit(1)"),
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited with error: exit status 1"}`,
	log:  "RequestId: RID Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n",
}, {
	name: "signal",
	code: py("import os, signal\n---\nos.kill(os.getpid(), signal.SIGKILL)"),
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited with error: signal: killed"}`,
}, {
	name: "crash",
	code: py("import os\n---\nos.abort()"),
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited with error: signal: aborted"}`,
}, {
	name: "exit while importing",
	code: files{"lambda_function.py": "import os\nos._exit(7)\n"},
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited with error: exit status 7"}`,
	log:  "\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\n",
}, {
	name: "result too large",
	code: py("return 'x' * (6 * 1024 * 1024 + 100)"),
	want: `{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",` +
		`"errorType":"Function.ResponseSizeTooLarge"}`,
}, {
	name: "out of memory",
	code: py("import time\n---\nx = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(10)"),
	want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: RID Error: Runtime exited with error: signal: killed"}`,
	log:  "\tStatus: error\tError Type: Runtime.ExitError\n",
}}

func TestPythonFailures(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	for _, test := range pythonFailures {
		t.Run(test.name, func(t *testing.T) {
			s := spec(t, test.code, func(s *Spec) {
				s.Handler = orDefault(test.handler, s.Handler)
				s.LogGroup = "/test/" + strings.ReplaceAll(test.name, " ", "-")
			})
			id := uuid.NewString()
			r, err := k.Invoke(t.Context(), s, free, Event{RequestID: id, Payload: []byte(orDefault(test.payload, "{}"))})
			if err != nil {
				t.Fatal(err)
			}
			if r.FunctionError != "Unhandled" || r.ExecutedVersion != "$LATEST" {
				t.Errorf("got FunctionError %q, ExecutedVersion %q; want Unhandled, $LATEST", r.FunctionError, r.ExecutedVersion)
			}
			if diff := cmp.Diff(compact(t, strings.ReplaceAll(test.want, "RID", id)), compact(t, string(r.Payload))); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			k.mu.Lock()
			var log strings.Builder
			for _, e := range k.logs[r.LogGroup+" "+r.LogStream] {
				log.WriteString(e.Message)
			}
			k.mu.Unlock()
			if want := strings.ReplaceAll(test.log, "RID", id); !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, log.String())
			}
		})
	}
}

// compact keeps the members' order and drops the spaces of Python's encoder.
func compact(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	d := json.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return b.String()
		}
		fmt.Fprintf(&b, "%#v\n", token)
	}
}

func TestPythonImportRaises(t *testing.T) {
	k := newKit(t, nil)
	r := k.invoke(spec(t, files{"lambda_function.py": "x = {}['missing']\n"}, nil), "{}")
	got := decode[struct {
		ErrorMessage, ErrorType, RequestID string
		StackTrace                         []string
	}](t, r.Payload)
	if got.ErrorType != "KeyError" || got.ErrorMessage != "'missing'" || got.RequestID != "" {
		t.Errorf("got %+v", got)
	}
	last := `  File "/var/task/lambda_function.py", line 1, in <module>` + "\n    x = {}['missing']\n"
	if len(got.StackTrace) == 0 || got.StackTrace[len(got.StackTrace)-1] != last {
		t.Errorf("got the trace %q, want %q as its end", got.StackTrace, last)
	}
	if strings.Contains(strings.Join(got.StackTrace, ""), "bootstrap.py") {
		t.Errorf("the bootstrap shows in the trace %q", got.StackTrace)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(`import time, os
n = 0
---
global n
n += 1
if event.get("sleep"):
    open("/tmp/kept", "w").write("yes")
    print("going to sleep", end="")
    time.sleep(60)
return [n, os.path.exists("/tmp/kept")]`), func(s *Spec) { s.Timeout = 1500 * time.Millisecond })
	if got := k.value(s, "{}"); got != "[1, false]" {
		t.Fatalf("got %s", got)
	}
	id := uuid.NewString()
	began := time.Now()
	r, err := k.Invoke(t.Context(), s, free, Event{RequestID: id, Payload: []byte(`{"sleep":true}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ` + id + ` Error: Task timed out after 1.50 seconds"}`
	if string(r.Payload) != want || r.FunctionError != "Unhandled" {
		t.Errorf("got %s (%s), want %s", r.Payload, r.FunctionError, want)
	}
	if took := time.Since(began); took < 1500*time.Millisecond || took > 12*time.Second {
		t.Errorf("took %v, want 1.5 s", took)
	}
	messages := k.messages()
	tail := messages[len(messages)-4:]
	checks := []string{"going to sleep", "END RequestId: " + id + "\n", "\tStatus: timeout\n", " " + id + " Task timed out after 1.50 seconds\n\n"}
	for i, want := range checks {
		if !strings.Contains(tail[i], want) {
			t.Errorf("line %d of the log's end: got %q, want %q in it", i, tail[i], want)
		}
	}
	if !strings.Contains(tail[2], "Duration: 1500.00 ms\tBilled Duration: 1500 ms\t") {
		t.Errorf("got %q", tail[2])
	}
	// The environment was reset: a new process in the same stream, /tmp kept.
	if got := k.value(s, "{}"); got != "[1, true]" {
		t.Errorf("after the reset: got %s, want [1, true]", got)
	}
	if len(k.logs) != 1 {
		t.Errorf("got %d streams, want 1", len(k.logs))
	}
}

func TestTimeoutKillsGrandchildren(t *testing.T) {
	t.Parallel()
	for _, c := range []confinement{rootNamespaces, separateUser} {
		t.Run(c.String(), func(t *testing.T) {
			k := newKit(t, func(cfg *Config) { cfg.confinement = c })
			marker := uuid.NewString()
			s := spec(t, py(`import subprocess, time
---
subprocess.Popen(["/bin/sh", "-c", "(setsid sh -c 'exec -a x sleep 600 #`+marker+`' &) ; sleep 600 #`+marker+`"])
subprocess.Popen(["sleep", "601"], start_new_session=True, env={"MARK": "`+marker+`"})
time.sleep(60)`), func(s *Spec) { s.Timeout = time.Second })
			go k.Invoke(t.Context(), s, free, Event{RequestID: "r"})
			eventually(t, "the grandchildren run", patience, func() bool { return len(processesWith(t, marker)) >= 2 })
			eventually(t, "all are gone", patience, func() bool { return len(processesWith(t, marker)) == 0 })
		})
	}
}

func TestInitTimeout(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, files{"lambda_function.py": "import time\ntime.sleep(60)\n"}, func(s *Spec) { s.Timeout = time.Second })
	id := uuid.NewString()
	began := time.Now()
	r, err := k.Invoke(t.Context(), s, free, Event{RequestID: id})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 11*time.Second || took > 25*time.Second {
		t.Errorf("took %v, want 10 s of init and 1 s of invocation", took)
	}
	if want := timedOut(id, time.Second).payload(); string(r.Payload) != string(want) {
		t.Errorf("got %s, want %s", r.Payload, want)
	}
	log := k.text()
	for _, want := range []string{"\tPhase: init\tStatus: timeout\n", "\tPhase: invoke\tStatus: timeout\n", " Task timed out after 1.00 seconds\n\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}
