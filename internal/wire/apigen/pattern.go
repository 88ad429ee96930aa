package main

import (
	"fmt"
	"regexp"
	"strings"
)

// translate rewrites a Java regular expression, which must match the whole
// value, for Go's engine.
func translate(pattern string) (translation, error) {
	if t, ok := translations()[pattern]; ok {
		return t, nil
	}
	for _, look := range []string{"(?!", "(?=", "(?<"} {
		if strings.Contains(pattern, look) {
			return translation{}, fmt.Errorf("pattern %q looks around: add it to translations", pattern)
		}
	}
	match, err := rewrite(pattern)
	if err != nil {
		return translation{}, err
	}
	if _, err := regexp.Compile(`\A(?:` + match + `)\z`); err != nil {
		return translation{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return translation{match: match}, nil
}

// rewrite replaces what the engines read differently: \uXXXX, \s, \S and the
// dot, which in Java stops at more line ends.
func rewrite(pattern string) (string, error) {
	var b strings.Builder
	dotAll := strings.HasPrefix(pattern, "(?s)")
	inClass := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			n, text := escape(pattern[i:], inClass)
			b.WriteString(text)
			i += n - 1
			continue
		case c == '[' && inClass, inClass && strings.HasPrefix(pattern[i:], "&&"):
			return "", fmt.Errorf("pattern %q has a class within a class", pattern)
		case c == '[':
			inClass = true
		case c == ']':
			inClass = false
		case c == '.' && !inClass && !dotAll:
			b.WriteString(`[^\n\r\x{85}\x{2028}\x{2029}]`)
			continue
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// escape rewrites the escape that s starts with and returns its length.
func escape(s string, inClass bool) (n int, text string) {
	switch {
	case s[1] == 'u' && len(s) >= 6:
		return 6, `\x{` + s[2:6] + `}`
	case s[1] == 's' && inClass:
		return 2, `\s\x0B`
	case s[1] == 's':
		return 2, `[\s\x0B]`
	case s[1] == 'S' && !inClass:
		return 2, `[^\s\x0B]`
	}
	return 2, s[:2]
}
