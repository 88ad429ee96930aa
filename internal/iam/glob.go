package iam

import (
	"strings"
	"unicode/utf8"
)

// part is one element of a pattern.
type part struct {
	kind partKind
	// text is what a literal stands for.
	text string
	// reference says what a variable stands for.
	reference *reference
}

type partKind uint8

const (
	literal  partKind = iota
	anyRune           // ?
	anyRun            // *
	variable          // ${key}
)

// pattern is a compiled text of a policy.
type pattern struct {
	// runs are the parts before, between and behind the *; the first begins
	// the text and the last ends it.
	runs [][]part
	// variables are the parts that are variables.
	variables []*reference
}

// syntax says which signs of a pattern have a meaning.
type syntax struct {
	// wildcards makes * and ? stand for other text.
	wildcards bool
	// variables makes ${…} stand for a condition key's value.
	variables bool
}

// parsePattern reads a pattern. Whatever has no meaning stands for itself, so
// every text is a pattern.
func parsePattern(text string, s syntax) pattern {
	p := pattern{runs: [][]part{nil}}
	for text != "" {
		next, rest := nextPart(text, s)
		text = rest
		if next.kind == variable {
			next.reference.slot = len(p.variables)
			p.variables = append(p.variables, next.reference)
		}
		p.add(next)
	}
	return p
}

// add appends a part; several * in a row are one, and literals merge.
func (p *pattern) add(next part) {
	run := &p.runs[len(p.runs)-1]
	last := len(*run) - 1
	switch {
	case next.kind == anyRun && last < 0 && len(p.runs) > 1:
	case next.kind == anyRun:
		p.runs = append(p.runs, nil)
	case next.kind == literal && last >= 0 && (*run)[last].kind == literal:
		(*run)[last].text += next.text
	default:
		*run = append(*run, next)
	}
}

// anything reports whether the pattern is "*" by itself.
func (p *pattern) anything() bool {
	return len(p.runs) == 2 && len(p.runs[0]) == 0 && len(p.runs[1]) == 0
}

// nextPart splits the first part off; text is not empty.
func nextPart(text string, s syntax) (first part, rest string) {
	switch {
	case s.wildcards && text[0] == '*':
		return part{kind: anyRun}, text[1:]
	case s.wildcards && text[0] == '?':
		return part{kind: anyRune}, text[1:]
	case s.variables && strings.HasPrefix(text, "${"):
		if v, after, ok := cutVariable(text[2:]); ok {
			return v, after
		}
	}
	end := len(text)
	if i := strings.IndexAny(text[1:], "*?$"); i >= 0 {
		end = i + 1
	}
	return part{text: text[:end]}, text[end:]
}

// matcher compares one text with the parts of patterns.
type matcher struct {
	text string
	// fold makes ASCII letters of the text match the lower-case letters of the
	// parts.
	fold bool
	// wall is an offset: wildcards do not run over colons before it.
	wall int
}

// match reports whether the text has the form of the pattern; b has the values
// of its variables, and may be nil where there are none.
//
// Each run between two * is looked for at the first place behind the run
// before: a later place would only leave less text to what follows.
func (m *matcher) match(p *pattern, b *bindings) bool {
	pos, ok := m.at(0, p.runs[0], b)
	last := len(p.runs) - 1
	if !ok || last == 0 {
		return ok && pos == len(m.text)
	}
	for _, run := range p.runs[1:last] {
		if pos, ok = m.find(pos, run, b, false); !ok {
			return false
		}
	}
	return m.ends(pos, p.runs[last], b)
}

// ends reports whether, behind a * at pos, the text ends with the run.
func (m *matcher) ends(pos int, run []part, b *bindings) bool {
	if len(run) == 0 {
		return m.passable(pos, len(m.text))
	}
	if last := &run[len(run)-1]; last.kind == literal && !m.fold && !strings.HasSuffix(m.text, last.text) {
		return false
	}
	_, ok := m.find(pos, run, b, true)
	return ok
}

// find returns the end of the first place, behind a * at pos, that has the
// form of the run and, if asked, is the end of the text.
func (m *matcher) find(pos int, run []part, b *bindings, toEnd bool) (end int, ok bool) {
	first := &run[0]
	for {
		start := pos
		if first.kind != anyRune && !m.fold {
			want := b.text(first)
			i := strings.Index(m.text[pos:], want)
			if i < 0 || !m.passable(pos, pos+i) {
				return 0, false
			}
			start += i
			end, ok = m.at(start+len(want), run[1:], b)
		} else {
			end, ok = m.at(start, run, b)
		}
		if ok && (!toEnd || end == len(m.text)) {
			return end, true
		}
		if start == len(m.text) {
			return 0, false
		}
		pos = start + runeLen(m.text[start:])
		if !m.passable(start, pos) {
			return 0, false
		}
	}
}

// at matches a run without * at an offset and returns the end.
func (m *matcher) at(pos int, run []part, b *bindings) (end int, ok bool) {
	for i := range run {
		if p := &run[i]; p.kind == anyRune {
			if pos == len(m.text) {
				return 0, false
			}
			next := pos + runeLen(m.text[pos:])
			if !m.passable(pos, next) {
				return 0, false
			}
			pos = next
		} else {
			want := b.text(p)
			if !m.startsWith(pos, want) {
				return 0, false
			}
			pos += len(want)
		}
	}
	return pos, true
}

// passable reports whether a wildcard may stand for the text between the
// offsets.
func (m *matcher) passable(from, to int) bool {
	to = min(to, m.wall)
	return from >= to || strings.IndexByte(m.text[from:to], ':') < 0
}

func (m *matcher) startsWith(pos int, want string) bool {
	text := m.text[pos:]
	if !m.fold || len(text) < len(want) {
		return strings.HasPrefix(text, want)
	}
	for i := range len(want) {
		if lower(text[i]) != want[i] {
			return false
		}
	}
	return true
}

func runeLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lowerASCII is the form of a pattern for a matcher that folds.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return rune(lower(byte(r)))
		}
		return r
	}, s)
}

// arnWall returns the wall for matching an ARN segment by segment: the offset
// of the sixth segment, which keeps any further colons. It is -1 for text that
// is no ARN.
func arnWall(text string) int {
	wall := 0
	for range 5 {
		i := strings.IndexByte(text[wall:], ':')
		if i < 0 {
			return -1
		}
		wall += i + 1
	}
	return wall
}
