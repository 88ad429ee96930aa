package iam

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what is to be authorised.
type Request struct {
	// Principal is the caller. The zero Principal is an anonymous one.
	Principal Principal
	// Action is the full name, such as secretsmanager:GetSecretValue.
	Action string
	// Resource is an ARN, or "*" where the action has no resource.
	Resource string
	// ResourceAccount owns the resource; "" stands for the caller's account.
	ResourceAccount string
	// Context gives the values of condition keys. Those that follow from
	// Principal need not be given: aws:PrincipalArn, aws:PrincipalAccount,
	// aws:PrincipalType, aws:userid, aws:username, aws:PrincipalIsAWSService,
	// aws:PrincipalServiceName, aws:TokenIssueTime and lambda:SourceFunctionArn.
	Context Context
}

// Context returns the value that a request has for a condition key. The key,
// with the name of a tag or of an encryption context pair in it, comes in
// lower case, as names are compared without regard to case (AWS docs). The
// zero Value says that the key is missing. A nil Context has no keys. It is
// called during one evaluation only, perhaps repeatedly for a key, and only
// for keys that a policy asks for.
type Context func(key string) Value

// Value is what a condition key holds: nothing, one text or several. Numbers,
// dates, addresses and booleans are in the spelling of policies; binary values
// in base64.
type Value struct {
	text   string
	single bool
	list   []string
}

// Text is a single value.
func Text(s string) Value { return Value{text: s, single: true} }

// NonEmpty is a single value; "" is a missing key.
func NonEmpty(s string) Value { return Value{text: s, single: s != ""} }

// Optional is a single value; nil is a missing key.
func Optional(s *string) Value {
	if s == nil {
		return Value{}
	}
	return Text(*s)
}

// Bool is true or false, as policies spell it.
func Bool(b bool) Value { return Text(strconv.FormatBool(b)) }

// List is the value of a key that can have several; an empty list is a
// missing key (AWS docs).
func List(values []string) Value { return Value{list: values} }

func (v Value) len() int {
	if v.single {
		return 1
	}
	return len(v.list)
}

func (v Value) at(i int) string {
	if v.single {
		return v.text
	}
	return v.list[i]
}

// Strings returns the values, for reports.
func (v Value) Strings() []string {
	if v.single {
		return []string{v.text}
	}
	return v.list
}

// ContextOf returns a Context with the given values, their keys in any case.
func ContextOf(values map[string][]string) Context {
	lowered := make(map[string][]string, len(values))
	for key, list := range values {
		key = strings.ToLower(key)
		lowered[key] = append(lowered[key], list...)
	}
	return func(key string) Value { return List(lowered[key]) }
}

// TagContext returns a Context with tags: each value under a prefix in lower
// case, such as aws:resourcetag/, and all keys under the name list, unless that
// is "". Of tags whose keys differ by case only, the first in order counts.
func TagContext(prefix, list string, tags map[string]string) Context {
	return func(key string) Value {
		name, one := strings.CutPrefix(key, prefix)
		if !one && (list == "" || key != list) || len(tags) == 0 {
			return Value{}
		}
		keys := slices.Sorted(maps.Keys(tags))
		if !one {
			return List(keys)
		}
		if i := slices.IndexFunc(keys, func(k string) bool { return strings.EqualFold(k, name) }); i >= 0 {
			return Text(tags[keys[i]])
		}
		return Value{}
	}
}

// TagValue returns the value of a tag, or nothing if there is none of the name.
// Names are compared without regard to case (AWS docs); of tags whose keys
// differ by case only, the first counts.
func TagValue[T ~struct{ Key, Value string }](tags []T, name string) Value {
	for i := range tags {
		if t := Tag(tags[i]); strings.EqualFold(t.Key, name) {
			return Text(t.Value)
		}
	}
	return Value{}
}

// ResourceTags returns what the tags of a resource of IAM give for a condition
// key in lower case: aws:ResourceTag/KEY and iam:ResourceTag/KEY (AWS docs).
func ResourceTags(key string, tags []Tag) Value {
	for _, prefix := range [...]string{"aws:resourcetag/", "iam:resourcetag/"} {
		if name, one := strings.CutPrefix(key, prefix); one {
			return TagValue(tags, name)
		}
	}
	return Value{}
}

// RequestTags returns what the tags that a request sets give for a condition
// key in lower case: aws:RequestTag/KEY and aws:TagKeys (AWS docs).
func RequestTags[T ~struct{ Key, Value string }](key string, tags []T) Value {
	if name, one := strings.CutPrefix(key, "aws:requesttag/"); one {
		return TagValue(tags, name)
	}
	if key != "aws:tagkeys" {
		return Value{}
	}
	keys := make([]string, len(tags))
	for i := range tags {
		keys[i] = Tag(tags[i]).Key
	}
	return List(keys)
}

// value returns what the request has for a key in lower case. What Context
// says goes before what follows from the principal, so that a simulation can
// choose.
func (r *Request) value(key string) Value {
	if r.Context != nil {
		if v := r.Context(key); v.len() > 0 {
			return v
		}
	}
	return r.Principal.value(key)
}

// value returns the condition keys that follow from the principal; the ARN of
// a session is its role's, and only users have a name (AWS docs).
func (p *Principal) value(key string) Value {
	switch key {
	case "aws:principalarn":
		if p.Type == AssumedRole {
			return NonEmpty(p.RoleARN)
		}
		return NonEmpty(p.ARN)
	case "aws:principalaccount":
		if p.hasAccount() {
			return NonEmpty(p.Account)
		}
	case "aws:principaltype":
		return p.typeValue()
	case "aws:userid":
		if p.IsZero() {
			return Text("anonymous")
		}
		return NonEmpty(p.ID)
	case "aws:username":
		if p.Type == IAMUser {
			return NonEmpty(p.Name)
		}
	case "aws:principalisawsservice":
		return Bool(p.Type == Service)
	case "aws:principalservicename":
		if p.Type == Service {
			return NonEmpty(p.InvokedBy)
		}
	case "lambda:sourcefunctionarn":
		if p.Given != nil {
			return NonEmpty(p.Given.SourceFunction)
		}
	case "aws:tokenissuetime":
		if !p.IssuedAt.IsZero() {
			return Text(p.IssuedAt.UTC().Format(time.RFC3339))
		}
	}
	return Value{}
}

func (p *Principal) typeValue() Value {
	switch p.Type {
	case Root:
		return Text("Account")
	case IAMUser:
		return Text("User")
	case AssumedRole:
		return Text("AssumedRole")
	case "":
		return Text("Anonymous")
	}
	return Value{}
}

// hasAccount reports whether the caller belongs to an account, whose IAM
// policies concern it; services, web identities and anonymous callers do not.
func (p *Principal) hasAccount() bool {
	return p.Type == Root || p.Type == IAMUser || p.Type == AssumedRole
}

// IsZero reports whether there is nothing.
func (v Value) IsZero() bool { return v.len() == 0 }
