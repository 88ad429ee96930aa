package iam

import (
	"slices"
	"strings"
)

// TrustsService reports whether the role's trust policy lets a service assume
// the role: some statement allows it and none denies it. Conditions are not
// evaluated: a statement that has some allows, and denies, nothing.
func (r *Role) TrustsService(service string) bool {
	return r.trusts(func(p *Principals) bool {
		return slices.Contains(p.Service, service) || slices.Contains(p.AWS, "*")
	})
}

// TrustsPrincipal reports whether the role's trust policy lets a caller
// assume the role: by its ARN, its role's ARN, its account, or "*".
// Conditions are treated as in TrustsService.
func (r *Role) TrustsPrincipal(caller Principal) bool {
	return r.trusts(func(p *Principals) bool { return p.names(caller) })
}

func (r *Role) trusts(named func(*Principals) bool) bool {
	d, err := ParseDocument(r.TrustPolicy)
	if err != nil {
		return false
	}
	allowed := false
	for i := range d.Statements {
		s := &d.Statements[i]
		if len(s.Conditions) > 0 || s.Principals == nil || !s.assumes() || !named(s.Principals) {
			continue
		}
		if s.Effect == Deny {
			return false
		}
		allowed = true
	}
	return allowed
}

// assumes reports whether the statement speaks of sts:AssumeRole.
func (s *Statement) assumes() bool {
	return slices.ContainsFunc(s.Actions, func(action string) bool {
		switch strings.ToLower(action) {
		case "*", "sts:*", "sts:assume*", "sts:assumerole":
			return true
		}
		return false
	})
}

// names reports whether the element covers the caller.
func (p *Principals) names(caller Principal) bool {
	return slices.ContainsFunc(p.AWS, func(named string) bool {
		switch named {
		case "*", caller.Account, "arn:aws:iam::" + caller.Account + ":root", caller.ARN:
			return true
		}
		return caller.RoleARN != "" && named == caller.RoleARN
	})
}
