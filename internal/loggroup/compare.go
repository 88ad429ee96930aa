package loggroup

import (
	"regexp"
	"strconv"
	"strings"
)

// scalar is what a comparison looks at: text and, if it is one, a number.
type scalar struct {
	text    string
	number  float64
	numeric bool
}

// textScalar finds out whether the text is a decimal number.
func textScalar(s string) scalar {
	n, err := strconv.ParseFloat(s, 64)
	return scalar{s, n, err == nil && strings.Trim(s, "+-.eE0123456789") == ""}
}

// operand is the right side of a comparison: a number, a regular expression,
// or text in which * stands for any run of characters.
type operand struct {
	scalar
	regex *regexp.Regexp
}

func (o *operand) equals(v scalar) bool {
	switch {
	case o.regex != nil:
		return o.regex.MatchString(v.text)
	case o.numeric && v.numeric:
		return o.number == v.number
	}
	return wildcard(o.text, v.text)
}

// operators are longest first, so that the first that fits is the whole one.
var operators = []string{"!=", "<=", ">=", "=", "<", ">"}

// comparison reads an operator and its right side. Order is for numbers
// only.
func (p *patternParser) comparison() (func(scalar) bool, error) {
	p.skip()
	for _, operator := range operators {
		if !p.accept(operator) {
			continue
		}
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		return compare(operator, o)
	}
	return nil, errPattern()
}

func compare(operator string, o *operand) (func(scalar) bool, error) {
	switch operator {
	case "=":
		return o.equals, nil
	case "!=":
		return func(v scalar) bool { return !o.equals(v) }, nil
	}
	if !o.numeric {
		return nil, errPattern()
	}
	ordered := map[string]func(a, b float64) bool{
		"<":  func(a, b float64) bool { return a < b },
		"<=": func(a, b float64) bool { return a <= b },
		">":  func(a, b float64) bool { return a > b },
		">=": func(a, b float64) bool { return a >= b },
	}[operator]
	return func(v scalar) bool { return v.numeric && ordered(v.number, o.number) }, nil
}

// operand reads a quoted text, a regular expression, or a bare word, which
// may be a number.
func (p *patternParser) operand() (*operand, error) {
	p.skip()
	switch {
	case p.accept(`"`):
		s, err := p.quoted('"')
		return &operand{scalar: scalar{text: s}}, err
	case p.accept("%"):
		re, err := p.regex()
		return &operand{regex: re}, err
	}
	end := strings.IndexAny(p.rest, " \t\r\n,&|()=<>!\"%")
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return nil, errPattern()
	}
	s := p.rest[:end]
	p.rest = p.rest[end:]
	return &operand{scalar: textScalar(s)}, nil
}

// wildcard reports whether the text fits the pattern, in which * stands for
// any run of characters.
func wildcard(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		part, after, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], after
	}
}

// field is one field of a space-delimited pattern.
type field struct {
	// rest says that the field is "...": any number of fields.
	rest bool
	// check is nil for a field without a condition.
	check func(scalar) bool
}

// fields reads the inside of brackets.
func (p *patternParser) fields() (func(string) bool, error) {
	var list []field
	for {
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		list = append(list, f)
		if p.skip(); !p.accept(",") {
			break
		}
	}
	gap := -1
	for i, f := range list {
		if f.rest && gap >= 0 {
			return nil, errPattern()
		}
		if f.rest {
			gap = i
		}
	}
	return func(message string) bool { return matchFields(list, gap, message) }, nil
}

// field reads "...", a name, or a condition on a name.
func (p *patternParser) field() (field, error) {
	if p.skip(); p.accept("...") {
		return field{rest: true}, nil
	}
	name := ""
	check, err := condition(p, func() (func(scalar) bool, error) {
		p.skip()
		n := p.name()
		if n == "" || name != "" && n != name {
			return nil, errPattern()
		}
		name = n
		if p.skip(); p.rest == "" || p.rest[0] == ',' {
			return func(scalar) bool { return true }, nil
		}
		return p.comparison()
	})
	return field{check: check}, err
}

// name reads the name of a field or of a JSON member.
func (p *patternParser) name() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return strings.ContainsRune(" \t\r\n.,[]()=<>!&|\"'%{}*$", r) })
	if end < 0 {
		end = len(p.rest)
	}
	s := p.rest[:end]
	p.rest = p.rest[end:]
	return s
}

// matchFields compares fields with the words of a message. Without "..." the
// last field takes what is left of the message (assumed).
func matchFields(list []field, gap int, message string) bool {
	if gap < 0 {
		words := splitFields(message, len(list))
		return len(words) == len(list) && matchWords(list, words)
	}
	words := splitFields(message, -1)
	after := list[gap+1:]
	if len(words) < gap+len(after) {
		return false
	}
	return matchWords(list[:gap], words[:gap]) && matchWords(after, words[len(words)-len(after):])
}

func matchWords(list []field, words []string) bool {
	for i, f := range list {
		if !f.check(textScalar(words[i])) {
			return false
		}
	}
	return true
}

// splitFields cuts a message at spaces. What stands in quotes or brackets is
// one field, without them. At most n fields, if n is not negative: the last
// one takes the rest.
func splitFields(message string, n int) []string {
	var words []string
	rest := strings.TrimSpace(message)
	for rest != "" {
		if n >= 0 && len(words) == n-1 {
			return append(words, unwrap(rest))
		}
		end := fieldEnd(rest)
		words = append(words, unwrap(rest[:end]))
		rest = strings.TrimLeft(rest[end:], " \t\r\n")
	}
	return words
}

// fieldEnd returns where the first field of s ends.
func fieldEnd(s string) int {
	if shut := map[byte]string{'"': `"`, '[': `]`}[s[0]]; shut != "" {
		if i := strings.Index(s[1:], shut); i >= 0 {
			return i + 2
		}
	}
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		return i
	}
	return len(s)
}

// unwrap takes off quotes or brackets that enclose the whole of s.
func unwrap(s string) string {
	if len(s) >= 2 && fieldEnd(s) == len(s) && (s[0] == '"' && s[len(s)-1] == '"' || s[0] == '[' && s[len(s)-1] == ']') {
		return s[1 : len(s)-1]
	}
	return s
}
