package egress

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxAddress is the longest address that the kernel takes
// (struct sockaddr_storage).
const maxAddress = 128

// address copies the caller's socket address.
func (c *call) address(at, size uint64) ([]byte, unix.Errno) {
	length := int32(size)
	if length < 0 || length > maxAddress {
		return nil, unix.EINVAL
	}
	return c.read(at, uint64(length))
}

func familyOf(raw []byte) int {
	if len(raw) < 2 {
		return -1
	}
	return int(binary.NativeEndian.Uint16(raw))
}

// The least sizes of IP addresses that the kernel takes (SIN6_LEN_RFC2133).
const (
	sizeInet4 = 16
	sizeInet6 = 24
)

// parseInet reads an IP address as the kernel would. The scope is that of a
// link-local address.
func parseInet(raw []byte, family int) (to netip.AddrPort, scope uint32, errno unix.Errno) {
	var a netip.Addr
	switch {
	case family == unix.AF_INET && len(raw) >= sizeInet4:
		a = netip.AddrFrom4([4]byte(raw[4:8]))
		if a.IsUnspecified() {
			a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	case family == unix.AF_INET6 && len(raw) >= sizeInet6:
		a = netip.AddrFrom16([16]byte(raw[8:24])).Unmap()
		if len(raw) >= sizeInet6+4 {
			scope = binary.NativeEndian.Uint32(raw[24:])
		}
		switch {
		case a == netip.IPv6Unspecified():
			a = netip.IPv6Loopback()
		case a.IsUnspecified():
			a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	case family == unix.AF_INET, family == unix.AF_INET6:
		return to, 0, unix.EINVAL
	default:
		return to, 0, unix.EAFNOSUPPORT
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(raw[2:])), scope, 0
}

// sockaddr is a destination as the caller's socket takes it.
func (c *call) sockaddr(to netip.AddrPort, scope uint32) unix.Sockaddr {
	if c.domain == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: scope}
}

// destination says for whom a decision is asked.
func (c *call) destination(to netip.AddrPort) Destination {
	d := Destination{Address: to.Addr(), Port: to.Port(), Protocol: UDP}
	if c.kind == unix.SOCK_STREAM {
		d.Protocol = TCP
	}
	return d
}

// connect carries out connect(2).
func (c *call) connect() (result, bool) {
	if c.retried && !c.nonblock && !c.ready() {
		return c.expire()
	}
	raw, errno := c.address(c.n.args[1], c.n.args[2])
	if errno != 0 {
		return failed(errno)
	}
	family := familyOf(raw)
	switch {
	case family < 0:
		return failed(unix.EINVAL)
	case c.domain == unix.AF_UNIX && family == unix.AF_UNIX:
		return c.connectUnix(raw)
	case family == unix.AF_UNSPEC:
		return c.dissolve()
	case c.domain == unix.AF_NETLINK && family == unix.AF_NETLINK && len(raw) >= 12:
		return c.dial(netlinkAddress(raw))
	case c.domain != unix.AF_INET && c.domain != unix.AF_INET6:
		return failed(unix.EINVAL)
	}
	to, scope, errno := parseInet(raw, family)
	if errno != 0 {
		return failed(errno)
	}
	if c.domain == unix.AF_INET && to.Addr().Is6() {
		return failed(unix.EAFNOSUPPORT)
	}
	switch c.judge(c.destination(to)) {
	case Allow:
		return c.dial(c.sockaddr(to, scope))
	case Drop:
		hole, ok := c.guard.Hole.place(c.kind, to.Addr())
		if !ok {
			return failed(unix.ENETUNREACH) // the host has no IPv6
		}
		return c.lose(c.sockaddr(hole, 0))
	}
	return failed(unix.ENETUNREACH)
}

func netlinkAddress(raw []byte) unix.Sockaddr {
	return &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK, Pid: binary.NativeEndian.Uint32(raw[4:]), Groups: binary.NativeEndian.Uint32(raw[8:]),
	}
}

// dissolve takes the destination of a socket away.
func (c *call) dissolve() (result, bool) {
	var unspecified [sizeInet4]byte
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(c.socket), uintptr(unsafe.Pointer(&unspecified)), sizeInet4)
	c.acted = true
	if errno != 0 {
		return failed(errno)
	}
	return result{}, true
}

// lose connects a socket to nowhere.
func (c *call) lose(hole unix.Sockaddr) (result, bool) {
	r, done := c.dial(hole)
	if done && r.errno == 0 && c.kind == unix.SOCK_STREAM {
		// The hole never answers; whatever did must not be talked to.
		_ = unix.Shutdown(c.socket, unix.SHUT_RDWR)
		return failed(unix.ETIMEDOUT)
	}
	return r, done
}

// dial connects the socket. A blocking caller waits by further attempts, not
// in the kernel, where it would take this process's threads.
func (c *call) dial(to unix.Sockaddr) (result, bool) {
	c.acted = true
	if c.nonblock {
		return resultOf(0, unix.Connect(c.socket, to)), true
	}
	err := c.connectBriefly(to)
	switch err {
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		return c.expire()
	case unix.EAGAIN:
		if c.domain == unix.AF_UNIX { // the listener's queue is full
			return c.expire()
		}
	}
	return resultOf(0, err), true
}

// ready reports whether the socket has something to tell a writer.
func (c *call) ready() bool {
	poll := []unix.PollFd{{Fd: int32(c.socket), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// connectBriefly connects a blocking socket and waits for it for no longer
// than a tick of the kernel's clock: the socket's own timeout is shortened for
// that time.
func (c *call) connectBriefly(to unix.Sockaddr) error {
	c.guard.dialing.Lock()
	defer c.guard.dialing.Unlock()
	own, err := c.timeout()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 1}); err != nil {
		return err
	}
	err = unix.Connect(c.socket, to)
	if restored := unix.SetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_SNDTIMEO, own); restored != nil {
		return restored
	}
	return err
}

func (c *call) timeout() (*unix.Timeval, error) {
	return unix.GetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
}

// expire lets the caller wait on, unless its own timeout has passed.
func (c *call) expire() (result, bool) {
	own, err := c.timeout()
	if err != nil {
		return resultOf(0, err), true
	}
	if limit := time.Duration(own.Nano()); limit == 0 || time.Since(c.began) < limit {
		if c.signalled() {
			return failed(restart)
		}
		return result{}, false
	}
	if c.n.nr == unix.SYS_CONNECT && c.domain != unix.AF_UNIX {
		return failed(unix.EINPROGRESS)
	}
	return failed(unix.EAGAIN)
}

// restart is the kernel's ERESTARTSYS: a signal comes before the answer, and
// its handler says whether the caller gets EINTR or the call is repeated.
const restart = unix.Errno(512)

// signalled reports whether a signal was waiting for the caller at this
// attempt and the one before. At one only, another thread may be about to take
// it.
func (c *call) signalled() bool {
	before := c.pending
	c.pending = c.caller.pendingSignals()
	return before&c.pending != 0
}

// resultOf is the result of a call of our own.
func resultOf(value int, err error) result {
	if err == nil {
		return result{value: int64(value)}
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		errno = unix.EIO
	}
	return result{-1, errno}
}
