package gather

import (
	"regexp"
	"sync"
)

// Functions of others may write what they should not. What looks like a
// password in a line is blotted out before it becomes evidence: members of JSON
// and Python objects, parameters of connection strings and URLs, and what SQL
// puts behind PASSWORD and IDENTIFIED BY. The patterns are compiled when they are
// first used: the program that holds them runs as built-in functions too.
var blots = sync.OnceValue(func() []blotter {
	return []blotter{
		{regexp.MustCompile(`(?i)(["'](?:[\w.-]*(?:password|passwd|pwd|secret_?string|secret_?binary|rotation_?token|secret_?access_?key|session_?token|auth_?token|private_?key|passphrase)["'])\s*[:=]\s*b?)"(?:[^"\\]|\\.)*(?:"|$)`), `$1"***"`},
		{regexp.MustCompile(`(?i)(["'](?:[\w.-]*(?:password|passwd|pwd|secret_?string|secret_?binary|rotation_?token|secret_?access_?key|session_?token|auth_?token|private_?key|passphrase)["'])\s*[:=]\s*b?)'(?:[^'\\]|\\.)*(?:'|$)`), `$1'***'`},
		{regexp.MustCompile(`(?i)(\\"[\w.-]*(?:password|passwd|pwd|secret_?string|passphrase)\\"\s*:\s*\\")(?:[^"\\]|\\[^"])*`), `$1***`},
		{regexp.MustCompile(`(?i)(\b(?:encrypted\s+)?(?:password|identified(?:\s+with\s+\S+)?\s+by)\s+(?:values\s+)?)'(?:[^'\\]|''|\\.)*(?:'|$)`), `$1'***'`},
		{regexp.MustCompile(`(?i)(\bidentified\s+by\s+)"[^"]*(?:"|$)`), `$1"***"`},
		{regexp.MustCompile(`(?i)(\b(?:password|passwd|pwd)\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)|[^\s,;&'")]+)`), `$1***`},
		{regexp.MustCompile(`(://[^\s:/@]*:)[^\s/@]+(@)`), `$1***$2`},
	}
})

// blotter is one pattern with what stays of it.
type blotter struct {
	pattern *regexp.Regexp
	with    string
}

// blot takes what looks like a password out of a text that others wrote.
func blot(s string) string {
	for _, b := range blots() {
		s = b.pattern.ReplaceAllString(s, b.with)
	}
	return s
}
