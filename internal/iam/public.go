package iam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
)

// Supported reports whether every principal has a form that a resource policy
// may name: for AWS "*", an account, the ARN of an account's root, a user, a
// role or a session, or a unique ID; for Service a host name. Wildcards inside
// ARNs and other kinds of principal are not supported (AWS docs).
func (p *Principals) Supported() bool {
	_, _, found := p.unsupported()
	return !found
}

// unsupported returns the first principal that no policy may name, with its
// kind as IAM's texts spell it.
func (p *Principals) unsupported() (kind, name string, found bool) {
	if p == nil {
		return "", "", false
	}
	for _, list := range []struct {
		kind      string
		names     []string
		supported func(string) bool
	}{
		{"AWS", p.AWS, supportedAWS},
		{"SERVICE", p.Service, supportedService},
		{"FEDERATED", p.Federated, func(f string) bool { return !strings.Contains(f, "*") }},
		{"CANONICALUSER", p.CanonicalUser, func(string) bool { return false }},
	} {
		for _, name := range list.names {
			if !list.supported(name) {
				return list.kind, name, true
			}
		}
	}
	return "", "", false
}

func supportedService(s string) bool {
	return strings.Contains(s, ".amazonaws.com") && !strings.ContainsAny(s, "*?:/ ")
}

func supportedAWS(p string) bool {
	switch {
	case p == "*", isAccount(p):
		return true
	case strings.HasPrefix(p, "AROA"), strings.HasPrefix(p, "AIDA"):
		return !strings.ContainsAny(p, "*? /")
	}
	a, ok := arn.Parse(p)
	if !ok || !isAccount(a.Account) || a.Region != "" || strings.ContainsAny(a.Resource, "*?") {
		return false
	}
	kind, name, named := strings.Cut(a.Resource, "/")
	switch a.Service {
	case "iam":
		return a.Resource == "root" || named && name != "" && (kind == "user" || kind == "role")
	case "sts":
		return named && name != "" && (kind == "assumed-role" || kind == "federated-user")
	}
	return false
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// Public reports whether the policy of a resource grants access to everybody:
// an Allow for any principal, or for all but some, that no condition narrows
// to known accounts, organisations, networks or resources (AWS docs for the
// idea; the exact analysis is AWS's own).
func (d *Document) Public() bool {
	return slices.ContainsFunc(d.Statements, func(s Statement) bool { return s.public() })
}

func (s *Statement) public() bool {
	if s.Effect != Allow || slices.ContainsFunc(s.Conditions, Condition.narrows) {
		return false
	}
	return s.NotPrincipals != nil || s.Principals.anybody()
}

func (p *Principals) anybody() bool {
	return p != nil && (slices.Contains(p.AWS, "*") || slices.Contains(p.Federated, "*"))
}

// narrows reports whether the condition holds only for fixed values of a key
// that tells who or where the caller is.
func (c Condition) narrows() bool {
	operator := strings.TrimPrefix(c.Operator, "ForAnyValue:")
	key := strings.ToLower(c.Key)
	switch operator {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike":
	case "IpAddress":
		return key == "aws:sourceip" && !slices.ContainsFunc(c.Values, wideNetwork)
	default:
		return false
	}
	switch key {
	case "aws:principalarn", "aws:sourcearn":
		return !slices.ContainsFunc(c.Values, wideARN)
	case "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount", "aws:sourceorgid",
		"aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid", "aws:username", "kms:calleraccount":
		return !slices.ContainsFunc(c.Values, func(v string) bool { return v == "" || v[0] == '*' || v[0] == '?' })
	}
	return false
}

// wideARN reports whether the pattern leaves the account open.
func wideARN(pattern string) bool {
	a, ok := arn.Parse(pattern)
	return !ok || !isAccount(a.Account)
}

// wideNetwork reports whether the text is not a network, or one that holds
// most of the Internet.
func wideNetwork(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return false
	}
	network, err := netip.ParsePrefix(text)
	return err != nil || network.Bits() < 8
}
