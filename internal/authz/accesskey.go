package authz

import (
	"crypto/rand"

	"github.com/keyturn/keyturn/internal/key"
)

// accessKeyPurpose, followed by the key's ID, separates the secrets of access
// keys from each other and from whatever else the Sealer seals.
const accessKeyPurpose = "access-key/"

// NewAccessKey makes an access key: its ID is AKIA and 16 upper-case
// alphanumerics, its secret 40 characters of base64 (AWS docs).
func NewAccessKey() (id, secret string) { return "AKIA" + rand.Text()[:16], newSecretKey() }

// SealAccessKey seals the secret of the access key with the ID for the store.
func SealAccessKey(sealer *key.Sealer, id, secret string) []byte {
	return sealer.Seal(accessKeyPurpose+id, []byte(secret))
}

// OpenAccessKey returns the secret of the access key with the ID. The error is
// fault.Decryption without a text.
func OpenAccessKey(sealer *key.Sealer, id string, sealed []byte) (string, error) {
	b, err := sealer.Open(accessKeyPurpose+id, sealed)
	return string(b), err
}
