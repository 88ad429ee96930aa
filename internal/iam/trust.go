package iam

import (
	"slices"
	"strings"
)

// TrustsService reports whether the role's trust policy lets a service assume
// the role: some statement allows it and none denies it. Conditions are not
// evaluated: a statement that has some allows, and denies, nothing.
func (r *Role) TrustsService(service string) bool {
	d, err := ParseDocument(r.TrustPolicy)
	if err != nil {
		return false
	}
	allowed := false
	for i := range d.Statements {
		s := &d.Statements[i]
		if len(s.Conditions) > 0 || !s.namesService(service) || !s.assumes() {
			continue
		}
		if s.Effect == Deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s *Statement) namesService(service string) bool {
	return s.Principals != nil && (slices.Contains(s.Principals.Service, service) || slices.Contains(s.Principals.AWS, "*"))
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

// TrustsPrincipal reports whether the role's trust policy lets a caller
// assume the role: by its ARN, its role's ARN, its account, or "*".
// Conditions are treated as in TrustsService.
func (r *Role) TrustsPrincipal(p Principal) bool {
	d, err := ParseDocument(r.TrustPolicy)
	if err != nil {
		return false
	}
	allowed := false
	for i := range d.Statements {
		s := &d.Statements[i]
		if len(s.Conditions) > 0 || s.Principals == nil || !s.assumes() || !s.Principals.names(p) {
			continue
		}
		if s.Effect == Deny {
			return false
		}
		allowed = true
	}
	return allowed
}

// names reports whether the element covers the caller.
func (ps *Principals) names(p Principal) bool {
	return slices.ContainsFunc(ps.AWS, func(named string) bool {
		switch named {
		case "*", p.Account, "arn:aws:iam::" + p.Account + ":root", p.ARN:
			return true
		}
		return p.RoleARN != "" && named == p.RoleARN
	})
}
