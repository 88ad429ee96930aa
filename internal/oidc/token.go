// Package oidc verifies the ID tokens of OpenID Connect issuers, Kubernetes
// clusters among them, by the keys that the issuers publish.
//
// A Token is parsed first, which only tells what it claims. Verify then finds
// the issuer's keys over HTTPS, by discovery, and believes the claims if one
// of the keys made the signature and the token is valid at this time. Whether
// the issuer and the audience are welcome is the caller's to decide, before
// and after.
package oidc

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keyturn/keyturn/internal/fault"
)

// The kinds of failure, with AWS's codes for them.
const (
	// Invalid: the token is malformed or not signed by its issuer
	// (InvalidIdentityToken).
	Invalid fault.Kind = "invalid identity token"
	// Expired: the token was good once (ExpiredTokenException).
	Expired fault.Kind = "identity token expired"
	// Rejected: a claim says that the token is not to be accepted
	// (IDPRejectedClaim).
	Rejected fault.Kind = "identity token rejected"
	// Unreachable: the issuer does not answer; try again
	// (IDPCommunicationError).
	Unreachable fault.Kind = "issuer unreachable"
)

// Errors whose text never varies.
var (
	// AWS: reported.
	errNoJWT = fault.New(Invalid, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	// AWS: reported, with both blanks.
	errNoKey = fault.New(Invalid, "Couldn't retrieve verification key from your identity provider,  "+
		"please reference AssumeRoleWithWebIdentity documentation for requirements")
	// AWS docs.
	errSignature = fault.New(Invalid, "The web identity token that was passed could not be validated by AWS. "+
		"Get a new identity token from the identity provider and then retry the request.")
	// AWS docs.
	errUnreachable = fault.New(Unreachable, "The request could not be fulfilled because the identity provider (IDP) that was asked to verify "+
		"the incoming identity token could not be reached.")
)

// skew is how far an issuer's clock may be ahead (ours).
const skew = time.Minute

// scheme is what every issuer begins with.
const scheme = "https://"

// algorithms are the signatures that are accepted (AWS docs).
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}
}

// Token is a parsed token, of which nothing is proved yet.
type Token struct {
	jwt    *jwt.JSONWebToken
	issuer string
}

// Claims are what a verified token says.
type Claims struct {
	// Issuer is a URL with the scheme https.
	Issuer  string
	Subject string
	// Audience has at least one element.
	Audience []string
	// AuthorizedParty is the client that the token was issued to, or "".
	AuthorizedParty string
	// AMR are the ways in which the subject was authenticated.
	AMR   []string
	Email string
	// Tags are the session tags that the issuer sets, by key, and Transitive
	// the keys of those that go on in chains of roles (AWS docs).
	Tags       map[string]string
	Transitive []string
	// SourceIdentity is what the issuer sets as such, or "" (AWS docs).
	SourceIdentity string
}

// Parse reads a token in compact form. The error is of kind Invalid.
func Parse(raw string) (*Token, error) {
	t, err := jwt.ParseSigned(raw, algorithms())
	if err != nil {
		return nil, errNoJWT.Because(err)
	}
	var c jwt.Claims
	if err := t.UnsafeClaimsWithoutVerification(&c); err != nil {
		return nil, errNoJWT.Because(err)
	}
	if c.Issuer == "" {
		return nil, missing("iss")
	}
	return &Token{t, c.Issuer}, nil
}

// missing: AWS reported.
func missing(claim string) error {
	return fault.New(Invalid, "Missing a required claim: %s", claim)
}

// Issuer returns who is said to have made the token.
func (t *Token) Issuer() string { return t.issuer }

func (t *Token) keyID() string { return t.jwt.Headers[0].KeyID }

// claims checks the signature with the keys and returns what it covers.
func (t *Token) claims(keys []jose.JSONWebKey, now time.Time) (*Claims, error) {
	header := t.jwt.Headers[0]
	var failed error
	for i := range keys {
		k := &keys[i]
		if header.KeyID != "" && k.KeyID != header.KeyID || k.Algorithm != "" && k.Algorithm != header.Algorithm {
			continue
		}
		var c payload
		if err := t.jwt.Claims(k.Key, &c); err != nil {
			failed = err
			continue
		}
		return c.check(now)
	}
	if failed == nil {
		return nil, errNoKey.Because(errors.New("the issuer has no key " + header.KeyID + " for " + header.Algorithm))
	}
	return nil, errSignature.Because(failed)
}

// payload are the claims as they are written.
type payload struct {
	jwt.Claims
	AuthorizedParty string `json:"azp"`
	AMR             texts  `json:"amr"`
	Email           string `json:"email"`
	Tags            struct {
		Principal  map[string]texts `json:"principal_tags"`
		Transitive []string         `json:"transitive_tag_keys"`
	} `json:"https://aws.amazon.com/tags"`
	SourceIdentity string `json:"https://aws.amazon.com/source_identity"`
}

// texts is a string or a list of strings.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// check returns the claims if they are complete and valid at this time.
func (p *payload) check(now time.Time) (*Claims, error) {
	switch {
	case p.Subject == "":
		return nil, missing("sub")
	case len(p.Audience) == 0:
		return nil, missing("aud")
	case p.Expiry == nil:
		return nil, missing("exp")
	case p.IssuedAt == nil:
		return nil, missing("iat")
	case !now.Before(p.Expiry.Time()): // AWS: reported, without a blank before the second time
		return nil, fault.New(Expired, "Token expired: current date/time %d must be before the expiration date/time%d", now.Unix(), p.Expiry.Time().Unix())
	case p.IssuedAt.Time().After(now.Add(skew)), p.NotBefore != nil && p.NotBefore.Time().After(now.Add(skew)):
		return nil, fault.New(Rejected, "The ID Token is not valid yet.")
	}
	c := &Claims{
		Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audience, AuthorizedParty: p.AuthorizedParty, AMR: p.AMR, Email: p.Email,
		Transitive: p.Tags.Transitive, SourceIdentity: p.SourceIdentity,
	}
	for key, values := range p.Tags.Principal {
		if len(values) != 1 {
			return nil, fault.New(Invalid, "The session tag %s of the ID Token must have one value.", key)
		}
		if c.Tags == nil {
			c.Tags = map[string]string{}
		}
		c.Tags[key] = values[0]
	}
	return c, nil
}

// discovery returns where an issuer describes itself.
func discovery(issuer string) (string, bool) {
	host, ok := strings.CutPrefix(issuer, scheme)
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration", ok && host != ""
}
