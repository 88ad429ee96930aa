package pgserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// owner is the unprivileged user that the server runs as when this process
// is root, which PostgreSQL refuses to run as; nil otherwise.
type owner struct{ uid, gid uint32 }

// candidates are the users that the server may run as, best first.
var candidates = []string{"postgres", "nobody"}

func findOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range candidates {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &owner{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and none of the users %s exists", strings.Join(candidates, ", "))
}

func (o *owner) own(path string) error {
	if o == nil {
		return nil
	}
	if err := os.Chown(path, int(o.uid), int(o.gid)); err != nil {
		return fmt.Errorf("giving PostgreSQL its files: %w", err)
	}
	return nil
}

// attributes makes a child process run as the owner, in a process group of
// its own so that an interrupt of the terminal does not reach it first.
func (o *owner) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		a.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid, NoSetGroups: false}
	}
	return a
}

// process is a running postmaster.
type process struct {
	cmd *exec.Cmd
	// exited is closed once the process is gone.
	exited chan struct{}

	mu    sync.Mutex
	log   []string      // the last lines it wrote
	up    chan struct{} // closed once it accepts connections
	upped bool
}

var errPortTaken = errors.New("the port for PostgreSQL is taken")

// startProcess starts the postmaster. The death of the starting thread would
// end it, so one locked thread starts it and waits for its end.
func startProcess(path string, who *owner, dir string, args ...string) (*process, error) {
	p := &process{exited: make(chan struct{}), up: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.SysProcAttr = who.attributes()
	endWithThread(p.cmd.SysProcAttr)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.read(stderr)
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

// logLines is how much of the log is kept for error messages.
const logLines = 40

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		if len(p.log) > logLines {
			p.log = p.log[1:]
		}
		if !p.upped && strings.Contains(lines.Text(), "database system is ready to accept ") {
			p.upped = true
			close(p.up)
		}
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr)
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// ready waits until the server accepts connections.
func (p *process) ready(ctx context.Context) error {
	select {
	case <-p.up:
		return nil
	case <-p.exited:
		if log := p.tail(); strings.Contains(log, "Address already in use") {
			return errPortTaken
		} else {
			return fmt.Errorf("PostgreSQL did not start:\n%s", log)
		}
	case <-ctx.Done():
		return fmt.Errorf("PostgreSQL did not start in time: %w\n%s", ctx.Err(), p.tail())
	}
}

// stop ends the server in an orderly way: it breaks connections off, writes
// everything and exits. After the time it is killed.
func (p *process) stop(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping PostgreSQL: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(within):
		return p.kill()
	}
}

// kill ends the whole process group.
func (p *process) kill() error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing PostgreSQL: %w", err)
	}
	<-p.exited
	return nil
}
