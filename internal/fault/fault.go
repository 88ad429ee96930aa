// Package fault says what went wrong, for whom and caused by what.
//
// Every error that may reach a client is an *Error: a Kind that one table per
// service turns into an AWS error code at the edge, a Message in AWS's words
// that the client reads, and a Cause that only the server's log shows. Any
// other error becomes an internal error there, with its text kept from the
// client. An Error never carries a secret value, in Message or in Cause.
package fault

import (
	"errors"
	"fmt"
)

// Kind classifies an Error. A service maps the kinds that its operations
// return to AWS codes; it may declare further kinds of its own.
type Kind string

// The kinds that more than one package returns.
const (
	Internal     Kind = "internal"                // a fault of the server; the text is only logged
	NotFound     Kind = "not found"               // the resource does not exist
	Exists       Kind = "already exists"          // the resource exists, or the token is in use
	Parameter    Kind = "invalid parameter"       // a parameter's value is wrong
	State        Kind = "invalid request"         // the resource's state does not admit the call
	Validation   Kind = "constraint violation"    // the request breaks the service model's constraints
	Denied       Kind = "access denied"           // the caller is not authorised
	Limit        Kind = "limit exceeded"          // a quota would be passed
	Conflict     Kind = "conflict"                // another change is in progress, or a name is taken
	Precondition Kind = "precondition failed"     // a revision or prerequisite does not hold
	Policy       Kind = "malformed policy"        // a policy document is not well formed
	PublicPolicy Kind = "public policy"           // a policy grants broad access and that was forbidden
	PageToken    Kind = "invalid page token"      // a NextToken or Marker is not ours
	Decryption   Kind = "decryption failure"      // the key cannot open the value
	Encryption   Kind = "encryption failure"      // the key cannot seal the value
	Throttled    Kind = "throttled"               // too many requests or invocations
	TooLarge     Kind = "too large"               // the body or package is over its limit
	Unavailable  Kind = "temporarily unreachable" // storage or a peer does not answer; try again
)

// Error is one failure. The zero Kind means Internal.
type Error struct {
	// Kind selects the AWS code.
	Kind Kind
	// Message is the text that the client gets, in AWS's words. Empty for
	// internal errors.
	Message string
	// Subject is the secret, function or other resource concerned: a name or
	// an ARN. Logged, never sent.
	Subject string
	// Reason is a machine-readable detail that some AWS errors carry beside
	// the message, such as the Reason of a Lambda throttle.
	Reason string
	// Cause is the underlying error. Logged, never sent.
	Cause error
}

// New returns an Error whose Message is the formatted text.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an internal Error with a cause; doing is a verb phrase such as
// "reading the secret". It returns nil for a nil cause, and passes an *Error
// through unchanged, so the innermost classification wins.
func Wrap(cause error, doing string) error {
	if cause == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](cause); ok {
		return cause
	}
	return &Error{Kind: Internal, Cause: fmt.Errorf("%s: %w", doing, cause)}
}

// For returns a copy of e that names the resource concerned.
func (e *Error) For(subject string) *Error {
	c := *e
	c.Subject = subject
	return &c
}

// Because returns a copy of e with a cause, for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// Error prints everything, for logs; clients get Message alone.
func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Kind == "" {
		s = string(Internal)
	}
	if e.Subject != "" {
		s += " (" + e.Subject + ")"
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of err's Error; Internal for any other error, and
// "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != "" {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is an Error of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
