package stack

import "strings"

// The texts with which AWS refuses a function's argument (AWS: recorded,
// except where a function's own comment says otherwise).

func errRef() error {
	return invalid("Template format error: Every Ref object must have a single String value.")
}

func errGetAtt() error {
	return invalid("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
}

func errSub() error {
	return invalid("Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
}

// errSubValue is for a variable that is no string (assumed).
func errSubValue(name string) func() error {
	return func() error {
		return invalid("Template error: Fn::Sub expects the value of ${%s} to be a string", name)
	}
}

func errJoin() error {
	return invalid("Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.")
}

func errSelect() error {
	return invalid("Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
}

func errSplit() error {
	return invalid("Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
}

func errFindInMap() error {
	return invalid("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
}

func errIf() error {
	return invalid("Template error: Fn::If requires a list argument with three elements")
}

func errCondition(name string) error {
	return invalid("Template error: unresolved condition dependency %s in Fn::If", name)
}

func errAndOr(name string) error {
	return invalid("Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", name)
}

func errNot() error {
	return invalid("Template error: every Fn::Not object requires one boolean parameter.")
}

func errEquals() error {
	return invalid("Template error: every Fn::Equals object requires a list of 2 string parameters.")
}

func errImport() error {
	return invalid("Template error: every Fn::ImportValue object must have a String-typed value.")
}

func errGetAZs() error {
	return invalid("Template error: every Fn::GetAZs object must have a String-typed value.")
}

func errBase64() error {
	return invalid("Template error: every Fn::Base64 object must have a String-typed value.")
}

// errCidr is assumed.
func errCidr() error {
	return invalid("Template error: every Fn::Cidr object requires a CIDR block, a count and an optional number of bits")
}

// errLength is assumed.
func errLength() error {
	return invalid("Template error: every Fn::Length object requires a list or a function that returns a list")
}

// errToJSONString is assumed.
func errToJSONString() error {
	return invalid("Template error: every Fn::ToJsonString object requires an object or a list")
}

// errDependency refuses names that stand for nothing in a block of the
// template.
// errConditionCycle refuses conditions that need each other.
func errConditionCycle(names []string) error {
	return invalid("Template error: Found circular condition dependency between [%s]", strings.Join(names, ", "))
}

func errDependency(names []string, block string) error {
	return invalid("Template format error: Unresolved resource dependencies [%s] in the %s block of the template", strings.Join(names, ", "), block)
}

func errOutputValue() error {
	return invalid("Template format error: The Value field of every Outputs member must evaluate to a String.")
}
