package iam

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) simulationOps() []wire.Op {
	return []wire.Op{
		wire.Handle("GetContextKeysForCustomPolicy", s.GetContextKeysForCustomPolicy),
		wire.Handle("GetContextKeysForPrincipalPolicy", s.GetContextKeysForPrincipalPolicy),
		wire.Handle("SimulateCustomPolicy", s.SimulateCustomPolicy),
		wire.Handle("SimulatePrincipalPolicy", s.SimulatePrincipalPolicy),
	}
}

// simulation is a set of policies to ask about any number of actions and
// resources.
type simulation struct {
	sources  []source
	policies iam.Policies
	caller   iam.Principal
	tags     []iam.Tag // of the caller
	owner    string    // of resources whose ARN does not tell
	values   iam.Context
}

// source is a policy of a simulation: what answers call it, and its text.
type source struct{ id, kind, text string }

// The types of policy in answers (AWS: reported).
const (
	identitySource = "IAM Policy"
	resourceSource = "Resource Policy"
)

// add compiles a policy. Its name is its place among the sources, because IDs
// need not be unique.
func (m *simulation) add(from source) (*iam.Policy, error) {
	p, err := iam.CompileText(from.text, strconv.Itoa(len(m.sources)))
	if err != nil {
		return nil, invalidPolicy(from.id, err)
	}
	m.sources = append(m.sources, from)
	return p, nil
}

// invalidPolicy is the refusal of a policy to be simulated (assumed).
func invalidPolicy(id string, err error) error {
	reason := "Syntax errors in policy."
	if fault.Is(err, fault.Policy) {
		reason = messageOf(err)
	}
	return fault.New(fault.Parameter, "Invalid policy %s: %s", id, reason).Because(err)
}

// addInput adds the policies that a request gives.
func (m *simulation) addInput(list []string) error {
	for i, text := range list {
		p, err := m.add(source{"PolicyInputList." + strconv.Itoa(i+1), identitySource, text})
		if err != nil {
			return err
		}
		m.policies.Identity = append(m.policies.Identity, p)
	}
	return nil
}

// addBoundary takes the boundary that a request gives, in place of the
// caller's own (AWS docs).
func (m *simulation) addBoundary(list []string) (err error) {
	if len(list) > 1 {
		return fault.New(fault.Parameter, "Only one permissions boundary policy can be specified.")
	}
	if len(list) == 1 {
		m.policies.Boundary, err = m.add(source{"PermissionsBoundaryPolicyInputList.1", identitySource, list[0]})
	}
	return err
}

// addResource takes the policy of the resources that a request gives.
func (m *simulation) addResource(text *string) (err error) {
	if text == nil {
		return nil
	}
	if m.caller.ARN == "" {
		return fault.New(fault.Parameter, "CallerArn is required if a resource policy is specified.")
	}
	m.policies.Resource, err = m.add(source{"ResourcePolicy", resourceSource, *text})
	return err
}

// setCaller takes the user that a request gives as the caller.
func (m *simulation) setCaller(caller *string) error {
	if caller == nil {
		return nil
	}
	a, ok := arn.Parse(*caller)
	path, isUser := strings.CutPrefix(a.Resource, "user/")
	if !ok || a.Service != "iam" || !isUser {
		return fault.New(fault.Parameter, "The caller ARN %s is not the ARN of an IAM user.", *caller)
	}
	if m.caller.ARN == *caller {
		return nil
	}
	m.caller = iam.Principal{Type: iam.IAMUser, Account: a.Account, ARN: *caller, Name: path[strings.LastIndexByte(path, '/')+1:]}
	m.tags = nil
	return nil
}

// setOwner takes the account that owns resources: its number, or the ARN of
// its root.
func (m *simulation) setOwner(owner *string) {
	if owner == nil {
		return
	}
	m.owner = *owner
	if a, ok := arn.Parse(*owner); ok {
		m.owner = a.Account
	}
}

// setValues takes the values of condition keys. Tags of the caller are known
// without them.
func (m *simulation) setValues(entries []api.ContextEntry) {
	values := map[string][]string{}
	for _, e := range entries {
		if e.ContextKeyName != nil {
			values[*e.ContextKeyName] = e.ContextKeyValues
		}
	}
	entered := iam.ContextOf(values)
	m.values = func(key string) iam.Value {
		tag, isTag := strings.CutPrefix(key, "aws:principaltag/")
		if v := entered(key); !v.IsZero() || !isTag {
			return v
		}
		return iam.TagValue(m.tags, tag)
	}
}

// SimulateCustomPolicy tells what the policies in the request allow.
func (s *Service) SimulateCustomPolicy(_ context.Context, call *wire.Call, in *api.SimulateCustomPolicyRequest) (*api.SimulatePolicyResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	return (&simulation{}).run(&api.SimulatePrincipalPolicyRequest{
		PolicyInputList: in.PolicyInputList, PermissionsBoundaryPolicyInputList: in.PermissionsBoundaryPolicyInputList,
		ActionNames: in.ActionNames, ResourceArns: in.ResourceArns, ResourcePolicy: in.ResourcePolicy, ResourceOwner: in.ResourceOwner,
		CallerArn: in.CallerArn, ContextEntries: in.ContextEntries, MaxItems: in.MaxItems, Marker: in.Marker,
	}, call.Principal.Account)
}

// SimulatePrincipalPolicy tells what the policies of a user with its groups,
// of a group or of a role allow, and those in the request beside them.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, call *wire.Call, in *api.SimulatePrincipalPolicyRequest) (*api.SimulatePolicyResponse, error) {
	var m *simulation
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		m, err = s.principalPolicies(tx, call, *in.PolicySourceArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m.run(in, call.Principal.Account)
}

// run answers one page of a request.
func (m *simulation) run(in *api.SimulatePrincipalPolicyRequest, account string) (*api.SimulatePolicyResponse, error) {
	for _, step := range []func() error{
		func() error { return m.setCaller(in.CallerArn) },
		func() error { return m.addInput(in.PolicyInputList) },
		func() error { return m.addBoundary(in.PermissionsBoundaryPolicyInputList) },
		func() error { return m.addResource(in.ResourcePolicy) },
		func() error { return checkNames(in.ActionNames, in.ResourceArns) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if m.caller.IsZero() {
		// Somebody of the account, of whom nothing is known.
		m.caller = iam.Principal{Type: iam.IAMUser, Account: account}
	}
	m.setOwner(in.ResourceOwner)
	m.setValues(in.ContextEntries)
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	total := len(in.ActionNames) * len(resources)
	start, err := strconv.Atoi(cmp.Or(text(in.Marker), "0"))
	if err != nil || start < 0 || start > total {
		return nil, fault.New(fault.Parameter, "Invalid Marker: %s", text(in.Marker))
	}
	end := min(start+pageSize(in.MaxItems), total)
	out := &api.SimulatePolicyResponse{EvaluationResults: []api.EvaluationResult{}, IsTruncated: new(end < total)}
	if end < total {
		out.Marker = new(strconv.Itoa(end))
	}
	for i := start; i < end; i++ {
		out.EvaluationResults = append(out.EvaluationResults, m.result(in.ActionNames[i/len(resources)], resources[i%len(resources)], len(in.ResourceArns) > 0))
	}
	return out, nil
}

// checkNames refuses what is no action or no resource.
func checkNames(actions, resources []string) error {
	for _, a := range actions {
		vendor, name, ok := strings.Cut(a, ":")
		if !ok || vendor == "" || name == "" || strings.ContainsAny(a, "*?") {
			return fault.New(fault.Parameter, "The action %s is not valid.", a)
		}
	}
	for _, r := range resources {
		if r != "*" {
			if _, ok := arn.Parse(r); !ok {
				return fault.New(fault.Parameter, "ARN %s is not valid.", r)
			}
		}
	}
	return nil
}

// ownerOf returns the account of a resource: that in its ARN, or else the one
// given, or the caller's.
func (m *simulation) ownerOf(resource string) string {
	if a, ok := arn.Parse(resource); ok && a.Account != "" {
		return a.Account
	}
	return m.owner
}

// kindOf tells how the resource policy goes together with those of
// identities. Without one, identities decide alone.
func (m *simulation) kindOf(resource string) iam.ResourceKind {
	a, _ := arn.Parse(resource)
	switch {
	case m.policies.Resource == nil:
		return iam.OrdinaryResource
	case a.Service == "kms" && strings.HasPrefix(a.Resource, "key/"):
		return iam.KeyResource
	case a.Service == "iam" && strings.HasPrefix(a.Resource, "role/"):
		return iam.RoleResource
	}
	return iam.OrdinaryResource
}

// result decides one action on one resource. Where resources were given, the
// particulars are beside the resource too (AWS docs).
func (m *simulation) result(action, resource string, given bool) api.EvaluationResult {
	policies := m.policies
	policies.Kind = m.kindOf(resource)
	e := iam.Explain(&iam.Request{
		Principal: m.caller, Action: action, Resource: resource, ResourceAccount: m.ownerOf(resource), Context: m.values,
	}, &policies)
	missing := append([]string{}, e.MissingKeys...)
	r := api.EvaluationResult{
		EvalActionName: &action, EvalResourceName: &resource, EvalDecision: new(string(e.Decision.Effect)),
		MatchedStatements: m.matches(&e), MissingContextValues: missing, PermissionsBoundaryDecisionDetail: boundaryDetail(&e),
	}
	if given {
		r.EvalDecisionDetails = crossAccount(&e)
		r.MissingContextValues = []string{}
		r.ResourceSpecificResults = []api.ResourceSpecificResult{{
			EvalResourceName: &resource, EvalResourceDecision: r.EvalDecision, MatchedStatements: r.MatchedStatements,
			MissingContextValues: missing, EvalDecisionDetails: r.EvalDecisionDetails, PermissionsBoundaryDecisionDetail: r.PermissionsBoundaryDecisionDetail,
		}}
	}
	return r
}

// matches lists the statements that made the decision: those that deny, or
// else those that allow (AWS docs).
func (m *simulation) matches(e *iam.Explanation) []api.Statement {
	list := []api.Statement{}
	effect := map[iam.Verdict]iam.Effect{iam.Allowed: iam.Allow, iam.ExplicitDeny: iam.Deny}[e.Decision.Effect]
	for _, l := range e.Layers {
		for _, match := range l.Matches {
			if match.Effect == effect {
				list = append(list, m.statement(match.Statement))
			}
		}
	}
	return list
}

func (m *simulation) statement(ref iam.StatementRef) api.Statement {
	place, _ := strconv.Atoi(ref.Policy)
	from := &m.sources[place]
	s := api.Statement{SourcePolicyId: &from.id, SourcePolicyType: &from.kind}
	if spans := iam.Spans(from.text); ref.Number <= len(spans) {
		s.StartPosition, s.EndPosition = shownPosition(spans[ref.Number-1].Start), shownPosition(spans[ref.Number-1].End)
	}
	return s
}

func shownPosition(p iam.Position) *api.Position {
	return &api.Position{Line: new(int64(p.Line)), Column: new(int64(p.Column))}
}

// boundaryDetail tells what the boundary says, nil where there is none.
func boundaryDetail(e *iam.Explanation) *api.PermissionsBoundaryDecisionDetail {
	i := slices.IndexFunc(e.Layers, func(l iam.LayerFinding) bool { return l.Layer == iam.BoundaryLayer })
	if i < 0 {
		return nil
	}
	return &api.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: new(e.Layers[i].Effect == iam.Allowed)}
}

// crossAccount tells what each type of policy says where two accounts are
// concerned, and nothing elsewhere (AWS docs).
func crossAccount(e *iam.Explanation) map[string]string {
	details := map[string]string{}
	for _, l := range e.Layers {
		switch {
		case !e.CrossAccount:
		case l.Layer == iam.IdentityLayer:
			details[identitySource] = string(l.Effect)
		case l.Layer == iam.ResourceLayer || l.Layer == iam.TrustLayer:
			details[resourceSource] = string(l.Effect)
		}
	}
	return details
}
