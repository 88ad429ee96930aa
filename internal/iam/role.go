package iam

import (
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Role is an identity that a function or a user may assume.
type Role struct {
	Account string
	// Name is 1 to 64 characters of [\w+=,.@-], unique per account without
	// regard to case (AWS docs).
	Name string
	// Path starts and ends with a slash; "/" by default.
	Path string
	// ID is AROA and 17 upper-case alphanumerics, never reused.
	ID          string
	Description string
	// TrustPolicy is the assume-role policy document as given.
	TrustPolicy string
	// MaxSession bounds the life of a session: 1 to 12 hours.
	MaxSession time.Duration
	CreatedAt  time.Time
	Holdings
}

// ARN returns the role's address.
func (r *Role) ARN() string {
	return "arn:aws:iam::" + r.Account + ":role" + r.Path + r.Name
}

// SessionARN returns the address of a session of the role; it drops the
// role's path (AWS docs).
func (r *Role) SessionARN(session string) string {
	return "arn:aws:sts::" + r.Account + ":assumed-role/" + r.Name + "/" + session
}

// RoleNameFromARN returns the account and the name in a role's ARN; ok is
// false for anything else.
func RoleNameFromARN(s string) (account, name string, ok bool) {
	a, ok := arn.Parse(s)
	rest, isRole := strings.CutPrefix(a.Resource, "role/")
	if !ok || a.Service != "iam" || !isRole {
		return "", "", false
	}
	return a.Account, rest[strings.LastIndexByte(rest, '/')+1:], true
}

// Clone returns a copy that shares nothing that may change.
func (r *Role) Clone() *Role {
	c := *r
	c.Holdings = r.Holdings.clone()
	return &c
}
