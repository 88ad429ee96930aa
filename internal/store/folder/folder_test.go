package folder

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, path string) *Folder {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenMakesThePrivateFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	f := open(t, "a/b")
	defer f.Close()
	if !filepath.IsAbs(f.Path) {
		t.Errorf("got path %s, want an absolute one", f.Path)
	}
	for path, want := range map[string]os.FileMode{f.Path: 0o700, filepath.Join(f.Path, lockName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %04o, want %04o", path, got, want)
		}
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	_, err := Open(dir)
	inUse, ok := errors.AsType[*InUseError](err)
	if !ok || inUse.Dir != dir || inUse.PID != os.Getpid() {
		t.Errorf("the second one: got %v, want that process %d has %s", err, os.Getpid(), dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Errorf("after the first gave it back: %v", err)
	}
}

// The lock goes with a process that is killed.
func TestKilledHolder(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("HOLD") != "" {
		open(t, os.Getenv("HOLD"))
		_, _ = os.Stdout.WriteString("held\n")
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledHolder$")
	cmd.Env = append(os.Environ(), "HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatalf("the other process: %v", err)
	}
	_, err = Open(dir)
	if inUse, ok := errors.AsType[*InUseError](err); !ok || inUse.PID != cmd.Process.Pid {
		t.Errorf("got %v, want that process %d has the folder", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	wide := t.TempDir()
	if err := os.Chmod(wide, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noLock := t.TempDir()
	if err := os.Mkdir(filepath.Join(noLock, lockName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, want string }{
		{wide, "is open to every user of this machine (mode 0777): choose a folder of its own, or run: chmod 700 " + wide},
		{file, "making the data folder"},
		{noLock, "locking data folder " + noLock},
	} {
		f, err := Open(tc.path)
		if err == nil {
			f.Close()
			t.Errorf("%s was accepted", tc.path)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %q, want %q", err, tc.want)
		}
	}
}

func TestInUseTexts(t *testing.T) {
	for want, err := range map[string]InUseError{
		"data folder /d is in use by another keyturn server (pid 7)": {"/d", 7},
		"data folder /d is in use by another keyturn server":         {"/d", 0},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
