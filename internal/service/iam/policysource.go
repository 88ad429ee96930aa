package iam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// principalPolicies returns the policies of a user with its groups, of a
// group or of a role, authorised for the call.
func (s *Service) principalPolicies(tx *store.Tx, call *wire.Call, from string) (*simulation, error) {
	if err := checkARN(from); err != nil {
		return nil, err
	}
	a, _ := arn.Parse(from)
	kind, path, _ := strings.Cut(a.Resource, "/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	m := &simulation{}
	switch {
	case a.Service != "iam":
	case kind == "user":
		u, err := sourceOf(&s.users, tx, call, from, a.Account, name)
		if err != nil {
			return nil, err
		}
		return m, m.addUser(tx, u)
	case kind == "role":
		r, err := sourceOf(&s.roles, tx, call, from, a.Account, name)
		if err != nil {
			return nil, err
		}
		return m, m.addRole(tx, r)
	case kind == "group":
		g, err := sourceOf(&s.groups, tx, call, from, a.Account, name)
		if err != nil {
			return nil, err
		}
		m.caller = iam.Principal{Type: iam.IAMUser, Account: g.Account}
		return m, m.addHoldings(tx, holderOfGroup(g))
	}
	return nil, fault.New(fault.Parameter, "Invalid Entity Arn: %s does not clearly define entity type and name.", from)
}

// sourceOf finds an identity by its ARN, authorised. One of another account is
// there for the refusal alone.
func sourceOf[T any](f *family[T], tx *store.Tx, call *wire.Call, from, account, name string) (*T, error) {
	if account != call.Principal.Account {
		x := f.absent(account, name)
		if err := f.allow(call, x, ""); err != nil {
			return nil, err
		}
		return nil, f.missing(name)
	}
	x, err := f.get(tx, call, name)
	if err == nil && f.about(x).arn != from {
		return nil, f.missing(name)
	}
	return x, err
}

func (m *simulation) addUser(tx *store.Tx, u *iam.User) error {
	m.caller = iam.Principal{Type: iam.IAMUser, Account: u.Account, ARN: u.ARN(), ID: u.ID, Name: u.Name}
	m.tags = u.Tags
	if err := m.addHoldings(tx, holderOfUser(u)); err != nil {
		return err
	}
	groups, err := tx.GroupsOf(u.Account, u.Name)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := m.addHoldings(tx, holderOfGroup(g)); err != nil {
			return err
		}
	}
	return nil
}

// simulatedSession is the name of the session in which a role is simulated.
const simulatedSession = "simulation"

func (m *simulation) addRole(tx *store.Tx, r *iam.Role) error {
	m.caller = iam.Principal{
		Type: iam.AssumedRole, Account: r.Account, ARN: r.SessionARN(simulatedSession), ID: r.ID + ":" + simulatedSession, Name: r.Name,
		Session: simulatedSession, RoleARN: r.ARN(),
	}
	m.tags = r.Tags
	return m.addHoldings(tx, holderOfRole(r))
}

// addHoldings adds the inline and managed policies of an identity, and its
// boundary.
func (m *simulation) addHoldings(tx *store.Tx, h holder) error {
	var sources []source
	for _, name := range slices.Sorted(maps.Keys(h.Inline)) {
		sources = append(sources, source{h.noun + "_" + h.name + "_" + name, identitySource, h.Inline[name]})
	}
	for _, attached := range h.Attached {
		from, err := managedSource(tx, h.account, attached)
		if err != nil {
			return err
		}
		sources = append(sources, from)
	}
	for _, from := range sources {
		p, err := m.add(from)
		if err != nil {
			return err
		}
		m.policies.Identity = append(m.policies.Identity, p)
	}
	if h.Boundary == "" {
		return nil
	}
	from, err := managedSource(tx, h.account, h.Boundary)
	if err != nil {
		return err
	}
	m.policies.Boundary, err = m.add(from)
	return err
}

// managedSource is the version in force of a managed policy. Policies that
// are in use are not deleted.
func managedSource(tx *store.Tx, account, policy string) (source, error) {
	p, err := findPolicy(tx, account, policy)
	if err != nil {
		return source{}, &fault.Error{Kind: fault.Internal, Subject: policy, Cause: fmt.Errorf("finding a policy in use: %w", err)}
	}
	return source{p.Name, identitySource, p.Version(p.Default).Document}, nil
}

// messageOf returns the text that a client may read.
func messageOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Message
	}
	return ""
}

// GetContextKeysForCustomPolicy lists the condition keys that policies ask
// for.
func (s *Service) GetContextKeysForCustomPolicy(_ context.Context, call *wire.Call, in *api.GetContextKeysForCustomPolicyRequest) (*api.GetContextKeysForPolicyResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	return (&simulation{}).contextKeys(in.PolicyInputList)
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies
// of an identity ask for, and those in the request.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, call *wire.Call, in *api.GetContextKeysForPrincipalPolicyRequest) (*api.GetContextKeysForPolicyResponse, error) {
	var m *simulation
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		m, err = s.principalPolicies(tx, call, *in.PolicySourceArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m.contextKeys(in.PolicyInputList)
}

func (m *simulation) contextKeys(input []string) (*api.GetContextKeysForPolicyResponse, error) {
	if err := m.addInput(input); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	out := &api.GetContextKeysForPolicyResponse{ContextKeyNames: []string{}}
	for _, p := range m.policies.Identity {
		for _, key := range p.ContextKeys() {
			if folded := strings.ToLower(key); !seen[folded] {
				seen[folded] = true
				out.ContextKeyNames = append(out.ContextKeyNames, key)
			}
		}
	}
	return out, nil
}
