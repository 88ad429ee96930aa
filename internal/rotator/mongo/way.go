package mongo

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"

	"github.com/keyturn/keyturn/internal/rotator"
)

// way is how servers are reached. The driver looks for a server until time is
// over, whatever happens; the way remembers why the last connection failed,
// and stops the search where there is nothing else to find.
type way struct {
	secure *tls.Config
	stop   context.CancelCauseFunc // nil to go on

	mu   sync.Mutex
	last *rotator.Failure
}

// DialContext implements options.ContextDialer.
func (w *way) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, w.fail(ctx, rotator.Classify(err))
	}
	if w.secure == nil {
		return &plain{Conn: conn, way: w}, nil
	}
	cfg := w.secure.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil {
		cfg.ServerName = host // a replica set's members have names of their own
	}
	encrypted := tls.Client(conn, cfg)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // it was never used
		return nil, w.fail(ctx, handshake(err))
	}
	return encrypted, nil
}

// fail remembers a failure, unless the connection was given up.
func (w *way) fail(ctx context.Context, f *rotator.Failure) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return f
	}
	w.mu.Lock()
	w.last = f
	w.mu.Unlock()
	if w.stop != nil {
		w.stop(f)
	}
	return f
}

// failure returns why the last connection failed, if one did.
func (w *way) failure() *rotator.Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// handshake classifies a TLS handshake that failed. A server that does not
// encrypt hangs up at its first message.
func handshake(err error) *rotator.Failure {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	if record || hungUp(err) {
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server, or it takes no more connections", err)
	}
	return rotator.Classify(err)
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// plain is a connection without encryption. A server that demands it hangs up
// instead of answering.
type plain struct {
	net.Conn
	way   *way
	heard bool // by the one goroutine that reads
}

// Read implements net.Conn.
func (p *plain) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if err != nil && !p.heard && hungUp(err) {
		return n, p.way.fail(context.Background(), rotator.NewFailure(rotator.CauseTLSRequired, "",
			"the server hung up without an answer, as one does that demands SSL/TLS or takes no more connections", err))
	}
	p.heard = p.heard || n > 0
	return n, err
}

// selection tells an error that only says that no server was found in time.
func selection(err error) bool { return strings.Contains(err.Error(), "server selection") }
