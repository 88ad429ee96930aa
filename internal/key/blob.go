package key

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/keyturn/keyturn/internal/fault"
)

// A ciphertext blob, as KMS operations return and take it, and as it holds
// the data key of a sealed value:
//
//	1 byte    blobFormat
//	1 byte    n, length of the key ID
//	n bytes   key ID
//	32 bytes  material ID
//	12 bytes  nonce, then the AES-256-GCM ciphertext and its 16-byte tag
//
// Additional data: everything before the nonce, then the encryption context.
//
// A sealed value:
//
//	1 byte    sealedFormat
//	2 bytes   n, big end first, length of the blob
//	n bytes   the blob of the data key
//	12 bytes  nonce, then the AES-256-GCM ciphertext and its 16-byte tag,
//	          under the data key
//
// Additional data: sealedFormat, then the encryption context.
const (
	blobFormat   = 1
	sealedFormat = 2

	gcmOverhead  = 12 + 16
	materialSize = 32
)

type materialID [materialSize]byte

// blob is a parsed ciphertext blob; its slices are parts of the parsed bytes.
type blob struct {
	header   []byte
	keyID    []byte
	material materialID
	sealed   []byte
}

var errFormat = errors.New("the ciphertext is not in a format of this server")

// errOpen is what every failure to open comes to: the client learns nothing
// of the reason, as with KMS's InvalidCiphertextException.
func errOpen(cause error) error {
	return &fault.Error{Kind: fault.Decryption, Cause: cause}
}

func parseBlob(b []byte) (blob, error) {
	if len(b) < 2 || b[0] != blobFormat {
		return blob{}, errFormat
	}
	n := 2 + int(b[1])
	if b[1] == 0 || len(b) < n+materialSize+gcmOverhead {
		return blob{}, errFormat
	}
	p := blob{header: b[:n+materialSize], keyID: b[2:n], sealed: b[n+materialSize:]}
	copy(p.material[:], b[n:])
	return p, nil
}

// parseSealed splits a sealed value into its data key's blob and the rest.
func parseSealed(b []byte) (dataKey, sealed []byte, err error) {
	if len(b) < 3 || b[0] != sealedFormat {
		return nil, nil, errFormat
	}
	n := 3 + int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < n+gcmOverhead {
		return nil, nil, errFormat
	}
	return b[3:n], b[n:], nil
}

// BlobKeyID returns the ID of the key that a ciphertext blob names, unverified.
// Use it to find the key's record; Decrypt verifies. Errors are
// fault.Decryption.
func BlobKeyID(b []byte) (string, error) {
	p, err := parseBlob(b)
	if err != nil {
		return "", errOpen(err)
	}
	return string(p.keyID), nil
}

// BlobMaterialID returns the ID of the key material that a ciphertext blob
// names, unverified. Errors are fault.Decryption.
func BlobMaterialID(b []byte) (string, error) {
	p, err := parseBlob(b)
	if err != nil {
		return "", errOpen(err)
	}
	return hex.EncodeToString(p.material[:]), nil
}

// SealedKeyID is BlobKeyID for a sealed value.
func SealedKeyID(sealed []byte) (string, error) {
	dataKey, _, err := parseSealed(sealed)
	if err != nil {
		return "", errOpen(err)
	}
	return BlobKeyID(dataKey)
}

// newAEAD returns AES-256-GCM that puts a random nonce before each
// ciphertext; one key seals at most 2^32 messages.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.Wrap(err, "preparing a cipher")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return aead, fault.Wrap(err, "preparing a cipher")
}
