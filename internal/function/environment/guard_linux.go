package environment

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keyturn/keyturn/internal/function/egress"
)

// guard is how the connections of a process are held; nil holds nothing.
type guard struct {
	decide egress.Decide
	hole   *egress.Hole
	folder string
	logger *slog.Logger
}

// watch takes the filter's descriptor from the launcher and answers until ctx
// ends. Before, and when it fails, the process connects nowhere.
func (g *guard) watch(ctx context.Context, near *os.File) {
	listener, err := egress.Receive(int(near.Fd()))
	_ = near.Close() // nothing was written
	if err != nil {
		if ctx.Err() == nil {
			g.logger.Debug("a launcher ended before its function was held", "error", err)
		}
		return
	}
	w := egress.Guard{Listener: listener, Decide: g.decide, Hole: g.hole, Folder: g.folder, Logger: g.logger}
	if err := w.Run(ctx); err != nil {
		g.logger.Error("holding a function to its VPC; it connects nowhere any more", "error", err)
	}
}

// guard returns what holds the process of a plan.
func (e *environment) guard(plan launch) *guard {
	if !plan.Guard {
		return nil
	}
	g := &guard{decide: e.decide, hole: e.host.hole, logger: e.pool.cfg.Logger.With("function", e.spec.FunctionARN)}
	if plan.Root == "" {
		g.folder = e.place.scratch
	}
	return g
}

// listens reports whether one of the environment's own processes waits at a
// loopback address.
func (e *environment) listens(to egress.Destination) bool {
	p := e.process.Load()
	if p == nil {
		return false
	}
	const listening, unconnected = "0A", "07"
	file, state := "/proc/net/"+string(to.Protocol), listening
	if to.Protocol == egress.UDP {
		state = unconnected
	}
	for _, file := range []string{file, file + "6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			f := strings.Fields(string(line))
			if len(f) > 9 && f[3] == state && isAt(f[1], to.AddrPort()) && e.owns(p, f[7], f[9]) {
				return true
			}
		}
	}
	return false
}

// isAt reports whether a socket, in the notation of /proc/net, answers at an
// address.
func isAt(local string, to netip.AddrPort) bool {
	address, port, ok := strings.Cut(local, ":")
	if n, err := strconv.ParseUint(port, 16, 16); !ok || err != nil || uint16(n) != to.Port() {
		return false
	}
	raw, err := hex.DecodeString(address)
	if err != nil {
		return false
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	a = a.Unmap()
	return ok && (a == to.Addr() || a == netip.IPv6Unspecified() || a.IsUnspecified() && to.Addr().Is4())
}

// owns reports whether a socket is the environment's.
func (e *environment) owns(p *process, user, inode string) bool {
	if e.place.userID != 0 {
		return user == strconv.Itoa(e.place.userID)
	}
	n, err := strconv.ParseUint(inode, 10, 32)
	return err == nil && ownsSocket(processTree(p.pid), uint32(n))
}

// handOver gives the filter's descriptor to the server. The calling thread is
// under the filter already and must not send.
func handOver(listener int) error {
	done := make(chan error)
	go func() {
		defer unix.Close(listener)
		defer unix.Close(guardFD)
		done <- egress.Send(guardFD, listener)
	}()
	return <-done
}

// guardSocket makes the socket over which a launcher hands its filter to a
// guard; nothing without one.
func guardSocket(g *guard) (near, far *os.File, err error) {
	if g == nil {
		return nil, nil, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "launcher"), nil
}

// start starts the guard; stop ends it and waits for that.
func (g *guard) start(near *os.File) (stop func()) {
	if g == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.watch(ctx, near)
	}()
	return func() {
		cancel()
		<-done
	}
}
