// Package key holds KMS keys: their records, the envelope in which values
// are sealed, and the Keeper that wraps their material with the root key.
//
// The hierarchy: the root key, held by a Keeper, wraps the material of KMS
// keys; KMS key material wraps data keys, one per secret version; a data key
// seals one value with AES-256-GCM. The encryption context
// {SecretARN, SecretVersionId} is bound as additional data at both lower
// levels, so a sealed value moved to another secret or version does not open.
package key

import (
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// State is a key's state (AWS service model).
type State string

// The key states that this server knows.
const (
	Enabled         State = "Enabled"
	Disabled        State = "Disabled"
	PendingDeletion State = "PendingDeletion"
)

// Manager tells who manages a key (AWS service model).
type Manager string

// The managers.
const (
	Customer Manager = "CUSTOMER"
	AWS      Manager = "AWS"
)

// Record is the stored form of a KMS key. Its material is wrapped by the
// root key.
type Record struct {
	// ID is a UUID.
	ID              string
	Account, Region string
	Description     string
	Manager         Manager
	State           State
	Policy          string
	CreatedAt       time.Time
	// DeleteAt is when a PendingDeletion key goes; zero otherwise.
	DeleteAt time.Time
	// RotationDays is the period of automatic rotation; 0 is none.
	RotationDays int
	// NextRotation is when the key gets new material by itself, if it is
	// enabled then; zero without automatic rotation.
	NextRotation time.Time
	Tags         []Tag
	// Material is ordered oldest first; the last one encrypts, all decrypt.
	Material []Material
}

// Material is one generation of a key's secret bytes.
type Material struct {
	// ID names the generation: 64 hexadecimal digits.
	ID string
	// Wrapped is the 32-byte key, sealed by the Keeper.
	Wrapped   []byte
	CreatedAt time.Time
	// Rotation is how the material came to follow another; "" for a key's
	// first.
	Rotation RotationType
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// Alias is a second name of a key.
type Alias struct {
	// Name starts with "alias/".
	Name            string
	Account, Region string
	KeyID           string
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// DefaultAlias names the AWS-managed key that seals secrets for which no
// key was chosen (AWS docs).
const DefaultAlias = "alias/aws/secretsmanager"

// ARN returns the key's address.
func (r *Record) ARN() string { return arn.New("kms", r.Region, r.Account, "key/"+r.ID).String() }
