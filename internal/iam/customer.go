package iam

import (
	"slices"
	"time"
)

// CustomerPolicy is a managed policy of an account. ManagedPolicy is one of
// AWS's.
type CustomerPolicy struct {
	Account string
	// Name is 1 to 128 characters of [\w+=,.@-], unique per account without
	// regard to case (AWS docs).
	Name string
	// Path starts and ends with a slash; "/" by default.
	Path string
	// ID is ANPA and 17 upper-case alphanumerics, never reused.
	ID          string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Tags        []Tag
	// Versions are 1 to 5, oldest first; Default names the one in force.
	Versions []PolicyVersion
	Default  string
	// NextVersion is the number of the version made next; numbers are never
	// used again.
	NextVersion int
}

// PolicyVersion is one document of a CustomerPolicy.
type PolicyVersion struct {
	// ID is v and a number from 1.
	ID        string
	Document  string
	CreatedAt time.Time
}

// ARN returns the policy's address.
func (p *CustomerPolicy) ARN() string {
	return "arn:aws:iam::" + p.Account + ":policy" + p.Path + p.Name
}

// Version returns the version with the ID, or nil.
func (p *CustomerPolicy) Version(id string) *PolicyVersion {
	for i := range p.Versions {
		if p.Versions[i].ID == id {
			return &p.Versions[i]
		}
	}
	return nil
}

// Clone returns a copy that shares nothing that may change.
func (p *CustomerPolicy) Clone() *CustomerPolicy {
	c := *p
	c.Tags, c.Versions = slices.Clone(p.Tags), slices.Clone(p.Versions)
	return &c
}
