//go:build linux

package egress

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	ProbeIfAsked()
	os.Exit(m.Run())
}

// This host holds processes; where it cannot, the error says so, and the other
// tests of this package say why.
func TestProbe(t *testing.T) {
	if err := Probe(); err != nil {
		t.Error(err)
	}
}

// The filter's verdict on calls, by running its program.
func TestProgram(t *testing.T) {
	const pointer = 0x7f00_0000_1000
	errno := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	const allow, notify = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF
	tests := []struct {
		name string
		nr   uint32
		args [6]uint64
		want uint32
	}{
		{"read", unix.SYS_READ, [6]uint64{}, allow},
		{"connect", unix.SYS_CONNECT, [6]uint64{3, pointer, 16}, notify},
		{"listen", unix.SYS_LISTEN, [6]uint64{3, 128}, notify},
		{"bind", unix.SYS_BIND, [6]uint64{3, pointer, 16}, allow},
		{"send", unix.SYS_SENDTO, [6]uint64{3, pointer, 1, 0, 0, 0}, allow},
		{"sendto", unix.SYS_SENDTO, [6]uint64{3, pointer, 1, 0, pointer, 16}, notify},
		{"sendto with a high address", unix.SYS_SENDTO, [6]uint64{3, pointer, 1, 0, 1 << 32, 16}, notify},
		{"sendto with fast open", unix.SYS_SENDTO, [6]uint64{3, pointer, 1, unix.MSG_FASTOPEN | unix.MSG_DONTWAIT, 0, 0}, errno(unix.EOPNOTSUPP)},
		{"sendmsg", unix.SYS_SENDMSG, [6]uint64{3, pointer, unix.MSG_NOSIGNAL}, notify},
		{"sendmsg with fast open", unix.SYS_SENDMSG, [6]uint64{3, pointer, unix.MSG_FASTOPEN}, errno(unix.EOPNOTSUPP)},
		{"sendmmsg", unix.SYS_SENDMMSG, [6]uint64{3, pointer, unix.MSG_FASTOPEN, 0}, notify},
		{"sendmmsg with fast open", unix.SYS_SENDMMSG, [6]uint64{3, pointer, 1, unix.MSG_FASTOPEN}, errno(unix.EOPNOTSUPP)},
		{"TCP", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, allow},
		{"TCP by number", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_STREAM, 6}, allow},
		{"TCP with a high half", unix.SYS_SOCKET, [6]uint64{1<<32 | unix.AF_INET, 1<<32 | unix.SOCK_STREAM, 6}, allow},
		{"UDP", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK, 17}, allow},
		{"TCP's number for datagrams", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, 6}, errno(unix.EPROTONOSUPPORT)},
		{"raw", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_RAW, 255}, errno(unix.EPERM)},
		{"Unix", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, allow},
		{"route netlink", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allow},
		{"socket diagnosis", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG}, errno(unix.EPROTONOSUPPORT)},
		{"vsock", unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, errno(unix.EAFNOSUPPORT)},
		{"socket options", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, allow},
		{"time to live", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_IP, unix.IP_TTL}, allow},
		{"source route", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_IP, unix.IP_OPTIONS}, errno(unix.EPERM)},
		{"another level's option of the same number", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_TCP, unix.IP_OPTIONS}, allow},
		{"routing header", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_IPV6, unix.IPV6_RTHDR}, errno(unix.EPERM)},
		{"io_uring", unix.SYS_IO_URING_SETUP, [6]uint64{}, errno(unix.ENOSYS)},
		{"ptrace", unix.SYS_PTRACE, [6]uint64{}, errno(unix.EPERM)},
		{"pair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX}, allow},
	}
	arch, ok := architecture()
	if !ok {
		t.Fatal("no filter for this architecture")
	}
	for _, test := range tests {
		if got := interpret(t, program(arch, true), test.nr, arch, test.args); got != test.want {
			t.Errorf("%s: got %#x, want %#x", test.name, got, test.want)
		}
		want := test.want
		if want == notify {
			want = allow
		}
		if got := interpret(t, program(arch, false), test.nr, arch, test.args); got != want {
			t.Errorf("%s without a guard: got %#x, want %#x", test.name, got, want)
		}
	}
	if got := interpret(t, program(arch, true), unix.SYS_READ, arch+1, [6]uint64{}); got != errno(unix.ENOSYS) {
		t.Errorf("another architecture: got %#x", got)
	}
	x86 := uint32(unix.AUDIT_ARCH_X86_64)
	if got := interpret(t, program(x86, true), x32Bit|unix.SYS_READ, x86, [6]uint64{}); got != errno(unix.ENOSYS) {
		t.Errorf("x32: got %#x", got)
	}
}

// interpret runs a program on a call as the kernel would.
func interpret(t *testing.T, code []unix.SockFilter, nr, arch uint32, args [6]uint64) uint32 {
	t.Helper()
	load := func(offset uint32) uint32 {
		switch {
		case offset == offsetNumber:
			return nr
		case offset == offsetArch:
			return arch
		case (offset-offsetArgs)%8 == 4:
			return uint32(args[(offset-offsetArgs)/8] >> 32)
		}
		return uint32(args[(offset-offsetArgs)/8])
	}
	var a uint32
	for at := 0; at < len(code); at++ {
		in := code[at]
		jump := func(taken bool) {
			if taken {
				at += int(in.Jt)
			} else {
				at += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = load(in.K)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= in.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&in.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %d has the code %#x", at, in.Code)
		}
	}
	t.Fatal("the program does not return")
	return 0
}

// How socket addresses are read: as the kernel does.
func TestParseInet(t *testing.T) {
	v4 := []byte{2, 0, 0x15, 0x38, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := func(a string, scope byte) []byte {
		b := append([]byte{10, 0, 1, 187, 0, 0, 0, 0}, netip.MustParseAddr(a).AsSlice()...)
		return append(b, scope, 0, 0, 0)
	}
	tests := []struct {
		name   string
		family int
		raw    []byte
		to     string
		scope  uint32
		errno  unix.Errno
	}{
		{"IPv4", unix.AF_INET, v4, "10.0.0.7:5432", 0, 0},
		{"IPv4 and more", unix.AF_INET, append(v4, 1, 2, 3), "10.0.0.7:5432", 0, 0},
		{"IPv4, short", unix.AF_INET, v4[:15], "", 0, unix.EINVAL},
		{"IPv4, unspecified", unix.AF_INET, append([]byte{2, 0, 0, 80}, make([]byte, 12)...), "127.0.0.1:80", 0, 0},
		{"IPv6", unix.AF_INET6, v6("2001:db8::1", 0), "[2001:db8::1]:443", 0, 0},
		{"IPv6 without scope", unix.AF_INET6, v6("fe80::1", 3)[:24], "[fe80::1]:443", 0, 0},
		{"IPv6 with scope", unix.AF_INET6, v6("fe80::1", 3), "[fe80::1]:443", 3, 0},
		{"IPv6, short", unix.AF_INET6, v6("::1", 0)[:23], "", 0, unix.EINVAL},
		{"IPv6, unspecified", unix.AF_INET6, v6("::", 0), "[::1]:443", 0, 0},
		{"mapped", unix.AF_INET6, v6("::ffff:10.0.0.7", 0), "10.0.0.7:443", 0, 0},
		{"mapped, unspecified", unix.AF_INET6, v6("::ffff:0.0.0.0", 0), "127.0.0.1:443", 0, 0},
		{"another family", unix.AF_VSOCK, v4, "", 0, unix.EAFNOSUPPORT},
	}
	for _, test := range tests {
		to, scope, errno := parseInet(test.raw, test.family)
		got := ""
		if errno == 0 {
			got = to.String()
		}
		if got != test.to || scope != test.scope || errno != test.errno {
			t.Errorf("%s: got %s, %d, %v, want %s, %d, %v", test.name, got, scope, errno, test.to, test.scope, test.errno)
		}
	}
}

// FuzzParseInet looks for addresses that are judged as another than the one
// that the caller's socket would be given.
func FuzzParseInet(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{10, 0, 0, 80, 0, 0, 0, 0}, make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		to, scope, errno := parseInet(raw, familyOf(raw))
		if errno != 0 {
			return
		}
		if to.Addr().IsUnspecified() || to.Addr().Is4In6() || !to.IsValid() {
			t.Errorf("%x is read as %s", raw, to)
		}
		c := call{domain: unix.AF_INET6}
		switch a := c.sockaddr(to, scope).(type) {
		case *unix.SockaddrInet6:
			if got := netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)); got != to {
				t.Errorf("%x is judged as %s and sent to %s", raw, to, got)
			}
		default:
			t.Errorf("got %T", a)
		}
	})
}

// What may go along with a message that the guard sends.
func TestInetControl(t *testing.T) {
	one := func(level, kind int) []byte {
		b := make([]byte, unix.CmsgSpace(4))
		copy(b, unix.UnixRights(0))
		putHeader(b, level, kind)
		return b
	}
	tests := []struct {
		control []byte
		stream  bool
		want    unix.Errno
	}{
		{nil, false, 0},
		{one(unix.IPPROTO_IP, unix.IP_TOS), false, 0},
		{one(unix.IPPROTO_UDP, unix.UDP_SEGMENT), false, 0},
		{one(unix.IPPROTO_IP, unix.IP_RETOPTS), false, unix.EINVAL},
		{one(unix.IPPROTO_IPV6, unix.IPV6_RTHDR), false, unix.EINVAL},
		{one(unix.SOL_SOCKET, unix.SO_MARK), false, unix.EINVAL},
		{one(unix.SOL_SOCKET, unix.SO_MARK), true, unix.EINVAL},
		{one(controlTLS, 1), true, 0},
		{append(one(unix.IPPROTO_IP, unix.IP_TOS), one(unix.IPPROTO_IP, unix.IP_RETOPTS)...), false, unix.EINVAL},
		{[]byte{1, 0, 0}, false, 0},
	}
	for i, test := range tests {
		if _, got := inetControl(test.control, test.stream); got != test.want {
			t.Errorf("%d: got %v, want %v", i, got, test.want)
		}
	}
}

func putHeader(b []byte, level, kind int) {
	b[8], b[12] = byte(level), byte(kind)
	b[9], b[13] = byte(level>>8), byte(kind>>8)
}

// What is dropped hangs: for IPv4, IPv6, and IPv4 on IPv6 sockets.
func TestHole(t *testing.T) {
	h, err := NewHole()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, to := range []string{"10.0.0.1", "2001:db8::1"} {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			a := netip.MustParseAddr(to)
			place, ok := h.place(unix.SOCK_STREAM, a)
			if !ok || domain == unix.AF_INET && a.Is6() {
				continue
			}
			got[fmt.Sprint(to, " ", domain)] = hangs(t, domain, place)
		}
	}
	want := map[string]string{"10.0.0.1 2": "hangs", "10.0.0.1 10": "hangs", "2001:db8::1 10": "hangs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func hangs(t *testing.T, domain int, place netip.AddrPort) string {
	t.Helper()
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	c := call{domain: domain}
	if err := unix.Connect(fd, c.sockaddr(place, 0)); err != unix.EINPROGRESS {
		return fmt.Sprint(err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT | unix.POLLIN}}
	if n, err := unix.Poll(poll, 50); n != 0 || err != nil {
		return fmt.Sprint(n, err)
	}
	return "hangs"
}

// A guard ends with its context, and when the descriptor is no listener.
func TestGuardEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	g := &Guard{Listener: fd, Logger: slog.New(slog.DiscardHandler)}
	go func() { done <- g.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
	if fd, err = unix.Eventfd(1, unix.EFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	g = &Guard{Listener: fd, Logger: slog.New(slog.DiscardHandler)}
	if err := g.Run(t.Context()); err == nil {
		t.Error("a descriptor that is no listener was served")
	}
}
