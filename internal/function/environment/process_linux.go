package environment

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// The capabilities that the launcher needs in a user namespace.
const (
	capSetPCap  = 8
	capSysAdmin = 21
)

// start starts a launcher in the given confinement, which then starts the
// program. Output of the whole tree goes to sink; g holds its connections if
// the plan says so.
func start(c confinement, plan launch, sink func([]byte), g *guard) (*process, error) {
	if os.Args[0] == launchName {
		return nil, errors.New("this process was to be a launcher; main must call LaunchIfAsked first")
	}
	var pipes [3][2]*os.File // control, status, output: reading end, writing end
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			closePipes(pipes[:i])
			return nil, err
		}
		pipes[i] = [2]*os.File{r, w}
	}
	control, status, output := pipes[0], pipes[1], pipes[2]
	near, far, err := guardSocket(g)
	if err != nil {
		closePipes(pipes[:])
		return nil, err
	}
	plan.OwnProcesses = c.namespaces()
	plan.DropCapabilities = c == userNamespaces
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{launchName},
		Env:    []string{"GOMAXPROCS=2"},
		Stdout: output[1], Stderr: output[1],
		ExtraFiles:  []*os.File{control[0], status[1]},
		SysProcAttr: attributes(c),
	}
	if far != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, far) // as guardFD
	}
	p := &process{exited: make(chan struct{}), confined: c, output: newPump(output[0], sink)}
	started := make(chan error)
	go func() {
		// The parent-death signal follows the thread that started the
		// process, so this one stays until the process has ended.
		runtime.LockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		control[0].Close()
		status[1].Close()
		output[1].Close()
		far.Close() // of nil is an error that does not matter
		started <- err
		if err != nil {
			return
		}
		stop := g.start(near)
		p.wait(cmd, status[0])
		stop()
		close(p.exited)
	}()
	p.kill = sync.OnceFunc(func() {
		control[1].Close()
		if c.namespaces() {
			cmd.Process.Kill()
			return
		}
		time.AfterFunc(2*time.Second, func() { cmd.Process.Kill() })
	})
	if err := <-started; err != nil {
		control[1].Close()
		status[0].Close()
		near.Close()
		<-p.output.done
		return nil, err
	}
	// The launcher reads its plan after it has started; a plan larger than
	// the pipe must not hold up the caller.
	go func() {
		if err := json.NewEncoder(control[1]).Encode(plan); err != nil {
			p.kill()
		}
	}()
	return p, nil
}

func closePipes(pipes [][2]*os.File) {
	for _, p := range pipes {
		p[0].Close()
		p[1].Close()
	}
}

// wait collects the end of the launcher and of everything below it.
func (p *process) wait(cmd *exec.Cmd, status *os.File) {
	lost := json.NewDecoder(status).Decode(&p.status.launchReport) != nil
	if lost {
		p.status = exitStatus{Lost: true}
	}
	status.Close()
	cmd.Wait()
	p.kill() // lets go of the control pipe
	select {
	case <-p.output.done:
	case <-time.After(time.Second):
		p.output.stop() // somebody outside still holds the output
	}
}

// attributes are the namespaces and identities that the launcher starts with.
func attributes(c confinement) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if c.namespaces() {
		// With its first process the kernel ends the whole namespace. Without
		// one the launcher must live on to end the others, and learns of the
		// server's death from the control pipe.
		attr.Pdeathsig = syscall.SIGKILL
	}
	switch c {
	case rootNamespaces:
		attr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	case userNamespaces:
		attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: insideUserID, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: insideUserID, HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{capSysAdmin, capSetPCap}
	}
	return attr
}

// memory measures the runtime and everything it started, not the launcher.
func (p *process) memory() memoryUse { return measure(processTree(p.pid)) }
