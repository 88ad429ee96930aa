package function

import (
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
)

// Ref names a function, and perhaps one version or alias of it.
type Ref struct {
	// Region and Account are empty where the identifier did not name them.
	Region, Account string
	Name            string
	// Qualifier is a version, "$LATEST", an alias, or "".
	Qualifier string
}

// ParseRef reads the forms that the Lambda API accepts as FunctionName (AWS
// docs, service model): name, ACCOUNT:function:name and the full ARN, each
// with or without a qualifier. ok is false for anything else.
func ParseRef(s string) (ref Ref, ok bool) {
	if arn.IsARN(s) {
		a, ok := arn.Parse(s)
		rest, isFunction := strings.CutPrefix(a.Resource, "function:")
		if !ok || !isFunction || a.Service != "lambda" || a.Account == "" || a.Region == "" || a.Partition != arn.Partition(a.Region) {
			return Ref{}, false
		}
		ref.Region, ref.Account = a.Region, a.Account
		ref.Name, ref.Qualifier, ok = nameAndQualifier(rest)
		return ref, ok
	}
	rest := s
	if account, after, found := strings.Cut(s, ":"); found && IsAccount(account) {
		ref.Account, rest = account, after
	}
	if after, found := strings.CutPrefix(rest, "function:"); found {
		rest = after
	}
	ref.Name, ref.Qualifier, ok = nameAndQualifier(rest)
	return ref, ok
}

func nameAndQualifier(s string) (name, qualifier string, ok bool) {
	name, qualifier, qualified := strings.Cut(s, ":")
	return name, qualifier, validName(name) && (!qualified || qualifier == Latest || validName(qualifier))
}

// validName tells whether s has the characters of a function's or an alias's
// name.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

// IsAccount tells whether s is a 12-digit account number.
func IsAccount(s string) bool { return len(s) == 12 && isNumber(s) }

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// namePattern is the constraint on function names in the service model of
// the time when AWS's message was recorded.
const namePattern = `(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?`

// BadName is the error for a FunctionName that is none (AWS: recorded).
func BadName(s string) *fault.Error {
	return fault.New(fault.Validation,
		"1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: %s", s, namePattern)
}

// MaxName is the longest name of a function (AWS docs).
const MaxName = 64

// CheckNewName checks the name of a function that is to be created (AWS:
// recorded).
func (r Ref) CheckNewName() error {
	if len(r.Name) > MaxName {
		return fault.New(fault.Validation,
			"1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: "+
				"Member must have length less than or equal to %d", r.Name, MaxName)
	}
	return nil
}

// Resolve reads a FunctionName and a Qualifier parameter and completes what
// they do not say with the caller's region and account. It refuses names
// that are none, functions of another region, and a qualifier in the name
// that differs from the parameter's (AWS: recorded).
func Resolve(name, qualifier, region, account string) (Ref, error) {
	ref, ok := ParseRef(name)
	if !ok {
		return Ref{}, BadName(name)
	}
	if ref.Region != "" && ref.Region != region {
		return Ref{}, fault.New(fault.NotFound, "Functions from '%s' are not reachable in this region ('%s')", ref.Region, region).For(name)
	}
	if qualifier != "" && ref.Qualifier != "" && qualifier != ref.Qualifier {
		return Ref{}, fault.New(fault.Parameter, "The derived qualifier from the function name does not match the specified qualifier.").For(name)
	}
	ref.Region = region
	if ref.Account == "" {
		ref.Account = account
	}
	if qualifier != "" {
		ref.Qualifier = qualifier
	}
	return ref, nil
}

// ARN returns the address of what r names; the region and the account must
// be set.
func (r Ref) ARN() string { return ARN(r.Region, r.Account, r.Name, r.Qualifier) }

// FunctionARN is ARN without the qualifier.
func (r Ref) FunctionARN() string { return ARN(r.Region, r.Account, r.Name, "") }

// Unqualified returns r without its qualifier.
func (r Ref) Unqualified() Ref {
	r.Qualifier = ""
	return r
}

// NotFound is the error for a function or version that does not exist (AWS:
// recorded).
func (r Ref) NotFound() *fault.Error {
	return fault.New(fault.NotFound, "Function not found: %s", r.ARN()).For(r.ARN())
}

// NoAlias is the error for an alias that does not exist (AWS: recorded).
func (r Ref) NoAlias() *fault.Error {
	return fault.New(fault.NotFound, "Cannot find alias arn: %s", r.ARN()).For(r.ARN())
}

// VersionNumber returns the number of a published version; ok is false for
// $LATEST, an alias, or a number that no version can have.
func VersionNumber(qualifier string) (n int64, ok bool) {
	if !isNumber(qualifier) || qualifier[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(qualifier, 10, 64)
	return n, err == nil
}

// IsAlias tells whether a qualifier can only be an alias: aliases are not
// numbers.
func IsAlias(qualifier string) bool {
	return qualifier != "" && qualifier != Latest && !isNumber(qualifier)
}

// ParseLayerARN reads the address of a layer version, or, with version 0, of
// a layer.
func ParseLayerARN(s string) (region, account, name string, version int64, ok bool) {
	a, ok := arn.Parse(s)
	rest, isLayer := strings.CutPrefix(a.Resource, "layer:")
	if !ok || !isLayer || a.Service != "lambda" || a.Partition != arn.Partition(a.Region) {
		return "", "", "", 0, false
	}
	name, number, versioned := strings.Cut(rest, ":")
	if versioned {
		if version, ok = VersionNumber(number); !ok {
			return "", "", "", 0, false
		}
	}
	return a.Region, a.Account, name, version, validName(name)
}
