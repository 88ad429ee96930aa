package rotator

import "context"

// Examiner is a Session that can tell more of its server, without changing
// anything there.
type Examiner interface {
	// Examine describes the server as the login sees it.
	Examine(ctx context.Context) (Examination, error)
	// Verifier tells how the server keeps a user's password, such as
	// SCRAM-SHA-256, by asking the server to sort it: nothing of what is kept
	// is read. "" is for what this login may not see.
	Verifier(ctx context.Context, user string) (string, error)
}

// Examination is what a server says of itself.
type Examination struct {
	// Server is its product and version.
	Server string
	// ReadOnly tells that it takes no changes now, of this login.
	ReadOnly bool
}
