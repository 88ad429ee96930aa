package iam

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func globs(pattern, text string) bool {
	m := matcher{text: text}
	p := parsePattern(pattern, syntax{wildcards: true})
	return m.match(&p, nil)
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"abc", "ABC", false},
		{"*", "", true},
		{"*", "a:b/c", true},
		{"**", "abc", true},
		{"a*", "a", true},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*c", "abcabc", true},
		{"a*bc*d", "abbcbd", true},
		{"a*bc*bd", "abbcbd", true},
		{"a*bc*cd", "abbcbd", false},
		{"*ab*ab", "ab", false},
		{"?", "", false},
		{"?", "a", true},
		{"?", "é", true},
		{"??", "é", false},
		{"*??", "€", false},
		{"*?b", "€b", true},
		{"a?c", "a:c", true},
		{"x-??????", "x-AbCdEf", true},
		{"x-??????", "x-AbCdE", false},
		{"*-??????", "team/x-y-AbCdEf", true},
		{"*-??????", "x-AbCdEfG", false},
		{"a*b?c", "ab1cxbc", false},
		{"a*b?c", "ab1cb2c", true},
		{"a*?", "a", false},
		{"a?*", "ab", true},
		{"$*", "$x", true},
		{"arn:aws:secretsmanager:*:*:secret:prod/*", secretARN, true},
		{"arn:aws:secretsmanager:*", secretARN, true},
		{strings.Repeat("*a", 200) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := globs(tc.pattern, tc.text); got != tc.want {
			t.Errorf("%q on %q: got %v, want %v", tc.pattern, tc.text, got, tc.want)
		}
	}
}

func TestGlobARN(t *testing.T) {
	const text = "arn:aws:iam::111122223333:role/a:b/c"
	for pattern, want := range map[string]bool{
		"*":                                   true,
		"arn:aws:iam::111122223333:role/*":    true,
		"arn:aws:iam::1111????3333:role/*":    true,
		"arn:*:*:*:*:*":                       true,
		"arn:aws:iam:*:111122223333:*c":       true,
		"arn:aws:iam::111122223333:*:b*":      true,
		"arn:aws:*":                           false,
		"arn:aws:iam*":                        false,
		"arn:aws:*:role/a:b/c":                false,
		"arn:aws:iam?:111122223333:role/*":    false,
		"*:role/a:b/c":                        false,
		"arn:aws:iam::111122223333:role/a":    false,
		"arn:aws:iam::111122223333:role/a?b*": true,
	} {
		p := parsePattern(pattern, syntax{wildcards: true})
		if got := (&Request{}).matchesARN(&p, text); got != want {
			t.Errorf("%q: got %v, want %v", pattern, got, want)
		}
	}
	p := parsePattern("a*", syntax{wildcards: true})
	if (&Request{}).matchesARN(&p, "abc") {
		t.Error("an ARN pattern matched a text that is no ARN")
	}
}

// slowGlob is a table of which prefix of the pattern matches which prefix of
// the text.
func slowGlob(pattern, text string) bool {
	p, s := []rune(pattern), []rune(text)
	table := make([][]bool, len(p)+1)
	for i := range table {
		table[i] = make([]bool, len(s)+1)
	}
	table[0][0] = true
	for i := 1; i <= len(p); i++ {
		for j := 0; j <= len(s); j++ {
			if p[i-1] == '*' {
				table[i][j] = table[i-1][j] || j > 0 && table[i][j-1]
			} else {
				table[i][j] = j > 0 && table[i-1][j-1] && (p[i-1] == '?' || p[i-1] == s[j-1])
			}
		}
	}
	return table[len(p)][len(s)]
}

// slowARN compares segment by segment.
func slowARN(pattern, text string) bool {
	if pattern != "" && strings.Trim(pattern, "*") == "" {
		return true
	}
	ps, ts := strings.SplitN(pattern, ":", 6), strings.SplitN(text, ":", 6)
	if len(ps) < 6 || len(ts) < 6 {
		return false
	}
	for i := range ps {
		if !slowGlob(ps[i], ts[i]) {
			return false
		}
	}
	return true
}

func slowLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/r")
	f.Add("*:*b*:*:?::x*", "arn:b:b:x::x:y")
	f.Add("*é?*", "aéb€")
	f.Add("**a*", "AAA")
	f.Add("a*:?*:b", "a:b:b")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)*len(text) > 1<<20 || !utf8.ValidString(pattern) || !utf8.ValidString(text) {
			return
		}
		if got, want := globs(pattern, text), slowGlob(pattern, text); got != want {
			t.Errorf("%q on %q: got %v, want %v", pattern, text, got, want)
		}
		p := parsePattern(pattern, syntax{wildcards: true})
		if got, want := (&Request{}).matchesARN(&p, text), slowARN(pattern, text); got != want {
			t.Errorf("%q on ARN %q: got %v, want %v", pattern, text, got, want)
		}
		p = parsePattern(lowerASCII(pattern), syntax{wildcards: true})
		m := matcher{text: text, fold: true}
		if got, want := m.match(&p, nil), slowGlob(slowLower(pattern), slowLower(text)); got != want {
			t.Errorf("%q on %q without case: got %v, want %v", pattern, text, got, want)
		}
	})
}
