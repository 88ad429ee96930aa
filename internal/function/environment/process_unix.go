//go:build unix && !linux

package environment

import (
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// LaunchIfAsked does nothing on this system: processes are started directly.
func LaunchIfAsked() {}

// start starts the program in a process group of its own. This system has
// none of the confinement that Linux has.
func start(c confinement, plan launch, sink func([]byte), _ *guard) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: plan.Args[0], Args: plan.Args, Env: plan.Env, Dir: plan.Dir, Stdout: w, Stderr: w,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	p := &process{exited: make(chan struct{}), confined: c, output: newPump(r, sink)}
	err = cmd.Start()
	w.Close()
	if err != nil {
		<-p.output.done
		return nil, err
	}
	p.pid = cmd.Process.Pid
	p.kill = sync.OnceFunc(func() { syscall.Kill(-p.pid, syscall.SIGKILL) })
	go p.wait(cmd)
	return p, nil
}

// wait collects the end of the program and ends what it left behind.
func (p *process) wait(cmd *exec.Cmd) {
	defer close(p.exited)
	cmd.Wait()
	p.kill()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.status.Signal = int(ws.Signal())
	} else {
		p.status.Code = cmd.ProcessState.ExitCode()
	}
	select {
	case <-p.output.done:
	case <-time.After(time.Second):
		p.output.stop()
	}
}

// memory is not measured on this system.
func (p *process) memory() memoryUse { return memoryUse{} }

// speaks accepts every peer: this system does not name them.
func (p *process) speaks(net.Conn, int) bool { return true }

// probeHost reports that this system has no confinement.
func probeHost(Config) HostCapability {
	return HostCapability{confinement: sameUser, unsafe: true, Missing: []string{
		"this system is not Linux: functions run as the server's user and can read what it can read",
		"memory is not measured and its limit not enforced",
		"the Runtime API takes connections from any local process",
	}}
}
