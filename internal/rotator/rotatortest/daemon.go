package rotatortest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Daemon is a server's process group, which ends with the test's process. Its
// output goes into a file.
type Daemon struct {
	// Command makes the process; Ready tells that it answers.
	Command func() *exec.Cmd
	Ready   func(ctx context.Context) error

	log    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts it and waits until it answers; the test's end kills it.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	d.log = filepath.Join(t.TempDir(), "daemon.log")
	t.Cleanup(d.Kill)
	d.Revive(t)
}

// Revive starts it again after Kill. The death of the starting thread would
// end it, so one locked thread starts it and waits for its end.
func (d *Daemon) Revive(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd, exited, started := d.Command(), make(chan struct{}), make(chan error)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	d.cmd, d.exited = cmd, exited
	d.await(t)
}

// await waits until it answers, for two minutes at most.
func (d *Daemon) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	for {
		err := d.Ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-d.exited:
			t.Fatalf("%s ended:\n%s", d.cmd.Path, d.Log())
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v\n%s", d.cmd.Path, err, d.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Log is what it wrote last.
func (d *Daemon) Log() []byte {
	text, _ := os.ReadFile(d.log)
	lines := bytes.Split(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-40):], []byte("\n"))
}

// Kill ends it and all that it started with SIGKILL.
func (d *Daemon) Kill() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // it may be gone by itself
	<-d.exited
}

// FreePort returns a port of loopback that nothing listens on now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
