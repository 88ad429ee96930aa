// Package iam implements AWS IAM: users with access keys, groups, roles,
// their inline and managed policies, permissions boundaries and tags,
// identity providers, and the simulation of policies. Names are unique
// without regard to case.
//
// Texts of errors are AWS's wherever they are on record.
package iam

import (
	"slices"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Sealer seals the secrets of access keys.
	Sealer *key.Sealer
}

// Service is IAM. Use New.
type Service struct {
	Config
	roles     family[iam.Role]
	users     family[iam.User]
	groups    family[iam.Group]
	policies  family[iam.CustomerPolicy]
	providers family[iam.Provider]
}

// New returns a Service.
func New(cfg Config) *Service {
	return &Service{
		Config: cfg, roles: roleFamily(cfg), users: userFamily(cfg), groups: groupFamily(cfg),
		policies: policyFamily(cfg), providers: providerFamily(cfg),
	}
}

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{
		Model: api.Model(), Errors: codes, Conditions: conditions,
		Ops: slices.Concat(s.roleOps(), s.userOps(), s.accessKeyOps(), s.credentialOps(), s.groupOps(), s.policyOps(), s.accountOps(), s.providerOps(), s.simulationOps()),
	}
}

// inUse is the kind of the refusal to delete something that others need, or
// that has to be emptied first.
const inUse fault.Kind = "delete conflict"

// unmodifiable is the kind of changes to what belongs to an AWS service.
const unmodifiable fault.Kind = "unmodifiable"

// codes are the service's error codes (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	unmodifiable:     {Name: "UnmodifiableEntity", Status: 400},
	fault.NotFound:   {Name: "NoSuchEntity", Status: 404},
	fault.Exists:     {Name: "EntityAlreadyExists", Status: 409},
	fault.Limit:      {Name: "LimitExceeded", Status: 409},
	fault.Policy:     {Name: "MalformedPolicyDocument", Status: 400},
	fault.Parameter:  {Name: "InvalidInput", Status: 400},
	fault.Validation: {Name: "ValidationError", Status: 400},
	inUse:            {Name: "DeleteConflict", Status: 409},
}
