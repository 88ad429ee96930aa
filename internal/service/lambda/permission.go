package lambda

import (
	"cmp"
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// policyRef is ref for policies, which $LATEST has none of its own of (AWS:
// recorded).
func (s *Service) policyRef(ctx context.Context, call *wire.Call, name, qualifier *string) (function.Ref, error) {
	ref, err := s.ref(ctx, call, name, qualifier)
	return ref, cmp.Or(err, checkPolicyRef(ref))
}

func checkPolicyRef(ref function.Ref) error {
	if ref.Qualifier == function.Latest {
		return fault.New(fault.Parameter, "We currently do not support adding policies for $LATEST.")
	}
	return nil
}

// AddPermission adds a statement to the resource policy of a function, a
// version or an alias.
func (s *Service) AddPermission(ctx context.Context, call *wire.Call, in *api.AddPermissionRequest) (*api.AddPermissionResponse, error) {
	ref, err := s.policyRef(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	statement, err := function.NewStatement(function.Grant{
		Sid: *in.StatementId, Action: *in.Action, Principal: *in.Principal, Resource: ref.ARN(),
		SourceARN: value(in.SourceArn), SourceAccount: value(in.SourceAccount), EventSourceToken: value(in.EventSourceToken),
		OrganizationID: value(in.PrincipalOrgID), URLAuthType: value(in.FunctionUrlAuthType), ViaURL: value(in.InvokedViaFunctionUrl),
	})
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.AddPermissionResponse, error) {
		bound, err := bind(tx, statement, f.Account)
		if err != nil {
			return nil, err
		}
		err = changePolicy(tx, f, ref, in.RevisionId, func(p function.Policy) (function.Policy, error) { return p.Add(bound) })
		return &api.AddPermissionResponse{Statement: new(statement.JSON())}, err
	})
}

// bind returns the statement as it is kept: with the unique ID of the user or
// role that it names, so that a namesake made later inherits nothing (AWS
// docs).
func bind(tx *store.Tx, s function.Statement, account string) (function.Statement, error) {
	name, ok := s.Principal["AWS"]
	if !ok {
		return s, nil
	}
	bound, err := authz.BindPrincipal(tx, name, account)
	if isNotFound(err) {
		err = function.InvalidPrincipal().Because(err)
	}
	s.Principal = map[string]string{"AWS": bound}
	return s, err
}

// show returns the policy as it is shown: with the ARNs that users and roles
// have by now, and the unique IDs of those that are gone (AWS docs).
func show(tx *store.Tx, p function.Policy) (function.Policy, error) {
	shown := function.Policy{Statements: slices.Clone(p.Statements)}
	for i := range shown.Statements {
		s := &shown.Statements[i]
		if name, ok := s.Principal["AWS"]; ok {
			current, err := authz.ShowPrincipal(tx, name)
			if err != nil {
				return shown, err
			}
			s.Principal = map[string]string{"AWS": current}
		}
	}
	return shown, nil
}

// changePolicy changes the policy of what ref names and saves it.
func changePolicy(tx *store.Tx, f *function.Function, ref function.Ref, revisionID *string, fn func(function.Policy) (function.Policy, error)) error {
	t, err := findTarget(tx, f, ref)
	if err != nil {
		return err
	}
	if revisionID != nil && *revisionID != t.revision() {
		return fault.New(fault.Precondition,
			"The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")
	}
	p, err := fn(f.Policies[ref.Qualifier])
	if err != nil {
		return err
	}
	if f.Policies == nil {
		f.Policies = map[string]function.Policy{}
	}
	f.Policies[ref.Qualifier] = p
	if len(p.Statements) == 0 {
		delete(f.Policies, ref.Qualifier)
	}
	if err := t.touch(tx); err != nil {
		return err
	}
	return tx.SaveFunction(f)
}

// grantee gives lambda:Principal for the statement that a call is to remove
// (AWS docs): who it names, and the account if that is its root.
func grantee(ref function.Ref, sid string) func(*store.Tx, *function.Function) (iam.Context, error) {
	return func(tx *store.Tx, f *function.Function) (iam.Context, error) {
		policy, err := show(tx, f.Policies[ref.Qualifier])
		var named []string
		for _, statement := range policy.Statements {
			if statement.Sid != sid {
				continue
			}
			for _, p := range statement.Principal {
				named = append(named, spellings(p)...)
			}
		}
		return principals(named), err
	}
}

// principals is the condition key lambda:Principal.
func principals(named []string) iam.Context {
	return func(key string) iam.Value {
		if key != "lambda:principal" {
			return iam.Value{}
		}
		return iam.List(named)
	}
}

// spellings returns all names of a principal: an account has its number and
// the ARN of its root.
func spellings(principal string) []string {
	if a, ok := arn.Parse(principal); ok && a.Resource == "root" {
		return []string{principal, a.Account}
	}
	if function.IsAccount(principal) {
		return []string{principal, authz.RootPrincipal(principal, "").ARN}
	}
	return []string{principal}
}

// RemovePermission removes a statement from a resource policy.
func (s *Service) RemovePermission(ctx context.Context, call *wire.Call, in *api.RemovePermissionRequest) (*api.RemovePermissionResponse, error) {
	ref, err := resolve(call, in.FunctionName, in.Qualifier)
	if err == nil {
		err = s.authorize(ctx, call, ref, grantee(ref, *in.StatementId))
	}
	if err := cmp.Or(err, checkPolicyRef(ref)); err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.RemovePermissionResponse, error) {
		return new(api.RemovePermissionResponse), changePolicy(tx, f, ref, in.RevisionId, func(p function.Policy) (function.Policy, error) {
			if len(p.Statements) == 0 {
				return p, fault.New(fault.NotFound, "No policy is associated with the given resource.")
			}
			return p.Remove(*in.StatementId)
		})
	})
}

// GetPolicy returns a resource policy.
func (s *Service) GetPolicy(ctx context.Context, call *wire.Call, in *api.GetPolicyRequest) (out *api.GetPolicyResponse, err error) {
	ref, err := s.policyRef(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		t, err := findTarget(tx, f, ref)
		if err != nil {
			return err
		}
		p, ok := f.Policies[ref.Qualifier]
		if !ok {
			return fault.New(fault.NotFound, "The resource you requested does not exist.").For(ref.ARN())
		}
		shown, err := show(tx, p)
		out = &api.GetPolicyResponse{Policy: new(shown.JSON()), RevisionId: new(t.revision())}
		return err
	})
	return out, err
}
