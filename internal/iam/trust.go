package iam

import (
	"slices"
	"strings"
)

// TrustsService reports whether the role's trust policy lets a service assume
// the role: some statement allows it and none denies it. Conditions are not
// evaluated: a statement that has some allows, and denies, nothing.
func (r *Role) TrustsService(service string) bool {
	return r.trusts(func(ps *Principals) bool {
		return slices.Contains(ps.Service, service) || slices.Contains(ps.AWS, "*")
	})
}

// TrustsPrincipal reports whether the role's trust policy lets a caller
// assume the role: by its ARN, its role's ARN, its account, or "*".
// Conditions are treated as in TrustsService.
func (r *Role) TrustsPrincipal(p Principal) bool {
	return r.trusts(func(ps *Principals) bool {
		return slices.ContainsFunc(ps.AWS, func(named string) bool {
			switch named {
			case "*", p.Account, "arn:aws:iam::" + p.Account + ":root", p.ARN:
				return true
			}
			return p.RoleARN != "" && named == p.RoleARN
		})
	})
}

// trusts evaluates the trust policy for a caller whom names recognises.
func (r *Role) trusts(names func(*Principals) bool) bool {
	d, err := ParseDocument(r.TrustPolicy)
	if err != nil {
		return false
	}
	allowed := false
	for i := range d.Statements {
		s := &d.Statements[i]
		if len(s.Conditions) > 0 || s.Principals == nil || !s.assumes() || !names(s.Principals) {
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
