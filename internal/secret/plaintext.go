package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const redacted = "REDACTED"

// Plaintext is an opened secret value. It prints, logs and marshals as
// "REDACTED" in every form; Reveal is the one way to the bytes.
type Plaintext struct{ b []byte }

// NewPlaintext takes ownership of b.
func NewPlaintext(b []byte) Plaintext { return Plaintext{b} }

// Reveal returns the bytes themselves, for handing to the client who may
// read them or to a cipher. The caller must not keep or change them.
func (p Plaintext) Reveal() []byte { return p.b }

// Len returns the length in bytes.
func (p Plaintext) Len() int { return len(p.b) }

// Equal compares in time that depends on the lengths alone.
func (p Plaintext) Equal(q Plaintext) bool { return subtle.ConstantTimeCompare(p.b, q.b) == 1 }

// String implements fmt.Stringer by redacting.
func (Plaintext) String() string { return redacted }

// GoString implements fmt.GoStringer by redacting.
func (Plaintext) GoString() string { return redacted }

// Format implements fmt.Formatter by redacting under every verb.
func (Plaintext) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer by redacting.
func (Plaintext) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler by redacting, which covers
// JSON and XML too.
func (Plaintext) MarshalText() ([]byte, error) { return []byte(redacted), nil }
