package egress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// call is a system call that is carried out for another process.
type call struct {
	guard *Guard
	n     notification
	began time.Time
	// acted says that something was done that must not be done twice.
	acted bool
	// retried says that this is not the first attempt.
	retried bool

	// pending are the signals that the caller would handle if it could.
	pending uint64

	// ---- of the current attempt

	ctx                    context.Context
	caller                 *caller
	socket                 int
	inode                  uint64
	domain, kind, protocol int
	nonblock               bool
}

func (c *call) key() callKey { return callKey{c.n.pid, c.n.nr, c.n.args, c.inode} }

// failed is the result of a call that fails.
func failed(errno unix.Errno) (result, bool) { return result{-1, errno}, true }

// attempt carries the call out; false means that it has to wait. Everything
// is looked at anew with each attempt, so nothing is held while it waits.
func (c *call) attempt(ctx context.Context) (result, bool) {
	defer func() { c.retried = true }()
	c.ctx = ctx
	var err error
	if c.caller, err = openCaller(int(c.n.pid)); err != nil {
		return c.denied(err)
	}
	defer c.caller.close()
	if c.socket, err = c.caller.descriptor(int(int32(c.n.args[0]))); err != nil {
		return c.denied(err)
	}
	defer unix.Close(c.socket)
	if !c.guard.waits(c.n.id) {
		return failed(unix.EINTR) // what was opened may be another's; nobody gets this
	}
	if errno := c.inspect(); errno != 0 {
		return failed(errno)
	}
	if r, ok := c.guard.repeated(c.key()); ok {
		c.acted = true
		return r, true
	}
	switch c.n.nr {
	case unix.SYS_CONNECT:
		return c.connect()
	case unix.SYS_LISTEN:
		return c.listen()
	case unix.SYS_SENDTO:
		return c.sendto()
	case unix.SYS_SENDMSG:
		return c.sendmsg()
	case unix.SYS_SENDMMSG:
		return c.sendmmsg()
	}
	return failed(unix.ENOSYS)
}

// denied is the result of a call whose caller cannot be looked into.
func (c *call) denied(err error) (result, bool) {
	errno, ok := errors.AsType[unix.Errno](err)
	switch {
	case !ok:
		errno = unix.EPERM
	case errno == unix.EBADF, errno == unix.ESRCH, errno == unix.ENOENT:
		return failed(unix.EBADF) // after ESRCH and ENOENT nobody is there to get it
	}
	c.guard.warn(err)
	if errno != unix.EMFILE && errno != unix.ENFILE && errno != unix.ENOMEM {
		errno = unix.EPERM
	}
	return failed(errno)
}

// inspect asks the kernel what the socket is.
func (c *call) inspect() unix.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(c.socket, &st); err != nil {
		return unix.EBADF
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return unix.ENOTSOCK
	}
	c.inode = st.Ino
	for option, value := range map[int]*int{unix.SO_DOMAIN: &c.domain, unix.SO_TYPE: &c.kind, unix.SO_PROTOCOL: &c.protocol} {
		var err error
		if *value, err = unix.GetsockoptInt(c.socket, unix.SOL_SOCKET, option); err != nil {
			return unix.ENOTSOCK
		}
	}
	flags, err := unix.FcntlInt(uintptr(c.socket), unix.F_GETFL, 0)
	if err != nil {
		return unix.EBADF
	}
	c.nonblock = flags&unix.O_NONBLOCK != 0
	return 0
}

// judge asks what becomes of a destination.
func (c *call) judge(to Destination) Verdict {
	ctx, cancel := context.WithTimeout(c.ctx, decideLimit)
	defer cancel()
	return c.guard.Decide(ctx, to)
}

// caller is a thread that waits in a call.
type caller struct {
	thread, pidfd int
	memory        *os.File
}

// pidfdThread is PIDFD_THREAD (linux/pidfd.h, since Linux 6.9): a descriptor
// of one thread, whose table of descriptors need not be its process's.
const pidfdThread = unix.O_EXCL

func openCaller(thread int) (*caller, error) {
	fd, err := unix.PidfdOpen(thread, pidfdThread)
	if err == unix.EINVAL {
		var process int
		if process, err = statusField(thread, "Tgid"); err == nil {
			fd, err = unix.PidfdOpen(process, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	return &caller{thread: thread, pidfd: fd}, nil
}

func (p *caller) close() {
	_ = unix.Close(p.pidfd)
	if p.memory != nil {
		_ = p.memory.Close() // each write was checked
	}
}

// descriptor duplicates one of the caller's descriptors.
func (p *caller) descriptor(fd int) (int, error) {
	if fd < 0 {
		return -1, unix.EBADF
	}
	return unix.PidfdGetfd(p.pidfd, fd, 0)
}

// open opens the caller's memory. The file stays that of the same program
// whatever becomes of the caller's number.
func (c *call) open() unix.Errno {
	if c.caller.memory != nil {
		return 0
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.caller.thread), os.O_RDWR, 0)
	if err != nil {
		c.guard.warn(err)
		return unix.EPERM
	}
	c.caller.memory = f
	if !c.guard.waits(c.n.id) {
		return unix.EINTR // may be another's
	}
	return 0
}

// read copies from the caller's memory.
func (c *call) read(address, size uint64) ([]byte, unix.Errno) {
	if size == 0 {
		return nil, 0
	}
	if errno := c.open(); errno != 0 {
		return nil, errno
	}
	b := make([]byte, size)
	if address >= 1<<63 {
		return nil, unix.EFAULT
	}
	if _, err := c.caller.memory.ReadAt(b, int64(address)); err != nil {
		return nil, unix.EFAULT
	}
	return b, 0
}

// write copies into the caller's memory.
func (c *call) write(address uint64, b []byte) unix.Errno {
	if errno := c.open(); errno != 0 {
		return errno
	}
	if address >= 1<<63 {
		return unix.EFAULT
	}
	if _, err := c.caller.memory.WriteAt(b, int64(address)); err != nil {
		return unix.EFAULT
	}
	return 0
}

// pendingSignals returns the signals that wait for the caller, are not
// blocked and have a handler.
func (p *caller) pendingSignals() uint64 {
	status, err := readStatus(p.thread)
	if err != nil {
		return 0
	}
	mask := func(name string) uint64 {
		v, err := strconv.ParseUint(status[name], 16, 64)
		if err != nil {
			return 0
		}
		return v
	}
	return (mask("SigPnd") | mask("ShdPnd")) &^ mask("SigBlk") & mask("SigCgt")
}

// statusField returns a field of a thread's status that is a number.
func statusField(thread int, name string) (int, error) {
	status, err := readStatus(thread)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(status[name])
}

// readStatus returns the first words of the fields of a thread's status.
func readStatus(thread int) (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			fields[name] = words[0]
		}
	}
	return fields, nil
}
