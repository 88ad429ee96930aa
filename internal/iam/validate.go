package iam

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// The texts below are IAM's reasons for MalformedPolicyDocument (AWS:
// reported).

func syntaxError(cause error) error {
	return fault.New(fault.Policy, "Syntax errors in policy.").Because(cause)
}

// check tells what is wrong in every use of a policy.
func (d *Document) check() error {
	sids := map[string]bool{}
	for i := range d.Statements {
		sid := d.Statements[i].Sid
		if sid != "" && sids[sid] {
			return fault.New(fault.Policy, "Statement IDs (SID) in a single policy must be unique.")
		}
		sids[sid] = true
	}
	return d.every((*Statement).check)
}

// every applies a check to each statement and returns the first error, with
// the statement's number for the log.
func (d *Document) every(check func(*Statement) error) error {
	for i := range d.Statements {
		err := check(&d.Statements[i])
		if e, ok := errors.AsType[*fault.Error](err); ok {
			return e.For(fmt.Sprintf("statement %d", i+1))
		}
		if err != nil {
			return syntaxError(fmt.Errorf("statement %d: %w", i+1, err))
		}
	}
	return nil
}

func (s *Statement) check() error {
	switch {
	case s.Effect == "":
		return errors.New("Effect is missing")
	case s.Actions != nil && s.NotActions != nil:
		return errors.New("Action and NotAction exclude each other")
	case s.Resources != nil && s.NotResources != nil:
		return errors.New("Resource and NotResource exclude each other")
	case s.Principals != nil && s.NotPrincipals != nil:
		return errors.New("Principal and NotPrincipal exclude each other")
	case s.Actions == nil && s.NotActions == nil:
		return fault.New(fault.Policy, "Policy statement must contain actions.")
	}
	for _, a := range slices.Concat(s.Actions, s.NotActions) {
		if err := checkAction(a); err != nil {
			return err
		}
	}
	for i := range s.Conditions {
		if !strings.Contains(s.Conditions[i].Key, ":") {
			return noVendor()
		}
	}
	return nil
}

func noVendor() error {
	return fault.New(fault.Policy, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
}

// checkAction accepts "*" and SERVICE:NAME, where only the name may hold
// wildcards, but for "*:*".
func checkAction(a string) error {
	vendor, name, ok := strings.Cut(a, ":")
	switch {
	case a == "*":
		return nil
	case !ok || vendor == "" || name == "":
		return noVendor()
	case strings.Contains(name, ":"):
		return fault.New(fault.Policy, "Actions/Condition can contain only one colon.")
	case vendor != "*" && strings.ContainsFunc(vendor, notInVendor):
		return fault.New(fault.Policy, "Vendor %s is not valid", vendor)
	}
	return nil
}

func notInVendor(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
}

// CheckIdentity checks an inline policy of a user, group or role, and a
// session policy: no principals, and resources in every statement. Errors are
// fault.Policy in IAM's words.
func (d *Document) CheckIdentity() error {
	if err := d.ForbidPrincipals(); err != nil {
		return err
	}
	if err := d.every((*Statement).checkSid); err != nil {
		return err
	}
	return d.every((*Statement).checkResources)
}

// checkSid holds for what IAM keeps. Policies of resources are freer: KMS's
// own default one has spaces in its Sid.
func (s *Statement) checkSid() error {
	if strings.ContainsFunc(s.Sid, notAlphanumeric) {
		return fault.New(fault.Policy, "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
	}
	return nil
}

func notAlphanumeric(r rune) bool { return notInVendor(r) || r == '-' || r == '.' }

// CheckManaged is CheckIdentity for a managed policy, which has to be in the
// current version of the language.
func (d *Document) CheckManaged() error {
	if d.Version != Version2012 {
		return fault.New(fault.Policy, "Policy document must be version 2012-10-17 or greater.")
	}
	return d.CheckIdentity()
}

// CheckResource checks the policy of a resource or of a VPC endpoint:
// principals and resources in every statement. Errors are fault.Policy in
// IAM's words. Which principals are known is for the service to say.
func (d *Document) CheckResource() error {
	if err := d.RequirePrincipals(); err != nil {
		return err
	}
	if err := d.every((*Statement).checkPrincipals); err != nil {
		return err
	}
	return d.every((*Statement).checkResources)
}

// CheckTrust checks the trust policy of a role: principals in every
// statement, no resources, and actions of STS only. Errors are fault.Policy
// in IAM's words. Whether the principals exist is for the service to say, with
// InvalidPrincipal.
func (d *Document) CheckTrust() error {
	if err := d.RequirePrincipals(); err != nil {
		return err
	}
	if err := d.every((*Statement).checkSid); err != nil {
		return err
	}
	return d.every(func(s *Statement) error {
		switch {
		case s.Resources != nil:
			return fault.New(fault.Policy, "Has prohibited field Resource")
		case s.NotResources != nil:
			return fault.New(fault.Policy, "Has prohibited field NotResource")
		}
		for _, a := range slices.Concat(s.Actions, s.NotActions) {
			if !strings.HasPrefix(lowerASCII(a), "sts:") {
				return fault.New(fault.Policy, "AssumeRole policy may only specify STS AssumeRole actions.")
			}
		}
		return s.checkPrincipals()
	})
}

// RequirePrincipals checks that every statement says whom it concerns, as a
// policy of a resource must.
func (d *Document) RequirePrincipals() error {
	return d.every(func(s *Statement) error {
		if s.Principals == nil && s.NotPrincipals == nil {
			return fault.New(fault.Policy, "Missing required field Principal")
		}
		return nil
	})
}

// ForbidPrincipals checks that no statement names a principal: the policy of
// an identity concerns that identity.
func (d *Document) ForbidPrincipals() error {
	return d.every(func(s *Statement) error {
		if s.Principals != nil || s.NotPrincipals != nil {
			return fault.New(fault.Policy, "Policy document should not specify a principal.")
		}
		return nil
	})
}

// checkResources accepts "*" and what starts as an ARN does.
func (s *Statement) checkResources() error {
	if s.Resources == nil && s.NotResources == nil {
		return fault.New(fault.Policy, "Policy statement must contain resources.")
	}
	for _, r := range slices.Concat(s.Resources, s.NotResources) {
		if r != "*" && !strings.HasPrefix(r, "arn:") {
			return fault.New(fault.Policy, `Resource %s must be in ARN format or "*".`, r)
		}
	}
	return nil
}

// checkPrincipals refuses the first principal of a form that no policy may
// name.
func (s *Statement) checkPrincipals() error {
	for _, p := range []*Principals{s.Principals, s.NotPrincipals} {
		if kind, name, found := p.unsupported(); found {
			return InvalidPrincipal(kind, name)
		}
	}
	return nil
}

// InvalidPrincipal is IAM's refusal of a principal that does not exist or
// cannot be one; kind is AWS, SERVICE or FEDERATED.
func InvalidPrincipal(kind, name string) error {
	return fault.New(fault.Policy, `Invalid principal in policy: "%s":"%s"`, kind, name)
}
