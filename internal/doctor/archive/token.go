package archive

import "strings"

// kind says what a token is.
type kind byte

const (
	name kind = iota
	number
	text // a string; token.text is what is between the quotes, as written
	operator
)

// token is a piece of source. Comments are none.
type token struct {
	kind kind
	text string
}

func (t token) is(k kind, text string) bool { return t.kind == k && t.text == text }

func (t token) op(text string) bool { return t.is(operator, text) }

func isNameByte(c byte) bool {
	return c == '_' || c >= 0x80 || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// word returns the name that source begins with.
func word(source string) string {
	n := 0
	for n < len(source) && isNameByte(source[n]) {
		n++
	}
	return source[:n]
}

// quoted splits source, which begins after an opening quote, at the closing
// one. A backslash takes the next character along. Where multiline is false
// the string ends with the line at the latest, so that what cannot be
// understood does not swallow the rest.
func quoted(source, quote string, multiline bool) (inner, rest string) {
	for i := 0; i < len(source); i++ {
		switch {
		case source[i] == '\\':
			i++
		case strings.HasPrefix(source[i:], quote):
			return source[:i], source[i+len(quote):]
		case source[i] == '\n' && !multiline:
			return source[:i], source[i:]
		}
	}
	return source, ""
}

// opens and closes tell how an operator changes the depth of brackets.
func (t token) opens() bool {
	return t.kind == operator && (t.text == "(" || t.text == "[" || t.text == "{")
}

func (t token) closes() bool {
	return t.kind == operator && (t.text == ")" || t.text == "]" || t.text == "}")
}

// arguments returns the tokens of each argument of a call whose opening
// bracket is tokens[0].
func arguments(tokens []token) [][]token {
	var all [][]token
	depth, begin := 0, 1
	for i, t := range tokens {
		switch {
		case t.opens():
			depth++
		case t.closes():
			depth--
		}
		if ends := depth == 0; ends || depth == 1 && t.op(",") {
			if i > begin {
				all = append(all, tokens[begin:i])
			}
			begin = i + 1
			if ends {
				return all
			}
		}
	}
	if begin < len(tokens) {
		all = append(all, tokens[begin:])
	}
	return all
}
