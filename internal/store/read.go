package store

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
)

// DefaultCache is how much memory a store's own cache may take, in bytes,
// unless its backend's configuration says otherwise.
const DefaultCache = 64 << 20

// memory is what a store keeps of what Read read: records as they are
// stored, sealed values included, and never anything opened.
type memory struct {
	secrets *Cache[versionPlace, heldSecret]
	keys    *Cache[keyPlace, *key.Record]
	aliases *Cache[keyPlace, *key.Alias]
	grants  *Cache[grantPlace, []*key.Grant]
}

// versionPlace is how a version was asked for.
type versionPlace struct {
	account, region, name string
	// selector is an ID if byID is set, and a label otherwise.
	selector string
	byID     bool
}

// heldSecret is a secret with its labelled versions and the one that its
// place selects, whose sealed value it has. versions tells how many there
// are.
type heldSecret struct {
	*secret.Secret
	versions int64
}

// savedSecret is a secret as an update left it.
type savedSecret struct {
	place versionPlace
	heldSecret
	topic string
}

// keyPlace is how a key was asked for, or an alias, by its name.
type keyPlace struct{ account, region, id string }

// grantPlace is how grants on a key were asked for.
type grantPlace struct {
	keyPlace
	grantee, after string
	limit          int
}

func newMemory(s *Store, bytes int64) memory {
	few := bytes / 16 // for each of keys, aliases, grants
	return memory{NewCache(s, bytes-3*few, secretSize), NewCache(s, few, keySize), NewCache(s, few, aliasSize), NewCache(s, few, grantsSize)}
}

// Sizes of structures without the text in them, in bytes.
const (
	secretBase  = 640
	versionBase = 256
	keyBase     = 384
	smallBase   = 64 // of a tag, a label, a key's material
)

func secretSize(p versionPlace, s heldSecret) int64 {
	n := secretBase + len(p.name) + len(p.selector)
	n += len(s.Name) + len(s.Description) + len(s.KMSKeyID) + len(s.Policy) + len(s.Rotation.FunctionARN)
	for i := range s.Versions {
		v := &s.Versions[i]
		n += versionBase + len(v.KeyARN) + len(v.WrittenBy) + len(v.Sealed) + smallBase*len(v.Labels)
	}
	for _, t := range s.Tags {
		n += smallBase + len(t.Key) + len(t.Value)
	}
	for _, r := range s.Replicas {
		n += versionBase + len(r.KMSKeyID) + len(r.Message)
	}
	return int64(n)
}

func keySize(_ keyPlace, k *key.Record) int64 {
	n := keyBase + len(k.Description) + len(k.Policy)
	for _, m := range k.Material {
		n += 2*smallBase + len(m.Wrapped)
	}
	for _, t := range k.Tags {
		n += smallBase + len(t.Key) + len(t.Value)
	}
	return int64(n)
}

func aliasSize(p keyPlace, a *key.Alias) int64 {
	return int64(keyBase + len(p.id) + len(a.Name) + len(a.KeyID))
}

func grantsSize(p grantPlace, list []*key.Grant) int64 {
	n := smallBase + len(p.grantee) + len(p.after)
	for _, g := range list {
		n += keyBase + len(g.Name) + len(g.Grantee) + len(g.Retiring) + len(g.Issuer) + smallBase*len(g.Operations)
		for _, ec := range []key.EncryptionContext{g.Equals, g.Subset} {
			for k, v := range ec {
				n += smallBase + len(k) + len(v)
			}
		}
	}
	return int64(n)
}

// errMissed tells that a read is not to be had from memory.
var errMissed = errors.New("not in memory")

// maxRecalls bounds how often Read begins again because something changed
// meanwhile, before it asks the database.
const maxRecalls = 3

// Read is View for what is read over and over: ReadVersion, FindLabelled, Key,
// Alias and Grants. When
// memory has all that fn reads, no statement runs and no lock is taken. What
// fn gets is of one moment, not before Read was called, as far as this
// process makes the changes; what others change is seen record by record,
// within the bound of Current. The records are shared: fn must not change
// them.
func (s *Store) Read(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	for range maxRecalls {
		if s.shut.Load() {
			return fault.New(fault.Unavailable, "").Because(ErrClosed)
		}
		m := s.Mark()
		tx := Tx{ctx: ctx, readOnly: true, recalling: true, memory: &s.memory}
		err := run(&tx, fn)
		if tx.failed != nil {
			break
		}
		if s.Mark() == m {
			s.counters.hits.Add(1)
			return s.explain(ctx, err)
		}
	}
	s.counters.misses.Add(1)
	return s.view(ctx, Tx{memory: &s.memory}, fn)
}

// recall returns what memory has of the key, if that may stand for a read of
// the transaction. In a Read, what it lacks ends the attempt to do without the
// database. An update that runs alone may trust memory, which has nothing of
// what another one changed before that is stored and told, until it changes
// something itself.
func recall[K comparable, V any](tx *Tx, c func(*memory) *Cache[K, V], key K) (value V, ok bool, err error) {
	if err := tx.over(); err != nil || tx.memory == nil {
		return value, false, err
	}
	switch {
	case tx.recalling:
		if value, ok = c(tx.memory).Get(key); !ok {
			tx.failed = errMissed
		}
	case !tx.readOnly && tx.topics == nil:
		value, ok = c(tx.memory).Get(key)
	}
	return value, ok, tx.failed
}

// keep puts what the snapshot of a Read showed into memory.
func keep[K comparable, V any](tx *Tx, c func(*memory) *Cache[K, V], key K, value V, topic string) {
	if tx.memory != nil && tx.readOnly {
		c(tx.memory).Put(tx.mark, key, value, topic)
	}
}

func heldSecrets(m *memory) *Cache[versionPlace, heldSecret] { return m.secrets }
func heldKeys(m *memory) *Cache[keyPlace, *key.Record]       { return m.keys }
func heldAliases(m *memory) *Cache[keyPlace, *key.Alias]     { return m.aliases }
func heldGrants(m *memory) *Cache[grantPlace, []*key.Grant]  { return m.grants }
