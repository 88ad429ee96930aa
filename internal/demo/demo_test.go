package demo_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/demo"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// screen is what a demo shows; told is called with all of it on every write.
type screen struct {
	mu   sync.Mutex
	b    bytes.Buffer
	told func(string)
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(p)
	if s.told != nil {
		s.told(s.b.String())
	}
	return len(p), nil
}

// temporary makes the folder in which a demo makes its own. PostgreSQL, which
// may run as another user, must be able to pass through it.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return dir
}

// wantClean demands that neither files nor processes are left.
func wantClean(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v, %v", left, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		if command, _ := os.ReadFile(path); bytes.Contains(command, []byte(dir)) { // gone meanwhile: not left
			t.Errorf("the demo left a process: %s", bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		}
	}
}

func TestDemo(t *testing.T) {
	_, python := apitest.Python(t)
	binary, dir := apitest.Binary(t), temporary(t)
	var out screen
	if err := demo.Run(t.Context(), demo.Config{Binary: binary, Python: python, Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out.b)
	}
	wantClean(t, dir)
	shown := out.b.String()
	for _, pattern := range []string{
		`Created the secret arn:aws:secretsmanager:us-east-1:123456789012:secret:demo/app-user-\w{6}\.`,
		`configured; the function's testSecret passed with the present password`,
		`(?s)Rotation 1:.*createSecret started.*setSecret +done.*testSecret +done.*finishSecret done.*rotation +succeeded.*` +
			`login with the new password: accepted.*login with the old password: refused by PostgreSQL.*Rotation 2:.*rotation +succeeded`,
		`Schedule cron\(0 2 \? \* SUN \*\) with a window of 3h is on; it rotates by itself before \w{3}, \d\d \w{3} \d{4}`,
		`(?s)Timeline:.* rotation 2: .* rotation +succeeded.*schedule on: next rotation before`,
		`Done in \d+\.\d s\.\n$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(shown) {
			t.Errorf("the demo does not show %s:\n%s", pattern, shown)
		}
	}
	if n := strings.Count(shown, "refused by PostgreSQL"); n != 2 {
		t.Errorf("an old password was refused %d times, want 2", n)
	}
}

// An interrupt ends the demo at whatever point, and nothing is left.
func TestInterrupt(t *testing.T) {
	_, python := apitest.Python(t)
	binary := apitest.Binary(t)
	for _, at := range []string{"Starting a private PostgreSQL", "Starting keyturn serve", "Created the rotation function", "setSecret    started"} {
		t.Run(at, func(t *testing.T) {
			dir := temporary(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := screen{told: func(shown string) {
				if strings.Contains(shown, at) {
					cancel()
				}
			}}
			began := time.Now()
			err := demo.Run(ctx, demo.Config{Binary: binary, Python: python, Out: &out})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that it was interrupted\n%s", err, &out.b)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it ended after %v", took)
			}
			if strings.Contains(out.b.String(), "Done in") {
				t.Error("the demo went on to its end")
			}
			wantClean(t, dir)
		})
	}
}

func TestWhatIsMissing(t *testing.T) {
	_, python := apitest.Python(t)
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho it is broken >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := temporary(t)
	for _, tc := range []struct {
		name, binary, python, want string
	}{
		{"no Python", script, "/bin/true", "no Python with boto3 and psycopg2 among /bin/true: run apt-get install python3 python3-boto3 python3-psycopg2"},
		{"no program", filepath.Join(dir, "none"), python, "no such file"},
		{"a broken program", script, python, "the server did not start: it said nowhere that it listens\nit is broken"},
	} {
		err := demo.Run(t.Context(), demo.Config{Binary: tc.binary, Python: tc.python, Out: &screen{}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		wantClean(t, dir)
	}
}
