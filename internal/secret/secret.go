// Package secret holds a secret, its versions and their staging labels, and
// the rules by which they change. All of it is pure: plain structs in, plain
// structs out, no clock but the one passed in, no storage, no keys.
//
// A Version's value is kept sealed: an opaque byte string made by package
// key. Plaintext exists only in values of type plaintext.Value, which redact
// themselves wherever they are printed.
package secret

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/schedule"
)

// The reserved staging labels (AWS docs).
const (
	Current  = "AWSCURRENT"
	Pending  = "AWSPENDING"
	Previous = "AWSPREVIOUS"
)

// Limits of AWS (AWS docs, service model).
const (
	MaxLabels     = 20    // staging labels over all versions of one secret
	MaxValueBytes = 65536 // one value, string or binary
	MaxTags       = 50    // tags of one secret
)

// Secret is the record of one secret with all its versions' metadata.
type Secret struct {
	// ID is internal and never changes; rows refer to it.
	ID string
	// Account, Region and Name are unique together among secrets that are
	// not purged.
	Account, Region, Name string
	// Suffix is the six random alphanumerics at the end of the ARN.
	Suffix      string
	Description string
	// KMSKeyID is the key as the caller named it; "" is the default key.
	KMSKeyID string
	// Type names a managed external secret's format; OwningService the AWS
	// service that made the secret. Both are empty for ordinary secrets.
	Type, OwningService string
	// CreatedAt and ChangedAt have millisecond precision.
	CreatedAt, ChangedAt time.Time
	// AccessedOn is the UTC day of the last read; zero if never read.
	AccessedOn time.Time
	// DeleteAt is the end of the recovery window; zero unless the secret is
	// scheduled for deletion.
	DeleteAt time.Time
	// Tags keeps insertion order. nil: the secret never had a tag; empty:
	// it had some and all were removed. AWS shows the difference.
	Tags []Tag
	// Policy is the resource policy as given, or "".
	Policy string
	// Rotation is the rotation configuration.
	Rotation Rotation
	// PrimaryRegion is set once the secret is, or has been, replicated.
	PrimaryRegion string
	// Replicas lists the copies in other regions, on the primary only.
	Replicas []Replica
	// Versions is ordered by creation. Deprecated versions are among them.
	Versions []Version
	// Revision counts saved changes; storage uses it to tell stale copies.
	Revision int64
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// Version is one stored value of a secret, or the empty placeholder that a
// rotation makes before its first step.
type Version struct {
	// ID equals the ClientRequestToken of the call that made the version.
	ID string
	// Labels is sorted in ASCII order. A version without labels is
	// deprecated.
	Labels    []string
	CreatedAt time.Time
	// AccessedOn is the UTC day of the last read; zero if never read.
	AccessedOn time.Time
	// HasValue is false for a placeholder.
	HasValue bool
	// Binary tells whether the value was given as SecretBinary.
	Binary bool
	// KeyARN is the key that wraps the version's data key.
	KeyARN string
	// WrittenBy is the ARN of the role or user that wrote the value.
	WrittenBy string
	// ByToken tells that the value came with the rotation's RotationToken.
	ByToken bool
	// Sealed is the value as package key sealed it. Storage leaves it nil
	// on reads of the record and writes it when it is not nil.
	Sealed []byte
}

// Has reports whether the version carries the label.
func (v *Version) Has(label string) bool { return slices.Contains(v.Labels, label) }

// Rotation is a secret's rotation configuration and its dates.
type Rotation struct {
	// Configured tells that rotation was on at some time; Enabled that it
	// is on now. FunctionARN and Rules outlive CancelRotateSecret. On secrets
	// of AWS services FunctionARN is that service's own function, which is
	// shown to nobody.
	Configured, Enabled bool
	FunctionARN         string
	Rules               schedule.Rules
	// ConfiguredAt is when rotation was last configured.
	ConfiguredAt time.Time
	// LastRotatedAt is when a rotation last completed.
	LastRotatedAt time.Time
	// ValueChangedAt is when a value was last put by hand while rotation was
	// on; what was put before does not count as a rotation (assumed).
	ValueChangedAt time.Time
	// NextDate is what DescribeSecret shows as NextRotationDate: the last
	// second of the next window.
	NextDate time.Time
	// DueAt is when the next scheduled rotation starts; zero for never.
	DueAt time.Time
}

// Replica is a copy of the secret in another region, as its primary sees it.
type Replica struct {
	Region   string
	KMSKeyID string
	Status   ReplicaStatus
	Message  string
	// AccessedOn is the UTC day of the last read in that region.
	AccessedOn time.Time
	// Revision is the primary's Revision that the replica last took over.
	Revision int64
	// Overwrite tells that a secret of this name in the region may be
	// replaced by the replica.
	Overwrite bool
}

// ReplicaStatus is the state of one replica (AWS service model).
type ReplicaStatus string

// The replica states.
const (
	InProgress ReplicaStatus = "InProgress"
	InSync     ReplicaStatus = "InSync"
	Failed     ReplicaStatus = "Failed"
)

// ARN returns the secret's address.
func (s *Secret) ARN() string { return arn.Secret(s.Region, s.Account, s.Name, s.Suffix) }

// Deleted reports whether the secret is scheduled for deletion.
func (s *Secret) Deleted() bool { return !s.DeleteAt.IsZero() }

// IsReplica reports whether the secret is a copy of one in another region.
func (s *Secret) IsReplica() bool { return s.PrimaryRegion != "" && s.PrimaryRegion != s.Region }

// Clone returns a copy that shares nothing that may change; sealed values
// never change and are shared.
func (s *Secret) Clone() *Secret {
	c := *s
	c.Tags = slices.Clone(s.Tags)
	c.Replicas = slices.Clone(s.Replicas)
	c.Versions = slices.Clone(s.Versions)
	for i := range c.Versions {
		c.Versions[i].Labels = slices.Clone(s.Versions[i].Labels)
	}
	return &c
}

// Version returns the version with the ID, or nil. The pointer is into s.
func (s *Secret) Version(id string) *Version {
	for i := range s.Versions {
		if s.Versions[i].ID == id {
			return &s.Versions[i]
		}
	}
	return nil
}

// Holder returns the version that carries the label, or nil. The pointer is
// into s.
func (s *Secret) Holder(label string) *Version {
	for i := range s.Versions {
		if s.Versions[i].Has(label) {
			return &s.Versions[i]
		}
	}
	return nil
}
