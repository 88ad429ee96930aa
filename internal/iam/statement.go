package iam

import (
	"slices"
	"strings"
)

// grant says how closely a statement of a resource's policy names the caller.
type grant uint8

const (
	noGrant grant = iota
	// toAccount names the caller's account, which has to pass the permission
	// on by its own policies.
	toAccount
	// toRole names the role of the caller's session.
	toRole
	// toCaller names the caller itself, or everybody.
	toCaller
)

// to tells how closely the list names the caller (AWS docs). Services belong
// to no account, and an account's root is the account.
func (p *principalSet) to(caller *Principal) grant {
	switch {
	case p.everybody:
		return toCaller
	case caller.Type == Service:
		return grantIf(slices.Contains(p.services, caller.InvokedBy), toCaller)
	case caller.Type == WebIdentity:
		return grantIf(slices.Contains(p.federated, caller.IdentityProvider) || slices.Contains(p.federated, "*"), toCaller)
	case !caller.hasAccount():
		return noGrant
	case slices.ContainsFunc(p.identities, caller.is):
		return toCaller
	case caller.Type == AssumedRole && slices.ContainsFunc(p.identities, caller.hasRole):
		return toRole
	case slices.Contains(p.accounts, caller.Account):
		if caller.Type == Root {
			return toCaller
		}
		return toAccount
	}
	return noGrant
}

func grantIf(named bool, g grant) grant {
	if named {
		return g
	}
	return noGrant
}

// is reports whether the name is the ARN or the unique ID of the caller.
func (p *Principal) is(name string) bool {
	return name == p.ARN || name == p.ID
}

// hasRole reports whether the name is the ARN or the unique ID of the role
// behind the session.
func (p *Principal) hasRole(name string) bool {
	return name == p.RoleARN || len(p.ID) > len(name) && p.ID[len(name)] == ':' && strings.HasPrefix(p.ID, name)
}

// excepts reports whether a NotPrincipal element with this list spares the
// caller from a Deny: it must name the account, the role if there is one, and
// the caller (AWS docs).
func (p *principalSet) excepts(caller *Principal) bool {
	if p.everybody || !caller.hasAccount() {
		return p.to(caller) == toCaller
	}
	if !slices.Contains(p.accounts, caller.Account) {
		return false
	}
	switch caller.Type {
	case AssumedRole:
		return slices.ContainsFunc(p.identities, caller.hasRole) && slices.ContainsFunc(p.identities, caller.is)
	case IAMUser:
		return slices.ContainsFunc(p.identities, caller.is)
	}
	return true
}

// concerns tells how closely the statement of a resource's policy concerns
// the caller. One that names nobody grants to nobody and denies everybody;
// validation refuses it.
func (s *statement) concerns(caller *Principal) grant {
	switch {
	case s.principals == nil:
		return grantIf(s.effect == Deny, toCaller)
	case !s.notPrincipal:
		return s.principals.to(caller)
	case s.effect == Deny:
		return grantIf(!s.principals.excepts(caller), toCaller)
	}
	return grantIf(s.principals.to(caller) == noGrant, toCaller)
}

// covers reports whether the statement is about the request's action and
// resource. attached says that the policy belongs to the resource, so that a
// statement without Resource is about it; elsewhere such a statement, which
// validation refuses, allows nothing and denies everything.
func (s *statement) covers(r *Request, attached bool) bool {
	return s.coversAction(r.Action) && s.coversResource(r, attached)
}

func (s *statement) coversAction(action string) bool {
	m := matcher{text: action, fold: true}
	for i := range s.actions {
		if m.match(&s.actions[i], nil) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) coversResource(r *Request, attached bool) bool {
	if s.resources == nil {
		return attached || s.effect == Deny
	}
	for i := range s.resources {
		matched, resolved := r.matches(&s.resources[i], r.Resource, 0)
		if matched {
			return !s.notResource
		}
		if !resolved && s.notResource && s.effect != Deny {
			return false // else a missing key would widen what is allowed
		}
	}
	return s.notResource
}

func (s *statement) met(r *Request) bool {
	for i := range s.conditions {
		if !s.conditions[i].met(r) {
			return false
		}
	}
	return true
}
