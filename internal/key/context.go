package key

import (
	"encoding/binary"
	"slices"
)

// EncryptionContext is the set of pairs bound to a ciphertext: it opens only
// with the same pairs again. Not secret.
type EncryptionContext map[string]string

// The members of the context that Secrets Manager binds to every version, and
// the version ID with which it tries a newly chosen key (AWS docs).
const (
	SecretARN       = "SecretARN"
	SecretVersionID = "SecretVersionId"
	KeyProbe        = "RequestToValidateKeyAccess"
)

// SecretContext returns the context of one version of a secret.
func SecretContext(secretARN, versionID string) EncryptionContext {
	return EncryptionContext{SecretARN: secretARN, SecretVersionID: versionID}
}

// append adds the one encoding of the context to b: the pairs in order of
// their keys, every string behind its length in four bytes, big end first.
func (c EncryptionContext) append(b []byte) []byte {
	var few [4]string
	keys := few[:0]
	for k := range c {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendString(b, k)
		b = appendString(b, c[k])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
