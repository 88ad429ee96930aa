package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probeName is the name under which this program is started again to see what
// the host permits.
const probeName = "keyturn-probe-egress"

// probeLimit bounds a probe.
const probeLimit = 10 * time.Second

// probeDropped is the address that a probe must not reach: one kept for
// documentation.
var probeDropped = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// Probe tries on this host whether processes can be held: one is started
// under a filter, with a connection that must succeed and one that must hang.
// Main must have called ProbeIfAsked. The error says what did not work.
func Probe() error {
	if os.Args[0] == probeName {
		return errors.New("this process was to be a probe; main must call ProbeIfAsked first")
	}
	open, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer open.Close()
	hole, err := NewHole()
	if err != nil {
		return err
	}
	defer hole.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env = []string{probeName, open.Addr().String()}, []string{"GOMAXPROCS=2"}
	cmd.Stderr, cmd.ExtraFiles = &said, []*os.File{far}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	far.Close()
	if err != nil {
		return err
	}
	listener, err := Receive(pair[0])
	if err == nil {
		g := &Guard{Listener: listener, Hole: hole, Logger: slog.New(slog.DiscardHandler), Decide: func(_ context.Context, to Destination) Verdict {
			if to.Address == probeDropped {
				return Drop
			}
			return Allow
		}}
		err = g.Run(ctx)
	}
	if ended := cmd.Wait(); ended != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			return errors.New(text)
		}
		return errors.Join(err, ended)
	}
	return err
}

// ProbeIfAsked turns this process into a probe when it was started as one,
// and then does not return. Main must call it first.
func ProbeIfAsked() {
	if len(os.Args) != 2 || os.Args[0] != probeName {
		return
	}
	if err := probe(os.Args[1]); err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error())
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// probe is what the started process does.
func probe(address string) error {
	open, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("setting no_new_privs: %w", err)
	}
	listener, err := Restrict(true)
	if err != nil {
		return fmt.Errorf("setting a seccomp filter with notifications: %w", err)
	}
	sent := make(chan error)
	go func() { // on a thread without the filter
		sent <- Send(3, listener)
		_ = unix.Close(listener)
	}()
	if err := <-sent; err != nil {
		return fmt.Errorf("handing the filter over: %w", err)
	}
	if err := probeConnect(open, true); err != nil {
		return fmt.Errorf("connecting where it is allowed: %w", err)
	}
	if err := probeConnect(netip.AddrPortFrom(probeDropped, 9), false); err != nil {
		return fmt.Errorf("connecting where it is not allowed: %w", err)
	}
	return nil
}

// probeConnect connects and compares what comes of it.
func probeConnect(to netip.AddrPort, allowed bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		return err
	}
	wait := time.Second
	if !allowed {
		wait = 20 * time.Millisecond
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, int(wait.Milliseconds()))
	switch {
	case err != nil:
		return err
	case allowed && n == 0:
		return errors.New("it hangs")
	case !allowed && n != 0:
		return errors.New("it does not hang")
	case !allowed:
		return nil
	}
	failure, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && failure != 0 {
		err = unix.Errno(failure)
	}
	return err
}
