package environment

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keyturn/keyturn/internal/function/egress"
)

// guardFD is the launcher's descriptor of the socket to a guard.
const guardFD = 5

// LaunchIfAsked turns this process into a launcher when it was started as one,
// and then does not return. Main must call it before anything else, and so
// must TestMain of every test that runs functions.
func LaunchIfAsked() {
	egress.ProbeIfAsked()
	if len(os.Args) != 1 || os.Args[0] != launchName {
		return
	}
	control, status := os.NewFile(3, "control"), os.NewFile(4, "status")
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	var plan launch
	commands := json.NewDecoder(control)
	if err := commands.Decode(&plan); err != nil {
		syscall.Exit(1)
	}
	if plan.Guard {
		unix.CloseOnExec(guardFD)
	}
	l := &launcher{plan: plan, status: status}
	go func() {
		// Nothing more is ever sent: the pipe's end means that the server
		// wants the environment to end, or has itself ended.
		io.Copy(io.Discard, control)
		l.end(137)
	}()
	l.run()
}

// The launcher leaves by syscall.Exit: it has nothing to flush, and what the
// Go runtime adds to os.Exit under the race detector takes a second.

// launcher is the first process of an environment. It starts the runtime,
// waits for it, collects orphans and ends everything when it is told to.
type launcher struct {
	plan   launch
	status *os.File
}

// stepError is a failure to prepare the environment.
type stepError struct {
	step  string
	cause error
}

func (e *stepError) Error() string { return e.step + ": " + e.cause.Error() }
func (e *stepError) Unwrap() error { return e.cause }

func step(name string, err error) error {
	if err == nil {
		return nil
	}
	return &stepError{name, err}
}

func (l *launcher) run() {
	// The thread that starts the runtime carries restrictions that the
	// launcher's other threads must not have, and must outlive the runtime.
	runtime.LockOSThread()
	pid, err := l.start()
	if err != nil {
		report := launchReport{Failed: err.Error()}
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			report.Errno = int(errno)
		}
		report.write(l.status)
		syscall.Exit(1)
	}
	for {
		var ws syscall.WaitStatus
		var usage syscall.Rusage
		got, err := syscall.Wait4(-1, &ws, 0, &usage)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			select {} // everything has been collected by end
		}
		if got != pid {
			continue
		}
		report := launchReport{MaxRSSKB: usage.Maxrss}
		if ws.Signaled() {
			report.Signal = int(ws.Signal())
		} else {
			report.Code = ws.ExitStatus()
		}
		report.write(l.status)
		done := make(chan struct{})
		go func() { // on a thread without restrictions
			defer close(done)
			l.end(0)
		}()
		<-done
	}
}

// start prepares the environment and starts the runtime in it.
func (l *launcher) start() (int, error) {
	p := l.plan
	syscall.Umask(0o022)
	// Functions of the same user must not reach into the launcher.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, step("hiding the launcher", err)
	}
	// The server's session keyring is not the function's. A host that forbids
	// the call forbids the function to look as well.
	_, _ = unix.KeyctlJoinSessionKeyring("")
	if p.OwnProcesses {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return 0, step("tying the launcher to the server", err)
		}
	} else if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, step("collecting orphans", err)
	}
	if p.Root != "" {
		if err := p.enterRoot(); err != nil {
			return 0, err
		}
	}
	if err := p.limitResources(); err != nil {
		return 0, err
	}
	if err := p.restrictThread(); err != nil {
		return 0, err
	}
	attr := &syscall.ProcAttr{
		Dir: p.Dir, Env: p.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if p.UserID != 0 {
		id := uint32(p.UserID)
		attr.Sys.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	pid, err := syscall.ForkExec(p.Args[0], p.Args, attr)
	return pid, step("starting "+p.Args[0], err)
}

// limitResources sets the limits for the launcher and all it starts. A server
// that has less itself cannot give more.
func (p *launch) limitResources() error {
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
		set      bool
	}{
		{"core dumps", unix.RLIMIT_CORE, 0, true},
		{"open files", unix.RLIMIT_NOFILE, p.MaxFiles, p.MaxFiles != 0},
		{"processes", unix.RLIMIT_NPROC, p.MaxProcesses, p.MaxProcesses != 0},
		{"file sizes", unix.RLIMIT_FSIZE, p.MaxFileBytes, p.MaxFileBytes != 0},
	} {
		if !l.set {
			continue
		}
		// The standard library's call, because it then leaves the number of
		// open files to the children as it is set here.
		var old syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &old); err != nil {
			return step("reading the limit of "+l.name, err)
		}
		value := min(l.value, old.Max)
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return step("limiting "+l.name, err)
		}
	}
	return nil
}

// restrictThread takes away from the calling thread what the runtime that it
// will start must not have.
func (p *launch) restrictThread() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return step("setting no_new_privs", err)
	}
	if p.Landlock {
		if err := p.restrictPaths(); err != nil {
			return err
		}
	}
	if err := p.dropCapabilities(); err != nil {
		return err
	}
	return p.filter()
}

// filter puts the thread under a guard's filter, or under that which leaves
// nothing but what Landlock sees.
func (p *launch) filter() error {
	if !p.Guard && !p.HoldTCP {
		return nil
	}
	listener, err := egress.Restrict(p.Guard)
	if err != nil || !p.Guard {
		return step("filtering system calls", err)
	}
	return step("handing the filter over", handOver(listener))
}

// dropCapabilities takes what the launcher has in a user namespace.
func (p *launch) dropCapabilities() error {
	if !p.DropCapabilities {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return step("dropping ambient capabilities", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return step("dropping capabilities", unix.Capset(&header, &none[0]))
}

// end ends every process of the environment and the launcher.
func (l *launcher) end(code int) {
	if !l.plan.OwnProcesses {
		self := os.Getpid()
		for range 200 {
			tree := processTree(self)
			for _, pid := range tree {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if len(tree) == 0 {
				break
			}
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
			time.Sleep(time.Millisecond)
		}
	}
	syscall.Exit(code)
}
