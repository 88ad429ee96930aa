package apitest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binary once[string]

// programVariable names the variable of the environment that holds the path of a
// keyturn program that was built already, for a run of many packages' tests.
const programVariable = "KEYTURN_TEST_BINARY"

// Binary returns the path of the keyturn program, which it builds once unless
// KEYTURN_TEST_BINARY names it. Short runs, which are the race detector's, do
// without: it sees nothing of what another process does.
func Binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("what the program does by itself is tested by runs that are not short")
	}
	path, err := binary.get(func() (string, error) {
		dir, err := os.MkdirTemp("", "keyturn-binary-")
		if err != nil {
			return "", err
		}
		shared.atEnd(func() error { return os.RemoveAll(dir) })
		path := filepath.Join(dir, "keyturn")
		return path, errors.Join(makeProgram(path), os.Chmod(dir, 0o755))
	})
	if err != nil {
		t.Fatalf("building keyturn: %v", err)
	}
	return path
}

// makeProgram puts the program at a path that functions' users may reach.
func makeProgram(path string) error {
	if built := os.Getenv(programVariable); built != "" {
		program, err := os.ReadFile(built)
		if err != nil {
			return err
		}
		return os.WriteFile(path, program, 0o755)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags=lambda.norpc,grpcnotrace", "-o", path, "./cmd/keyturn")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(err.Error() + "\n" + string(out))
	}
	return nil
}

// Root is the project's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Process is a server that runs as a process of its own and can be killed
// and started again on the same folder and address.
type Process struct {
	*Server
	t testing.TB
	// program is the executable.
	program string
	args    []string
	// Args are more flags of serve, for the next start.
	Args []string
	env  []string
	cmd  *exec.Cmd
	// ended gets the process's end; said is closed when all output is in out
	// and log, which hold what it wrote to stdout and stderr over all starts.
	ended    chan error
	said     chan struct{}
	out, log logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written so far.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// StartProcess runs a server as a process until the test ends.
func StartProcess(t testing.TB, o Options) *Process {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	p := &Process{t: t, program: o.Program, Args: o.Args, args: []string{"serve", "--data", dir, "--region", Region, "--account", Account}}
	if p.program == "" {
		p.program = Binary(t)
	}
	if o.StoreURL != "" {
		p.args = append(p.args, "--store", o.StoreURL)
	}
	for name, path := range o.Interpreters {
		p.args = append(p.args, "--runtime", name+"="+path)
	}
	p.env = append(os.Environ(),
		"KEYTURN_ROOT_ACCESS_KEY_ID="+AccessKey, "KEYTURN_ROOT_SECRET_ACCESS_KEY="+SecretKey,
		"KEYTURN_CA_BUNDLE="+strings.Join(o.CABundle, ","))
	p.env = append(p.env, o.Environment...)
	url := p.start("127.0.0.1:0")
	p.Server = Connect(url, dir, nil)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Stop()
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", p.log.String())
		}
	})
	return p
}

// start runs the process and returns its URL.
func (p *Process) start(listen string) string {
	p.t.Helper()
	cmd := exec.Command(p.program, slices.Concat(p.args, []string{"--listen", listen}, p.Args)...)
	cmd.Env = p.env
	cmd.Stderr = &p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, to, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stdout = to
	err = p.launch(cmd)
	to.Close()
	if err != nil {
		p.t.Fatalf("starting the server: %v", err)
	}
	p.cmd, p.said = cmd, make(chan struct{})
	url := make(chan string, 1)
	go func() {
		defer close(p.said)
		defer out.Close()
		p.listen(out, url)
	}()
	select {
	case found := <-url:
		return found
	case <-p.said:
		p.t.Fatalf("the server did not start:\n%s", p.log.String())
		return ""
	}
}

// launch starts the process from a thread that lives as long as it does: the
// process would die with the thread.
func (p *Process) launch(cmd *exec.Cmd) error {
	ended, started := make(chan error, 1), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	p.ended = ended
	return <-started
}

// listen keeps what the process says and sends the first URL in it.
func (p *Process) listen(out io.Reader, url chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		fmt.Fprintln(&p.out, line)
		if i := strings.Index(line, "http://"); i >= 0 {
			select {
			case url <- strings.Fields(line[i:])[0]:
			default: // it said so already
			}
		}
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("killing the server: %v", err)
	}
	<-p.ended
	<-p.said
	p.cmd = nil
}

// Refuse starts the process and demands that it does not come up; it returns
// what it wrote to stderr.
func (p *Process) Refuse() string {
	p.t.Helper()
	cmd := exec.Command(p.program, slices.Concat(p.args, []string{"--listen", "127.0.0.1:0"}, p.Args)...)
	cmd.Env = p.env
	comesUp := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // which shows in its state
	defer comesUp.Stop()
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		p.t.Fatalf("the server was not refused: %v\n%s", err, out)
	}
	return string(out)
}

// Restart starts the process again on the same address.
func (p *Process) Restart() {
	p.t.Helper()
	listen := strings.TrimPrefix(p.URL, "http://")
	if got := p.start(listen); got != p.URL {
		p.t.Fatalf("the server came back at %s, not at %s", got, p.URL)
	}
}

// Stop ends the process with SIGTERM and demands that it ends well.
func (p *Process) Stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("stopping the server: %v", err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(time.Minute):
		p.t.Error("the server did not end within a minute of SIGTERM")
		_ = p.cmd.Process.Kill() // so that the test ends
		<-p.ended
	}
	<-p.said
	p.cmd = nil
}

// Signal sends the process a signal.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("sending %v to the server: %v", sig, err)
	}
}

// Log is what the process wrote to stderr so far.
func (p *Process) Log() string { return p.log.String() }

// Output is what the process wrote to stdout so far.
func (p *Process) Output() string { return p.out.String() }

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Program is the same program on another folder; it does not run.
func (p *Process) Program(dir string) *Process {
	args := slices.Clone(p.args)
	args[slices.Index(args, "--data")+1] = dir
	return &Process{t: p.t, program: p.program, args: args, Args: p.Args, env: p.env}
}
