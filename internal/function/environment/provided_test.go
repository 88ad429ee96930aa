//go:build linux

package environment

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// buildGo builds the Go function of the tests.
func buildGo(t *testing.T) files { return buildProvided(t, "provided") }

// buildProvided builds a Go function of testdata.
func buildProvided(t *testing.T, folder string) files {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.Command("go", "build", "-o", name, "./testdata/"+folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the Go function: %v\n%s", err, out)
	}
	program, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return files{"bootstrap*": string(program)}
}

func provided(s *Spec) { s.Runtime, s.Handler = "provided.al2023", "bootstrap" }

func TestProvidedGo(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	mustWrite(t, data+"/root.key", "root key", 0o666)
	k := newKit(t, func(cfg *Config) { cfg.Dir = data + "/functions" })
	s := spec(t, buildGo(t), provided)
	id := uuid.NewString()
	r, err := k.Invoke(t.Context(), s, free, Event{
		RequestID: id, InvokedARN: s.FunctionARN + ":live",
		Payload: encode(map[string]any{
			"files": []string{data + "/root.key", "/proc/1/environ", "/etc/shadow", "/var/task/bootstrap2", s.Code.SHA256},
			"pids":  []int{os.Getpid()},
		}),
	})
	if err != nil || r.FunctionError != "" {
		t.Fatalf("got %s, %v\n%s", r.Payload, err, k.text())
	}
	type answer struct {
		RequestID, ARN, Name string
		Count                int
		Got                  []string
	}
	want := answer{id, s.FunctionARN + ":live", "rotator", 1, nil}
	if diff := cmp.Diff(want, decode[answer](t, r.Payload)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := decode[answer](t, k.invoke(s, "{}").Payload); got.Count != 2 {
		t.Errorf("the second invocation counts %d, want 2: the process was not reused", got.Count)
	}
	if got, want := string(k.invoke(s, `{"fail":"error"}`).Payload), `{"errorMessage":"boom","errorType":"errorString"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A panic is reported by the function and ends its process.
	r = k.invoke(s, `{"fail":"panic"}`)
	if !strings.Contains(string(r.Payload), `"errorMessage":"no way out"`) || r.FunctionError != "Unhandled" {
		t.Errorf("got %s", r.Payload)
	}
	if !strings.Contains(string(r.LogTail), "Runtime exited with error: exit status 1\nRuntime.ExitError\n") {
		t.Errorf("got the log %s", r.LogTail)
	}
	if got := decode[answer](t, k.invoke(s, "{}").Payload); got.Count != 1 {
		t.Errorf("after the panic the count is %d, want 1", got.Count)
	}
}

func TestProvidedEntrypoint(t *testing.T) {
	k := newKit(t, nil)
	tests := []struct {
		name string
		code files
		want string
	}{
		{"missing", files{"main*": "x"}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"},
		{"not executable", files{"bootstrap": "#!/bin/sh\n"}, "fork/exec /var/task/bootstrap: permission denied"},
		{"not a program", files{"bootstrap*": "hello"}, "fork/exec /var/task/bootstrap: exec format error"},
		{"missing interpreter", files{"bootstrap*": "#!/no/such/shell\n"}, "fork/exec /var/task/bootstrap: no such file or directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := uuid.NewString()
			r, err := k.Invoke(t.Context(), spec(t, test.code, provided), free, Event{RequestID: id})
			if err != nil {
				t.Fatal(err)
			}
			want := failure{"Runtime.InvalidEntrypoint", "RequestId: " + id + " Error: " + test.want}.payload()
			if string(r.Payload) != string(want) {
				t.Errorf("got %s, want %s", r.Payload, want)
			}
		})
	}
}

// A runtime in a layer, as shared custom runtimes are.
func TestProvidedLayer(t *testing.T) {
	k := newKit(t, nil)
	layer := files{"bootstrap*": "#!/usr/bin/python3\n" + rawRuntime + "respond(next()[0], b'\"from the layer\"')\nnext()\n"}
	s := spec(t, files{"data.txt": "x"}, func(s *Spec) {
		provided(s)
		s.Layers = []Package{packageOf(layer.zip(t))}
	})
	if got := k.value(s, "{}"); got != `"from the layer"` {
		t.Errorf("got %s", got)
	}
}

// rawRuntime speaks to the Runtime API without any client library, so that
// tests can say what no client would.
const rawRuntime = `import http.client, json, os, sys
def call(method, path, body=None, headers={}):
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    c.request(method, "/2018-06-01" + path, body, headers)
    r = c.getresponse()
    return r.status, r.read().decode(), dict(r.getheaders())
def next():
    status, body, headers = call("GET", "/runtime/invocation/next")
    return headers.get("Lambda-Runtime-Aws-Request-Id"), body, headers
def respond(rid, body):
    return call("POST", "/runtime/invocation/" + rid + "/response", body)[:2]
`

func TestRuntimeAPIRefusals(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, files{"bootstrap*": "#!/usr/bin/python3\n" + rawRuntime + `
out = []
def note(name, answer):
    out.append([name, answer[0], answer[1].strip()])
note("response before next", respond("x", b"1"))
note("ping", call("GET", "/ping"))
note("unknown path", call("GET", "/runtime/nothing"))
note("wrong method", call("POST", "/runtime/invocation/next"))
rid, body, headers = next()
note("next while running", call("GET", "/runtime/invocation/next"))
note("init error while running", call("POST", "/runtime/init/error", b"{}"))
note("wrong id", respond("someone-elses", b"1"))
note("error for a wrong id", call("POST", "/runtime/invocation/nobody/error", b"{}"))
note("response", respond(rid, json.dumps(out).encode()))
out = [["headers", headers], ["event", body]]
note("second response", respond(rid, b"2"))
note("error after response", call("POST", "/runtime/invocation/" + rid + "/error", b"{}"))
rid, body, headers = next()
note("init error after init", call("POST", "/runtime/init/error", b"{}"))
out[0][1] = headers
respond(rid, json.dumps(out).encode())
next()
`}, provided)
	forbidden := func(from, to string) string {
		return `{"errorMessage":"State transition from ` + from + ` to ` + to +
			` failed for runtime. Error: State transition is not allowed","errorType":"InvalidStateTransition"}`
	}
	const badID = `{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`
	got := decode[[][]any](t, k.invoke(s, `{"first":1}`).Payload)
	want := [][]any{
		{"response before next", 400.0, badID},
		{"ping", 200.0, "pong"},
		{"unknown path", 404.0, "404 page not found"},
		{"wrong method", 405.0, "Method Not Allowed"},
		{"next while running", 403.0, forbidden("Running", "Ready")},
		{"init error while running", 403.0, forbidden("Running", "InitError")},
		{"wrong id", 400.0, badID},
		{"error for a wrong id", 400.0, badID},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("first invocation (-want +got):\n%s", diff)
	}
	id := uuid.NewString()
	r, err := k.Invoke(t.Context(), s, free, Event{
		RequestID: id, Payload: []byte(`{"second":2}`), TraceHeader: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
		ClientContext: `{"custom":{"a":"b"}}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	second := decode[[][]any](t, r.Payload)
	headers := second[0][1].(map[string]any)
	for name, value := range map[string]string{
		"Lambda-Runtime-Aws-Request-Id": id, "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
		"Lambda-Runtime-Invoked-Function-Arn": s.FunctionARN, "Lambda-Runtime-Client-Context": `{"custom":{"a":"b"}}`,
		"Content-Type": "application/json", "Content-Length": "12",
	} {
		if headers[name] != value {
			t.Errorf("header %s: got %v, want %s", name, headers[name], value)
		}
	}
	byName := map[any][]any{}
	for _, note := range second[1:] {
		byName[note[0]] = note[1:]
	}
	if diff := cmp.Diff(map[any][]any{
		"event":                 {`{"first":1}`},
		"second response":       {403.0, forbidden("InvocationResponse", "InvocationResponse")},
		"error after response":  {403.0, forbidden("InvocationResponse", "InvocationErrorResponse")},
		"init error after init": {403.0, forbidden("Running", "InitError")},
	}, byName); diff != "" {
		t.Errorf("second invocation (-want +got):\n%s", diff)
	}
}

// Processes outside an environment are not heard: they could take its events
// and forge its answers.
func TestRuntimeAPIStrangers(t *testing.T) {
	for _, way := range []confinement{rootNamespaces, separateUser, userNamespaces} {
		if os.Geteuid() != 0 && way.ownUser() {
			continue
		}
		t.Run(way.String(), func(t *testing.T) {
			k := newKit(t, func(c *Config) { c.confinement = way })
			s := spec(t, files{"bootstrap*": "#!/usr/bin/python3\n" + rawRuntime + `
import subprocess
rid = next()[0]
child = "import os\n" + open("/var/task/bootstrap" if os.path.exists("/var/task/bootstrap") else __file__).read().split("\nimport subprocess")[0] + "\nrespond('" + rid + "', b'\"from a child\"')"
subprocess.run([sys.executable, "-c", child], check=True)
next()
`}, provided)
			if got := k.value(s, "{}"); got != `"from a child"` {
				t.Errorf("got %s: processes of the environment are not strangers", got)
			}
			for _, port := range allPorts(k) {
				answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/2018-06-01/ping")
				if err == nil {
					answer.Body.Close()
					t.Errorf("a stranger got %s", answer.Status)
				}
			}
		})
	}
}
