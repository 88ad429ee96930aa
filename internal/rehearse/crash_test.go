package rehearse_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/rehearse"
)

// A rehearsal on shadow users that is killed leaves the real user as it was,
// no process, shadows that cannot log in for long, and a folder in which
// nothing can be read; the next rehearsal removes it.
func TestShadowKilled(t *testing.T) {
	if shadow := os.Getenv(killedShadow); shadow != "" {
		rehearseUntilKilled(t, shadow)
		return
	}
	s := newShadowed(t)
	before := s.state(t)
	temp, err := os.MkdirTemp("", "rehearse-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	o := s.options(t, "postgres.single", "single")
	shadow, err := json.Marshal(o.Shadow)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(o.Program, "-test.run", "^TestShadowKilled$")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, killedShadow+"="+string(shadow))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "none: "); {
		t.Log(lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if err := s.user.Login(t.Context(), s.user.Password); err != nil {
		t.Errorf("the real user: %v", err)
	}
	if s.shadows(t) == 0 || s.lasting(t) != 0 {
		t.Errorf("%d shadows are left, %d of them for longer than an hour; want some, and none", s.shadows(t), s.lasting(t))
	}
	left, err := filepath.Glob(filepath.Join(temp, "keyturn-rehearse-*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("got the folders %v, %v, want one", left, err)
	}
	nothingReadable(t, left[0], s.db.Password)
	for end := time.Now().Add(10 * time.Second); len(running(t, left[0])) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still running: %v", running(t, left[0]))
		}
	}
	t.Setenv("TMPDIR", temp)
	o.Only = []string{"kill-after-put"}
	if report := run(t, o); !report.Passed {
		t.Errorf("the next rehearsal: got %v", report.Codes())
	}
	if rest, _ := filepath.Glob(filepath.Join(temp, "*keyturn-*")); len(rest) > 0 {
		t.Errorf("left after the next rehearsal: %v", rest)
	}
	s.drop(t)
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("the real user (-before +after):\n%s", diff)
	}
}

// drop removes the shadows, as docs/rehearse.md says.
func (s *shadowed) drop(t *testing.T) {
	t.Helper()
	_, err := s.admin.Exec(context.Background(), `DO $$ DECLARE r text; BEGIN
		FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'kt\_rehearse\_%' LOOP
			EXECUTE format('DROP OWNED BY %I', r); EXECUTE format('DROP ROLE %I', r);
		END LOOP; END $$`)
	if err != nil {
		t.Error(err)
	}
}

// killedShadow makes a child of this test rehearse on the shadow that it
// describes, until it is killed.
const killedShadow = "KEYTURN_TEST_KILLED_SHADOW"

// rehearseUntilKilled is that child. The superuser's password is in a secret
// of its server.
func rehearseUntilKilled(t *testing.T, shadow string) {
	o := options(t, rehearse.BuiltIn("postgres.alternating"))
	o.Engine, o.Strategy = "", "alternating"
	if err := json.Unmarshal([]byte(shadow), &o.Shadow); err != nil {
		t.Fatal(err)
	}
	o.Progress = func(line string) { _, _ = os.Stdout.WriteString(line + "\n") }
	_, err := rehearse.Run(t.Context(), o)
	t.Fatalf("it ended by itself: %v", err)
}

// nothingReadable demands that no file holds the text, nor a root key.
func nothingReadable(t *testing.T, dir, text string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) || e.Name() == "root.key" {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("got %d files, %v", files, err)
	}
}

// running are the processes whose command line names the folder.
func running(t *testing.T, dir string) (found []string) {
	t.Helper()
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}
