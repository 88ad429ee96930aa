package function

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
)

// MaxPolicy is the longest resource policy, in bytes of its JSON (AWS docs).
const MaxPolicy = 20480

// Policy is a resource policy: who may invoke a function, or one version or
// alias of it.
type Policy struct {
	Statements []Statement
}

// Statement is one grant made by AddPermission.
type Statement struct {
	Sid    string
	Effect string
	// Principal is one of {"Service": name}, {"AWS": ARN or unique ID} and
	// {"*": "*"}.
	Principal map[string]string
	Action    string
	Resource  string
	// Condition maps operator to key to value.
	Condition map[string]map[string]string
}

// Grant is what AddPermission is asked for. Only Sid, Action, Principal and
// Resource are needed.
type Grant struct {
	Sid, Action, Principal                     string
	Resource                                   string
	SourceARN, SourceAccount, EventSourceToken string
	OrganizationID, URLAuthType                string
	ViaURL                                     bool
}

// serviceName is what the name of an AWS service looks like as a principal.
var serviceName = regexp.MustCompile(`\A[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.amazonaws\.com(\.cn)?\z`)

// NewStatement makes the statement for a grant. A principal that is none is
// an error of kind Parameter (AWS: recorded).
func NewStatement(g Grant) (Statement, error) {
	principal, ok := parsePrincipal(g.Principal)
	if !ok {
		return Statement{}, InvalidPrincipal()
	}
	s := Statement{Sid: g.Sid, Effect: "Allow", Principal: principal, Action: g.Action, Resource: g.Resource}
	s.require("StringEquals", "AWS:SourceAccount", g.SourceAccount)
	s.require("StringEquals", "lambda:EventSourceToken", g.EventSourceToken)
	s.require("StringEquals", "aws:PrincipalOrgID", g.OrganizationID)
	s.require("StringEquals", "lambda:FunctionUrlAuthType", g.URLAuthType)
	s.require("ArnLike", "AWS:SourceArn", g.SourceARN)
	if g.ViaURL {
		s.require("Bool", "lambda:InvokedViaFunctionUrl", "true")
	}
	return s, nil
}

// InvalidPrincipal is the error for a principal that is none or does not exist
// (AWS: recorded).
func InvalidPrincipal() *fault.Error {
	return fault.New(fault.Parameter, "The provided principal was invalid. Please check the principal and try again.")
}

func (s *Statement) require(operator, key, value string) {
	if value == "" {
		return
	}
	if s.Condition == nil {
		s.Condition = map[string]map[string]string{}
	}
	if s.Condition[operator] == nil {
		s.Condition[operator] = map[string]string{}
	}
	s.Condition[operator][key] = value
}

// parsePrincipal reads a Principal parameter: a service, an account, an ARN
// of an identity, or *.
func parsePrincipal(p string) (map[string]string, bool) {
	a, isARN := arn.Parse(p)
	switch {
	case p == "*":
		return map[string]string{"*": "*"}, true
	case IsAccount(p):
		return map[string]string{"AWS": "arn:aws:iam::" + p + ":root"}, true
	case isARN && (a.Service == "iam" || a.Service == "sts") && IsAccount(a.Account) && a.Resource != "":
		return map[string]string{"AWS": p}, true
	case serviceName.MatchString(p):
		return map[string]string{"Service": p}, true
	}
	return nil, false
}

// JSON returns the statement as AWS prints it.
func (s Statement) JSON() string {
	var principal any = s.Principal
	if s.Principal["*"] != "" {
		principal = "*"
	}
	return encode(struct {
		Sid, Effect string
		Principal   any
		Action      string
		Resource    string
		Condition   map[string]map[string]string `json:",omitempty"`
	}{s.Sid, s.Effect, principal, s.Action, s.Resource, s.Condition})
}

// JSON returns the policy document as AWS prints it.
func (p Policy) JSON() string {
	statements := make([]json.RawMessage, len(p.Statements))
	for i, s := range p.Statements {
		statements[i] = json.RawMessage(s.JSON())
	}
	return encode(struct {
		Version   string
		Id        string //nolint:revive,staticcheck // AWS's spelling
		Statement []json.RawMessage
	}{"2012-10-17", "default", statements})
}

// encode returns v as JSON on one line; strings and maps of strings cannot
// fail.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}

// Add adds a statement. It refuses a Sid that is there already and a policy
// over its limit (AWS: recorded).
func (p Policy) Add(s Statement) (Policy, error) {
	if p.find(s.Sid) >= 0 {
		return p, fault.New(fault.Conflict,
			"The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.Sid)
	}
	q := Policy{append(slices.Clone(p.Statements), s)}
	if n := len(q.JSON()); n > MaxPolicy {
		return p, fault.New(PolicyTooLong, "The final policy size (%d) is bigger than the limit (%d).", n, MaxPolicy)
	}
	return q, nil
}

// Remove removes the statement with a Sid (AWS: recorded).
func (p Policy) Remove(sid string) (Policy, error) {
	i := p.find(sid)
	if i < 0 {
		return p, fault.New(fault.NotFound, "Statement %s is not found in resource policy.", sid)
	}
	return Policy{slices.Delete(slices.Clone(p.Statements), i, i+1)}, nil
}

func (p Policy) find(sid string) int {
	return slices.IndexFunc(p.Statements, func(s Statement) bool { return s.Sid == sid })
}

// PolicyText returns the resource policy of exactly the qualifier as JSON, or
// "" for none. $LATEST, which has none of its own (AWS: recorded), has the
// function's, as if its statements named it (assumed).
func (f *Function) PolicyText(qualifier string) string {
	p, ok := f.Policies[qualifier]
	if qualifier == Latest {
		p, ok = f.Policies[""]
		p.Statements = slices.Clone(p.Statements)
		for i := range p.Statements {
			p.Statements[i].Resource += ":" + Latest
		}
	}
	if !ok {
		return ""
	}
	return p.JSON()
}
