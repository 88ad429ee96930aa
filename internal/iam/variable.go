package iam

import "strings"

// reference is a variable of a pattern.
type reference struct {
	// slot numbers the variables of the pattern, from 0.
	slot int
	// key is in lower case, name as written.
	key, name string
	// fallback is what the variable stands for where its key is missing.
	fallback    string
	hasFallback bool
}

// cutVariable reads the inside of "${…}" from the text after "${": the key,
// with a default after a comma, or an escaped sign. Spaces around them do not
// count. Anything else is no variable: the text stands for itself (assumed).
func cutVariable(text string) (v part, rest string, ok bool) {
	body, rest, ok := cutBrace(text)
	if !ok {
		return part{}, "", false
	}
	body = strings.TrimSpace(body)
	if body == "*" || body == "?" || body == "$" {
		return part{text: body}, rest, true
	}
	key, fallback, hasFallback := strings.Cut(body, ",")
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsAny(key, "${'") {
		return part{}, "", false
	}
	ref := &reference{key: strings.ToLower(key), name: key, hasFallback: hasFallback}
	if hasFallback {
		if ref.fallback, ok = unquote(strings.TrimSpace(fallback)); !ok {
			return part{}, "", false
		}
	}
	return part{kind: variable, reference: ref}, rest, true
}

// cutBrace splits at the first closing brace outside of single quotes.
func cutBrace(text string) (body, rest string, ok bool) {
	quoted := false
	for i := range len(text) {
		switch {
		case text[i] == '\'':
			quoted = !quoted
		case text[i] == '}' && !quoted:
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

// unquote takes the single quotes off.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' || strings.Count(s, "'") != 2 {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// bindings holds the values of a pattern's variables for one request. No sign
// in a value has a meaning.
type bindings struct {
	r *Request
	// values has those of the first slots; others are looked up when needed,
	// so that no pattern needs memory of its own.
	values [4]string
}

// bind looks the pattern's variables up; ok is false if one has no value.
func (r *Request) bind(p *pattern) (b bindings, ok bool) {
	b.r = r // returned by value: stored through a pointer, r would escape
	for _, v := range p.variables {
		text, known := r.variable(v)
		if !known {
			return b, false
		}
		if v.slot < len(b.values) {
			b.values[v.slot] = text
		}
	}
	return b, true
}

// text returns what a literal or a variable stands for.
func (b *bindings) text(p *part) string {
	switch {
	case p.kind == literal:
		return p.text
	case p.reference.slot < len(b.values):
		return b.values[p.reference.slot]
	}
	text, _ := b.r.variable(p.reference)
	return text
}

// variable returns the value of a key that has one value, else the
// variable's default; known is false where there is none. An empty value, such
// as tags may have, is none (AWS docs): it would make the * behind the variable
// stand for what is other people's.
func (r *Request) variable(v *reference) (text string, known bool) {
	if value := r.value(v.key); value.len() == 1 && value.at(0) != "" {
		return value.at(0), true
	}
	return v.fallback, v.hasFallback
}

// matches reports whether the text has the form of the pattern, and whether
// the pattern's variables could be resolved.
func (r *Request) matches(p *pattern, text string, wall int) (matched, resolved bool) {
	m := matcher{text: text, wall: wall}
	if len(p.variables) == 0 {
		return m.match(p, nil), true
	}
	b, ok := r.bind(p)
	if !ok {
		return false, false
	}
	return m.match(p, &b), true
}
