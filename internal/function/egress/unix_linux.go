package egress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// connectUnix connects to a Unix socket of the caller's own.
func (c *call) connectUnix(raw []byte) (result, bool) {
	to, done, errno := c.findUnix(raw)
	if errno != 0 {
		return failed(errno)
	}
	defer done()
	return c.dial(to)
}

// findUnix finds a Unix socket by the name that the caller has for it. This
// process may more than the caller, so the name is followed as the caller
// would, and only sockets of the caller's own user count.
func (c *call) findUnix(raw []byte) (to unix.Sockaddr, done func(), errno unix.Errno) {
	path, _, _ := bytes.Cut(raw[2:], []byte{0})
	if len(path) == 0 {
		return nil, nil, unix.ECONNREFUSED // the abstract namespace is the host's
	}
	from, how := "root", unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if path[0] != '/' {
		from, how.Resolve = "cwd", unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS
	}
	base, err := unix.Open(fmt.Sprintf("/proc/%d/%s", c.caller.thread, from), unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, unix.EACCES
	}
	defer unix.Close(base)
	if !c.guard.waits(c.n.id) {
		return nil, nil, unix.EINTR
	}
	fd, err := unix.Openat2(base, string(path), &how)
	if err != nil {
		return nil, nil, resultOf(0, err).errno
	}
	if errno := c.ownUnix(fd); errno != 0 {
		_ = unix.Close(fd)
		return nil, nil, errno
	}
	return &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", fd)}, func() { _ = unix.Close(fd) }, 0
}

// ownUnix refuses what is not a socket that the caller may connect to.
func (c *call) ownUnix(fd int) unix.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return unix.EACCES
	}
	user, err := statusField(c.caller.thread, "Uid")
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return unix.ECONNREFUSED
	case err != nil || int(st.Uid) != user:
		return unix.EACCES
	case c.guard.Folder == "":
		return 0
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil || !strings.HasPrefix(name, c.guard.Folder+"/") {
		return unix.EACCES
	}
	return 0
}

// sendUnix sends over a Unix socket. Descriptors that go along are those of
// the caller.
func (c *call) sendUnix(m *message, flags int) (result, bool) {
	var to unix.Sockaddr
	if familyOf(m.name) == unix.AF_UNIX && c.kind != unix.SOCK_STREAM {
		place, done, errno := c.findUnix(m.name)
		if errno != 0 {
			return failed(errno)
		}
		defer done()
		to = place
	}
	if len(m.control) > 0 {
		// At most one message's descriptors are held for a guard's processes.
		c.guard.rights.Lock()
		defer c.guard.rights.Unlock()
	}
	control, fds, errno := c.unixControl(m.control)
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	if errno != 0 {
		return failed(errno)
	}
	return c.deliver(m.data, control, to, flags)
}

// maxRights is how many descriptors the kernel lets go along with one message
// (SCM_MAX_FD, in all its control messages). More are refused before any is
// duplicated: they would use up this process's own.
const maxRights = 253

// unixControl translates the caller's descriptors into our own, which are to
// be closed afterwards. Credentials cannot be passed on.
func (c *call) unixControl(control []byte) (out []byte, fds []int, errno unix.Errno) {
	if len(control) == 0 {
		return nil, nil, 0
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, nil, unix.EINVAL
	}
	count := 0
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			return nil, nil, unix.EPERM
		}
		if count += len(m.Data) / 4; count > maxRights {
			return nil, nil, unix.EINVAL
		}
	}
	for _, m := range messages {
		var ours []int
		for b := m.Data; len(b) >= 4; b = b[4:] {
			fd, err := c.caller.descriptor(int(int32(binary.NativeEndian.Uint32(b))))
			if err != nil {
				return nil, fds, unix.EBADF
			}
			fds, ours = append(fds, fd), append(ours, fd)
		}
		out = append(out, unix.UnixRights(ours...)...)
	}
	return out, fds, 0
}
