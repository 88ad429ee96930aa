package egress

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Hole takes what is dropped: on loopback, TCP listeners that complete no
// connection and UDP sockets that nobody reads, for IPv4 and, where the host
// has it, IPv6.
type Hole struct {
	fds    []int
	places map[holeKey]netip.AddrPort
}

type holeKey struct {
	kind int
	ipv6 bool
}

// NewHole opens the sockets.
func NewHole() (_ *Hole, err error) {
	h := &Hole{places: map[holeKey]netip.AddrPort{}}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	for _, ipv6 := range []bool{false, true} {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			err := h.open(holeKey{kind, ipv6})
			if err != nil && !ipv6 {
				return nil, err
			}
		}
	}
	return h, nil
}

// open makes one socket. The kernel drops SYNs to a listener whose queue is
// full, so that the one connection for which there is room is our own.
func (h *Hole) open(key holeKey) error {
	family, local := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if key.ipv6 {
		family, local = unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	socket := func() (int, error) {
		fd, err := unix.Socket(family, key.kind|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			h.fds = append(h.fds, fd)
		}
		return fd, err
	}
	fd, err := socket()
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, local); err != nil {
		return err
	}
	place, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	if key.kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 0); err != nil {
			return err
		}
		plug, err := socket()
		if err != nil {
			return err
		}
		if err := unix.Connect(plug, place); err != nil {
			return err
		}
	} else if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		return err
	}
	switch a := place.(type) {
	case *unix.SockaddrInet4:
		h.places[key] = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		h.places[key] = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return nil
}

// place is where the hole is for sockets of a kind that send to an address;
// false when the host has no such sockets.
func (h *Hole) place(kind int, to netip.Addr) (netip.AddrPort, bool) {
	at, ok := h.places[holeKey{kind, to.Is6()}]
	return at, ok
}

// Close closes the sockets. Connections that hang then fail.
func (h *Hole) Close() error {
	var errs []error
	for _, fd := range h.fds {
		errs = append(errs, unix.Close(fd))
	}
	h.fds = nil
	return errors.Join(errs...)
}
