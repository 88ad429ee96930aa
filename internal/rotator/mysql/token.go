package mysql

import "strings"

// token is a word, a sign or a quoted text of a statement that a server
// printed.
type token struct {
	// text is as printed; value is what a quoted text means.
	text, value string
	quote       byte // 0 for words and signs
	at          int  // where it begins
}

// is tells whether the token is the word or sign.
func (t token) is(word string) bool { return t.quote == 0 && strings.EqualFold(t.text, word) }

// end is where the token ends.
func (t token) end() int { return t.at + len(t.text) }

// tokens splits a statement. Quotes inside a quoted text are doubled or, in
// single and double quotes, escaped by a backslash; a quoted text that does
// not end goes to the end.
func tokens(s string) []token {
	var all []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == '`' || c == '\'' || c == '"':
			all = append(all, quoted(s, i))
		case strings.IndexByte("(),@;", c) >= 0:
			all = append(all, token{text: s[i : i+1], at: i})
		default:
			n := strings.IndexAny(s[i:], " \t\r\n(),@;`'\"")
			if n < 0 {
				n = len(s) - i
			}
			all = append(all, token{text: s[i : i+n], at: i})
		}
		i = all[len(all)-1].end()
	}
	return all
}

func quoted(s string, at int) token {
	quote := s[at]
	var value strings.Builder
	for i := at + 1; i < len(s); i++ {
		switch {
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote, s[i] == '\\' && quote != '`' && i+1 < len(s):
			i++
			value.WriteByte(s[i])
		case s[i] == quote:
			return token{text: s[at : i+1], value: value.String(), quote: quote, at: at}
		default:
			value.WriteByte(s[i])
		}
	}
	return token{text: s[at:], value: value.String(), quote: quote, at: at}
}

// word returns what a name means, quoted or not.
func (t token) word() string {
	if t.quote != 0 {
		return t.value
	}
	return t.text
}
