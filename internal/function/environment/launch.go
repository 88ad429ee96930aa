package environment

import (
	"encoding/json"
	"io"
	"strconv"
	"syscall"
)

// launchName is the name under which the server's executable is started again
// as a launcher.
const launchName = "keyturn-launch"

// launch is everything the launcher needs to know to start one process. It
// travels over a pipe, so credentials in Env are in nobody's arguments.
type launch struct {
	// Args are the program and its arguments; the program is a path.
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working folder, as the program sees it.
	Dir string
	// Root is an empty folder on which the new root is built; "" keeps the
	// host's file system.
	Root string
	// Binds, Links and Files fill the new root, in this order.
	Binds []bind
	Links []link
	Files []file
	// OwnProcesses says that the launcher is the first process of a process
	// namespace, so that the kernel ends everything with it.
	OwnProcesses bool
	// DropCapabilities says that the launcher holds capabilities in a user
	// namespace that the program must not get.
	DropCapabilities bool
	// UserID is the user and group to become; 0 keeps the launcher's.
	UserID int
	// MaxFiles, MaxProcesses and MaxFileBytes are resource limits, soft and
	// hard; 0 leaves the server's.
	MaxFiles, MaxProcesses, MaxFileBytes uint64
	// Landlock applies Paths: what is not listed is out of reach.
	Landlock bool
	Paths    []access
	// Guard holds the process to what the server allows, connection by
	// connection. HoldTCP has Landlock, where it can, refuse all TCP
	// connections of the process's own but those to Ports.
	Guard, HoldTCP bool
	Ports          []uint16
}

// bind shows a host's file or folder in the new root, read-only unless Write.
// A source that is not there is left out when Optional.
type bind struct {
	From, To        string
	Write, Optional bool
	Device          bool
}

// link is a symbolic link in the new root.
type link struct{ Name, Target string }

// file is a file with fixed content in the new root.
type file struct{ Name, Content string }

// access is what Landlock leaves of one path and all below it.
type access struct {
	Path    string
	Write   bool // else read and execute only
	Devices bool // a device file: read and write, no execution
}

// launchReport is what the launcher says on its status pipe: one object when
// the process could not be started or when it ended.
type launchReport struct {
	// Failed is the step that failed before the program ran, or "".
	Failed string
	// Errno is the system's error of that step.
	Errno int
	// Code and Signal say how the program ended; Signal 0 means by exit.
	Code, Signal int
	// MaxRSSKB is the most memory that the program or a child it waited for
	// had, in KiB.
	MaxRSSKB int64
}

func (r launchReport) write(w io.Writer) { json.NewEncoder(w).Encode(r) }

// exitStatus is how a process tree ended.
type exitStatus struct {
	launchReport
	// Lost says that nobody could tell: the launcher itself was killed.
	Lost bool
}

// String prints the status as Lambda does: "exit status 1", "signal: killed",
// or "" for an exit without a reason.
func (s exitStatus) String() string {
	switch {
	case s.Lost:
		return "signal: killed"
	case s.Signal != 0:
		return "signal: " + syscall.Signal(s.Signal).String()
	case s.Code != 0:
		return "exit status " + strconv.Itoa(s.Code)
	}
	return ""
}
