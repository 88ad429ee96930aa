package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds on the connections of a server (ours).
const (
	// maxGuests keeps the memory of connections, some 20 KiB each, bounded.
	maxGuests = 16_384
	// sampled is how many connections are looked at for one to close, so that
	// a full house costs a newcomer no walk through all of it.
	sampled = 256
)

// guestLimit is how many connections a server takes: three quarters of the
// files that the process may open, which Go has raised to the hard limit, and
// maxGuests at most. The rest is for the database, the trail and functions.
func guestLimit() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur/4*3 > maxGuests {
		return maxGuests
	}
	return int(files.Cur / 4 * 3)
}

// crowd keeps the connections of all doors within a limit: for one too many
// it closes the one that has waited longest for a request, of a sample, and
// where all are being answered, the new one.
type crowd struct {
	limit int

	mu     sync.Mutex
	guests map[*guest]struct{}
}

func newCrowd(limit int) *crowd { return &crowd{limit: limit, guests: map[*guest]struct{}{}} }

// at returns the listener, through which guests come in from now on.
func (c *crowd) at(l net.Listener) net.Listener { return &entrance{l, c} }

type entrance struct {
	net.Listener
	crowd *crowd
}

// guest is a connection that knows whether a request of it is being answered.
type guest struct {
	net.Conn
	crowd *crowd
	// requests are being answered; less than none once the connection is
	// being closed for another one's sake.
	requests atomic.Int32
	// since is when the last answer ended or the connection began, in
	// nanoseconds since 1970.
	since atomic.Int64
}

// Accept implements net.Listener.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		conn, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: conn, crowd: e.crowd}
		g.since.Store(time.Now().UnixNano())
		leaves := e.crowd.admit(g)
		if leaves != nil {
			_ = leaves.Close() // nobody is there to be told
		}
		if leaves != g {
			return g, nil
		}
	}
}

// admit takes a connection in and returns the one that has to go, if any.
func (c *crowd) admit(g *guest) (leaves *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.guests) >= c.limit {
		if leaves = c.longestIdle(); leaves == nil {
			return g
		}
	}
	c.guests[g] = struct{}{}
	return leaves
}

// longestIdle picks and marks the one that leaves. Maps are walked from a
// random place.
func (c *crowd) longestIdle() (longest *guest) {
	looked := 0
	for g := range c.guests {
		if g.requests.Load() == 0 && (longest == nil || g.since.Load() < longest.since.Load()) {
			longest = g
		}
		if looked++; looked >= sampled && longest != nil {
			break
		}
	}
	if longest != nil && !longest.requests.CompareAndSwap(0, -1) {
		return nil // its request came this moment
	}
	return longest
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.crowd.mu.Lock()
	delete(g.crowd.guests, g)
	g.crowd.mu.Unlock()
	return g.Conn.Close()
}

// enter notes that a request is being answered; false when the connection is
// being closed.
func (g *guest) enter() bool {
	for {
		n := g.requests.Load()
		if n < 0 {
			return false
		}
		if g.requests.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *guest) leave() {
	g.since.Store(time.Now().UnixNano())
	g.requests.Add(-1)
}

// guestKey is the key of a request's guest in its context.
type guestKey struct{}

// know puts the guest of a connection into the context of its requests; it is
// for http.Server.ConnContext.
func know(ctx context.Context, conn net.Conn) context.Context {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	if g, ok := conn.(*guest); ok {
		return context.WithValue(ctx, guestKey{}, g)
	}
	return ctx
}

// welcome has requests answered by the handler, within the pace, and their
// connections known to be in use meanwhile.
func welcome(h http.Handler, p pace) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
			if !g.enter() {
				panic(http.ErrAbortHandler)
			}
			defer g.leave()
		}
		p.hold(w, r)
		if len(r.TransferEncoding) > 0 {
			// It may have had a length too, of which net/http does not tell:
			// a proxy that went by that sees another request in the rest
			// (RFC 9112, section 6.1).
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
