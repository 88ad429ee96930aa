package key

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"

	"github.com/keyturn/keyturn/internal/fault"
)

// Sealer seals small records of the server itself, such as session tokens,
// under a key that the root key wraps. Anything sealed for one purpose does not
// open for another. A Sealer may be used by several goroutines at once, for up
// to 2^32 seals over its key's life.
//
// A sealed record is one byte sealerFormat, a 12-byte nonce, then the
// AES-256-GCM ciphertext and its tag; additional data: the format, the purpose.
type Sealer struct {
	aead cipher.AEAD
	// derive makes further keys by HKDF.
	derive []byte
}

const sealerFormat = 3

const sealerPurpose = "sealer"

// NewSealerKey makes the key of a Sealer, wrapped by the keeper, for storage.
// All nodes of a deployment share one. Errors are internal faults.
func NewSealerKey(ctx context.Context, k Keeper) (wrapped []byte, err error) {
	return wrapNewKey(ctx, k, sealerPurpose)
}

// NewSealer opens a key made by NewSealerKey. Errors are internal faults.
func NewSealer(ctx context.Context, k Keeper, wrapped []byte) (*Sealer, error) {
	raw, err := unwrapKey(ctx, k, sealerPurpose, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	aead, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	derive, err := hkdf.Expand(sha256.New, raw, "keyturn sealer keys", keyBytes)
	if err != nil {
		return nil, fault.Wrap(err, "deriving a key")
	}
	return &Sealer{aead, derive}, nil
}

// Key returns 32 bytes for a purpose, the same on all nodes and whatever root
// key wraps the Sealer's own. Nobody can tell them without the root key. The
// caller owns the result.
func (s *Sealer) Key(purpose string) ([]byte, error) {
	k, err := hkdf.Expand(sha256.New, s.derive, purpose, keyBytes)
	return k, fault.Wrap(err, "deriving a key")
}

// Seal seals the payload for the purpose, adding 29 bytes.
func (s *Sealer) Seal(purpose string, payload []byte) []byte {
	b := make([]byte, 1, 1+gcmOverhead+len(payload))
	b[0] = sealerFormat
	return s.aead.Seal(b, nil, payload, sealerContext(purpose))
}

// Open opens what Seal sealed for the same purpose. The caller owns the
// result. The error is fault.Decryption without a text.
func (s *Sealer) Open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+gcmOverhead || sealed[0] != sealerFormat {
		return nil, errOpen(errFormat)
	}
	payload, err := s.aead.Open(nil, nil, sealed[1:], sealerContext(purpose))
	if err != nil {
		return nil, errOpen(errors.New("the record is damaged or was sealed for another purpose"))
	}
	return payload, nil
}

func sealerContext(purpose string) []byte {
	return append([]byte{sealerFormat}, purpose...)
}
