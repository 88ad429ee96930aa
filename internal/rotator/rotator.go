// Package rotator is the contract of a rotation function in Go: the four
// steps once, for every kind of secret.
//
// Secrets Manager invokes a rotation function with an Event per step. A
// Handler does what all rotation functions do alike: it checks that the
// version may be rotated, stores the pending value, moves the label. What
// differs is a Rotator. For whatever is logged in to by name and password
// that is a Strategy (SingleUser, Superuser, AlternatingUsers) over an
// Engine, which knows one kind of server; the engines live in packages below
// this one, and package builtin lists them all by the names that functions
// are given as handlers.
//
// The secrets, environment variables, guards, order of attempts and log lines
// are those of AWS's rotation function templates (AWS docs, and their
// published sources); docs/rotators.md lists where this is better. Every step
// may be repeated, and a step that has had its effect has no second one.
package rotator

import (
	"context"
	"fmt"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Event is what Secrets Manager sends to a rotation function for one step.
type Event struct {
	// Step is createSecret, setSecret, testSecret or finishSecret.
	Step string `json:"Step"`
	// SecretID is the secret's ARN.
	SecretID string `json:"SecretId"`
	// Token is the id of the version that is being made.
	Token string `json:"ClientRequestToken"`
	// RotationToken proves to Secrets Manager that a value is put for this
	// rotation; "" where AWS does not send one.
	RotationToken string `json:"RotationToken"`
}

// Rotator knows one kind of secret. Its methods are the steps without what is
// common to all; each may be called again after it succeeded or was killed in
// the middle, and then has to end in the same state.
type Rotator interface {
	// Create returns the pending value, made from the current one. It is
	// called only while the version has no value.
	Create(ctx context.Context, r *Rotation) (plaintext.Value, error)
	// Set makes the target accept the pending value.
	Set(ctx context.Context, r *Rotation) error
	// Test proves that the target accepts the pending value.
	Test(ctx context.Context, r *Rotation) error
}

// Finisher is a Rotator with something left to do once the pending version is
// the current one. Finish is called after the label has moved, and again if
// finishSecret is repeated after that; AWS's templates lose the second chance.
type Finisher interface {
	Finish(ctx context.Context, r *Rotation) error
}

// Error is a failure that the function's answer carries. Type is the
// errorType of AWS's templates, which are Python: ValueError or KeyError.
type Error struct {
	Type, Text string
	// Cause classifies failures of the target; "" for others.
	Cause Cause
	err   error
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what the error was made from.
func (e *Error) Unwrap() error { return e.err }

// Invalid is an Error of the type ValueError.
func Invalid(format string, args ...any) *Error {
	return &Error{Type: "ValueError", Text: fmt.Sprintf(format, args...)}
}

// MissingKey is an Error of the type KeyError for a key that the secret's
// JSON needs.
func MissingKey(key string) *Error {
	return &Error{Type: "KeyError", Text: key + " key is missing from secret JSON"}
}

// Because adds to the text what caused the failure, and keeps its Cause.
func (e *Error) Because(f *Failure) *Error {
	return &Error{Type: e.Type, Text: e.Text + ": " + f.Error(), Cause: f.Cause, err: f}
}
