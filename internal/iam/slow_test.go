package iam

import (
	"encoding/base64"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The slow evaluator reads documents as they were written and follows the
// text of the rules, with regular expressions for everything that is a
// pattern. It shares nothing with Evaluate but the types.

// slowValues returns what the request has for a key.
func slowValues(r *Request, key string) []string {
	key = strings.ToLower(key)
	if r.Context != nil {
		if v := r.Context(key).Strings(); len(v) > 0 {
			return v
		}
	}
	p := r.Principal
	facts := map[string]string{"aws:principalisawsservice": "false"}
	switch p.Type {
	case Root:
		facts["aws:principaltype"] = "Account"
	case IAMUser:
		facts["aws:principaltype"] = "User"
		facts["aws:username"] = p.Name
	case AssumedRole:
		facts["aws:principaltype"] = "AssumedRole"
	case Service:
		facts["aws:principalisawsservice"] = "true"
		facts["aws:principalservicename"] = p.InvokedBy
	case "":
		facts["aws:principaltype"] = "Anonymous"
		facts["aws:userid"] = "anonymous"
	}
	if p.Type == Root || p.Type == IAMUser || p.Type == AssumedRole {
		facts["aws:principalaccount"] = p.Account
		facts["aws:principalarn"] = p.ARN
		facts["aws:userid"] = p.ID
		if p.Type == AssumedRole {
			facts["aws:principalarn"] = p.RoleARN
		}
	}
	if facts[key] == "" {
		return nil
	}
	return []string{facts[key]}
}

var slowVariable = regexp.MustCompile(`\$\{ ?([^},]*?)(?:, ?'([^']*)')? ?\}`)

// slowPattern turns a pattern into a regular expression; ok is false if a
// variable has no value. With segments, wildcards stop at colons up to the
// fifth.
func slowPattern(r *Request, pattern string, wildcards, variables, segments bool) (expr string, ok bool) {
	colons := 0
	quote := func(s string) {
		colons += strings.Count(s, ":")
		expr += regexp.QuoteMeta(s)
	}
	for pattern != "" {
		anything := "."
		if segments && colons < 5 {
			anything = "[^:]"
		}
		at := slowVariable.FindStringSubmatchIndex(pattern)
		switch {
		case variables && at != nil && at[0] == 0:
			name := pattern[at[2]:at[3]]
			values := slowValues(r, name)
			switch {
			case name == "*" || name == "?" || name == "$":
				quote(name)
			case len(values) == 1 && values[0] != "":
				quote(values[0])
			case at[4] >= 0:
				quote(pattern[at[4]:at[5]])
			default:
				return "", false
			}
			pattern = pattern[at[1]:]
			continue
		case wildcards && pattern[0] == '*':
			expr += anything + "*"
		case wildcards && pattern[0] == '?':
			expr += anything
		default:
			quote(pattern[:1])
		}
		pattern = pattern[1:]
	}
	return "(?s)^" + expr + "$", true
}

func slowMatch(r *Request, pattern, text string, wildcards, variables, segments bool) (matched, ok bool) {
	expr, ok := slowPattern(r, pattern, wildcards, variables, segments)
	return ok && regexp.MustCompile(expr).MatchString(text), ok
}

// slowNames lists the names by which policies call a principal: its own, its
// role's and its account's.
func slowNames(p Principal) (own, role, account []string) {
	if p.Type != Root && p.Type != IAMUser && p.Type != AssumedRole {
		return nil, nil, nil
	}
	account = []string{p.Account, "arn:aws:iam::" + p.Account + ":root"}
	own = []string{p.ARN, p.ID}
	if p.Type == AssumedRole {
		id, _, _ := strings.Cut(p.ID, ":")
		role = []string{p.RoleARN, id}
	}
	return own, role, account
}

func slowAny(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// slowGrant is "", "account", "role" or "caller".
func slowGrant(list *Principals, p Principal) string {
	own, role, account := slowNames(p)
	switch {
	case slices.Contains(list.AWS, "*"),
		p.Type == Service && slices.Contains(list.Service, p.InvokedBy),
		p.Type == WebIdentity && slowAny(list.Federated, []string{"*", p.IdentityProvider}),
		slowAny(list.AWS, own),
		p.Type == Root && slowAny(list.AWS, account):
		return "caller"
	case slowAny(list.AWS, role):
		return "role"
	case slowAny(list.AWS, account):
		return "account"
	}
	return ""
}

// slowConcerns tells whether the statement is about the caller, and how.
func slowConcerns(s *Statement, p Principal) string {
	if s.Principals != nil {
		return slowGrant(s.Principals, p)
	}
	if s.Effect == Allow {
		if slowGrant(s.NotPrincipals, p) == "" {
			return "caller"
		}
		return ""
	}
	own, role, account := slowNames(p)
	spared := slowGrant(s.NotPrincipals, p) == "caller" && own == nil || slices.Contains(s.NotPrincipals.AWS, "*")
	if own != nil {
		listed := func(names []string) bool { return slowAny(s.NotPrincipals.AWS, names) }
		all := listed(account) && (p.Type == Root || listed(own)) && (role == nil || listed(role))
		spared = spared || all
	}
	if spared {
		return ""
	}
	return "caller"
}

// slowApplies tells whether the statement applies to the request, principals
// aside.
func slowApplies(d *Document, s *Statement, r *Request) bool {
	variables := d.Version == "2012-10-17"
	actions := slices.ContainsFunc(slices.Concat(s.Actions, s.NotActions), func(a string) bool {
		m, _ := slowMatch(r, strings.ToLower(a), strings.ToLower(r.Action), true, false, false)
		return m
	})
	if actions != (s.Actions != nil) {
		return false
	}
	resources, unresolved := s.Resources == nil && s.NotResources == nil, false
	for _, pattern := range slices.Concat(s.Resources, s.NotResources) {
		m, ok := slowMatch(r, pattern, r.Resource, true, variables, false)
		resources, unresolved = resources || m, unresolved || !ok
	}
	unresolved = unresolved && s.Effect == Allow
	if s.NotResources != nil && (resources || unresolved) || s.NotResources == nil && !resources {
		return false
	}
	for _, c := range s.Conditions {
		if !slowMet(c, r, variables, s.Effect) {
			return false
		}
	}
	return true
}

func slowMet(c Condition, r *Request, variables bool, effect Effect) bool {
	values := slowValues(r, c.Key)
	op := c.Operator
	if op == "Null" {
		return slices.ContainsFunc(c.Values, func(v string) bool { return (v == "true") == (len(values) == 0) })
	}
	all, any := strings.HasPrefix(op, "ForAllValues:"), strings.HasPrefix(op, "ForAnyValue:")
	op = op[strings.IndexByte(op, ':')+1:]
	if base, cut := strings.CutSuffix(op, "IfExists"); cut {
		if len(values) == 0 {
			return true
		}
		op = base
	}
	negated := strings.Contains(op, "Not")
	op = strings.Replace(op, "Not", "", 1)
	for _, want := range c.Values {
		if _, ok := slowPattern(r, want, false, variables, false); negated && effect == Allow && !ok && (strings.HasPrefix(op, "String") || strings.HasPrefix(op, "Arn")) {
			return false
		}
	}
	if len(values) == 0 {
		return all || !any && negated
	}
	hits := 0
	for _, got := range values {
		hit := slices.ContainsFunc(c.Values, func(want string) bool { return slowCompare(op, want, got, r, variables) })
		if hit != negated {
			hits++
		}
	}
	if all || !any && negated {
		return hits == len(values)
	}
	return hits > 0
}

func slowCompare(op, want, got string, r *Request, variables bool) (holds bool) {
	switch op {
	case "StringEquals":
		holds, _ = slowMatch(r, want, got, false, variables, false)
	case "StringEqualsIgnoreCase":
		expr, ok := slowPattern(r, want, false, variables, false)
		return ok && regexp.MustCompile("(?i)"+expr).MatchString(got)
	case "StringLike":
		holds, _ = slowMatch(r, want, got, true, variables, false)
	case "ArnEquals", "ArnLike":
		holds, _ = slowMatch(r, want, got, true, variables, true)
		holds = holds && strings.Count(got, ":") >= 5 || want == "*"
	case "Bool":
		return strings.EqualFold(got, want)
	case "BinaryEquals":
		a, err := base64.StdEncoding.DecodeString(got)
		b, _ := base64.StdEncoding.DecodeString(want)
		return err == nil && string(a) == string(b)
	case "IpAddress":
		if !strings.Contains(want, "/") {
			return net.ParseIP(got).Equal(net.ParseIP(want)) && net.ParseIP(got) != nil
		}
		_, network, _ := net.ParseCIDR(want)
		return network.Contains(net.ParseIP(got))
	}
	if relation, ok := strings.CutPrefix(op, "Numeric"); ok {
		a, ok := new(big.Rat).SetString(got)
		b, _ := new(big.Rat).SetString(want)
		return ok && slowRelation(relation, a.Cmp, b)
	}
	if relation, ok := strings.CutPrefix(op, "Date"); ok {
		a, err := time.Parse(time.RFC3339, got)
		if seconds, ok := new(big.Int).SetString(got, 10); ok {
			a, err = time.Unix(seconds.Int64(), 0), nil
		}
		b, _ := time.Parse(time.RFC3339, want)
		return err == nil && slowRelation(relation, a.Compare, b)
	}
	return holds
}

func slowRelation[T any](relation string, cmp func(T) int, with T) bool {
	switch relation {
	case "LessThan":
		return cmp(with) < 0
	case "LessThanEquals":
		return cmp(with) <= 0
	case "GreaterThan":
		return cmp(with) > 0
	case "GreaterThanEquals":
		return cmp(with) >= 0
	}
	return cmp(with) == 0
}

// slowPolicies are Policies as documents.
type slowPolicies struct {
	identity, session            []*Document
	boundary, resource, endpoint *Document
	kind                         ResourceKind
}

// slowScan counts the statements that apply: those that deny, and those that
// allow by how they name the caller.
func slowScan(r *Request, principals bool, documents ...*Document) (denies bool, allows map[string]bool) {
	allows = map[string]bool{}
	for _, d := range documents {
		for i := range d.Statements {
			s, grant := &d.Statements[i], "caller"
			if principals {
				grant = slowConcerns(s, r.Principal)
			}
			if grant == "" || !slowApplies(d, s, r) {
				continue
			}
			denies = denies || s.Effect == Deny
			if s.Effect == Allow {
				allows[grant] = true
			}
		}
	}
	return denies, allows
}

func slowEvaluate(r *Request, in slowPolicies) Verdict {
	one := func(d *Document) []*Document {
		if d == nil {
			return nil
		}
		return []*Document{d}
	}
	denied1, identity := slowScan(r, false, in.identity...)
	denied2, boundary := slowScan(r, false, one(in.boundary)...)
	denied3, session := slowScan(r, false, in.session...)
	denied4, resource := slowScan(r, true, one(in.resource)...)
	denied5, endpoint := slowScan(r, true, one(in.endpoint)...)
	if denied1 || denied2 || denied3 || denied4 || denied5 {
		return ExplicitDeny
	}
	p := r.Principal
	within := (in.boundary == nil || len(boundary) > 0) && (len(in.session) == 0 || len(session) > 0)
	byIdentity := (p.Type == Root || len(identity) > 0) && within
	direct, byRole := resource["caller"], resource["role"] && within
	ok := false
	switch {
	case p.Type != Root && p.Type != IAMUser && p.Type != AssumedRole:
		ok = len(resource) > 0
	case p.Account != r.ResourceAccount && r.ResourceAccount != "":
		ok = byIdentity && len(resource) > 0
	case in.kind == OrdinaryResource:
		ok = byIdentity || direct || byRole
	default:
		ok = direct || byRole || resource["account"] && byIdentity
	}
	if ok && (in.endpoint == nil || len(endpoint) > 0) {
		return Allowed
	}
	return ImplicitDeny
}
