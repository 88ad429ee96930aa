package iam

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxManaged is the size of a managed policy in characters, white space aside
// (AWS docs).
const maxManaged = 6144

// awsAccount stands for the account in the ARNs of AWS managed policies.
const awsAccount = "aws"

// policyFamily has customer managed policies and, to be read, those of AWS.
// Requests name them by ARN.
func policyFamily(cfg Config) family[iam.CustomerPolicy] {
	return family[iam.CustomerPolicy]{
		Config:   cfg,
		resource: "AWS::IAM::Policy",
		noun:     "policy",
		tagging:  "iam:TagPolicy",
		find:     findPolicy,
		absent:   absentPolicy,
		save:     (*store.Tx).SaveCustomerPolicy,
		delete:   func(tx *store.Tx, p *iam.CustomerPolicy) error { return tx.DeleteCustomerPolicy(p.Account, p.Name) },
		clone:    (*iam.CustomerPolicy).Clone,
		about:    func(p *iam.CustomerPolicy) about { return about{arn: p.ARN(), name: p.Name, tags: p.Tags} },
		missing:  func(arn string) error { return fault.New(fault.NotFound, "Policy %s was not found.", arn) },
		taken: func(name string) error {
			return fault.New(fault.Exists, "A policy called %s already exists. Duplicate names are not allowed.", name)
		},
	}
}

func (s *Service) policyOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreatePolicy", s.CreatePolicy),
		wire.Handle("CreatePolicyVersion", s.CreatePolicyVersion),
		wire.Handle("DeletePolicy", s.DeletePolicy),
		wire.Handle("DeletePolicyVersion", s.DeletePolicyVersion),
		wire.Handle("GetPolicy", s.GetPolicy),
		wire.Handle("GetPolicyVersion", s.GetPolicyVersion),
		wire.Handle("ListEntitiesForPolicy", s.ListEntitiesForPolicy),
		wire.Handle("ListPolicies", s.ListPolicies),
		wire.Handle("ListPolicyTags", s.ListPolicyTags),
		wire.Handle("ListPolicyVersions", s.ListPolicyVersions),
		wire.Handle("SetDefaultPolicyVersion", s.SetDefaultPolicyVersion),
		wire.Handle("TagPolicy", s.TagPolicy),
		wire.Handle("UntagPolicy", s.UntagPolicy),
	}
}

// findPolicy returns the managed policy with the ARN: one of the account, or
// of AWS. What is no ARN is refused.
func findPolicy(tx *store.Tx, account, policy string) (*iam.CustomerPolicy, error) {
	a, ok := arn.Parse(policy)
	if !ok {
		return nil, checkARN(policy)
	}
	if m, found := iam.ManagedPolicyByARN(policy); found {
		return awsPolicy(m), nil
	}
	if a.Account != account {
		return nil, fault.New(fault.NotFound, "")
	}
	_, name := policyPath(policy)
	p, err := tx.CustomerPolicy(account, name)
	if err == nil && p.ARN() != policy {
		return nil, fault.New(fault.NotFound, "")
	}
	return p, err
}

func absentPolicy(_, policy string) *iam.CustomerPolicy {
	a, _ := arn.Parse(policy)
	path, name := policyPath(policy)
	return &iam.CustomerPolicy{Account: a.Account, Path: path, Name: name}
}

// awsPolicy shows one of AWS's policies as if AWS were an account. IDs and
// dates are ours: they do not change.
func awsPolicy(m iam.ManagedPolicy) *iam.CustomerPolicy {
	hash := sha256.Sum256([]byte(m.ARN))
	made := time.Date(2015, time.February, 6, 18, 0, 0, 0, time.UTC)
	return &iam.CustomerPolicy{
		Account: awsAccount, Name: m.Name, Path: m.Path, ID: "ANPA" + base32.StdEncoding.EncodeToString(hash[:])[:17], Description: m.Description,
		CreatedAt: made, UpdatedAt: made, Versions: []iam.PolicyVersion{{ID: "v1", Document: m.Document, CreatedAt: made}}, Default: "v1", NextVersion: 2,
	}
}

// CreatePolicy makes a managed policy with its first version.
func (s *Service) CreatePolicy(ctx context.Context, call *wire.Call, in *api.CreatePolicyRequest) (*api.CreatePolicyResponse, error) {
	now := call.Time.UTC().Truncate(time.Second)
	p := &iam.CustomerPolicy{
		Account: call.Principal.Account, Name: *in.PolicyName, Path: pathOf(in.Path), ID: newID("ANPA"), Description: text(in.Description),
		CreatedAt: now, UpdatedAt: now, Default: "v1", NextVersion: 2,
		Versions: []iam.PolicyVersion{{ID: "v1", Document: *in.PolicyDocument, CreatedAt: now}},
	}
	out := &api.CreatePolicyResponse{Policy: &api.Policy{}}
	return out, s.policies.create(ctx, call, p, out, func(*store.Tx) (err error) {
		if err := checkManaged(*in.PolicyDocument); err != nil {
			return err
		}
		p.Tags, err = addTags(call, nil, in.Tags, "TagsPerPolicy")
		*out.Policy = *shownPolicy(p, use{}, true)
		return err
	})
}

// checkManaged refuses a managed policy that is not well formed or too large.
func checkManaged(text string) error {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return err
	}
	if size(text) > maxManaged {
		return fault.New(fault.Limit, "Cannot exceed quota for PolicySize: %d", maxManaged)
	}
	return d.CheckManaged()
}

// use counts how often a policy is attached, and how often it is a boundary.
type use struct{ attached, boundaries int }

func useOf(tx *store.Tx, account string, p *iam.CustomerPolicy) (u use, err error) {
	u.attached, u.boundaries, err = tx.PolicyUse(account, p.ARN())
	return u, err
}

// shownPolicy is a policy as answers have it; lists leave tags and
// description out (AWS docs).
func shownPolicy(p *iam.CustomerPolicy, u use, whole bool) *api.Policy {
	out := &api.Policy{
		PolicyName: &p.Name, PolicyId: &p.ID, Arn: new(p.ARN()), Path: &p.Path, DefaultVersionId: &p.Default,
		AttachmentCount: new(int64(u.attached)), PermissionsBoundaryUsageCount: new(int64(u.boundaries)), IsAttachable: new(true),
		CreateDate: &p.CreatedAt, UpdateDate: &p.UpdatedAt,
	}
	if whole {
		out.Tags = someTags(p.Tags)
		out.Description = optional(p.Description)
	}
	return out
}

// GetPolicy shows a managed policy without its documents.
func (s *Service) GetPolicy(ctx context.Context, call *wire.Call, in *api.GetPolicyRequest) (*api.GetPolicyResponse, error) {
	out := &api.GetPolicyResponse{}
	return out, s.policies.view(ctx, call, *in.PolicyArn, func(tx *store.Tx, p *iam.CustomerPolicy) error {
		u, err := useOf(tx, call.Principal.Account, p)
		out.Policy = shownPolicy(p, u, true)
		return err
	})
}

// DeletePolicy removes a policy that is not used and has one version only.
func (s *Service) DeletePolicy(ctx context.Context, call *wire.Call, in *api.DeletePolicyRequest) (*api.DeletePolicyResponse, error) {
	out := &api.DeletePolicyResponse{}
	return out, s.policies.remove(ctx, call, *in.PolicyArn, out, func(tx *store.Tx, p *iam.CustomerPolicy) error {
		u, err := useOf(tx, p.Account, p)
		switch {
		case err != nil:
			return err
		case u != use{}:
			return fault.New(inUse, "Cannot delete a policy attached to entities.")
		case len(p.Versions) > 1:
			return fault.New(inUse, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "+
				"The default version is deleted with the policy.")
		}
		return nil
	})
}

// ListPolicies lists managed policies: those of the account by name, then
// AWS's by ARN.
func (s *Service) ListPolicies(ctx context.Context, call *wire.Call, in *api.ListPoliciesRequest) (*api.ListPoliciesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListPoliciesResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		out.Policies, out.Marker = []api.Policy{}, nil
		most := pageSize(in.MaxItems)
		last := ""
		err := eachPolicy(tx, call.Principal.Account, in, func(place string, p *iam.CustomerPolicy) (bool, error) {
			u, err := useOf(tx, call.Principal.Account, p)
			if err != nil || !wanted(in, u) {
				return true, err
			}
			if len(out.Policies) == most {
				out.Marker = &last
				return false, nil
			}
			last = place
			out.Policies = append(out.Policies, *shownPolicy(p, u, false))
			return true, nil
		})
		out.IsTruncated = new(out.Marker != nil)
		return err
	})
}

// wanted reports whether a list of policies shows one that is so used.
func wanted(in *api.ListPoliciesRequest, u use) bool {
	only := in.OnlyAttached != nil && *in.OnlyAttached
	switch text(in.PolicyUsageFilter) {
	case api.PolicyUsageTypePermissionsBoundary:
		return u.boundaries > 0
	case api.PolicyUsageTypePermissionsPolicy:
		return !only || u.attached > 0
	}
	return !only || u != use{}
}

// eachPolicy calls fn, until it returns false, with the policies in the scope
// and below the path that a request wants, behind its marker. The place of a
// policy in the order of the list makes the marker.
func eachPolicy(tx *store.Tx, account string, in *api.ListPoliciesRequest, fn func(place string, p *iam.CustomerPolicy) (bool, error)) error {
	const own, aws, chunk = "own/", "policy/", 100 // own goes before policy
	scope, prefix, marker := text(in.Scope), pathOf(in.PathPrefix), text(in.Marker)
	after, inOwn := strings.CutPrefix(marker, own)
	for scope != api.PolicyScopeTypeAws && (inOwn || marker == "") {
		list, err := tx.CustomerPolicies(account, prefix, after, chunk)
		if err != nil {
			return err
		}
		for _, p := range list {
			after = p.Name
			if more, err := fn(own+p.Name, p); err != nil || !more {
				return err
			}
		}
		if len(list) < chunk {
			break
		}
	}
	if scope == api.PolicyScopeTypeLocal {
		return nil
	}
	for _, m := range iam.ManagedPolicies() {
		place := aws + strings.TrimPrefix(m.Path, "/") + m.Name
		if !strings.HasPrefix(m.Path, prefix) || place <= marker {
			continue
		}
		if more, err := fn(place, awsPolicy(m)); err != nil || !more {
			return err
		}
	}
	return nil
}

// entityKinds maps the filter of ListEntitiesForPolicy to kinds of holder.
var entityKinds = map[string]iam.HolderKind{
	api.EntityTypeGroup: iam.GroupHolder, api.EntityTypeRole: iam.RoleHolder, api.EntityTypeUser: iam.UserHolder,
}

// ListEntitiesForPolicy lists the groups, roles and users of the account that
// use a managed policy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, call *wire.Call, in *api.ListEntitiesForPolicyRequest) (*api.ListEntitiesForPolicyResponse, error) {
	out := &api.ListEntitiesForPolicyResponse{PolicyGroups: []api.PolicyGroup{}, PolicyUsers: []api.PolicyUser{}, PolicyRoles: []api.PolicyRole{}}
	var holders []iam.PolicyHolder
	err := s.policies.view(ctx, call, *in.PolicyArn, func(tx *store.Tx, p *iam.CustomerPolicy) (err error) {
		holders, err = tx.PolicyHolders(call.Principal.Account, p.ARN())
		return err
	})
	if err != nil {
		return nil, err
	}
	holders = slices.DeleteFunc(holders, func(h iam.PolicyHolder) bool {
		return in.EntityFilter != nil && entityKinds[*in.EntityFilter] != h.Kind || !strings.HasPrefix(h.Path, pathOf(in.PathPrefix)) ||
			in.PolicyUsageFilter != nil && (*in.PolicyUsageFilter == api.PolicyUsageTypePermissionsBoundary) != h.Boundary
	})
	place := func(h iam.PolicyHolder) string { return string(h.Kind) + "/" + strings.ToLower(h.Name) }
	slices.SortStableFunc(holders, func(a, b iam.PolicyHolder) int { return strings.Compare(place(a), place(b)) })
	// A policy may be both attached to a role and its boundary.
	holders = slices.CompactFunc(holders, func(a, b iam.PolicyHolder) bool { return place(a) == place(b) })
	part, next := page(holders, place, in.Marker, in.MaxItems)
	for i := range part {
		h := &part[i]
		switch h.Kind {
		case iam.GroupHolder:
			out.PolicyGroups = append(out.PolicyGroups, api.PolicyGroup{GroupName: &h.Name, GroupId: &h.ID})
		case iam.RoleHolder:
			out.PolicyRoles = append(out.PolicyRoles, api.PolicyRole{RoleName: &h.Name, RoleId: &h.ID})
		case iam.UserHolder:
			out.PolicyUsers = append(out.PolicyUsers, api.PolicyUser{UserName: &h.Name, UserId: &h.ID})
		}
	}
	out.Marker, out.IsTruncated = next, new(next != nil)
	return out, nil
}

// TagPolicy sets tags.
func (s *Service) TagPolicy(ctx context.Context, call *wire.Call, in *api.TagPolicyRequest) (*api.TagPolicyResponse, error) {
	out := &api.TagPolicyResponse{}
	return out, s.policies.change(ctx, call, *in.PolicyArn, out, func(_ *store.Tx, p *iam.CustomerPolicy) (err error) {
		p.Tags, err = addTags(call, p.Tags, in.Tags, "TagsPerPolicy")
		return err
	})
}

// UntagPolicy removes tags; keys that are not there are passed over.
func (s *Service) UntagPolicy(ctx context.Context, call *wire.Call, in *api.UntagPolicyRequest) (*api.UntagPolicyResponse, error) {
	out := &api.UntagPolicyResponse{}
	return out, s.policies.change(ctx, call, *in.PolicyArn, out, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		p.Tags = removeTags(call, p.Tags, in.TagKeys)
		return nil
	})
}

// ListPolicyTags lists a policy's tags by key.
func (s *Service) ListPolicyTags(ctx context.Context, call *wire.Call, in *api.ListPolicyTagsRequest) (*api.ListPolicyTagsResponse, error) {
	out := &api.ListPolicyTagsResponse{}
	return out, s.policies.view(ctx, call, *in.PolicyArn, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		out.Tags, out.Marker, out.IsTruncated = pageOfTags(p.Tags, in.Marker, in.MaxItems)
		return nil
	})
}
