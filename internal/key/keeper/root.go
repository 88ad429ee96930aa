// Package keeper implements key.Keeper: holders of the root key.
//
// File and Environment hold 32 random bytes. From them come, by HKDF with
// SHA-256, the root key's ID and the AES-256-GCM key that wraps. The ID tells a
// wrong root key from damaged data; it is in every wrapped blob:
//
//	1 byte    format, 1
//	8 bytes   root key ID
//	12 bytes  nonce, then the ciphertext and its 16-byte tag
//
// Additional data: everything before the nonce.
//
// Remote leaves the root key in a service. Its ID is derived from the key's
// name there; a wrapped blob is format 2, the ID, and the service's ciphertext.
//
// Set holds several keepers, of which one wraps.
package keeper

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keyturn/keyturn/internal/key"
)

const (
	keyBytes     = 32
	idBytes      = key.RootIDSize
	format       = 1
	formatRemote = 2
	header       = 1 + idBytes
	nonceSize    = 12
	tagSize      = 16
)

// root wraps with a root key held in memory.
type root struct {
	id   []byte
	aead cipher.AEAD
}

// newRoot derives from the 32 bytes in raw, which the caller clears.
func newRoot(raw []byte) (root, error) {
	if len(raw) != keyBytes {
		return root{}, fmt.Errorf("the root key has %d bytes, want %d", len(raw), keyBytes)
	}
	id, err := rootID(raw)
	if err != nil {
		return root{}, err
	}
	wrapping, err := hkdf.Expand(sha256.New, raw, "keyturn root key wrapping", keyBytes)
	if err != nil {
		return root{}, fmt.Errorf("deriving the wrapping key: %w", err)
	}
	defer clear(wrapping)
	block, err := aes.NewCipher(wrapping)
	if err != nil {
		return root{}, fmt.Errorf("preparing the root key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return root{}, fmt.Errorf("preparing the root key: %w", err)
	}
	return root{id, aead}, nil
}

func rootID(raw []byte) ([]byte, error) {
	id, err := hkdf.Expand(sha256.New, raw, "keyturn root key id", idBytes)
	if err != nil {
		return nil, fmt.Errorf("deriving the root key's ID: %w", err)
	}
	return id, nil
}

// ID implements key.Keeper: 16 hexadecimal digits.
func (r root) ID() string { return hex.EncodeToString(r.id) }

// Wrap implements key.Keeper. It never fails.
func (r root) Wrap(_ context.Context, plain []byte) ([]byte, error) {
	b := make([]byte, 0, header+nonceSize+len(plain)+tagSize)
	b = append(append(b, format), r.id...)
	return r.aead.Seal(b, nil, plain, b), nil
}

// Unwrap implements key.Keeper.
func (r root) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	if len(wrapped) < header+nonceSize+tagSize || wrapped[0] != format {
		return nil, errors.New("a wrapped key is not in a format of this server")
	}
	if id := wrapped[1:header]; !bytes.Equal(id, r.id) {
		return nil, fmt.Errorf("%w: root key %x, but the one in use is %x", key.ErrWrongRootKey, id, r.id)
	}
	plain, err := r.aead.Open(nil, nil, wrapped[header:], wrapped[:header])
	if err != nil {
		return nil, errors.New("a wrapped key is damaged")
	}
	return plain, nil
}
