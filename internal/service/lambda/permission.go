package lambda

import (
	"cmp"
	"context"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
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
		err := changePolicy(tx, f, ref, in.RevisionId, func(p function.Policy) (function.Policy, error) { return p.Add(statement) })
		return &api.AddPermissionResponse{Statement: new(statement.JSON())}, err
	})
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
func grantee(in *api.RemovePermissionRequest) func(*function.Function) iam.Context {
	return func(f *function.Function) iam.Context {
		ref, _ := function.ParseRef(*in.FunctionName)
		var named []string
		for _, statement := range f.Policies[cmp.Or(value(in.Qualifier), ref.Qualifier)].Statements {
			if statement.Sid != *in.StatementId {
				continue
			}
			for _, p := range statement.Principal {
				named = append(named, p)
				if a, ok := arn.Parse(p); ok && a.Resource == "root" {
					named = append(named, a.Account)
				}
			}
		}
		return func(key string) iam.Value {
			if key != "lambda:principal" {
				return iam.Value{}
			}
			return iam.List(named)
		}
	}
}

// RemovePermission removes a statement from a resource policy.
func (s *Service) RemovePermission(ctx context.Context, call *wire.Call, in *api.RemovePermissionRequest) (*api.RemovePermissionResponse, error) {
	ref, err := s.guarded(ctx, call, in.FunctionName, in.Qualifier, grantee(in))
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
		out = &api.GetPolicyResponse{Policy: new(p.JSON()), RevisionId: new(t.revision())}
		return nil
	})
	return out, err
}
