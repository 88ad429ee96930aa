package iam

import (
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

// Public reports whether the policy of a resource grants access broadly: by an
// Allow for any principal, or for all but some, that no condition narrows to
// fixed accounts, organisations, networks or resources, and that no Deny takes
// back for everybody else (AWS docs for the idea; the exact analysis is AWS's
// own).
func (d *Document) Public() bool {
	return slices.ContainsFunc(d.Statements, func(s Statement) bool { return s.public() && !d.curbs(&s) })
}

func (s *Statement) public() bool {
	if s.Effect != Allow || slices.ContainsFunc(s.Conditions, Condition.narrows) {
		return false
	}
	return s.NotPrincipals != nil || s.Principals.anybody()
}

// anybody reports whether people whom nobody knows are among the principals.
// A Federated provider that is not an account's own has all the world as its
// users.
func (p *Principals) anybody() bool {
	return p != nil && (slices.Contains(p.AWS, "*") || slices.ContainsFunc(p.Federated, func(f string) bool { return wideARN(f) }))
}

// curbs reports whether a Deny of the document leaves of what the statement
// allows only what is narrow.
func (d *Document) curbs(s *Statement) bool {
	return slices.ContainsFunc(d.Statements, func(deny Statement) bool { return deny.Effect == Deny && deny.spares() && deny.spans(s) })
}

// spares reports whether the Deny concerns everybody but callers that are
// named, or that a condition fixes.
func (s *Statement) spares() bool {
	if s.NotPrincipals != nil {
		return len(s.Conditions) == 0 && !s.NotPrincipals.anybody()
	}
	return s.Principals != nil && slices.Contains(s.Principals.AWS, "*") && len(s.Conditions) > 0 &&
		!slices.ContainsFunc(s.Conditions, func(c Condition) bool { return !c.sparesFew() })
}

// spans reports whether the Deny is about every action and resource that the
// other statement is about.
func (s *Statement) spans(other *Statement) bool {
	if s.NotActions != nil || s.NotResources != nil {
		return false
	}
	actions, resources := other.Actions, other.Resources
	if other.NotActions != nil {
		actions = []string{"*"}
	}
	if other.NotResources != nil || resources == nil {
		resources = []string{"*"}
	}
	fold := func(list []string) []string {
		lowered := make([]string, len(list))
		for i := range list {
			lowered[i] = lowerASCII(list[i])
		}
		return lowered
	}
	return spanAll(fold(s.Actions), fold(actions)) && (s.Resources == nil || spanAll(s.Resources, resources))
}

// spanAll reports whether everything that the patterns of list match is
// matched by a pattern of wide.
func spanAll(wide, list []string) bool {
	return !slices.ContainsFunc(list, func(pattern string) bool {
		return !slices.ContainsFunc(wide, func(w string) bool { return spans(w, pattern) })
	})
}

// spans reports, if it is plain to see, whether a pattern matches all that
// another one matches: as its text, or because only its stars take in the
// other's wildcards. Patterns with variables are not looked into.
func spans(wide, pattern string) bool {
	if wide == pattern {
		return true
	}
	if strings.ContainsAny(wide, "?$") {
		return false
	}
	parts := strings.Split(wide, "*")
	if len(parts) == 1 {
		return false
	}
	rest, ok := strings.CutPrefix(pattern, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// narrows reports whether the condition holds only for fixed values of a key
// that tells who or where the caller is. IfExists and ForAllValues hold for
// callers without the key as well.
func (c Condition) narrows() bool {
	switch strings.TrimPrefix(c.Operator, "ForAnyValue:") {
	case "StringEquals", "StringEqualsIgnoreCase":
		return c.fixes(false)
	case "StringLike", "ArnEquals", "ArnLike":
		return c.fixes(true)
	case "IpAddress":
		return c.fixesNetwork()
	}
	return false
}

// sparesFew reports whether the condition of a Deny fails only for fixed
// values of such a key, and so holds for callers without it.
func (c Condition) sparesFew() bool {
	switch strings.TrimSuffix(c.Operator, "IfExists") {
	case "StringNotEquals", "StringNotEqualsIgnoreCase":
		return c.fixes(false)
	case "StringNotLike", "ArnNotEquals", "ArnNotLike":
		return c.fixes(true)
	case "NotIpAddress":
		return c.fixesNetwork()
	}
	return false
}

// fixes reports whether all values are such that outsiders cannot have them;
// patterns says that the operator knows wildcards.
func (c Condition) fixes(patterns bool) bool {
	key := strings.ToLower(c.Key)
	wide := func(v string) bool {
		return v == "" || strings.Contains(v, "$") || patterns && strings.ContainsAny(v, "*?")
	}
	switch key {
	case "aws:principalarn":
		wide = wideARN
	case "aws:sourcearn": // some have no account, such as those of buckets
		fixed := wide
		wide = func(v string) bool { return fixed(v) && wideARN(v) || !strings.HasPrefix(v, "arn:") }
	case "aws:principalorgpaths", "aws:sourceorgpaths", "aws:vpceorgpaths": // o-ID/r-ID/…
		fixed := wide
		wide = func(v string) bool { root, _, _ := strings.Cut(v, "/"); return fixed(root) }
	case "aws:userid": // ID, or ID:SESSION
		fixed := wide
		wide = func(v string) bool { id, _, _ := strings.Cut(v, ":"); return fixed(id) }
	case "aws:principalaccount", "aws:principalorgid", "aws:principalservicename",
		"aws:sourceaccount", "aws:sourceorgid", "aws:sourceowner",
		"aws:sourcevpc", "aws:sourcevpce", "aws:vpceaccount", "aws:vpceorgid", "kms:calleraccount":
	default:
		return false
	}
	return !slices.ContainsFunc(c.Values, wide)
}

// wideARN reports whether the pattern leaves the account open. Wildcards
// ahead of the account might take in one.
func wideARN(pattern string) bool {
	a, ok := arn.Parse(pattern)
	return !ok || !isAccount(a.Account) || strings.ContainsAny(a.Partition+a.Service+a.Region, "*?$")
}

// fixesNetwork reports whether all values are networks of which none holds
// much of the Internet.
func (c Condition) fixesNetwork() bool {
	return strings.EqualFold(c.Key, "aws:SourceIp") && !slices.ContainsFunc(c.Values, wideNetwork)
}

// The shortest prefixes of networks that still are somebody's (AWS docs, for
// buckets).
const (
	shortestIPv4 = 8
	shortestIPv6 = 32
)

func wideNetwork(text string) bool {
	network, ok := parseNetwork(text)
	switch {
	case !ok:
		return true
	case network.Addr().Is4():
		return network.Bits() < shortestIPv4
	}
	return network.Bits() < shortestIPv6
}
