// Package iam holds identities, who calls and the roles that functions act
// as, and decides by policies what they may do.
//
// It is pure: a policy's text becomes a Document (ParseDocument), which says
// what is wrong with it in IAM's words, and a Policy (Compile), which can be
// kept and used by all goroutines. Evaluate decides a Request by the Policies
// that bear on it and names the statement that decided; Explain tells the
// whole reasoning. Finding the policies and the values of condition keys is
// the caller's part. Nothing is allowed by default, and a condition or a
// variable whose key the request lacks never widens what is allowed. A variable
// without a value equals nothing and matches nothing (AWS docs), so a Deny for
// all but what it stands for denies everything.
package iam

import "time"

// PrincipalType is the kind of caller, spelt as CloudTrail's userIdentity
// spells it (AWS docs).
type PrincipalType string

// The principal types.
const (
	Root        PrincipalType = "Root"
	IAMUser     PrincipalType = "IAMUser"
	AssumedRole PrincipalType = "AssumedRole"
	Service     PrincipalType = "AWSService"
	// WebIdentity is a bearer of an OpenID Connect token, known only while it
	// assumes a role.
	WebIdentity PrincipalType = "WebIdentityUser"
)

// Principal is an authenticated caller. It is a value: an operation gets its
// own copy as an argument and cannot change who called.
type Principal struct {
	Type PrincipalType
	// Account is the 12-digit account that the caller belongs to.
	Account string
	// ARN is the caller's address: arn:aws:iam::A:root, …:user/N, or
	// arn:aws:sts::A:assumed-role/ROLE/SESSION.
	ARN string
	// ID is the unique id: the account for root, AIDA… for users,
	// AROA…:SESSION for sessions.
	ID string
	// Name is the user's or the role's name; empty for root.
	Name string
	// Session is the session name of an assumed role.
	Session string
	// RoleARN is the role behind a session.
	RoleARN string
	// AccessKeyID is the key that signed the request.
	AccessKeyID string
	// IssuedAt is when a session's credentials were made; zero otherwise.
	IssuedAt time.Time
	// InvokedBy names the AWS service as which a Service principal acts, such
	// as secretsmanager.amazonaws.com; in events also the one that acts for
	// another principal.
	InvokedBy string
	// IdentityProvider is the ARN of the provider that vouches for a
	// WebIdentity principal.
	IdentityProvider string
	// Given is what a session was made with; nil for nothing, and for callers
	// without a session.
	Given *Session
	// Identity holds the policies and tags; nil for root and for services.
	Identity *Identity
}

// IsZero reports whether no one is named.
func (p Principal) IsZero() bool { return p.Type == "" }
