package egress

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// listen carries out listen(2) on sockets that only this host reaches: nobody
// comes into a function from its VPC.
func (c *call) listen() (result, bool) {
	if errno := c.onLoopback(); errno != 0 {
		return failed(errno)
	}
	if err := unix.Listen(c.socket, int(int32(c.n.args[1]))); err != nil {
		return resultOf(0, err), true
	}
	// Another thread may have taken the address away in between.
	if errno := c.onLoopback(); errno != 0 {
		_ = unix.Shutdown(c.socket, unix.SHUT_RDWR)
		return failed(errno)
	}
	return result{}, true
}

// onLoopback refuses sockets that are not bound to a loopback address; those
// without one would listen at all addresses of the host.
func (c *call) onLoopback() unix.Errno {
	if c.domain != unix.AF_INET && c.domain != unix.AF_INET6 || c.kind != unix.SOCK_STREAM {
		return 0
	}
	bound, err := unix.Getsockname(c.socket)
	if err != nil {
		return unix.EACCES
	}
	var at netip.Addr
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		at = netip.AddrFrom4(bound.Addr)
	case *unix.SockaddrInet6:
		at = netip.AddrFrom16(bound.Addr).Unmap()
	}
	if !at.IsLoopback() {
		return unix.EACCES
	}
	return 0
}
