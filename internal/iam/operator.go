package iam

import "strings"

// operator is a condition operator, taken apart.
type operator struct {
	class comparison
	order order
	// negated operators hold where the comparison does not.
	negated  bool
	ifExists bool
	set      setPrefix
}

// comparison is how a value of the request is compared with one of the
// policy.
type comparison uint8

const (
	byPresence comparison = iota // Null
	byText
	byTextFold
	byPattern
	byNumber
	byDate
	byBool
	byBinary
	byNetwork
	byARN
)

// order is the relation that numbers and dates must have.
type order uint8

const (
	equal order = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

func (o order) holds(cmp int) bool {
	switch o {
	case less:
		return cmp < 0
	case lessOrEqual:
		return cmp <= 0
	case greater:
		return cmp > 0
	case greaterOrEqual:
		return cmp >= 0
	}
	return cmp == 0
}

// setPrefix says how many of a key's values must satisfy the operator.
type setPrefix uint8

const (
	noSet setPrefix = iota
	allValues
	anyValue
)

// operators holds the condition operators without prefix and suffix (AWS
// docs).
var operators = map[string]operator{
	"Null":                      {class: byPresence},
	"StringEquals":              {class: byText},
	"StringNotEquals":           {class: byText, negated: true},
	"StringEqualsIgnoreCase":    {class: byTextFold},
	"StringNotEqualsIgnoreCase": {class: byTextFold, negated: true},
	"StringLike":                {class: byPattern},
	"StringNotLike":             {class: byPattern, negated: true},
	"NumericEquals":             {class: byNumber},
	"NumericNotEquals":          {class: byNumber, negated: true},
	"NumericLessThan":           {class: byNumber, order: less},
	"NumericLessThanEquals":     {class: byNumber, order: lessOrEqual},
	"NumericGreaterThan":        {class: byNumber, order: greater},
	"NumericGreaterThanEquals":  {class: byNumber, order: greaterOrEqual},
	"DateEquals":                {class: byDate},
	"DateNotEquals":             {class: byDate, negated: true},
	"DateLessThan":              {class: byDate, order: less},
	"DateLessThanEquals":        {class: byDate, order: lessOrEqual},
	"DateGreaterThan":           {class: byDate, order: greater},
	"DateGreaterThanEquals":     {class: byDate, order: greaterOrEqual},
	"Bool":                      {class: byBool},
	"BinaryEquals":              {class: byBinary},
	"IpAddress":                 {class: byNetwork},
	"NotIpAddress":              {class: byNetwork, negated: true},
	"ArnEquals":                 {class: byARN},
	"ArnLike":                   {class: byARN},
	"ArnNotEquals":              {class: byARN, negated: true},
	"ArnNotLike":                {class: byARN, negated: true},
}

// parseOperator reads an operator's name, which has to be spelt exactly. Null
// takes neither prefix nor suffix.
func parseOperator(name string) (op operator, ok bool) {
	base, set := name, noSet
	if rest, cut := strings.CutPrefix(name, "ForAllValues:"); cut {
		base, set = rest, allValues
	} else if rest, cut := strings.CutPrefix(name, "ForAnyValue:"); cut {
		base, set = rest, anyValue
	}
	base, ifExists := strings.CutSuffix(base, "IfExists")
	op, ok = operators[base]
	if !ok || op.class == byPresence && name != base {
		return operator{}, false
	}
	op.set, op.ifExists = set, ifExists
	return op, true
}
