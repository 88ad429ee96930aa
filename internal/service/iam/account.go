package iam

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) accountOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateAccountAlias", s.CreateAccountAlias),
		wire.Handle("DeleteAccountAlias", s.DeleteAccountAlias),
		wire.Handle("GetAccountAuthorizationDetails", s.GetAccountAuthorizationDetails),
		wire.Handle("GetAccountSummary", s.GetAccountSummary),
		wire.Handle("ListAccountAliases", s.ListAccountAliases),
	}
}

// CreateAccountAlias gives the account a name, in place of one that it has.
func (s *Service) CreateAccountAlias(ctx context.Context, call *wire.Call, in *api.CreateAccountAliasRequest) (*api.CreateAccountAliasResponse, error) {
	out := &api.CreateAccountAliasResponse{}
	return out, s.setAlias(ctx, call, out, func(tx *store.Tx) error {
		err := tx.SetAccountAlias(call.Principal.Account, *in.AccountAlias)
		if fault.Is(err, fault.Exists) {
			return fault.New(fault.Exists, "The account alias %s already exists.", *in.AccountAlias)
		}
		return err
	})
}

func (s *Service) setAlias(ctx context.Context, call *wire.Call, out wire.Output, set func(*store.Tx) error) error {
	if err := s.Guard.Action(call, "*"); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := set(tx); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// DeleteAccountAlias takes the account's name away.
func (s *Service) DeleteAccountAlias(ctx context.Context, call *wire.Call, in *api.DeleteAccountAliasRequest) (*api.DeleteAccountAliasResponse, error) {
	out := &api.DeleteAccountAliasResponse{}
	return out, s.setAlias(ctx, call, out, func(tx *store.Tx) error {
		alias, err := tx.AccountAlias(call.Principal.Account)
		switch {
		case err != nil:
			return err
		case alias != *in.AccountAlias:
			return fault.New(fault.NotFound, "The account alias %s cannot be found.", *in.AccountAlias)
		}
		return tx.SetAccountAlias(call.Principal.Account, "")
	})
}

// ListAccountAliases lists the account's alias, if it has one.
func (s *Service) ListAccountAliases(ctx context.Context, call *wire.Call, _ *api.ListAccountAliasesRequest) (*api.ListAccountAliasesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListAccountAliasesResponse{IsTruncated: new(false)}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		alias, err := tx.AccountAlias(call.Principal.Account)
		out.AccountAliases = []string{}
		if alias != "" {
			out.AccountAliases = append(out.AccountAliases, alias)
		}
		return err
	})
}

// GetAccountSummary counts what the account has, beside the limits. Numbers
// of users, groups, roles and policies are not limited here: the quotas shown
// are AWS's (AWS docs).
func (s *Service) GetAccountSummary(ctx context.Context, call *wire.Call, _ *api.GetAccountSummaryRequest) (*api.GetAccountSummaryResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.GetAccountSummaryResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		n, err := tx.IdentityCount(call.Principal.Account)
		out.SummaryMap = map[string]int64{
			"Users": n.Users, "UsersQuota": 5000, "Groups": n.Groups, "GroupsQuota": 300, "Roles": n.Roles, "RolesQuota": 1000,
			"Policies": n.Policies, "PoliciesQuota": 1500, "PolicyVersionsInUse": n.PolicyVersions, "PolicyVersionsInUseQuota": 10000,
			"Providers": n.Providers, "AccountAccessKeysPresent": min(n.RootAccessKeys, 1), "AccountMFAEnabled": 0, "MFADevices": 0, "MFADevicesInUse": 0,
			"InstanceProfiles": 0, "InstanceProfilesQuota": 1000, "ServerCertificates": 0, "ServerCertificatesQuota": 20,
			"AccessKeysPerUserQuota": maxAccessKeys, "GroupsPerUserQuota": maxGroups, "VersionsPerPolicyQuota": maxVersions,
			"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
			"UserPolicySizeQuota": maxUserInline, "GroupPolicySizeQuota": maxGroupInline, "RolePolicySizeQuota": maxRoleInline,
			"PolicySizeQuota": maxManaged, "AssumeRolePolicySizeQuota": maxTrustPolicy,
		}
		return err
	})
}
