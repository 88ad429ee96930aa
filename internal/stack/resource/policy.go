package resource

import (
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// maxPolicyName is the longest name of a policy (AWS docs).
const maxPolicyName = 128

// policyProperties are those of AWS::IAM::Policy.
type policyProperties struct {
	inlinePolicy
	holders
}

// policyHandler handles AWS::IAM::Policy, one inline policy of several
// holders.
func policyHandler() *Handler {
	return typed[policyProperties]{
		iam: true,
		schema: &stack.Schema{
			Type: "AWS::IAM::Policy", Attributes: []string{"Id"},
			Properties: holdersSchema(properties{"PolicyName": required(text()), "PolicyDocument": required(document())}),
		},
		create: createPolicy, update: updatePolicy,
		delete: func(ctx context.Context, r *Request, p *policyProperties) error { return r.removePolicy(ctx, p) },
	}.handler()
}

func (p *policyProperties) check() error {
	if len(p.list()) == 0 { // AWS: reported
		return fault.New(fault.State, "At least one of [Groups,Roles,Users] must be non-empty.")
	}
	return nil
}

func (p *policyProperties) puts() []step {
	return p.steps(func(h holder) step { return h.put(p.inlinePolicy) })
}

func createPolicy(ctx context.Context, r *Request, p *policyProperties) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	id := r.generatedName(maxPolicyName)
	var err error
	var made []step // which a failure takes away
	if r.Resumed {
		made = p.removals() // nobody knows what was put before the crash
	}
	removals := p.removals()
	for i, put := range p.puts() {
		if err = r.Client.each(ctx, put); err != nil {
			break
		}
		if !r.Resumed {
			made = append(made, removals[i])
		}
	}
	if err == nil {
		err = r.initiated(id)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.Client.without(ctx, made...) })
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}}, nil
}

// removals are the steps that take back puts, in the same order.
func (p *policyProperties) removals() []step {
	return p.steps(func(h holder) step { return h.remove(p.PolicyName) })
}

func (r *Request) removePolicy(ctx context.Context, p *policyProperties) error {
	return r.Client.without(ctx, p.removals()...)
}

func updatePolicy(ctx context.Context, r *Request, old, p *policyProperties) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	if err := r.Client.each(ctx, p.puts()...); err != nil {
		return Result{}, err
	}
	left := p.missing(old.holders)
	if old.PolicyName != p.PolicyName {
		left = old.list()
	}
	for _, h := range left {
		if err := r.Client.without(ctx, h.remove(old.PolicyName)); err != nil {
			return Result{}, err
		}
	}
	return Result{PhysicalID: r.PhysicalID}, nil
}

// ownPolicyProperties are those of AWS::IAM::RolePolicy and its like.
type ownPolicyProperties struct {
	inlinePolicy
	RoleName, UserName, GroupName string
}

// ownPolicyHandler handles AWS::IAM::RolePolicy, UserPolicy and GroupPolicy.
func ownPolicyHandler(kind holderKind) *Handler {
	of := func(p *ownPolicyProperties) holder {
		return holder{kind, p.RoleName + p.UserName + p.GroupName} // of which one is given
	}
	put := func(ctx context.Context, r *Request, p *ownPolicyProperties) (Result, error) {
		id := p.PolicyName + "|" + of(p).name
		if err := r.Client.each(ctx, of(p).put(p.inlinePolicy)); err != nil {
			return Result{}, err
		}
		return Result{PhysicalID: id}, r.initiated(id)
	}
	return typed[ownPolicyProperties]{
		iam: true,
		schema: &stack.Schema{
			Type: "AWS::IAM::" + string(kind) + "Policy",
			Properties: properties{
				string(kind) + "Name": fixed(required(text())), "PolicyName": fixed(required(text())), "PolicyDocument": required(document()),
			},
		},
		create: put,
		update: func(ctx context.Context, r *Request, _, p *ownPolicyProperties) (Result, error) {
			return put(ctx, r, p)
		},
		delete: func(ctx context.Context, r *Request, p *ownPolicyProperties) error {
			return r.Client.without(ctx, of(p).remove(p.PolicyName))
		},
	}.handler()
}

// managedPolicyProperties are those of AWS::IAM::ManagedPolicy.
type managedPolicyProperties struct {
	holders
	ManagedPolicyName, Path, Description *string
	PolicyDocument                       string
}

// managedPolicyHandler handles AWS::IAM::ManagedPolicy.
func managedPolicyHandler() *Handler {
	return typed[managedPolicyProperties]{
		iam: true, named: "ManagedPolicyName",
		schema: &stack.Schema{
			Type: "AWS::IAM::ManagedPolicy",
			Attributes: []string{
				"PolicyArn", "PolicyId", "AttachmentCount", "CreateDate", "DefaultVersionId", "IsAttachable", "PermissionsBoundaryUsageCount", "UpdateDate",
			},
			Properties: holdersSchema(properties{
				"PolicyDocument": required(document()), "ManagedPolicyName": fixed(text()), "Path": fixed(text()), "Description": fixed(text()),
			}),
		},
		create: createManagedPolicy, update: updateManagedPolicy,
		delete: func(ctx context.Context, r *Request, p *managedPolicyProperties) error {
			return r.removeManagedPolicy(ctx, r.PhysicalID, p)
		},
	}.handler()
}

func createManagedPolicy(ctx context.Context, r *Request, p *managedPolicyProperties) (Result, error) {
	name, _ := r.nameOr(p.ManagedPolicyName, maxPolicyName)
	arn, err := r.makeManagedPolicy(ctx, name, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(arn); err == nil {
		err = r.Client.each(ctx, p.steps(func(h holder) step { return h.attach(arn) })...)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeManagedPolicy(ctx, arn, p) })
	}
	return r.managedPolicyResult(ctx, arn)
}

// makeManagedPolicy creates a policy, with tags that tell whose it is after a
// crash.
func (r *Request) makeManagedPolicy(ctx context.Context, name string, p *managedPolicyProperties) (arn string, err error) {
	out, err := call[api.CreatePolicyResponse](ctx, r.Client, iamService, "CreatePolicy", &api.CreatePolicyRequest{
		PolicyName: &name, Path: p.Path, Description: p.Description, PolicyDocument: &p.PolicyDocument,
		Tags: iamTags(SystemTags(r.Stack, r.LogicalID)),
	})
	if err == nil {
		return *out.Policy.Arn, nil
	}
	path := "/"
	if p.Path != nil {
		path = *p.Path
	}
	arn = "arn:" + r.Stack.Partition + ":iam::" + r.Stack.Account + ":policy" + path + name
	if exists(err) {
		if made, failed := r.getPolicy(ctx, arn); failed == nil && r.ours(arn, iamTag(made.Tags)) {
			return arn, nil
		}
	}
	return "", err
}

func (r *Request) getPolicy(ctx context.Context, arn string) (*api.Policy, error) {
	out, err := call[api.GetPolicyResponse](ctx, r.Client, iamService, "GetPolicy", &api.GetPolicyRequest{PolicyArn: &arn})
	if err != nil {
		return nil, err
	}
	return out.Policy, nil
}

// currentDocument is the text of a policy's default version.
func (r *Request) currentDocument(ctx context.Context, arn string) (string, error) {
	policy, err := r.getPolicy(ctx, arn)
	if err != nil {
		return "", err
	}
	out, err := call[api.GetPolicyVersionResponse](ctx, r.Client, iamService, "GetPolicyVersion",
		&api.GetPolicyVersionRequest{PolicyArn: &arn, VersionId: policy.DefaultVersionId})
	if err != nil {
		return "", err
	}
	return unescapeDocument(deref(out.PolicyVersion.Document))
}

func (r *Request) managedPolicyResult(ctx context.Context, arn string) (Result, error) {
	p, err := r.getPolicy(ctx, arn)
	if err != nil {
		return Result{}, err
	}
	return Result{PhysicalID: arn, Attributes: map[string]any{
		"PolicyArn": arn, "PolicyId": deref(p.PolicyId), "DefaultVersionId": deref(p.DefaultVersionId), "AttachmentCount": deref(p.AttachmentCount),
		"IsAttachable": deref(p.IsAttachable), "PermissionsBoundaryUsageCount": deref(p.PermissionsBoundaryUsageCount),
		"CreateDate": instant(p.CreateDate), "UpdateDate": instant(p.UpdateDate),
	}}, nil
}

func updateManagedPolicy(ctx context.Context, r *Request, old, p *managedPolicyProperties) (Result, error) {
	arn := r.PhysicalID
	document, err := r.currentDocument(ctx, arn)
	if err != nil {
		return Result{}, err
	}
	if document != p.PolicyDocument {
		if err := r.newVersion(ctx, arn, p.PolicyDocument); err != nil {
			return Result{}, err
		}
	}
	if err := r.Client.each(ctx, p.steps(func(h holder) step { return h.attach(arn) })...); err != nil {
		return Result{}, err
	}
	for _, h := range p.missing(old.holders) {
		if err := r.Client.without(ctx, h.detach(arn)); err != nil {
			return Result{}, err
		}
	}
	return r.managedPolicyResult(ctx, arn)
}

// maxVersions is how many versions a policy can have (AWS docs).
const maxVersions = 5

// newVersion gives a policy a new default version, in place of its oldest if
// it has as many as it can.
func (r *Request) newVersion(ctx context.Context, arn, document string) error {
	versions, err := r.otherVersions(ctx, arn)
	if err != nil {
		return err
	}
	if len(versions) >= maxVersions-1 {
		oldest := slices.MinFunc(versions, func(a, b api.PolicyVersion) int { return a.CreateDate.Compare(*b.CreateDate) })
		if err := r.Client.without(ctx, dropVersion(arn, oldest)); err != nil {
			return err
		}
	}
	return r.Client.do(ctx, iamService, "CreatePolicyVersion",
		&api.CreatePolicyVersionRequest{PolicyArn: &arn, PolicyDocument: &document, SetAsDefault: new(true)})
}

func dropVersion(arn string, v api.PolicyVersion) step {
	return step{iamService, "DeletePolicyVersion", &api.DeletePolicyVersionRequest{PolicyArn: &arn, VersionId: v.VersionId}}
}

// otherVersions are a policy's versions without the default.
func (r *Request) otherVersions(ctx context.Context, arn string) ([]api.PolicyVersion, error) {
	out, err := call[api.ListPolicyVersionsResponse](ctx, r.Client, iamService, "ListPolicyVersions", &api.ListPolicyVersionsRequest{PolicyArn: &arn})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(out.Versions), func(v api.PolicyVersion) bool { return deref(v.IsDefaultVersion) }), nil
}

func (r *Request) removeManagedPolicy(ctx context.Context, arn string, p *managedPolicyProperties) error {
	steps := p.steps(func(h holder) step { return h.detach(arn) })
	versions, err := r.otherVersions(ctx, arn)
	if gone(err) != nil {
		return err
	}
	for _, v := range versions {
		steps = append(steps, dropVersion(arn, v))
	}
	return r.Client.without(ctx, append(steps, step{iamService, "DeletePolicy", &api.DeletePolicyRequest{PolicyArn: &arn}})...)
}
