package iam

import "time"

// User is an IAM user: an identity with access keys of its own.
type User struct {
	Account string
	// Name is 1 to 64 characters of [\w+=,.@-], unique per account without
	// regard to case (AWS docs).
	Name string
	// Path starts and ends with a slash; "/" by default.
	Path string
	// ID is AIDA and 17 upper-case alphanumerics, never reused.
	ID        string
	CreatedAt time.Time
	Holdings
}

// ARN returns the user's address.
func (u *User) ARN() string { return "arn:aws:iam::" + u.Account + ":user" + u.Path + u.Name }

// Clone returns a copy that shares nothing that may change.
func (u *User) Clone() *User {
	c := *u
	c.Holdings = u.Holdings.clone()
	return &c
}

// Group gives its users the policies that it holds. It is no principal.
type Group struct {
	Account string
	// Name is 1 to 128 characters of [\w+=,.@-], unique per account without
	// regard to case (AWS docs).
	Name string
	Path string
	// ID is AGPA and 17 upper-case alphanumerics, never reused.
	ID        string
	CreatedAt time.Time
	Holdings
}

// ARN returns the group's address.
func (g *Group) ARN() string { return "arn:aws:iam::" + g.Account + ":group" + g.Path + g.Name }

// Clone returns a copy that shares nothing that may change.
func (g *Group) Clone() *Group {
	c := *g
	c.Holdings = g.Holdings.clone()
	return &c
}

// AccessKey is a long-lived credential of a user, or of an account's root.
type AccessKey struct {
	// ID is AKIA and 16 upper-case alphanumerics, unique in the deployment.
	ID      string
	Account string
	// UserName is "" for the account's root.
	UserName string
	// Secret is the secret access key, sealed.
	Secret    []byte
	Inactive  bool
	CreatedAt time.Time
	// UsedAt is when the key was last used, to the hour; zero for never.
	// UsedService and UsedRegion say for what.
	UsedAt                  time.Time
	UsedService, UsedRegion string
}

// Account is one of the accounts of a deployment; each has its root.
type Account struct {
	// ID has 12 digits.
	ID string
	// Name is for people: 1 to 50 characters.
	Name      string
	CreatedAt time.Time
}
