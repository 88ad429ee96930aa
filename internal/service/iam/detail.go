package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// detail is one thing in the answer of GetAccountAuthorizationDetails.
type detail struct {
	place string
	add   func(tx *store.Tx, out *api.GetAccountAuthorizationDetailsResponse) error
}

// detailed is one part of that answer: what a filter calls it, and a page of
// it behind a name.
type detailed struct {
	filter string
	list   func(tx *store.Tx, account, after string, limit int) ([]detail, error)
}

// details are the parts in their order; markers are the number of a part and
// a name.
var details = []detailed{
	{api.EntityTypeGroup, func(tx *store.Tx, account, after string, limit int) ([]detail, error) {
		list, err := tx.Groups(account, "/", after, limit)
		return detailsOf(list, func(g *iam.Group) string { return g.Name }, addGroup), err
	}},
	{api.EntityTypeRole, func(tx *store.Tx, account, after string, limit int) ([]detail, error) {
		list, err := tx.Roles(account, "/", after, limit)
		return detailsOf(list, func(r *iam.Role) string { return r.Name }, addRole), err
	}},
	{api.EntityTypeUser, func(tx *store.Tx, account, after string, limit int) ([]detail, error) {
		list, err := tx.Users(account, "/", after, limit)
		return detailsOf(list, func(u *iam.User) string { return u.Name }, addUser), err
	}},
	{api.EntityTypeLocalManagedPolicy, func(tx *store.Tx, account, after string, limit int) ([]detail, error) {
		list, err := tx.CustomerPolicies(account, "/", after, limit)
		return detailsOf(list, func(p *iam.CustomerPolicy) string { return p.Name }, addPolicy(account)), err
	}},
	{api.EntityTypeAWSManagedPolicy, func(tx *store.Tx, account, after string, limit int) ([]detail, error) {
		list, err := usedAWSPolicies(tx, account, after, limit)
		return detailsOf(list, (*iam.CustomerPolicy).ARN, addPolicy(account)), err
	}},
}

func detailsOf[T any](list []*T, place func(*T) string, add func(*store.Tx, *api.GetAccountAuthorizationDetailsResponse, *T) error) []detail {
	all := make([]detail, len(list))
	for i, x := range list {
		all[i] = detail{place(x), func(tx *store.Tx, out *api.GetAccountAuthorizationDetailsResponse) error { return add(tx, out, x) }}
	}
	return all
}

// GetAccountAuthorizationDetails shows the account's identities with all
// their policies.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, call *wire.Call, in *api.GetAccountAuthorizationDetailsRequest) (*api.GetAccountAuthorizationDetailsResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	var out *api.GetAccountAuthorizationDetailsResponse
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		out = &api.GetAccountAuthorizationDetailsResponse{
			UserDetailList: []api.UserDetail{}, GroupDetailList: []api.GroupDetail{}, RoleDetailList: []api.RoleDetail{},
			Policies: []api.ManagedPolicyDetail{}, IsTruncated: new(false),
		}
		return addDetails(tx, call.Principal.Account, in, out)
	})
	return out, err
}

// addDetails fills in one page.
func addDetails(tx *store.Tx, account string, in *api.GetAccountAuthorizationDetailsRequest, out *api.GetAccountAuthorizationDetailsResponse) error {
	begin, after, _ := strings.Cut(text(in.Marker), "/")
	room := pageSize(in.MaxItems)
	last := ""
	for i, part := range details {
		number := string(rune('1' + i))
		if number < begin || in.Filter != nil && !slices.Contains(in.Filter, part.filter) {
			continue
		}
		behind := ""
		if number == begin {
			behind = after
		}
		list, err := part.list(tx, account, behind, room+1)
		if err != nil {
			return err
		}
		for _, d := range list {
			if room == 0 {
				out.Marker, out.IsTruncated = &last, new(true)
				return nil
			}
			if err := d.add(tx, out); err != nil {
				return err
			}
			last = number + "/" + d.place
			room--
		}
	}
	return nil
}

func shownInline(h iam.Holdings) []api.PolicyDetail {
	list := []api.PolicyDetail{}
	for _, name := range slices.Sorted(maps.Keys(h.Inline)) {
		list = append(list, api.PolicyDetail{PolicyName: &name, PolicyDocument: encode(h.Inline[name])})
	}
	return list
}

func addGroup(_ *store.Tx, out *api.GetAccountAuthorizationDetailsResponse, g *iam.Group) error {
	out.GroupDetailList = append(out.GroupDetailList, api.GroupDetail{
		Path: &g.Path, GroupName: &g.Name, GroupId: &g.ID, Arn: new(g.ARN()), CreateDate: &g.CreatedAt,
		GroupPolicyList: shownInline(g.Holdings), AttachedManagedPolicies: shownAttached(g.Attached),
	})
	return nil
}

func addRole(tx *store.Tx, out *api.GetAccountAuthorizationDetailsResponse, r *iam.Role) error {
	trust, err := shownTrust(tx, r)
	out.RoleDetailList = append(out.RoleDetailList, api.RoleDetail{
		Path: &r.Path, RoleName: &r.Name, RoleId: &r.ID, Arn: new(r.ARN()), CreateDate: &r.CreatedAt,
		AssumeRolePolicyDocument: trust, InstanceProfileList: []api.InstanceProfile{},
		RolePolicyList: shownInline(r.Holdings), AttachedManagedPolicies: shownAttached(r.Attached),
		PermissionsBoundary: shownBoundary(r.Boundary), Tags: shownTags(r.Tags), RoleLastUsed: &api.RoleLastUsed{},
	})
	return err
}

func addUser(tx *store.Tx, out *api.GetAccountAuthorizationDetailsResponse, u *iam.User) error {
	groups, err := tx.GroupsOf(u.Account, u.Name)
	names := []string{}
	for _, g := range groups {
		names = append(names, g.Name)
	}
	out.UserDetailList = append(out.UserDetailList, api.UserDetail{
		Path: &u.Path, UserName: &u.Name, UserId: &u.ID, Arn: new(u.ARN()), CreateDate: &u.CreatedAt,
		UserPolicyList: shownInline(u.Holdings), GroupList: names, AttachedManagedPolicies: shownAttached(u.Attached),
		PermissionsBoundary: shownBoundary(u.Boundary), Tags: shownTags(u.Tags),
	})
	return err
}

// addPolicy counts uses in the account.
func addPolicy(account string) func(*store.Tx, *api.GetAccountAuthorizationDetailsResponse, *iam.CustomerPolicy) error {
	return func(tx *store.Tx, out *api.GetAccountAuthorizationDetailsResponse, p *iam.CustomerPolicy) error {
		u, err := useOf(tx, account, p)
		shown := shownPolicy(p, u, true)
		d := api.ManagedPolicyDetail{
			PolicyName: shown.PolicyName, PolicyId: shown.PolicyId, Arn: shown.Arn, Path: shown.Path, DefaultVersionId: shown.DefaultVersionId,
			AttachmentCount: shown.AttachmentCount, PermissionsBoundaryUsageCount: shown.PermissionsBoundaryUsageCount,
			IsAttachable: shown.IsAttachable, Description: shown.Description, CreateDate: shown.CreateDate, UpdateDate: shown.UpdateDate,
		}
		for i := range p.Versions {
			d.PolicyVersionList = append(d.PolicyVersionList, *shownVersion(p, &p.Versions[i], true))
		}
		out.Policies = append(out.Policies, d)
		return err
	}
}

// usedAWSPolicies returns up to limit of AWS's policies that the account
// uses, behind an ARN.
func usedAWSPolicies(tx *store.Tx, account, after string, limit int) (list []*iam.CustomerPolicy, err error) {
	for _, m := range iam.ManagedPolicies() {
		if m.ARN <= after || len(list) == limit {
			continue
		}
		p := awsPolicy(m)
		u, err := useOf(tx, account, p)
		if err != nil {
			return nil, err
		}
		if u != (use{}) {
			list = append(list, p)
		}
	}
	return list, nil
}
