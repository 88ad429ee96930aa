package wire

import (
	"sync/atomic"

	"github.com/keyturn/keyturn/internal/fault"
)

// TooSlow is the kind of a request whose body did not arrive in time.
const TooSlow fault.Kind = "slow body"

// maxBodies bounds the memory for large bodies that are being taken in, in
// bytes, whoever sends them: a signature is known only after its body (ours).
// Three of the largest uploads of code fit.
const maxBodies = 256 << 20

// bodies counts the bytes that are reserved for large bodies.
type bodies struct{ reserved atomic.Int64 }

// take reserves memory and reports whether there was enough.
func (b *bodies) take(bytes int64) bool {
	if b.reserved.Add(bytes) <= maxBodies {
		return true
	}
	b.reserved.Add(-bytes)
	return false
}

func (b *bodies) giveBack(bytes int64) {
	if bytes > 0 {
		b.reserved.Add(-bytes)
	}
}

// growBody makes room for more of the body: twice as much, and one byte more
// than the limit at most.
func (x *exchange) growBody(limit int64) error {
	old := x.body.b
	size := min(2*int64(cap(old)), limit+1)
	if more := size - x.reserved; size > maxKept {
		if !x.bodies.take(more) {
			return fault.New(fault.Throttled, "")
		}
		x.reserved += more
	}
	x.body.b = append(make([]byte, 0, size), old...)
	clear(old)
	return nil
}
