package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Key is a signing key: derived from a secret access key for one day, region
// and service. It prints as redacted.
type Key [sha256.Size]byte

// DeriveKey derives the key of a scope; the scope's AccessKeyID plays no part.
func DeriveKey(secret string, s Scope) Key {
	seed := append([]byte("AWS4"), secret...)
	k := mac(seed, []byte(s.Date))
	clear(seed)
	for _, part := range [...]string{s.Region, s.Service, terminator} {
		k = k.mac([]byte(part))
	}
	return k
}

func (k Key) mac(message []byte) Key { return mac(k[:], message) }

func mac(key, message []byte) (sum Key) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}

// Format prints "[redacted]" for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText keeps keys out of JSON and structured logs.
func (k Key) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// KeyCache remembers the signing keys with which requests were verified, at
// most as many as its size. A key goes in only after it has verified a
// request, so strangers cannot fill the cache. Safe for concurrent use.
type KeyCache struct {
	mu sync.Mutex
	// What is used moves to young; when young is full it becomes old, and
	// the old old is dropped.
	young, old map[Scope]Key
	half       int
	epoch      uint64 // counts Forgets
}

// NewKeyCache returns a cache of at most size keys (2 at least). A key and
// its scope take some 200 bytes.
func NewKeyCache(size int) *KeyCache {
	return &KeyCache{young: map[Scope]Key{}, old: map[Scope]Key{}, half: max(size/2, 1)}
}

// Verify is Request.Verify with a key from the cache; secret is asked for the
// secret access key only when the cache has none, after Check, and its error
// is returned as it is. Whether the access key is still active is for the
// caller to know on every request: the cache only saves opening the secret
// and deriving the key.
func (c *KeyCache) Verify(q *Request, body []byte, now time.Time, want Expected, secret func() (string, error)) error {
	if err := q.Check(now, want); err != nil {
		return err
	}
	return c.Match(q, body, secret)
}

// Match is the part of Verify that comes after Check, for callers who made
// Check themselves. A request that has not passed it is refused.
func (c *KeyCache) Match(q *Request, body []byte, secret func() (string, error)) error {
	if !q.checked {
		return because("the request was not checked")
	}
	key, epoch, ok := c.find(q.Scope)
	if ok {
		return q.match(body, key)
	}
	s, err := secret()
	if err != nil {
		return err
	}
	key = DeriveKey(s, q.Scope)
	if err := q.match(body, key); err != nil {
		return err
	}
	c.add(q.Scope, key, epoch)
	return nil
}

// Forget drops every key of an access key, and any that is being derived
// right now. Call it when the access key's secret is replaced or deleted.
func (c *KeyCache) Forget(accessKeyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for _, m := range [...]map[Scope]Key{c.young, c.old} {
		for s := range m {
			if s.AccessKeyID == accessKeyID {
				delete(m, s)
			}
		}
	}
}

// Len returns how many keys the cache holds.
func (c *KeyCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}

func (c *KeyCache) find(s Scope) (k Key, epoch uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok = c.young[s]; ok {
		return k, c.epoch, true
	}
	if k, ok = c.old[s]; ok {
		delete(c.old, s)
		c.put(clone(s), k)
	}
	return k, c.epoch, ok
}

// add keeps a key unless a Forget came after it was looked for: it may have
// been derived from a secret that is no longer.
func (c *KeyCache) add(s Scope, k Key, epoch uint64) {
	s = clone(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		c.put(s, k)
	}
}

func (c *KeyCache) put(s Scope, k Key) {
	if len(c.young) >= c.half {
		c.young, c.old = map[Scope]Key{}, c.young
	}
	delete(c.old, s)
	c.young[s] = k
}

// clone frees a scope from the request's header, of which its strings are
// parts.
func clone(s Scope) Scope {
	return Scope{strings.Clone(s.AccessKeyID), strings.Clone(s.Date), strings.Clone(s.Region), strings.Clone(s.Service)}
}
