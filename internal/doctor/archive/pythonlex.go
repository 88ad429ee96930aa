package archive

import "strings"

// line is a statement of Python, or the head of a compound one: what is on a
// logical line, which brackets and backslashes join out of several.
type line struct {
	indent int
	tokens []token
}

// begins tells whether the line begins with these words.
func (l line) begins(words ...string) bool {
	if len(l.tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if l.tokens[i].text != w || l.tokens[i].kind == text {
			return false
		}
	}
	return true
}

// tabWidth is what a tab in the indentation goes to the next multiple of
// (Python's language reference).
const tabWidth = 8

// pythonLines takes Python source apart. Source that is no Python gives lines
// that make no sense, and no error. count is how many tokens they have; whole
// is false if there are more than limit.
func pythonLines(source string, limit int) (lines []line, count int, whole bool) {
	s := &scanner{rest: strings.TrimPrefix(source, "\ufeff"), fresh: true}
	for s.rest != "" {
		if s.count >= limit {
			return nil, s.count, false
		}
		if s.fresh {
			s.indentation()
			continue
		}
		s.next()
	}
	s.end()
	return s.lines, s.count, true
}

type scanner struct {
	rest  string
	lines []line
	cur   line
	depth int
	count int // of tokens
	// fresh tells that a new line begins.
	fresh bool
}

func (s *scanner) end() {
	if len(s.cur.tokens) > 0 {
		s.lines = append(s.lines, s.cur)
	}
	s.cur = line{indent: s.cur.indent}
}

func (s *scanner) indentation() {
	s.fresh = false
	width := 0
	for ; s.rest != ""; s.rest = s.rest[1:] {
		switch s.rest[0] {
		case ' ':
			width++
		case '\t':
			width += tabWidth - width%tabWidth
		case '\f':
			width = 0
		default:
			s.cur.indent = width
			return
		}
	}
}

func (s *scanner) add(k kind, t string) {
	s.count++
	s.cur.tokens = append(s.cur.tokens, token{k, t})
}

func (s *scanner) next() {
	c := s.rest[0]
	switch {
	case c == '\n':
		s.rest = s.rest[1:]
		if s.depth == 0 {
			s.end()
			s.fresh = true
		}
	case c == '#':
		end := strings.IndexByte(s.rest, '\n')
		if end < 0 {
			end = len(s.rest)
		}
		s.rest = s.rest[end:]
	case c == ' ', c == '\t', c == '\r', c == '\f':
		s.rest = s.rest[1:]
	case c == '\\':
		s.rest = strings.TrimPrefix(strings.TrimPrefix(s.rest[1:], "\r"), "\n")
	case c == '\'', c == '"':
		s.string()
	case isDigit(c):
		w := word(s.rest)
		s.add(number, w)
		s.rest = s.rest[len(w):]
	case isNameByte(c):
		s.name()
	default:
		s.operator()
	}
}

func (s *scanner) name() {
	w := word(s.rest)
	s.rest = s.rest[len(w):]
	if s.rest != "" && (s.rest[0] == '\'' || s.rest[0] == '"') && isPrefix(w) {
		s.string()
		return
	}
	s.add(name, w)
}

// isPrefix tells whether a word before a quote belongs to the string.
func isPrefix(w string) bool {
	return len(w) <= 3 && strings.Trim(strings.ToLower(w), "rbuft") == ""
}

// string reads a string whose opening quote is next. Names within a formatted
// one are left in its text.
func (s *scanner) string() {
	quote := s.rest[:1]
	triple := strings.HasPrefix(s.rest, strings.Repeat(quote, 3))
	if triple {
		quote = s.rest[:3]
	}
	var inner string
	inner, s.rest = quoted(s.rest[len(quote):], quote, triple)
	s.add(text, inner)
}

func (s *scanner) operator() {
	t := token{operator, s.rest[:1]}
	if strings.HasPrefix(s.rest, "**") || strings.HasPrefix(s.rest, "==") || strings.HasPrefix(s.rest, "->") || strings.HasPrefix(s.rest, ":=") {
		t.text = s.rest[:2]
	}
	s.rest = s.rest[len(t.text):]
	switch {
	case t.opens():
		s.depth++
	case t.closes():
		s.depth = max(s.depth-1, 0)
	case t.op(";") && s.depth == 0:
		s.end()
		return
	}
	s.add(t.kind, t.text)
}
