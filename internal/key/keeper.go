package key

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
)

// ErrWrongRootKey is in the chain of the error that a Keeper's Unwrap returns
// for bytes that another root key wrapped. Every other error of Unwrap means
// that the bytes are damaged or the keeper cannot be reached.
var ErrWrongRootKey = errors.New("wrapped by another root key")

// Keeper holds the root key and wraps small secrets with it. Implementations
// are in package keeper; they may be used by several goroutines at once.
type Keeper interface {
	// ID names the root key and says nothing about its bytes: 16 hexadecimal
	// digits, the same after every start with the same key.
	ID() string
	// Wrap seals up to 190 bytes. The result begins as WrappedBy reads it.
	Wrap(ctx context.Context, plain []byte) (wrapped []byte, err error)
	// Unwrap opens what Wrap sealed under the same root key; see
	// ErrWrongRootKey. The caller owns the result and clears it.
	Unwrap(ctx context.Context, wrapped []byte) (plain []byte, err error)
}

// RootIDSize is the length of a root key's ID in wrapped bytes.
const RootIDSize = 8

// WrappedBy returns the ID of the root key that wrapped the bytes; all
// keepers put it behind a first byte that says the format.
func WrappedBy(wrapped []byte) (id string, ok bool) {
	if len(wrapped) < 1+RootIDSize {
		return "", false
	}
	return hex.EncodeToString(wrapped[1 : 1+RootIDSize]), true
}

// keyBytes is the length of every AES-256 key here.
const keyBytes = 32

// NewKey says what NewRecord cannot know.
type NewKey struct {
	Account, Region string
	Description     string
	Manager         Manager
	// Policy is the key policy; "" stands for the default policy, or for an
	// AWS-managed key for ManagedPolicy.
	Policy string
	Tags   []Tag
}

// NewRecord makes an enabled key with fresh material, wrapped by the keeper.
// Errors are internal faults.
func NewRecord(ctx context.Context, k Keeper, n NewKey, now time.Time) (*Record, error) {
	material, err := NewMaterial(ctx, k, now)
	if err != nil {
		return nil, err
	}
	policy := n.Policy
	switch {
	case policy != "":
	case n.Manager == AWS:
		policy = ManagedPolicy(n.Region, n.Account)
	default:
		policy = DefaultPolicy(n.Region, n.Account)
	}
	rec := &Record{
		ID:          uuid.NewString(),
		Account:     n.Account,
		Region:      n.Region,
		Description: n.Description,
		Manager:     n.Manager,
		State:       Enabled,
		Policy:      policy,
		CreatedAt:   now.Truncate(time.Millisecond),
		Tags:        n.Tags,
		Material:    []Material{material},
	}
	if n.Manager == AWS {
		return rec, rec.EnableRotation(now, DefaultRotationDays)
	}
	return rec, nil
}

// NewMaterial makes one generation of a key, to be the last in
// Record.Material. Errors are internal faults.
func NewMaterial(ctx context.Context, k Keeper, now time.Time) (Material, error) {
	var id [sha256.Size]byte
	_, _ = rand.Read(id[:]) // it never fails
	m := Material{ID: hex.EncodeToString(id[:]), CreatedAt: now.Truncate(time.Millisecond)}
	var err error
	m.Wrapped, err = wrapNewKey(ctx, k, materialPurpose(m.ID))
	return m, err
}

func materialPurpose(id string) string { return "material " + id }

// wrapNewKey makes a key and wraps it together with its purpose, so that
// wrapped keys cannot be exchanged for one another in storage.
func wrapNewKey(ctx context.Context, k Keeper, purpose string) ([]byte, error) {
	plain := make([]byte, len(purpose)+1+keyBytes)
	defer clear(plain)
	copy(plain, purpose)
	_, _ = rand.Read(plain[len(purpose)+1:]) // it never fails
	wrapped, err := k.Wrap(ctx, plain)
	return wrapped, fault.Wrap(err, "wrapping a key with the root key")
}

// unwrapKey returns the key in a copy of its own; the caller clears it.
func unwrapKey(ctx context.Context, k Keeper, purpose string, wrapped []byte) ([]byte, error) {
	plain, err := k.Unwrap(ctx, wrapped)
	if err != nil {
		return nil, fault.Wrap(err, "unwrapping a key with the root key")
	}
	defer clear(plain)
	key, ok := bytes.CutPrefix(plain, append([]byte(purpose), 0))
	if !ok || len(key) != keyBytes {
		return nil, fault.Wrap(errors.New("it was wrapped for another purpose"), "unwrapping a key with the root key")
	}
	return bytes.Clone(key), nil
}

// Rewrap opens wrapped bytes and wraps what was in them again, with whatever
// the keeper wraps with now. It returns only what it has seen to open. Errors
// are internal faults.
func Rewrap(ctx context.Context, k Keeper, wrapped []byte) ([]byte, error) {
	plain, err := k.Unwrap(ctx, wrapped)
	if err != nil {
		return nil, fault.Wrap(err, "unwrapping a key with its root key")
	}
	defer clear(plain)
	anew, err := k.Wrap(ctx, plain)
	if err != nil {
		return nil, fault.Wrap(err, "wrapping a key with the new root key")
	}
	again, err := k.Unwrap(ctx, anew)
	defer clear(again)
	if err == nil && !bytes.Equal(again, plain) {
		err = errors.New("the new root key does not give back what it wrapped")
	}
	return anew, fault.Wrap(err, "checking a key that was wrapped anew")
}
