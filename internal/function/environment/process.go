package environment

import (
	"fmt"
	"syscall"
)

// process is a runtime that was started, with everything it starts in turn.
type process struct {
	// pid is the first process of the tree.
	pid int
	// exited is closed once the whole tree has ended and its output was read.
	exited chan struct{}
	// status is valid once exited is closed.
	status exitStatus
	// output is where the tree's output goes.
	output *pump
	// kill ends the whole tree. It does not wait and may be called again.
	kill func()
	// confined says what held the process back.
	confined confinement
}

// memoryUse is the memory of a process tree in KiB.
type memoryUse struct {
	// Own is what only the processes themselves can give back: anonymous and
	// shared memory, and what of it was swapped out.
	Own int64
	// Resident also counts the parts of files that are mapped, such as the
	// interpreter's code.
	Resident int64
	// Peak is the most that Resident has been, each process by itself.
	Peak int64
}

// confinement is how processes are kept apart from the server and from each
// other. The zero value means that the host has not been asked yet.
type confinement int

const (
	unknownConfinement confinement = iota
	// rootNamespaces: mount and process namespaces made by root, and a user
	// of its own for each environment.
	rootNamespaces
	// userNamespaces: mount and process namespaces inside a user namespace,
	// with the server's user.
	userNamespaces
	// separateUser: no namespaces, a user of its own for each environment.
	separateUser
	// sameUser: no namespaces, the server's user.
	sameUser
)

// insideUserID is the user that functions see themselves as in a user
// namespace; Lambda's own is the same.
const insideUserID = 993

// namespaces says whether Lambda's own paths hold inside.
func (c confinement) namespaces() bool { return c == rootNamespaces || c == userNamespaces }

// ownUser says whether each environment has a user of its own.
func (c confinement) ownUser() bool { return c == rootNamespaces || c == separateUser }

// startError says why a runtime could not be started, in the words of
// Lambda's own supervisor.
func (s exitStatus) startError() error {
	if s.Failed == "" {
		return nil
	}
	return &launchError{step: s.Failed, errno: syscall.Errno(s.Errno)}
}

// launchError is a failure before the runtime ran.
type launchError struct {
	step  string
	errno syscall.Errno
}

func (e *launchError) Error() string { return "preparing the environment: " + e.step }

// entrypoint says whether it was the program itself that could not be
// executed, and why.
func (e *launchError) entrypoint(program string) (string, bool) {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC} {
		if e.errno == errno && e.step == fmt.Sprintf("starting %s: %v", program, errno) {
			return fmt.Sprintf("fork/exec %s: %v", program, errno), true
		}
	}
	return "", false
}

// String names the confinement.
func (c confinement) String() string {
	return [...]string{"unknown", "root namespaces", "user namespaces", "separate user", "same user"}[c]
}
