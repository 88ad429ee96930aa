package archive

import "strings"

// scriptTokens takes JavaScript apart. Templates are strings, and what they
// hold is not looked at; regular expressions are told from division by what
// stands before. The tokens are appended to all, which is empty; whole is
// false if there are more than limit.
func scriptTokens(source string, all []token, limit int) (tokens []token, whole bool) {
	for source != "" {
		if len(all) >= limit {
			return all, false
		}
		c := source[0]
		switch {
		case c == ' ', c == '\t', c == '\r', c == '\n':
			source = source[1:]
		case strings.HasPrefix(source, "//"), strings.HasPrefix(source, "#!"):
			_, source, _ = strings.Cut(source, "\n")
		case strings.HasPrefix(source, "/*"):
			_, source, _ = strings.Cut(source[2:], "*/")
		case c == '\'', c == '"', c == '`':
			var inner string
			inner, source = quoted(source[1:], source[:1], c == '`')
			all = append(all, token{text, inner})
		case c == '/' && regularExpressionMayFollow(all):
			source = afterRegularExpression(source[1:])
			all = append(all, token{text, ""})
		case isDigit(c):
			w := word(source)
			source = source[len(w):]
			all = append(all, token{number, w})
		case c == '$' || isNameByte(c):
			var w string
			w, source = scriptName(source)
			all = append(all, token{name, w})
		default:
			all = append(all, token{operator, source[:1]})
			source = source[1:]
		}
	}
	return all, true
}

// scriptName splits source after the name that it begins with.
func scriptName(source string) (w, rest string) {
	n := 0
	for n < len(source) && (source[n] == '$' || isNameByte(source[n])) {
		n++
	}
	return source[:n], source[n:]
}

// regularExpressionMayFollow tells whether a slash begins one: after an
// operator or a keyword there is nothing to divide.
func regularExpressionMayFollow(before []token) bool {
	if len(before) == 0 {
		return true
	}
	last := before[len(before)-1]
	switch last.kind {
	case operator:
		return !last.op(")") && !last.op("]") && !last.op("}")
	case name:
		switch last.text {
		case "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do":
			return true
		}
	}
	return false
}

// afterRegularExpression skips one, whose first slash is gone, with its
// flags.
func afterRegularExpression(source string) string {
	class := false
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case c == '\\':
			i++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '\n':
			return source[i:]
		case c == '/' && !class:
			_, rest := scriptName(source[i+1:])
			return rest
		}
	}
	return ""
}
