// Package sts implements AWS STS: who calls, and sessions of roles, users and
// of bearers of OpenID Connect tokens.
package sts

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store    *store.Store
	Guard    *authz.Guard
	Keyring  *authz.Keyring
	Verifier *oidc.Verifier
}

// Service is STS. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Conditions: conditions, Ops: []wire.Op{
		wire.Handle("AssumeRole", s.AssumeRole),
		wire.Handle("AssumeRoleWithWebIdentity", s.AssumeRoleWithWebIdentity),
		wire.Handle("GetCallerIdentity", s.GetCallerIdentity),
		wire.Handle("GetSessionToken", s.GetSessionToken),
	}, Answered: []string{"AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken"}}
}

// Kinds of this service's own errors.
const (
	// badTags: session tags contradict each other.
	badTags fault.Kind = "bad session tags"
	// packedTooLarge: session policies and tags take too much room.
	packedTooLarge fault.Kind = "packed policy too large"
)

// codes are the service's error codes (AWS docs).
var codes = map[fault.Kind]wire.Code{
	fault.Parameter:  {Name: "ValidationError", Status: 400},
	fault.Validation: {Name: "ValidationError", Status: 400},
	fault.Policy:     {Name: "MalformedPolicyDocument", Status: 400},
	badTags:          {Name: "InvalidParameterValue", Status: 400},
	packedTooLarge:   {Name: "PackedPolicyTooLarge", Status: 400},
	oidc.Invalid:     {Name: "InvalidIdentityToken", Status: 400},
	oidc.Expired:     {Name: "ExpiredTokenException", Status: 400},
	oidc.Rejected:    {Name: "IDPRejectedClaim", Status: 403},
	oidc.Unreachable: {Name: "IDPCommunicationError", Status: 400},
}

// GetCallerIdentity says who calls. No policy can deny it (AWS docs).
func (s *Service) GetCallerIdentity(_ context.Context, call *wire.Call, _ *api.GetCallerIdentityRequest) (*api.GetCallerIdentityResponse, error) {
	p := call.Principal
	return &api.GetCallerIdentityResponse{UserId: &p.ID, Account: &p.Account, Arn: &p.ARN}, nil
}

// Lives of sessions (AWS docs).
const (
	defaultLife      = time.Hour
	chainedLife      = time.Hour
	defaultTokenLife = 12 * time.Hour
	rootTokenLife    = time.Hour
)

// GetSessionToken makes temporary credentials of a user or an account's root.
// It needs no permission, and no policy can deny it (AWS docs).
func (s *Service) GetSessionToken(_ context.Context, call *wire.Call, in *api.GetSessionTokenRequest) (*api.GetSessionTokenResponse, error) {
	p := call.Principal
	if p.Type != iam.Root && p.Type != iam.IAMUser || !p.IssuedAt.IsZero() {
		// AWS: reported.
		return nil, fault.New(fault.Denied, "Cannot call GetSessionToken with session credentials")
	}
	if err := checkMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	life := defaultTokenLife
	if in.DurationSeconds != nil {
		life = time.Duration(*in.DurationSeconds) * time.Second
	}
	if p.Type == iam.Root {
		life = min(life, rootTokenLife)
	}
	c, err := s.Keyring.IssueFor(p, life)
	if err != nil {
		return nil, err
	}
	return &api.GetSessionTokenResponse{Credentials: shown(&c)}, nil
}

// checkMFA refuses the code of an MFA device: nobody has one. AWS answers so
// for a device that is not the caller's (AWS: reported).
func checkMFA(serial, code *string) error {
	if serial == nil && code == nil {
		return nil
	}
	return fault.New(fault.Denied, "MultiFactorAuthentication failed, unable to validate MFA code.  "+
		"Please verify your MFA serial number is valid and associated with this user.")
}

func shown(c *authz.Credentials) *api.Credentials {
	return &api.Credentials{
		AccessKeyId: &c.AccessKeyID, SecretAccessKey: &c.SecretAccessKey, SessionToken: &c.SessionToken, Expiration: &c.Expires,
	}
}

// conditions returns what requests give for condition keys (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.AssumeRoleRequest:
		switch key {
		case "sts:transitivetagkeys":
			return iam.List(in.TransitiveTagKeys)
		case "sts:externalid":
			return iam.Optional(in.ExternalId)
		case "sts:rolesessionname":
			return iam.Optional(in.RoleSessionName)
		case "sts:sourceidentity":
			return iam.Optional(in.SourceIdentity)
		case "sts:durationseconds":
			return seconds(in.DurationSeconds)
		}
		return iam.RequestTags(key, requestTags(in.Tags))
	case *api.AssumeRoleWithWebIdentityRequest:
		switch key {
		case "sts:rolesessionname":
			return iam.Optional(in.RoleSessionName)
		case "sts:durationseconds":
			return seconds(in.DurationSeconds)
		}
	}
	return iam.Value{}
}
