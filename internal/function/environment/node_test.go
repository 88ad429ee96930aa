//go:build linux

package environment

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func node(s *Spec) { s.Runtime, s.Handler, s.MemoryMB = "nodejs20.x", "index.handler", 256 }

func TestNodeHandlers(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	tests := []struct {
		name, handler string
		code          files
		want          string
	}{
		{"async", "", files{"index.mjs": `export const handler = async (event) => ({ got: event.a })`}, `{"got":1}`},
		{"async in CommonJS", "", files{"index.js": `exports.handler = async (event) => event.a + 1`}, `2`},
		{"module by package.json", "", files{"index.js": `export async function handler() { return "esm" }`, "package.json": `{"type":"module"}`}, `"esm"`},
		{"cjs", "", files{"index.cjs": `module.exports.handler = async () => "cjs"`}, `"cjs"`},
		{"default export", "", files{"index.mjs": `export default { handler: async () => "default" }`}, `"default"`},
		{"nested", "src/app.api.get", files{"src/app.js": `exports.api = { get: async () => "nested" }`}, `"nested"`},
		{"top-level await", "", files{"index.mjs": `const x = await Promise.resolve("awaited"); export const handler = async () => x`}, `"awaited"`},
		{"callback", "", files{"index.js": `exports.handler = (event, context, callback) => setTimeout(() => callback(null, "called"), 20)`}, `"called"`},
		{"callback with work left", "", files{"index.js": `exports.handler = (e, c, cb) => { let n = 0; setTimeout(() => n++, 50); cb(null, { get n() { return n } }) }`}, `{"n":1}`},
		{"callback that does not wait", "", files{"index.js": `exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); cb(null, "now") }`}, `"now"`},
		{"succeed", "", files{"index.js": `exports.handler = (e, c) => c.succeed("done")`}, `"done"`},
		{"nothing", "", files{"index.js": `exports.handler = async () => {}`}, `null`},
		{"no callback", "", files{"index.js": `exports.handler = () => {}`}, `null`},
		{"context", "", files{"index.mjs": `export const handler = async (e, c) => [c.functionName, c.functionVersion, c.memoryLimitInMB, c.logGroupName, c.invokedFunctionArn, c.getRemainingTimeInMillis() > 15000]`},
			`["rotator","$LATEST","256","/aws/lambda/rotator","arn:aws:lambda:us-east-1:123456789012:function:rotator",true]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := &kit{Pool: k.Pool, t: t, logs: k.logs}
			s := spec(t, test.code, func(s *Spec) { node(s); s.Handler = orDefault(test.handler, s.Handler) })
			for range 2 { // cold and warm
				if got := k.value(s, `{"a":1}`); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
			k.Retire(s.FunctionARN)
		})
	}
}

func TestNodeFailures(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	tests := []struct {
		name, handler string
		code          files
		kind, message string // of the answer
		log           string
	}{
		{"rejected", "", files{"index.js": `exports.handler = async () => { throw new TypeError("boom") }`}, "TypeError", "boom",
			"\tRID\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"boom\",\"stack\":[\"TypeError: boom\",\"    at exports.handler (/var/task/index.js:1:"},
		{"thrown", "", files{"index.js": `exports.handler = () => { throw new Error("now") }`}, "Error", "now", ""},
		{"thrown text", "", files{"index.js": `exports.handler = async () => { throw "text" }`}, "string", "text", ""},
		{"callback error", "", files{"index.js": `exports.handler = (e, c, cb) => cb(new RangeError("far"))`}, "RangeError", "far", ""},
		{"no module", "", files{"other.js": ``}, "Runtime.ImportModuleError", "Error: Cannot find module 'index'",
			"\tundefined\tERROR\tUncaught Exception \t{\"errorType\":\"Runtime.ImportModuleError\""},
		{"missing dependency", "", files{"index.js": `require("pg")`}, "Runtime.ImportModuleError", "Error: Cannot find module 'pg'\nRequire stack:\n- /var/task/index.js", ""},
		{"missing ESM dependency", "", files{"index.mjs": `import pg from "pg"`}, "Runtime.ImportModuleError", "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'pg'", ""},
		{"no handler", "index.x", files{"index.js": `exports.handler = 1`}, "Runtime.HandlerNotFound", "index.x is undefined or not exported", ""},
		{"not a function", "", files{"index.js": `exports.handler = 1`}, "Runtime.HandlerNotFound", "index.handler is not a function", ""},
		{"malformed", "index", files{"index.js": ``}, "Runtime.MalformedHandlerName", "Bad handler", ""},
		{"syntax", "", files{"index.js": `exports.handler = (`}, "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input", "\tPhase: init\tStatus: error\tError Type: Runtime.UserCodeSyntaxError\n"},
		{"error while loading", "", files{"index.mjs": `throw new ReferenceError("early")`}, "ReferenceError", "early", ""},
		{"unhandled rejection", "", files{"index.js": `exports.handler = () => new Promise(() => { Promise.reject(new Error("lost")) })`},
			"Runtime.UnhandledPromiseRejection", "Error: lost", "Runtime exited with error: exit status 128"},
		{"uncaught", "", files{"index.js": `exports.handler = () => new Promise(() => setTimeout(() => { throw new Error("late") }, 10))`},
			"Error", "late", "Runtime exited with error: exit status 129"},
		{"exit", "", files{"index.js": `exports.handler = async () => process.exit(3)`}, "Runtime.ExitError",
			"RequestId: RID Error: Runtime exited with error: exit status 3", ""},
		{"not serialisable", "", files{"index.js": `exports.handler = async () => { const a = {}; a.a = a; return a }`}, "Runtime.MarshalError", "Unable to stringify response body: ", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := spec(t, test.code, func(s *Spec) {
				node(s)
				s.Handler = orDefault(test.handler, s.Handler)
				s.LogGroup = "/test/" + test.name
			})
			id := uuid.NewString()
			r, err := k.Invoke(t.Context(), s, free, Event{RequestID: id})
			if err != nil {
				t.Fatal(err)
			}
			got := decode[struct {
				ErrorType, ErrorMessage string
				Trace                   *[]string
			}](t, r.Payload)
			want := strings.ReplaceAll(test.message, "RID", id)
			if r.FunctionError != "Unhandled" || got.ErrorType != test.kind || !strings.HasPrefix(got.ErrorMessage, want) {
				t.Errorf("got %s %s, want %s %q", r.FunctionError, r.Payload, test.kind, want)
			}
			if got.Trace == nil && test.kind != "Runtime.ExitError" {
				t.Errorf("no trace in %s", r.Payload)
			}
			if log, want := k.text(), strings.ReplaceAll(test.log, "RID", id); !strings.Contains(log, want) {
				t.Errorf("log lacks %q:\n%s", want, log)
			}
		})
	}
}

func TestNodeConsole(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	code := files{"index.js": `exports.handler = async () => {
  console.log("plain %d", 1, { a: 1 }); console.info("two\nlines"); console.warn("w"); console.error("e"); console.debug("d"); console.trace("t")
}`}
	id := uuid.NewString()
	small := func(s *Spec) { node(s); s.MemoryMB = 128 } // Lambda's default
	if _, err := k.Invoke(t.Context(), spec(t, code, small), free, Event{RequestID: id}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range k.messages() {
		if stamp, rest, ok := strings.Cut(m, "\t"); ok && len(stamp) == len("2026-01-01T00:00:00.123Z") {
			got = append(got, rest)
		}
	}
	want := []string{
		id + "\tINFO\tplain 1 { a: 1 }\n", id + "\tINFO\ttwo\nlines\n", id + "\tWARN\tw\n",
		id + "\tERROR\te\n", id + "\tDEBUG\td\n", id + "\tTRACE\tt\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNodeJSONLog(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, files{"index.js": `exports.handler = async () => { console.log({ a: 1 }); console.debug("hidden"); console.error(new Error("bad")) }`},
		func(s *Spec) { node(s); s.LogFormat = "JSON" })
	id := uuid.NewString()
	if _, err := k.Invoke(t.Context(), s, free, Event{RequestID: id}); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Level, RequestID string
		Message          any
		ErrorType        string
	}
	var got []line
	for _, m := range k.messages() {
		if l := decode[line](t, []byte(m)); l.Level != "" {
			got = append(got, l)
		}
	}
	if len(got) != 2 || got[0].Level != "INFO" || got[0].RequestID != id || cmp.Diff(map[string]any{"a": 1.0}, got[0].Message) != "" ||
		got[1].Level != "ERROR" || got[1].ErrorType != "Error" {
		t.Errorf("got %+v", got)
	}
}

func TestNodeLayer(t *testing.T) {
	notShort(t)
	t.Parallel()
	k := newKit(t, nil)
	layer := files{"nodejs/node_modules/greeter/index.js": `module.exports = (n) => "hello " + n`}
	s := spec(t, files{"index.js": `const g = require("greeter"); exports.handler = async () => g("layer")`}, func(s *Spec) {
		node(s)
		s.Layers = []Package{packageOf(layer.zip(t))}
	})
	if got := k.value(s, "{}"); got != `"hello layer"` {
		t.Errorf("got %s", got)
	}
}
