package iam

import (
	"strings"
	"unicode/utf8"
)

// part is one element of a pattern.
type part struct {
	kind partKind
	// text is what a literal stands for, or the key of a variable in lower
	// case.
	text string
	// slot numbers the variables of a pattern, from 0.
	slot int
	// name is a variable's key as written.
	name string
	// fallback is what a variable stands for where its key is missing.
	fallback    string
	hasFallback bool
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
	parts []part
	// variables counts the parts that are variables.
	variables int
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
	var p pattern
	for text != "" {
		next, rest := nextPart(text, s)
		text = rest
		if next.kind == variable {
			next.slot = p.variables
			p.variables++
		}
		if n := len(p.parts); n > 0 && next.kind == p.parts[n-1].kind {
			switch next.kind {
			case literal:
				p.parts[n-1].text += next.text
				continue
			case anyRun:
				continue
			}
		}
		p.parts = append(p.parts, next)
	}
	return p
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

// match reports whether the text has the form of the parts; b has the values
// of variables, and may be nil where there are none.
//
// Each run of parts between two * is looked for at the first place behind the
// run before: a later place would only leave less text to what follows.
func (m *matcher) match(parts []part, b *bindings) bool {
	n := untilAnyRun(parts)
	pos, ok := m.at(0, parts[:n], b)
	if !ok || n == len(parts) {
		return ok && pos == len(m.text)
	}
	for {
		parts = parts[n+1:]
		n = untilAnyRun(parts)
		if n == len(parts) {
			return m.ends(pos, parts, b)
		}
		if pos, ok = m.find(pos, parts[:n], b, false); !ok {
			return false
		}
	}
}

// untilAnyRun returns the number of parts before the next *.
func untilAnyRun(parts []part) int {
	for i := range parts {
		if parts[i].kind == anyRun {
			return i
		}
	}
	return len(parts)
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
	for {
		if first := &run[0]; first.kind != anyRune && !m.fold {
			i := strings.Index(m.text[pos:], b.text(first))
			if i < 0 || !m.passable(pos, pos+i) {
				return 0, false
			}
			pos += i
		}
		if end, ok := m.at(pos, run, b); ok && (!toEnd || end == len(m.text)) {
			return end, true
		}
		if pos == len(m.text) {
			return 0, false
		}
		next := pos + runeLen(m.text[pos:])
		if !m.passable(pos, next) {
			return 0, false
		}
		pos = next
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
