package iam

import (
	"slices"
	"time"
)

// Provider is an OpenID Connect issuer whose tokens an account trusts for
// assuming roles.
type Provider struct {
	Account string
	// URL is the issuer without its scheme, as ARNs have it.
	URL string
	// ClientIDs are the audiences that tokens may have, at most 100.
	ClientIDs []string
	// Thumbprints are SHA-1 fingerprints of certificates, at most 5; kept and
	// shown, as TLS is verified by certificate authorities (AWS docs).
	Thumbprints []string
	CreatedAt   time.Time
	Tags        []Tag
}

// ARN returns the provider's address.
func (p *Provider) ARN() string { return "arn:aws:iam::" + p.Account + ":oidc-provider/" + p.URL }

// Clone returns a copy that shares nothing that may change.
func (p *Provider) Clone() *Provider {
	c := *p
	c.ClientIDs, c.Thumbprints, c.Tags = slices.Clone(p.ClientIDs), slices.Clone(p.Thumbprints), slices.Clone(p.Tags)
	return &c
}
