package iam

import (
	"maps"
	"slices"
)

// Holdings are what a user, a group or a role holds: its policies and tags.
// Groups have neither boundary nor tags (AWS docs).
type Holdings struct {
	// Inline maps policy names to documents.
	Inline map[string]string
	// Attached lists the ARNs of managed policies, in order of attachment.
	Attached []string
	// Boundary is the ARN of the managed policy that bounds the permissions,
	// or "".
	Boundary string
	Tags     []Tag
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

func (h Holdings) clone() Holdings {
	h.Inline, h.Attached, h.Tags = maps.Clone(h.Inline), slices.Clone(h.Attached), slices.Clone(h.Tags)
	return h
}

// HolderKind says what sort of identity holds policies.
type HolderKind string

// The kinds of holder.
const (
	GroupHolder HolderKind = "group"
	RoleHolder  HolderKind = "role"
	UserHolder  HolderKind = "user"
)

// PolicyHolder is an identity that a managed policy is attached to.
type PolicyHolder struct {
	Kind           HolderKind
	Name, ID, Path string
	// Boundary says that the policy is its permissions boundary.
	Boundary bool
}
