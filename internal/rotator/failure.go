package rotator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Cause classifies why a server could not be used. It is a word of the log
// lines, which the doctor and operators search for.
type Cause string

// The causes.
const (
	CauseDNS            Cause = "DNS"                  // the host's name has no address
	CauseTCP            Cause = "TCP"                  // no connection to the address
	CauseTimeout        Cause = "timeout"              // no answer in time
	CauseTLS            Cause = "TLS"                  // no encrypted connection, or its certificate is not trusted
	CauseTLSRequired    Cause = "TLS required"         // the server takes no plain connection
	CauseAccess         Cause = "access rules"         // the server lets nobody in from here, by this name, this way
	CauseAuthentication Cause = "authentication"       // name or password refused
	CauseDatabase       Cause = "database missing"     // the database does not exist or may not be used
	CauseConnections    Cause = "too many connections" // the server or the user has no connection left
	CauseLocked         Cause = "account locked"       // the account is locked, expired or disabled
	CausePolicy         Cause = "password policy"      // the server refuses the new password
	CauseReadOnly       Cause = "read-only"            // a replica, or a server that takes no writes now
	CausePermission     Cause = "permission"           // logged in, but not allowed
	CauseMissingUser    Cause = "user missing"         // the user does not exist
	CauseUnavailable    Cause = "server not ready"     // starting, stopping or broken off
	CauseHostKey        Cause = "host key"             // the host shows another key than the one that is known
	CauseOther          Cause = "other"
)

// Failure is what a server did not do, and why. Text is the server's or the
// network's own word, without any statement or password.
type Failure struct {
	Cause Cause
	Text  string
	// Code is the server's own error code, such as an SQLSTATE; "" for none.
	Code string
	err  error
}

// NewFailure makes a classified failure out of a driver's error.
func NewFailure(cause Cause, code, text string, err error) *Failure {
	return &Failure{Cause: cause, Code: code, Text: text, err: err}
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Code != "" {
		return string(f.Cause) + ": " + f.Text + " (" + f.Code + ")"
	}
	return string(f.Cause) + ": " + f.Text
}

// Unwrap returns the driver's error.
func (f *Failure) Unwrap() error { return f.err }

// ParseFailure reads a line as Error writes it, a cause and a text. A line
// that does not begin with a cause is a failure of CauseOther.
func ParseFailure(line string) *Failure {
	if cause, text, ok := strings.Cut(line, ": "); ok && slices.Contains(causes(), Cause(cause)) {
		return NewFailure(Cause(cause), "", strings.TrimSpace(text), nil)
	}
	return NewFailure(CauseOther, "", line, nil)
}

func causes() []Cause {
	return []Cause{
		CauseDNS, CauseTCP, CauseTimeout, CauseTLS, CauseTLSRequired, CauseAccess, CauseAuthentication, CauseDatabase, CauseConnections, CauseLocked,
		CausePolicy, CauseReadOnly, CausePermission, CauseMissingUser, CauseUnavailable, CauseHostKey, CauseOther,
	}
}

// Classify sorts the errors that every engine shares: name resolution,
// connections, time, TLS. Any other error is of CauseOther, and its text is
// kept: an engine must have put errors that could hold a statement aside
// before.
func Classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return NewFailure(causeOf(err), "", textOf(err), err)
}

func causeOf(err error) Cause {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return CauseDNS
	}
	switch {
	case isTLS(err):
		return CauseTLS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return CauseTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed):
		return CauseUnavailable
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return CauseTCP
	}
	return CauseOther
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}

// textOf shortens what Go says to the innermost cause that says enough.
func textOf(err error) string {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// ofEncryption tells that a plain connection might do better.
func (f *Failure) ofEncryption() bool { return f.Cause == CauseTLS || f.Cause == CauseAccess }
