// Package backup writes everything that a server stores into one encrypted
// file, while the server works, and restores it elsewhere.
//
// A backup is a logical dump of all tables, read in one snapshot, and of the
// trail's segments with the reads. So what was dumped from SQLite can be
// restored into PostgreSQL and the other way round. What is sealed stays
// sealed: a dump opens no secret, and a restored server needs the root key
// that the first one had. The file:
//
//	"keyturn backup\n"
//	header     one line of JSON: Header
//	tag        32 bytes: HMAC-SHA-256 of all before it
//	chunks     up to 64 KiB of the content each, sealed with AES-256-GCM: a
//	           12-byte nonce, the ciphertext, a 16-byte tag. Additional data:
//	           the chunk's number in 8 bytes, and 1 for the last chunk or 0
//
// The keys of tag and chunks come by HKDF with SHA-256 from a key of the file's
// own, which the root key wraps, or from a passphrase by Argon2id. The key of
// the chunks depends on the header too. So a file that was cut, joined,
// reordered or changed in any place is noticed before its last chunk is used.
//
// The content is compressed (gzip) and made of records; see record.go.
package backup

import (
	"time"

	"github.com/keyturn/keyturn/internal/key/keeper"
)

// Format is the number of the newest format that this package knows.
const Format = 1

// Files in a data folder that belong to a backup.
const (
	// TrailFolder holds the segments of the trail.
	TrailFolder = "trail"
	// RootKeyFile holds the root key unless a server is told otherwise.
	RootKeyFile = "root.key"
)

// Protection says what opens a backup: one of its members is set.
type Protection struct {
	// Keepers holds the root key, whose first keeper wraps and any of which
	// opens.
	Keepers *keeper.Set
	// Passphrase is any text; the caller clears it.
	Passphrase []byte
}

// Header is what a backup tells of itself without being opened.
type Header struct {
	Format int `json:"format"`
	// Schema is the number of the schema of the dumped database.
	Schema int `json:"schema"`
	// Made is when the snapshot was taken; Program the version that took it.
	Made    time.Time `json:"made"`
	Program string    `json:"program,omitempty"`
	// Store is "sqlite" or "postgresql".
	Store string `json:"store"`
	// RootKeys are the IDs of the root keys without which what is restored
	// cannot be opened: usually one.
	RootKeys []string `json:"rootKeys"`
	// Wrapped is the file's key under the root key; empty with a passphrase.
	Wrapped []byte `json:"wrapped,omitempty"`
	// KDF says how the file's key comes from a passphrase; nil without.
	KDF *KDF `json:"kdf,omitempty"`
}

// KDF are the parameters of Argon2id (RFC 9106).
type KDF struct {
	Name string `json:"name"`
	Salt []byte `json:"salt"`
	// Time counts passes; Memory is in KiB; Threads run side by side.
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memoryKiB"`
	Threads uint8  `json:"threads"`
}

// Summary tells what a backup holds.
type Summary struct {
	Header
	// Rows counts the rows of each table.
	Rows map[string]int64 `json:"rows"`
	// Files counts the trail's segments, and Bytes their content's bytes.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// RootKey tells that the backup holds the root key's file too.
	RootKey bool `json:"rootKey"`
}
