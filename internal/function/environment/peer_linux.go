package environment

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// socketOwner is what the kernel says of one end of a TCP connection.
type socketOwner struct {
	userID int
	inode  uint32
}

// The layout of the kernel's socket diagnosis messages (linux/inet_diag.h).
const (
	diagRequestSize = 56
	diagAnswerSize  = 72
	diagSockID      = 8 // where the addresses start in a request; 4 in an answer
	diagUserID      = 64
	diagInode       = 68
	noCookie        = 0xffffffff
)

// ownerOf asks the kernel who holds the far end of a connection between two
// loopback addresses.
func ownerOf(conn net.Conn) (socketOwner, error) {
	far, near := addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	if !far.Addr().Is4() || !near.Addr().Is4() {
		return socketOwner{}, errors.New("not an IPv4 connection")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return socketOwner{}, err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, diagRequest(far, near), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return socketOwner{}, err
	}
	answer := make([]byte, 1024)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return socketOwner{}, err
	}
	return diagAnswer(answer[:n])
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// diagRequest asks for the one TCP socket bound to from and connected to to.
func diagRequest(from, to netip.AddrPort) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+diagRequestSize)
	native := binary.NativeEndian
	native.PutUint32(b[0:], uint32(len(b)))
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1] = unix.AF_INET, unix.IPPROTO_TCP
	native.PutUint32(r[4:], 0xffffffff) // any state
	id := r[diagSockID:]
	binary.BigEndian.PutUint16(id[0:], from.Port())
	binary.BigEndian.PutUint16(id[2:], to.Port())
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(id[4:], src[:])
	copy(id[20:], dst[:])
	native.PutUint32(id[40:], noCookie)
	native.PutUint32(id[44:], noCookie)
	return b
}

func diagAnswer(b []byte) (socketOwner, error) {
	if len(b) < unix.SizeofNlMsghdr {
		return socketOwner{}, errors.New("short answer")
	}
	body := b[unix.SizeofNlMsghdr:]
	switch native := binary.NativeEndian; native.Uint16(b[4:]) {
	case unix.SOCK_DIAG_BY_FAMILY:
		if len(body) < diagAnswerSize {
			return socketOwner{}, errors.New("short answer")
		}
		return socketOwner{int(native.Uint32(body[diagUserID:])), native.Uint32(body[diagInode:])}, nil
	case unix.NLMSG_ERROR:
		if len(body) >= 4 {
			return socketOwner{}, unix.Errno(-int32(native.Uint32(body)))
		}
	}
	return socketOwner{}, errors.New("unexpected answer")
}

// speaks reports whether the far end of conn belongs to the process tree:
// by its user where that is the tree's alone, else by the socket itself.
func (p *process) speaks(conn net.Conn, userID int) bool {
	owner, err := ownerOf(conn)
	if err != nil {
		return false
	}
	if userID != 0 {
		return owner.userID == userID
	}
	return ownsSocket(processTree(p.pid), owner.inode)
}

// peersKnown reports whether this host lets a server find out who connects.
func peersKnown() bool {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return false
	}
	defer l.Close()
	far, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return false
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		return false
	}
	defer near.Close()
	owner, err := ownerOf(near)
	return err == nil && owner.userID == unix.Geteuid() && ownsSocket([]int{unix.Getpid()}, owner.inode)
}
