package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	// commandLimit is the most that one command may take where nothing else
	// limits it.
	commandLimit = 5 * time.Second
	// silence is how long a TLS handshake may stay without an answer before
	// the server is asked whether it speaks TLS at all: a plain Redis takes
	// a handshake for the beginning of a command and waits for more.
	silence = 500 * time.Millisecond
)

// conn is a connection that sends commands and reads replies that are one
// line, which are all that a rotation needs.
type conn struct {
	net.Conn
	replies *bufio.Reader
}

// replyError is the server's error reply, without the sign before it.
type replyError string

// Error implements error.
func (e replyError) Error() string { return string(e) }

var (
	errPlain     = errors.New("SSL/TLS is not enabled on the server: its port answers in plain")
	errTLS       = errors.New("the server's port takes only SSL/TLS connections")
	errHandshake = errors.New("the server broke the connection off during the SSL/TLS handshake, as Redis does when maxclients is reached")
)

// dial connects, encrypted if secure is given.
func dial(ctx context.Context, address string, secure *tls.Config) (*conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if secure == nil {
		return &conn{raw, bufio.NewReader(raw)}, nil
	}
	secure = secure.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil {
		secure.ServerName = host
	}
	encrypted := tls.Client(raw, secure)
	if err := handshake(ctx, encrypted, address); err != nil {
		raw.Close()
		return nil, err
	}
	return &conn{encrypted, bufio.NewReader(encrypted)}, nil
}

// handshake ends early where the server turns out to speak no TLS.
func handshake(ctx context.Context, c *tls.Conn, address string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	asked := make(chan struct{})
	ask := time.AfterFunc(silence, func() {
		defer close(asked)
		if answersPlain(ctx, address) {
			cancel(errPlain)
		}
	})
	err := c.HandshakeContext(ctx)
	if !ask.Stop() && err != nil {
		<-asked // it ends with the context at the latest
	}
	switch {
	case err != nil && context.Cause(ctx) == errPlain:
		return errPlain
	case brokenOff(err):
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	return err
}

// answersPlain tells whether the server answers a plain command, be it by a
// refusal.
func answersPlain(ctx context.Context, address string) bool {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer raw.Close()
	c := &conn{raw, bufio.NewReader(raw)}
	err = c.do(ctx, "PING")
	_, refused := errors.AsType[replyError](err)
	return err == nil || refused
}

// do sends a command and waits for its reply; an error reply is a replyError.
func (c *conn) do(ctx context.Context, args ...string) error {
	deadline, ok := ctx.Deadline()
	if limit := time.Now().Add(commandLimit); !ok || deadline.After(limit) {
		deadline = limit
	}
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		b.WriteString("$" + strconv.Itoa(len(arg)) + "\r\n" + arg + "\r\n")
	}
	// A server that refuses the connection has closed it by now: what it
	// said counts more than that it could not be written to.
	_, sent := c.Write([]byte(b.String()))
	err := c.reply()
	if _, answered := errors.AsType[replyError](err); sent != nil && !answered {
		return sent
	}
	return err
}

// maxLine is more than any reply of one line, in bytes.
const maxLine = 64 << 10

func (c *conn) reply() error {
	kind, err := c.replies.ReadByte()
	if err != nil {
		return err
	}
	switch kind {
	case '+', '-', ':':
	case 0x15: // a TLS alert
		return errTLS
	default:
		return fmt.Errorf("the server does not speak Redis's protocol: its reply begins with byte %#x", kind)
	}
	var line []byte
	for len(line) < maxLine {
		b, err := c.replies.ReadByte()
		if err != nil {
			return err
		}
		if b != '\n' {
			line = append(line, b)
			continue
		}
		if kind == '-' {
			return replyError(strings.TrimSuffix(string(line), "\r"))
		}
		return nil
	}
	return errors.New("the server's reply has no end")
}

// close ends the connection; the server needs no word for it.
func (c *conn) close() { _ = c.Conn.Close() }
