// Package kms implements AWS KMS for symmetric encryption keys: they are
// made, named, shared by policies and grants, used, rotated, disabled and
// deleted. Secrets are sealed under them.
//
// Texts of errors are AWS's wherever they are on record.
package kms

import (
	"log/slog"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Keeper wraps new key material.
	Keeper key.Keeper
	// Keys encrypts and decrypts.
	Keys   *key.Ring
	Logger *slog.Logger
}

// Service is KMS. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Conditions: conditions, Ops: []wire.Op{
		wire.Handle("CancelKeyDeletion", s.CancelKeyDeletion),
		wire.Handle("CreateAlias", s.CreateAlias),
		wire.Handle("CreateGrant", s.CreateGrant),
		wire.Handle("CreateKey", s.CreateKey),
		wire.Handle("Decrypt", s.Decrypt),
		wire.Handle("DeleteAlias", s.DeleteAlias),
		wire.Handle("DescribeKey", s.DescribeKey),
		wire.Handle("DisableKey", s.DisableKey),
		wire.Handle("DisableKeyRotation", s.DisableKeyRotation),
		wire.Handle("EnableKey", s.EnableKey),
		wire.Handle("EnableKeyRotation", s.EnableKeyRotation),
		wire.Handle("Encrypt", s.Encrypt),
		wire.Handle("GenerateDataKey", s.GenerateDataKey),
		wire.Handle("GenerateDataKeyWithoutPlaintext", s.GenerateDataKeyWithoutPlaintext),
		wire.Handle("GenerateRandom", s.GenerateRandom),
		wire.Handle("GetKeyPolicy", s.GetKeyPolicy),
		wire.Handle("GetKeyRotationStatus", s.GetKeyRotationStatus),
		wire.Handle("ListAliases", s.ListAliases),
		wire.Handle("ListGrants", s.ListGrants),
		wire.Handle("ListKeyPolicies", s.ListKeyPolicies),
		wire.Handle("ListKeyRotations", s.ListKeyRotations),
		wire.Handle("ListKeys", s.ListKeys),
		wire.Handle("ListResourceTags", s.ListResourceTags),
		wire.Handle("ListRetirableGrants", s.ListRetirableGrants),
		wire.Handle("PutKeyPolicy", s.PutKeyPolicy),
		wire.Handle("ReEncrypt", s.ReEncrypt),
		wire.Handle("RetireGrant", s.RetireGrant),
		wire.Handle("RevokeGrant", s.RevokeGrant),
		wire.Handle("RotateKeyOnDemand", s.RotateKeyOnDemand),
		wire.Handle("ScheduleKeyDeletion", s.ScheduleKeyDeletion),
		wire.Handle("TagResource", s.TagResource),
		wire.Handle("UntagResource", s.UntagResource),
		wire.Handle("UpdateAlias", s.UpdateAlias),
		wire.Handle("UpdateKeyDescription", s.UpdateKeyDescription),
	}}
}

// Kinds of this service alone.
const (
	unsupported   fault.Kind = "unsupported operation"
	badTags       fault.Kind = "bad tags"
	notAuthorized fault.Kind = "not authorized"
	badARN        fault.Kind = "bad ARN"
	otherKey      fault.Kind = "another key's ciphertext"
	badUsage      fault.Kind = "wrong use of a key"
	badGrantID    fault.Kind = "bad grant ID"
	badToken      fault.Kind = "bad grant token"
	dryRun        fault.Kind = "dry run"
)

// codes are the service's error codes: 400 but for the server's own faults
// (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:    {Name: "NotFoundException", Status: 400},
	fault.Exists:      {Name: "AlreadyExistsException", Status: 400},
	fault.Policy:      {Name: "MalformedPolicyDocumentException", Status: 400},
	fault.Validation:  {Name: "ValidationException", Status: 400},
	fault.Decryption:  {Name: "InvalidCiphertextException", Status: 400},
	fault.Limit:       {Name: "LimitExceededException", Status: 400},
	fault.PageToken:   {Name: "InvalidMarkerException", Status: 400},
	fault.Internal:    {Name: "KMSInternalException", Status: 500},
	fault.Unavailable: {Name: "DependencyTimeoutException", Status: 503},
	key.KeyState:      {Name: "KMSInvalidStateException", Status: 400},
	key.KeyDisabled:   {Name: "DisabledException", Status: 400},
	unsupported:       {Name: "UnsupportedOperationException", Status: 400},
	badTags:           {Name: "TagException", Status: 400},
	notAuthorized:     {Name: "NotAuthorizedException", Status: 400},
	badARN:            {Name: "InvalidArnException", Status: 400},
	otherKey:          {Name: "IncorrectKeyException", Status: 400},
	badUsage:          {Name: "InvalidKeyUsageException", Status: 400},
	badGrantID:        {Name: "InvalidGrantIdException", Status: 400},
	badToken:          {Name: "InvalidGrantTokenException", Status: 400},
	dryRun:            {Name: "DryRunOperationException", Status: 400},
}

// errDryRun is the answer to a request that would have succeeded (AWS:
// recorded).
func errDryRun() error {
	return fault.New(dryRun, "The request would have succeeded, but the DryRun option is set.")
}

// isTrue reads an optional flag.
func isTrue(b *bool) bool { return b != nil && *b }

// given returns an optional text; "" is none.
func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// concern names keys in the call's event.
func concern(call *wire.Call, keys ...*key.Record) {
	call.Resources = nil
	for _, rec := range keys {
		call.Resources = append(call.Resources, trail.Resource{Type: "AWS::KMS::Key", Name: rec.ARN()})
	}
}
