package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/wire"
)

// GetRandomPassword makes a password by package secret's rules. It concerns
// no secret and stores nothing.
func (s *Service) GetRandomPassword(_ context.Context, call *wire.Call, in *api.GetRandomPasswordRequest) (*api.GetRandomPasswordResponse, error) {
	if err := s.Guard.Action(call, ""); err != nil {
		return nil, err
	}
	rules := secret.DefaultPasswordRules()
	if in.PasswordLength != nil {
		rules.Length = *in.PasswordLength
	}
	rules.ExcludeCharacters = given(in.ExcludeCharacters)
	rules.ExcludeNumbers = given(in.ExcludeNumbers)
	rules.ExcludePunctuation = given(in.ExcludePunctuation)
	rules.ExcludeUppercase = given(in.ExcludeUppercase)
	rules.ExcludeLowercase = given(in.ExcludeLowercase)
	rules.IncludeSpace = given(in.IncludeSpace)
	if in.RequireEachIncludedType != nil {
		rules.RequireEachIncludedType = *in.RequireEachIncludedType
	}
	password, err := secret.NewPassword(rules)
	if err != nil {
		return nil, err
	}
	return &api.GetRandomPasswordResponse{RandomPassword: new(string(password.Reveal()))}, nil
}
