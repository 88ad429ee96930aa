package key

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/keyturn/keyturn/internal/fault"
)

// DefaultRingSize is how many generations of key material a Ring keeps ready
// unless told otherwise.
const DefaultRingSize = 1024

// Ring seals and opens with KMS keys. It keeps the material of the keys used
// last ready in memory: expanded for AES, never as the bytes themselves, which
// are cleared as soon as the cipher is made. What falls out of the ring is
// left to the garbage collector. A Ring may be used by several goroutines at
// once.
//
// Every operation refuses a key that is not enabled; policies and grants are
// for the caller to check.
type Ring struct {
	keeper Keeper
	size   int
	// loading is held while material is unwrapped, so that many requests for
	// the same key make the keeper work once.
	loading chan struct{}
	uses    atomic.Int64
	mu      sync.RWMutex
	slots   map[materialID]*slot
}

type slot struct {
	keyID string
	aead  cipher.AEAD
	used  atomic.Int64 // the ring's uses at the last one
}

// NewRing returns an empty ring for up to size generations of key material;
// size below 1 means DefaultRingSize.
func NewRing(k Keeper, size int) *Ring {
	if size < 1 {
		size = DefaultRingSize
	}
	return &Ring{keeper: k, size: size, loading: make(chan struct{}, 1), slots: make(map[materialID]*slot)}
}

// Encrypt seals plain under the key's newest material and returns a
// ciphertext blob. Errors: KeyDisabled, KeyState, or an internal fault.
func (r *Ring) Encrypt(ctx context.Context, rec *Record, ec EncryptionContext, plain []byte) ([]byte, error) {
	ciphertext, _, err := r.encrypt(ctx, rec, ec, plain)
	return ciphertext, err
}

// encrypt also returns the value's additional data, for Seal.
func (r *Ring) encrypt(ctx context.Context, rec *Record, ec EncryptionContext, plain []byte) (ciphertext, forValue []byte, err error) {
	id, err := newestMaterial(rec)
	if err != nil {
		return nil, nil, err
	}
	aead, err := r.material(ctx, rec, id)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, 0, 2+len(rec.ID)+materialSize+gcmOverhead+len(plain))
	b = append(b, blobFormat, byte(len(rec.ID)))
	b = append(b, rec.ID...)
	b = append(b, id[:]...)
	additional := bind(b, ec)
	ciphertext = aead.Seal(b, nil, plain, additional)
	return ciphertext, rebind(additional, len(b)), nil
}

// Decrypt opens a ciphertext blob of the key. The caller owns the result.
// Errors: fault.Decryption without a text for a blob of another key, a wrong
// encryption context or a change to the blob; KeyDisabled, KeyState, or an
// internal fault.
func (r *Ring) Decrypt(ctx context.Context, rec *Record, ec EncryptionContext, ciphertext []byte) ([]byte, error) {
	plain, _, err := r.decrypt(ctx, rec, ec, ciphertext)
	return plain, err
}

// decrypt also returns the value's additional data, for Open.
func (r *Ring) decrypt(ctx context.Context, rec *Record, ec EncryptionContext, ciphertext []byte) (plain, forValue []byte, err error) {
	p, err := parseBlob(ciphertext)
	if err != nil {
		return nil, nil, errOpen(err)
	}
	if string(p.keyID) != rec.ID {
		return nil, nil, errOpen(errors.New("the ciphertext is of another key"))
	}
	aead, err := r.material(ctx, rec, p.material)
	if err != nil {
		return nil, nil, err
	}
	additional := bind(p.header, ec)
	plain, err = aead.Open(nil, nil, p.sealed, additional)
	if err != nil {
		return nil, nil, errOpen(err)
	}
	return plain, rebind(additional, len(p.header)), nil
}

// GenerateDataKey returns n random bytes and a ciphertext blob of them. The
// caller clears plain when it is done. Errors are those of Encrypt.
func (r *Ring) GenerateDataKey(ctx context.Context, rec *Record, ec EncryptionContext, n int) (plain, ciphertext []byte, err error) {
	plain = make([]byte, n)
	_, _ = rand.Read(plain) // it never fails
	ciphertext, err = r.Encrypt(ctx, rec, ec, plain)
	if err != nil {
		return nil, nil, err
	}
	return plain, ciphertext, nil
}

// Seal seals a value under a new data key, which the key wraps. Errors are
// those of Encrypt.
func (r *Ring) Seal(ctx context.Context, rec *Record, ec EncryptionContext, value []byte) ([]byte, error) {
	dataKey := make([]byte, keyBytes)
	defer clear(dataKey)
	_, _ = rand.Read(dataKey) // it never fails
	wrapped, additional, err := r.encrypt(ctx, rec, ec, dataKey)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 3+len(wrapped)+gcmOverhead+len(value))
	b = append(b, sealedFormat)
	b = binary.BigEndian.AppendUint16(b, uint16(len(wrapped)))
	b = append(b, wrapped...)
	return aead.Seal(b, nil, value, additional), nil
}

// Open opens what Seal sealed with the same key and context. The caller owns
// the result. Errors are those of Decrypt.
func (r *Ring) Open(ctx context.Context, rec *Record, ec EncryptionContext, sealed []byte) ([]byte, error) {
	wrapped, value, err := parseSealed(sealed)
	if err != nil {
		return nil, errOpen(err)
	}
	dataKey, additional, err := r.decrypt(ctx, rec, ec, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	if len(dataKey) != keyBytes {
		return nil, errOpen(errors.New("the data key has a wrong length"))
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, value, additional)
	if err != nil {
		return nil, errOpen(err)
	}
	return plain, nil
}

// Forget drops the material of the key with the ID from memory, after the key
// was deleted or changed. What is in use stays until it is done.
func (r *Ring) Forget(keyID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.slots {
		if s.keyID == keyID {
			delete(r.slots, id)
		}
	}
}

// Clear drops all material from memory.
func (r *Ring) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.slots)
}

// bind returns the additional data of a blob: its header, then the context.
func bind(header []byte, ec EncryptionContext) []byte {
	b := make([]byte, 0, 320) // room for a secret's context
	return ec.append(append(b, header...))
}

// rebind makes in place, from the additional data of a blob with a header of n
// bytes, that of the value: sealedFormat, then the same context. Encoding the
// context once is a fifth of the time of Open.
func rebind(additional []byte, n int) []byte {
	additional[n-1] = sealedFormat
	return additional[n-1:]
}

// material returns the cipher for one generation of the key, from memory or
// through the keeper.
func (r *Ring) material(ctx context.Context, rec *Record, id materialID) (cipher.AEAD, error) {
	if err := rec.CheckUsable(); err != nil {
		return nil, err
	}
	if aead := r.ready(id); aead != nil {
		return aead, nil
	}
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), "waiting for key material")
	}
	if aead := r.ready(id); aead != nil {
		return aead, nil
	}
	return r.load(ctx, rec, id)
}

func (r *Ring) ready(id materialID) cipher.AEAD {
	r.mu.RLock()
	s := r.slots[id]
	r.mu.RUnlock()
	if s == nil {
		return nil
	}
	s.used.Store(r.uses.Add(1))
	return s.aead
}

func (r *Ring) load(ctx context.Context, rec *Record, id materialID) (cipher.AEAD, error) {
	name := hex.EncodeToString(id[:])
	for i := range rec.Material {
		m := &rec.Material[i]
		if m.ID != name {
			continue
		}
		raw, err := unwrapKey(ctx, r.keeper, materialPurpose(name), m.Wrapped)
		if err != nil {
			return nil, err
		}
		defer clear(raw)
		aead, err := newAEAD(raw)
		if err != nil {
			return nil, err
		}
		r.keep(id, rec.ID, aead)
		return aead, nil
	}
	return nil, errOpen(errors.New("the ciphertext names key material that the key does not have"))
}

// keep puts the cipher in the ring; when the ring is full the slot unused for
// longest goes.
func (r *Ring) keep(id materialID, keyID string, aead cipher.AEAD) {
	s := &slot{keyID: keyID, aead: aead}
	s.used.Store(r.uses.Add(1))
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.slots) >= r.size {
		var oldest materialID
		least := int64(-1)
		for id, s := range r.slots {
			if used := s.used.Load(); least < 0 || used < least {
				oldest, least = id, used
			}
		}
		delete(r.slots, oldest)
	}
	r.slots[id] = s
}

func newestMaterial(rec *Record) (materialID, error) {
	if len(rec.Material) == 0 || len(rec.ID) == 0 || len(rec.ID) > 255 {
		return materialID{}, fault.Wrap(errors.New("the key has no material or no proper ID"), "sealing with key "+rec.ID)
	}
	id, err := parseMaterialID(rec.Material[len(rec.Material)-1].ID)
	return id, fault.Wrap(err, "reading the material ID of key "+rec.ID)
}

func parseMaterialID(s string) (id materialID, err error) {
	if len(s) != hex.EncodedLen(materialSize) {
		return id, errors.New("a material ID has a wrong length")
	}
	_, err = hex.Decode(id[:], []byte(s))
	return id, err
}
