package sts

import (
	"context"
	"regexp"

	api "github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// rolePattern is what a RoleArn looks like.
var rolePattern = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/`)

// parseRole checks the form of a role's ARN.
func parseRole(roleARN string) (*assumed, error) {
	account, _, ok := iam.RoleNameFromARN(roleARN)
	if !ok || !rolePattern.MatchString(roleARN) {
		return nil, fault.New(fault.Parameter, "%s is invalid", roleARN)
	}
	return &assumed{arn: roleARN, account: account}, nil
}

// AssumeRole makes a session of a role, if the role's trust policy and, where
// it leaves that to the caller's account, the caller's policies allow it.
func (s *Service) AssumeRole(ctx context.Context, call *wire.Call, in *api.AssumeRoleRequest) (*api.AssumeRoleResponse, error) {
	a, err := parseRole(*in.RoleArn)
	if err != nil {
		return nil, err
	}
	given, err := asked(call, in)
	if err != nil {
		return nil, err
	}
	if err := s.Store.View(ctx, a.find); err != nil {
		return nil, err
	}
	role := a.resource(nil)
	for _, action := range append([]string{""}, actions(given)...) {
		if err := s.Guard.On(call, action, role); err != nil {
			return nil, err
		}
	}
	call.Resources = []trail.Resource{{Type: "AWS::IAM::Role", Name: a.arn}}
	m, err := s.issue(ctx, call, a, *in.RoleSessionName, in.DurationSeconds, given)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleResponse{Credentials: m.credentials, AssumedRoleUser: m.user, PackedPolicySize: m.packed, SourceIdentity: m.identity}, nil
}

// asked is what the request and the caller's session give to the new one.
func asked(call *wire.Call, in *api.AssumeRoleRequest) (*iam.Session, error) {
	if err := checkMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, fault.New(fault.Parameter, "Provided contexts are not supported.")
	}
	given := &iam.Session{}
	if in.SourceIdentity != nil {
		given.SourceIdentity = *in.SourceIdentity
	}
	if err := sessionTags(given, requestTags(in.Tags), in.TransitiveTagKeys); err != nil {
		return nil, err
	}
	if err := inherit(given, call.Principal.Given); err != nil {
		return nil, err
	}
	return given, sessionPolicies(given, in.Policy, in.PolicyArns)
}
