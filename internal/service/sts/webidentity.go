package sts

import (
	"context"
	"slices"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// AssumeRoleWithWebIdentity makes a session of a role for the bearer of a
// token of an OpenID Connect provider, if the role's account knows the
// provider and the role trusts the token. The call carries no signature: the
// token alone says who calls.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, call *wire.Call, in *api.AssumeRoleWithWebIdentityRequest) (*api.AssumeRoleWithWebIdentityResponse, error) {
	a, err := parseRole(*in.RoleArn)
	if err != nil {
		return nil, err
	}
	if in.ProviderId != nil {
		return nil, fault.New(fault.Parameter, "ProviderId is for OAuth 2.0 access tokens, which are not supported.")
	}
	given := &iam.Session{}
	if err := sessionPolicies(given, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	b, err := s.bearer(ctx, a, *in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	call.Principal, call.Account = b.principal(), a.account
	call.Resources = []trail.Resource{{Type: "AWS::IAM::Role", Name: a.arn}}
	given.Provider, given.SourceIdentity = b.provider.ARN(), b.claims.SourceIdentity
	if err := sessionTags(given, b.tags(), b.claims.Transitive); err != nil {
		return nil, err
	}
	role := a.resource(b.condition)
	for _, action := range append([]string{call.Action()}, actions(given)...) {
		if err := s.Guard.On(call, action, role); fault.Is(err, fault.Denied) {
			// AWS: recorded.
			return nil, fault.New(fault.Denied, "Not authorized to perform %s", action).Because(err)
		} else if err != nil {
			return nil, err
		}
	}
	m, err := s.issue(ctx, call, a, *in.RoleSessionName, in.DurationSeconds, given)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleWithWebIdentityResponse{
		Credentials: m.credentials, AssumedRoleUser: m.user, PackedPolicySize: m.packed, SourceIdentity: m.identity,
		SubjectFromWebIdentityToken: &b.claims.Subject, Provider: &given.Provider, Audience: &b.audience()[0],
	}, nil
}

// bearer is who holds a verified token.
type bearer struct {
	provider *iam.Provider
	claims   *oidc.Claims
}

// bearer verifies a token for a role and finds the role. Only a provider of
// the role's account is asked for its keys.
func (s *Service) bearer(ctx context.Context, a *assumed, raw string) (*bearer, error) {
	token, err := oidc.Parse(raw)
	if err != nil {
		return nil, err
	}
	b := &bearer{}
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		url, ok := strings.CutPrefix(token.Issuer(), "https://")
		b.provider, err = tx.Provider(a.account, url)
		if fault.Is(err, fault.NotFound) || err == nil && !ok { // AWS: recorded
			return fault.New(oidc.Invalid, "No OpenIDConnect provider found in your account for %s", token.Issuer())
		}
		if err != nil {
			return err
		}
		return a.find(tx)
	})
	if err != nil {
		return nil, err
	}
	if b.claims, err = s.Verifier.Verify(ctx, token, time.Now()); err != nil {
		return nil, err
	}
	known := func(client string) bool { return slices.Contains(b.provider.ClientIDs, client) }
	if !slices.ContainsFunc(b.claims.Audience, known) { // AWS: recorded
		return nil, fault.New(oidc.Invalid, "Incorrect token audience")
	}
	return b, nil
}

// audience is whom the token is for: the authorized party, if it names one
// (AWS docs).
func (b *bearer) audience() []string {
	if b.claims.AuthorizedParty != "" {
		return []string{b.claims.AuthorizedParty}
	}
	return b.claims.Audience
}

func (b *bearer) principal() iam.Principal {
	provider := b.provider.ARN()
	return iam.Principal{
		Type: iam.WebIdentity, ID: provider + ":" + b.audience()[0] + ":" + b.claims.Subject, Name: b.claims.Subject, IdentityProvider: provider,
	}
}

// tags are the session tags that the token sets, by key.
func (b *bearer) tags() []iam.Tag {
	var tags []iam.Tag
	for key, value := range b.claims.Tags {
		tags = append(tags, iam.Tag{Key: key, Value: value})
	}
	slices.SortFunc(tags, func(a, b iam.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// condition returns what the token gives for condition keys: claims under the
// issuer's URL, and those of sessions (AWS docs).
func (b *bearer) condition(key string) iam.Value {
	if claim, ok := strings.CutPrefix(key, strings.ToLower(b.provider.URL)+":"); ok {
		return b.claim(claim)
	}
	switch key {
	case "aws:federatedprovider":
		return iam.Text(b.provider.ARN())
	case "sts:transitivetagkeys":
		return iam.List(b.claims.Transitive)
	case "sts:sourceidentity":
		return iam.NonEmpty(b.claims.SourceIdentity)
	}
	return iam.RequestTags(key, b.tags())
}

func (b *bearer) claim(name string) iam.Value {
	switch name {
	case "sub":
		return iam.Text(b.claims.Subject)
	case "aud":
		return iam.List(b.audience())
	case "oaud":
		if b.claims.AuthorizedParty != "" {
			return iam.List(b.claims.Audience)
		}
	case "amr":
		return iam.List(b.claims.AMR)
	case "email":
		return iam.NonEmpty(b.claims.Email)
	}
	return iam.Value{}
}
