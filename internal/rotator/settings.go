package rotator

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Settings are a function's environment variables.
type Settings map[string]string

// Environment returns the process's own variables.
func Environment() Settings {
	s := Settings{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		s[name] = value
	}
	return s
}

// Text returns a variable, or the default where it is not set. A variable
// that is set to nothing counts: EXCLUDE_CHARACTERS may be empty.
func (s Settings) Text(name, otherwise string) string {
	if v, ok := s[name]; ok {
		return v
	}
	return otherwise
}

// Flag reads true, 1, y and yes in any case as true and all else as false
// (AWS: the templates).
func (s Settings) Flag(name string, otherwise bool) bool {
	v, ok := s[name]
	if !ok {
		return otherwise
	}
	return slices.Contains([]string{"true", "1", "y", "yes"}, strings.ToLower(v))
}

// Number reads a whole number.
func (s Settings) Number(name string, otherwise int) (int, error) {
	v, ok := s[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil {
		return 0, Invalid("The environment variable %s must be a whole number, and is %q", name, v)
	}
	return n, nil
}
