package loggroup

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/keyturn/keyturn/internal/fault"
)

// Pattern is a filter pattern: terms, a condition on JSON members in braces,
// or conditions on space-delimited fields in brackets (AWS docs).
type Pattern struct {
	match func(message string) bool
}

// Match reports whether the message has what the pattern asks for.
func (p *Pattern) Match(message string) bool { return p.match(message) }

// ParsePattern reads a filter pattern; the empty one matches everything. The
// error is of kind Parameter, in AWS's words (AWS: reported).
func ParsePattern(text string) (*Pattern, error) {
	text = strings.TrimSpace(text)
	var match func(string) bool
	var err error
	switch {
	case strings.HasPrefix(text, "{"):
		match, err = parseEnclosed(text, "{", "}", (*patternParser).members)
	case strings.HasPrefix(text, "["):
		match, err = parseEnclosed(text, "[", "]", (*patternParser).fields)
	default:
		match, err = parseTerms(text)
	}
	if err != nil {
		return nil, err
	}
	return &Pattern{match}, nil
}

func errPattern() error { return fault.New(fault.Parameter, "Invalid filter pattern") }

// parseEnclosed reads a pattern that stands between two marks.
func parseEnclosed(text, open, shut string, parse func(*patternParser) (func(string) bool, error)) (func(string) bool, error) {
	inner, ok := strings.CutSuffix(text, shut)
	if !ok {
		return nil, fault.New(fault.Parameter, "If a filter pattern starts with '%s' it must end with '%s'", open, shut)
	}
	p := &patternParser{rest: strings.TrimPrefix(inner, open)}
	match, err := parse(p)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.rest != "" {
		return nil, errPattern()
	}
	return match, nil
}

// terms is a pattern of terms.
type terms struct {
	all, any, none []func(string) bool
}

// match ignores the optional terms beside terms that must be there (AWS
// docs). Terms are found anywhere, also inside words (assumed).
func (t *terms) match(message string) bool {
	found := func(term func(string) bool) bool { return term(message) }
	for _, term := range t.all {
		if !term(message) {
			return false
		}
	}
	if len(t.all) == 0 && len(t.any) > 0 && !slices.ContainsFunc(t.any, found) {
		return false
	}
	return !slices.ContainsFunc(t.none, found)
}

func parseTerms(text string) (func(string) bool, error) {
	p := &patternParser{rest: text}
	var t terms
	for p.skip(); p.rest != ""; p.skip() {
		list := &t.all
		if p.accept("?") {
			list = &t.any
		} else if p.accept("-") {
			list = &t.none
		}
		term, err := p.term()
		if err != nil {
			return nil, err
		}
		*list = append(*list, term)
	}
	return t.match, nil
}

// term reads one term without its sign.
func (p *patternParser) term() (func(string) bool, error) {
	start := p.rest
	switch {
	case p.accept(`"`):
		s, err := p.quoted('"')
		if err != nil {
			return nil, err
		}
		if p.rest != "" && !unicode.IsSpace(rune(p.rest[0])) {
			return nil, errTerm(word(start))
		}
		return func(m string) bool { return strings.Contains(m, s) }, nil
	case p.accept("%"):
		re, err := p.regex()
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	s := word(p.rest)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return nil, errTerm(s)
	}
	p.rest = p.rest[len(s):]
	return func(m string) bool { return strings.Contains(m, s) }, nil
}

func errTerm(term string) error {
	return fault.New(fault.Parameter, "Invalid character(s) in term '%s'", term)
}

// word returns what stands before the first space.
func word(s string) string {
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i]
	}
	return s
}

// patternParser reads a pattern from its beginning on.
type patternParser struct{ rest string }

func (p *patternParser) skip() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

// accept takes the text if it comes next.
func (p *patternParser) accept(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

// keyword takes the word if it comes next, after any space, as a whole.
func (p *patternParser) keyword(w string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, w)
	if !ok || rest != "" && (rest[0] == '_' || unicode.IsLetter(rune(rest[0]))) {
		return false
	}
	p.rest = rest
	return true
}

// quoted reads up to the closing quote; a backslash takes the next character
// as it is.
func (p *patternParser) quoted(quote byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errPattern()
}

// regex reads up to the closing percent sign. There are no groups (AWS
// docs), and no look-around in this syntax.
func (p *patternParser) regex() (*regexp.Regexp, error) {
	text, rest, ok := strings.Cut(p.rest, "%")
	if !ok || text == "" {
		return nil, errPattern()
	}
	if strings.ContainsAny(text, "()") {
		return nil, errTerm(text)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fault.New(fault.Parameter, "Invalid filter pattern").Because(err)
	}
	p.rest = rest
	return re, nil
}

// condition reads comparisons joined by && and ||, of which && binds closer,
// and parentheses; leaf reads one comparison.
func condition[T any](p *patternParser, leaf func() (func(T) bool, error)) (func(T) bool, error) {
	left, err := conjunction(p, leaf)
	for err == nil {
		if p.skip(); !p.accept("||") {
			return left, nil
		}
		a := left
		var b func(T) bool
		b, err = conjunction(p, leaf)
		left = func(v T) bool { return a(v) || b(v) }
	}
	return nil, err
}

func conjunction[T any](p *patternParser, leaf func() (func(T) bool, error)) (func(T) bool, error) {
	left, err := primary(p, leaf)
	for err == nil {
		if p.skip(); !p.accept("&&") {
			return left, nil
		}
		a := left
		var b func(T) bool
		b, err = primary(p, leaf)
		left = func(v T) bool { return a(v) && b(v) }
	}
	return nil, err
}

func primary[T any](p *patternParser, leaf func() (func(T) bool, error)) (func(T) bool, error) {
	if p.skip(); !p.accept("(") {
		return leaf()
	}
	inner, err := condition(p, leaf)
	if err != nil {
		return nil, err
	}
	if p.skip(); !p.accept(")") {
		return nil, errPattern()
	}
	return inner, nil
}
