//go:build linux

package environment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

// fakeInterpreter makes an executable that says it is of that version, in a
// folder of its own, and returns its path.
func fakeInterpreter(t *testing.T, name, script string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "prefix", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, name), "#!/bin/sh\n"+script+"\n", 0o755)
	return filepath.Join(dir, name)
}

func TestInterpreterChoice(t *testing.T) {
	thirteen := fakeInterpreter(t, "python3.13", "echo Python 3.13.1")
	fourteen := fakeInterpreter(t, "python3.14", "echo Python 3.14.0rc2")
	broken := fakeInterpreter(t, "python3.12", "echo no such library >&2; exit 3")
	ancient := fakeInterpreter(t, "python3.5", "echo Python 3.5.2")
	node22 := fakeInterpreter(t, "node", "echo v22.1.0")
	var dirs []string
	for _, path := range []string{fourteen, thirteen, broken, ancient, node22} {
		dirs = append(dirs, filepath.Dir(path))
	}
	t.Setenv("PATH", strings.Join(dirs, ":"))
	k := newKit(t, nil)
	h, err := k.host()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ runtime, path, notice string }{
		{"python3.13", thirteen, ""},
		{"python3.14", fourteen, ""},
		{"python3.11", "/usr/bin/python3.11", ""},
		{"python3.12", thirteen, "The runtime python3.12 is not on this host: the function runs with Python 3.13.1 (" + thirteen + ")."},
		{"python3.8", "/usr/bin/python3.11", "The runtime python3.8 is not on this host: the function runs with Python 3.11."},
		{"nodejs22.x", node22, ""},
		{"nodejs24.x", node22, "The runtime nodejs24.x is not on this host: the function runs with Node.js 22.1.0"},
		{"provided.al2", "", ""},
	}
	for _, test := range tests {
		got, err := k.interpreters.find(t.Context(), h, test.runtime)
		if err != nil || filepath.Clean(got.path) != filepath.Clean(test.path) && !sameFile(got.path, test.path) ||
			!strings.HasPrefix(got.notice, test.notice) || (test.notice == "") != (got.notice == "") {
			t.Errorf("%s: got %+v, %v; want %s %q", test.runtime, got, err, test.path, test.notice)
		}
	}
	strict := newKit(t, func(c *Config) { c.StrictRuntimes = true })
	err = strict.CheckRuntime(t.Context(), "python3.12")
	if !fault.Is(err, fault.Parameter) || !strings.Contains(err.Error(), "Install Python 3.12, or name its executable with --runtime python3.12=PATH.") ||
		!strings.Contains(err.Error(), broken+" (exit status 3: no such library)") {
		t.Errorf("strict: got %v", err)
	}
	if err := strict.CheckRuntime(t.Context(), "python3.13"); err != nil {
		t.Errorf("strict, with the right version: got %v", err)
	}
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

func TestCheckRuntime(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Interpreters = map[string]string{"python3.9": "/no/such/python", "python3.10": "/usr/bin/env"}
	})
	tests := []struct{ runtime, want string }{
		{"python3.11", ""},
		{"nodejs20.x", ""},
		{"provided.al2023", ""},
		{"cobol", "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["},
		{"java21", "The runtime java21 is not available here: "},
		{"python3.9", "The interpreter /no/such/python configured for the runtime python3.9 cannot run functions: "},
		{"python3.10", "The interpreter /usr/bin/env configured for the runtime python3.10 cannot run functions: not Python: it answers "},
	}
	for _, test := range tests {
		err := k.CheckRuntime(t.Context(), test.runtime)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: got %v, want nil", test.runtime, err)
		case test.want != "" && (!fault.Is(err, fault.Parameter) || !strings.HasPrefix(err.(*fault.Error).Message, test.want)):
			t.Errorf("%s: got %v, want %q", test.runtime, err, test.want)
		}
	}
}

// The function runs although only another version is there, and its log says so.
func TestOtherVersionIsSaid(t *testing.T) {
	t.Setenv("PATH", "/usr/bin")
	k := newKit(t, nil)
	s := spec(t, py("import sys\n---\nreturn sys.version_info[:2]"), func(s *Spec) { s.Runtime = "python3.7" })
	if got := k.value(s, "{}"); got != "[3, 11]" {
		t.Errorf("got %s", got)
	}
	if want := "KEYTURN The runtime python3.7 is not on this host: the function runs with Python 3.11."; !strings.Contains(k.text(), want) {
		t.Errorf("the log lacks %q:\n%s", want, k.text())
	}
}

// An interpreter beside the server's own files is refused, and one in a place
// that Lambda uses for itself moves.
func TestInterpreterPlaces(t *testing.T) {
	path := fakeInterpreter(t, "python3.12", "echo Python 3.12.0")
	prefix := filepath.Dir(filepath.Dir(path))
	k := newKit(t, func(c *Config) { c.Private = []string{prefix + "/data"} })
	h, err := k.host()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{path, "/home/someone/bin/python3", "/opt/python3", "/srv/bin/python3"} {
		if dir, err := h.programFolder(bad); err == nil {
			t.Errorf("%s shows functions %s, want an error", bad, dir)
		}
	}
	h.private = nil
	folders, program, err := h.programFolders(path)
	if err != nil || len(folders) != 1 || folders[0] != (bind{From: prefix, To: "/var/lang"}) || program != "/var/lang/bin/python3.12" {
		t.Errorf("got %v, %s, %v; want %s at /var/lang", folders, program, err, prefix)
	}
}

// KEYTURN_TEST_INTERPRETERS names further interpreters to run functions with,
// as python3.7=/path,nodejs22.x=/path.
func TestFurtherInterpreters(t *testing.T) {
	for pair := range strings.SplitSeq(os.Getenv("KEYTURN_TEST_INTERPRETERS"), ",") {
		runtime, path, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		t.Run(runtime, func(t *testing.T) {
			k := newKit(t, func(c *Config) {
				c.Interpreters, c.StrictRuntimes = map[string]string{runtime: path}, true
			})
			s := spec(t, files{
				"lambda_function.py": "import ssl, sqlite3\ndef lambda_handler(event, context):\n    if event: raise ValueError('boom')\n    return 'hello'\n",
				"index.mjs":          "export const handler = async (event) => { if (event.fail) throw new TypeError('boom'); return 'hello' }",
			}, func(s *Spec) {
				if strings.HasPrefix(runtime, "nodejs") {
					node(s)
				}
				s.Runtime = runtime
			})
			if got := k.value(s, "{}"); got != `"hello"` {
				t.Errorf("got %s", got)
			}
			if r := k.invoke(s, `{"fail":1}`); !strings.Contains(string(r.Payload), "boom") || r.FunctionError == "" {
				t.Errorf("got %s", r.Payload)
			}
			if strings.Contains(k.text(), "KEYTURN The runtime") {
				t.Errorf("a notice for the right version:\n%s", k.text())
			}
		})
	}
}
