package egress

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// x32Bit marks system calls of the x32 interface, which carry the same
// architecture as those of x86-64.
const x32Bit = 0x40000000

// The offsets of seccomp's data (linux/seccomp.h). Arguments are 64 bits in
// the machine's order, which is little-endian wherever the filter runs.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// architecture returns what seccomp calls the architecture that this program
// was built for; false where the filter is not written for it.
func architecture() (uint32, bool) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, true
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, true
	}
	return 0, false
}

// assembler writes a classic BPF program.
type assembler struct{ code []unix.SockFilter }

func (a *assembler) emit(code uint16, k uint32) {
	a.code = append(a.code, unix.SockFilter{Code: code, K: k})
}

func (a *assembler) load(offset uint32) { a.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }

// low and high load a half of an argument.
func (a *assembler) low(arg uint32)  { a.load(offsetArgs + 8*arg) }
func (a *assembler) high(arg uint32) { a.load(offsetArgs + 8*arg + 4) }

func (a *assembler) ret(action uint32)       { a.emit(unix.BPF_RET|unix.BPF_K, action) }
func (a *assembler) allow()                  { a.ret(unix.SECCOMP_RET_ALLOW) }
func (a *assembler) notify()                 { a.ret(unix.SECCOMP_RET_USER_NOTIF) }
func (a *assembler) refuse(errno unix.Errno) { a.ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

// when runs the block if the loaded value compares with k. A block that does
// not end in a return leaves another value to what follows.
func (a *assembler) when(compare uint16, k uint32, block func()) {
	at := len(a.code)
	a.emit(unix.BPF_JMP|compare|unix.BPF_K, k)
	block()
	a.code[at].Jf = uint8(len(a.code) - at - 1)
}

func (a *assembler) equal(k uint32, block func()) { a.when(unix.BPF_JEQ, k, block) }

// program is the filter. Without a guard it only shuts what leads around one.
func program(arch uint32, guarded bool) []unix.SockFilter {
	a := &assembler{}
	a.load(offsetArch)
	a.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, arch)
	a.code[len(a.code)-1].Jt = 1
	a.refuse(unix.ENOSYS)
	a.calls(arch, guarded)
	a.allow()
	return a.code
}

func (a *assembler) calls(arch uint32, guarded bool) {
	a.load(offsetNumber)
	if arch == unix.AUDIT_ARCH_X86_64 {
		a.when(unix.BPF_JGE, x32Bit, func() { a.refuse(unix.ENOSYS) })
	}
	for _, nr := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER} {
		a.equal(nr, func() { a.refuse(unix.ENOSYS) })
	}
	for _, nr := range []uint32{unix.SYS_PTRACE, unix.SYS_USERFAULTFD} {
		a.equal(nr, func() { a.refuse(unix.EPERM) })
	}
	a.equal(unix.SYS_SOCKET, a.socket)
	a.equal(unix.SYS_SOCKETPAIR, func() {
		a.low(0)
		a.equal(unix.AF_UNIX, a.allow)
		a.refuse(unix.EAFNOSUPPORT)
	})
	a.equal(unix.SYS_SETSOCKOPT, a.option)
	if guarded {
		a.equal(unix.SYS_CONNECT, a.notify)
		a.equal(unix.SYS_LISTEN, a.notify)
	}
	a.equal(unix.SYS_SENDTO, func() {
		a.fastOpen(3)
		if guarded {
			a.low(4)
			a.equal(0, func() {
				a.high(4)
				a.equal(0, a.allow)
				a.notify()
			})
			a.notify()
		}
		a.allow()
	})
	for _, call := range []struct{ nr, flags uint32 }{{unix.SYS_SENDMSG, 2}, {unix.SYS_SENDMMSG, 3}} {
		a.equal(call.nr, func() {
			a.fastOpen(call.flags)
			if guarded {
				a.notify()
			}
			a.allow()
		})
	}
}

// fastOpen refuses to connect by sending, as a kernel does in which that is
// switched off: programs then connect first.
func (a *assembler) fastOpen(flags uint32) {
	a.low(flags)
	a.when(unix.BPF_JSET, unix.MSG_FASTOPEN, func() { a.refuse(unix.EOPNOTSUPP) })
}

// socket admits Unix sockets, TCP, UDP and route netlink, from which programs
// learn the host's addresses.
func (a *assembler) socket() {
	a.low(0)
	a.equal(unix.AF_UNIX, a.allow)
	a.equal(unix.AF_NETLINK, func() {
		a.low(2)
		a.equal(unix.NETLINK_ROUTE, a.allow)
		a.refuse(unix.EPROTONOSUPPORT)
	})
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		a.equal(family, func() {
			a.low(1)
			a.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0xf) // without SOCK_NONBLOCK and SOCK_CLOEXEC
			a.transport(unix.SOCK_STREAM, unix.IPPROTO_TCP)
			a.transport(unix.SOCK_DGRAM, unix.IPPROTO_UDP)
			a.refuse(unix.EPERM)
		})
	}
	a.refuse(unix.EAFNOSUPPORT)
}

func (a *assembler) transport(kind, protocol uint32) {
	a.equal(kind, func() {
		a.low(2)
		a.equal(0, a.allow)
		a.equal(protocol, a.allow)
		a.refuse(unix.EPROTONOSUPPORT)
	})
}

// option refuses source routes, by which packets go elsewhere first, and
// sending from the sender's memory, which would be the guard's.
func (a *assembler) option() {
	for _, o := range []struct{ level, name uint32 }{
		{unix.IPPROTO_IP, unix.IP_OPTIONS},
		{unix.IPPROTO_IPV6, unix.IPV6_RTHDR}, {unix.IPPROTO_IPV6, unix.IPV6_2292RTHDR},
		{unix.IPPROTO_IPV6, unix.IPV6_2292PKTOPTIONS},
		{unix.SOL_SOCKET, unix.SO_ZEROCOPY},
	} {
		a.low(1)
		a.equal(o.level, func() {
			a.low(2)
			a.equal(o.name, func() { a.refuse(unix.EPERM) })
		})
	}
	a.allow()
}

// Restrict puts the filter on the calling thread and on what it starts; the
// goroutine must be locked to the thread and no_new_privs be set. Guarded, it
// returns the descriptor that a Guard listens on, which the caller must hand
// over by Send from another thread and close. Otherwise the filter shuts what
// leads around Landlock, and there is no descriptor.
func Restrict(guarded bool) (listener int, err error) {
	arch, ok := architecture()
	if !ok {
		return -1, fmt.Errorf("no filter for %s: %w", runtime.GOARCH, unix.ENOSYS)
	}
	code := program(arch, guarded)
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	install := func(flags uintptr) (int, unix.Errno) {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		return int(fd), errno
	}
	var errno unix.Errno
	if !guarded {
		if _, errno = install(0); errno != 0 {
			return -1, errno
		}
		return -1, nil
	}
	// Signals do not interrupt a call that a guard has taken, so that none is
	// carried out twice (since Linux 5.19). Those that wait for long are
	// interrupted by the guard.
	listener, errno = install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errno == unix.EINVAL {
		listener, errno = install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if errno != 0 {
		return -1, errno
	}
	return listener, nil
}

// Send hands a descriptor over a Unix socket.
func Send(conn, fd int) error { return unix.Sendmsg(conn, []byte{0}, unix.UnixRights(fd), nil, 0) }

// Receive takes a descriptor that Send handed over. It waits for it.
func Receive(conn int) (int, error) {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	var n int
	for {
		var err error
		_, n, _, _, err = unix.Recvmsg(conn, data, control, unix.MSG_CMSG_CLOEXEC)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return -1, err
		}
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return -1, err
	}
	if len(messages) == 0 {
		return -1, errors.New("no descriptor was handed over")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}
