package iam

// Identity is what evaluation has to know of a caller beside who it is, as it
// was when the caller was authenticated. It does not change and is shared by
// calls. A caller without one has no policies, which for all but roots, who
// need none, means no permissions.
type Identity struct {
	// Policies are those of the user and its groups, or of the role.
	Policies []*Policy
	// Boundary is the permissions boundary, or nil. One that cannot be found
	// is an empty Policy, which allows nothing.
	Boundary *Policy
	// Session holds the session policies; none if empty.
	Session []*Policy
	// Tags are those of the user or the role, and of the session, which win.
	Tags []Tag
}

// Session is what was given when a session was made. It does not change.
type Session struct {
	// Policies are the session policies' documents.
	Policies []string `json:"p,omitempty"`
	// PolicyARNs are those of managed session policies.
	PolicyARNs []string `json:"a,omitempty"`
	// Tags are the session tags, those taken over from the session that
	// assumed the role among them; Transitive are the keys of those that the
	// next session in a chain takes over.
	Tags       []Tag    `json:"t,omitempty"`
	Transitive []string `json:"k,omitempty"`
	// SourceIdentity is what the first session of a chain was given.
	SourceIdentity string `json:"s,omitempty"`
	// Provider is the ARN of the identity provider that vouched for the
	// bearer; "" otherwise.
	Provider string `json:"f,omitempty"`
	// SourceFunction is the ARN of the Lambda function that has the session,
	// without a qualifier; "" otherwise.
	SourceFunction string `json:"l,omitempty"`
	// SourceVPC is the ID of the VPC that this function's environment is in;
	// "" for none. The sessions that are assumed from there have it, too: their
	// calls come from the same place.
	SourceVPC string `json:"v,omitempty"`
	// VPCFunction is the ARN of the function in SourceVPC whose session began
	// the chain; "" in that session itself.
	VPCFunction string `json:"w,omitempty"`
}
