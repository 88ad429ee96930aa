package rotatortest

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a rotator and a server, so that the way to the server
// can be broken while the server itself runs. It forwards until told
// otherwise.
type Proxy struct {
	// Host and Port are where it listens.
	Host string
	Port int

	mu       sync.Mutex
	listener net.Listener
	target   string
	silent   bool
	open     []net.Conn
	serving  sync.WaitGroup
}

// NewProxy listens on loopback until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{Host: "127.0.0.1", target: target}
	if err := p.listen(); err != nil {
		t.Fatalf("starting a proxy: %v", err)
	}
	t.Cleanup(func() {
		p.Refuse()
		p.serving.Wait()
	})
	return p
}

// listen opens the port, at first any.
func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener, p.Port = l, l.Addr().(*net.TCPAddr).Port
	p.mu.Unlock()
	p.serving.Go(func() { p.accept(l) })
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open = append(p.open, conn)
		target, silent := p.target, p.silent
		p.mu.Unlock()
		if !silent {
			p.serving.Go(func() { p.forward(conn, target) })
		}
	}
}

func (p *Proxy) forward(conn net.Conn, target string) {
	defer conn.Close()
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.open = append(p.open, server)
	p.mu.Unlock()
	p.serving.Go(func() {
		defer conn.Close()
		_, _ = io.Copy(conn, server) // either side may end it
	})
	_, _ = io.Copy(server, conn)
	server.Close()
}

// Redirect sends new connections to another server, "host:port".
func (p *Proxy) Redirect(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Swallow takes new connections and never answers, as a network does that
// drops packets.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Refuse closes the port and breaks every connection off.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

// Forward ends what Swallow and Refuse began.
func (p *Proxy) Forward(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	p.silent = false
	closed := p.listener == nil
	p.mu.Unlock()
	if !closed {
		return
	}
	if err := p.listen(); err != nil {
		t.Fatalf("opening the proxy again: %v", err)
	}
}
