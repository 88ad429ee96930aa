package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// door is a listener and what answers on it.
type door struct {
	listener net.Listener
	http     *http.Server
}

// Bounds on what a client may make the server wait for.
const (
	headerTimeout = 10 * time.Second
	bodyGrace     = 15 * time.Second
	bodyRate      = 32 << 10         // bytes per second
	answerTimeout = 20 * time.Minute // an invocation may take 15 of them
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// answer makes the door answer with the handler once it serves.
func (d *door) answer(h http.Handler, logger *slog.Logger) {
	d.http = &http.Server{
		Handler: welcome(h, pace{bodyGrace, bodyRate}), ConnContext: know,
		ReadHeaderTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// serve answers until the door is shut.
func (d *door) serve(context.Context) error {
	if err := d.http.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving requests: %w", err)
	}
	return nil
}

// shut lets nobody in any more and waits until the requests inside have
// ended; those that take longer than the grace are cut off.
func (d *door) shut(grace time.Duration, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := d.http.Shutdown(ctx); err != nil {
		logger.Warn("requests were cut off at the end of the grace", "error", err)
		return d.http.Close()
	}
	return nil
}

// close gives the listener back; a door that was shut has none any more.
func (d *door) close() error {
	if d.listener == nil {
		return nil
	}
	if err := d.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// openDoors opens one door for clients and one, plain on loopback, for
// functions. Functions have one of their own because they still need it after
// the other is shut: a request that is drained may be an invocation.
func (s *Server) openDoors() (err error) {
	if s.outer.listener, err = s.cfg.listen(s.cfg.Listen, s.crowd); err != nil {
		return err
	}
	if s.inner.listener, err = listenForFunctions(s.crowd); err != nil {
		return err
	}
	if err := s.openSides(); err != nil {
		return err
	}
	return s.openEndpoints()
}

// listen opens a listener for clients, with TLS if that is configured.
func (c *Config) listen(address string, guests *crowd) (net.Listener, error) {
	var settings *tls.Config
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %w", err)
		}
		settings = &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	l = guests.at(l)
	if settings != nil {
		l = tls.NewListener(l, settings)
	}
	return l, nil
}

// listenForFunctions opens a plain listener on loopback.
func listenForFunctions(guests *crowd) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for functions: %w", err)
	}
	return guests.at(l), nil
}

// URL is where clients reach the server.
func (s *Server) URL() string { return s.cfg.scheme() + s.outer.address() }

func (c *Config) scheme() string {
	if c.TLSCert != "" {
		return "https://"
	}
	return "http://"
}

// address is where to reach the door from this machine.
func (d *door) address() string {
	addr := *d.listener.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	return addr.String()
}
