// Package sts implements GetCallerIdentity and AssumeRole of AWS STS.
package sts

import (
	"context"
	"regexp"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store   *store.Store
	Keyring *authz.Keyring
}

// Service is STS. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Ops: []wire.Op{
		wire.Handle("AssumeRole", s.AssumeRole),
		wire.Handle("GetCallerIdentity", s.GetCallerIdentity),
	}}
}

// badTags is the kind of session tags that contradict each other.
const badTags fault.Kind = "bad session tags"

// codes are the service's error codes (AWS docs).
var codes = map[fault.Kind]wire.Code{
	fault.Parameter:  {Name: "ValidationError", Status: 400},
	fault.Validation: {Name: "ValidationError", Status: 400},
	badTags:          {Name: "InvalidParameterValue", Status: 400},
}

// GetCallerIdentity says who calls. No policy can deny it (AWS docs).
func (s *Service) GetCallerIdentity(_ context.Context, call *wire.Call, _ *api.GetCallerIdentityRequest) (*api.GetCallerIdentityResponse, error) {
	p := call.Principal
	return &api.GetCallerIdentityResponse{UserId: &p.ID, Account: &p.Account, Arn: &p.ARN}, nil
}

// Lives of sessions (AWS docs).
const (
	defaultLife = time.Hour
	chainedLife = time.Hour
)

// rolePattern is what a RoleArn looks like.
var rolePattern = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/`)

// AssumeRole makes a session of a role whose trust policy names the caller.
func (s *Service) AssumeRole(ctx context.Context, call *wire.Call, in *api.AssumeRoleRequest) (*api.AssumeRoleResponse, error) {
	switch {
	case !rolePattern.MatchString(*in.RoleArn):
		return nil, fault.New(fault.Parameter, "%s is invalid", *in.RoleArn)
	case in.Policy != nil || len(in.PolicyArns) > 0:
		return nil, fault.New(fault.Parameter, "Session policies are not supported.")
	}
	if err := checkTags(in); err != nil {
		return nil, err
	}
	role, err := s.assumable(ctx, call, *in.RoleArn)
	if err != nil {
		return nil, err
	}
	life, err := sessionLife(call, role, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	c, err := s.Keyring.Issue(role, *in.RoleSessionName, life)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleResponse{
		Credentials: &api.Credentials{
			AccessKeyId: &c.AccessKeyID, SecretAccessKey: &c.SecretAccessKey, SessionToken: &c.SessionToken, Expiration: &c.Expires,
		},
		AssumedRoleUser:  &api.AssumedRoleUser{AssumedRoleId: new(role.ID + ":" + *in.RoleSessionName), Arn: new(role.SessionARN(*in.RoleSessionName))},
		PackedPolicySize: new(int64(0)),
		SourceIdentity:   in.SourceIdentity,
	}, nil
}

// assumable returns a role that the caller may assume. A missing role and one
// that does not trust the caller give the same answer (AWS: recorded).
func (s *Service) assumable(ctx context.Context, call *wire.Call, roleARN string) (*iam.Role, error) {
	account, name, _ := iam.RoleNameFromARN(roleARN)
	var role *iam.Role
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		role, err = tx.Role(account, name)
		return err
	})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err != nil || role.ARN() != roleARN || !role.TrustsPrincipal(call.Principal) {
		return nil, fault.New(fault.Denied, "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", call.Principal.ARN, roleARN)
	}
	call.Resources = []trail.Resource{{Type: "AWS::IAM::Role", Name: roleARN}}
	return role, nil
}

// checkTags refuses session tags that contradict each other. The others are
// taken and not used: policies, which could refer to them, are not evaluated.
func checkTags(in *api.AssumeRoleRequest) error {
	keys := map[string]bool{}
	for _, t := range in.Tags {
		folded := strings.ToLower(*t.Key)
		if keys[folded] {
			return fault.New(badTags, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		keys[folded] = true
	}
	for _, key := range in.TransitiveTagKeys {
		if !keys[strings.ToLower(key)] {
			return fault.New(badTags, "The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

func sessionLife(call *wire.Call, role *iam.Role, seconds *int64) (time.Duration, error) {
	if seconds == nil {
		return defaultLife, nil
	}
	life := time.Duration(*seconds) * time.Second
	switch {
	case life > role.MaxSession:
		return 0, fault.New(fault.Parameter, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case life > chainedLife && call.Principal.Type == iam.AssumedRole:
		return 0, fault.New(fault.Parameter, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	return life, nil
}
