// Package plaintext keeps opened secret values from being shown by accident.
package plaintext

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const redacted = "REDACTED"

// Value is an opened secret value: a whole secret, or a password out of one.
// It prints, logs and marshals as "REDACTED" in every form; Reveal and
// RevealText are the only ways to what it holds.
type Value struct{ b []byte }

// New takes ownership of b.
func New(b []byte) Value { return Value{b} }

// Of holds a text.
func Of(s string) Value { return Value{[]byte(s)} }

// Reveal returns the bytes themselves, for handing to the client who may
// read them or to a cipher. The caller must not keep or change them.
func (p Value) Reveal() []byte { return p.b }

// RevealText returns the value as a text, for handing to what is logged in to.
func (p Value) RevealText() string { return string(p.b) }

// Len returns the length in bytes.
func (p Value) Len() int { return len(p.b) }

// Equal compares in time that depends on the lengths alone.
func (p Value) Equal(q Value) bool { return subtle.ConstantTimeCompare(p.b, q.b) == 1 }

// String implements fmt.Stringer by redacting.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer by redacting.
func (Value) GoString() string { return redacted }

// Format implements fmt.Formatter by redacting under every verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer by redacting.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler by redacting, which covers
// JSON and XML too.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
