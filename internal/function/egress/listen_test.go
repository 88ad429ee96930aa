//go:build linux

package egress

import (
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TCP sockets listen on loopback or not at all.
func TestListen(t *testing.T) {
	for _, tc := range []struct {
		name   string
		domain int
		at     string // "" is not bound
		want   unix.Errno
	}{
		{"loopback", unix.AF_INET, "127.0.0.1:0", 0},
		{"another loopback address", unix.AF_INET, "127.9.9.9:0", 0},
		{"all addresses", unix.AF_INET, "0.0.0.0:0", unix.EACCES},
		{"none, which is all", unix.AF_INET, "", unix.EACCES},
		{"IPv6 loopback", unix.AF_INET6, "[::1]:0", 0},
		{"mapped loopback", unix.AF_INET6, "[::ffff:127.0.0.1]:0", 0},
		{"all IPv6 addresses", unix.AF_INET6, "[::]:0", unix.EACCES},
		{"no IPv6 address, which is all", unix.AF_INET6, "", unix.EACCES},
		{"mapped, all addresses", unix.AF_INET6, "[::ffff:0.0.0.0]:0", unix.EACCES},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fd := newSocket(t, tc.domain, unix.SOCK_STREAM)
			c := call{socket: fd, domain: tc.domain, kind: unix.SOCK_STREAM, n: notification{args: [6]uint64{0, 1}}}
			if tc.at != "" {
				var a unix.Sockaddr
				if at := netip.MustParseAddrPort(tc.at); tc.domain == unix.AF_INET {
					a = &unix.SockaddrInet4{Addr: at.Addr().As4()}
				} else {
					a = &unix.SockaddrInet6{Addr: at.Addr().As16()}
				}
				if err := unix.Bind(fd, a); err != nil {
					t.Fatal(err)
				}
			}
			r, done := c.listen()
			listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
			if err != nil || !done || r.errno != tc.want || (listening == 1) != (tc.want == 0) {
				t.Errorf("got %v, listening %d, %v; want %v", r.errno, listening, err, tc.want)
			}
		})
	}
}

// Unix sockets are files of the function's.
func TestListenUnix(t *testing.T) {
	fd := newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}); err != nil {
		t.Fatal(err)
	}
	c := call{socket: fd, domain: unix.AF_UNIX, kind: unix.SOCK_STREAM, n: notification{args: [6]uint64{0, 1}}}
	if r, done := c.listen(); !done || r.errno != 0 {
		t.Errorf("got %v", r.errno)
	}
}

func newSocket(t *testing.T, domain, kind int) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
