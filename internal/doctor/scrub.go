package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redacted stands where something was left out.
const redacted = "[REDACTED]"

// maxText bounds a text of a finding, in bytes: a log line may be of any
// length.
const maxText = 1000

// hidden says what looks like a secret in a line that a function wrote. What
// is kept is the first group, and the second where there is one. It errs on
// the side of hiding: a reader of a report can look the line up.
// A pattern is only tried where the line, in lower case, has one of its words.
var hidden = []struct {
	words   []string
	pattern *pattern
	keep    string
}{
	{[]string{"private key"}, compiled(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted},
	// Members of JSON, also JSON inside a JSON text, and of Python's and Go's way to show one.
	{words, compiled(`(?i)((?:password|passwd|passphrase|secretstring|secretbinary|rotationtoken|sessiontoken|secretaccesskey|secret_?key|private_?key|api_?key|credential|token|["'](?:pwd|pass|pw))\\*["']\s*[:=]\s*)(?:\\+"(?:[^"\\]|\\\\\\.|\\[^"])*\\+"|\\+'[^']*\\+'|b?"(?:\\.|[^"\\])*"|b?'(?:\\.|[^'\\])*'|\[[^\]]*\]?|\{[^}]*\}?|[^\s,}\]]+)`), "${1}" + redacted},
	// SQL.
	{[]string{"identified", "password", "values"}, compiled(`(?i)(\b(?:identified\s+(?:with\s+\S+\s+)?by|password|old_password|values)\s*(?:=\s*)?(?:password\s*)?\(?\s*)N?(?:'(?:''|\\.|[^'\\])*'?|"(?:""|\\.|[^"\\])*"?)`), "${1}" + redacted},
	// name=value, name: value.
	{words, compiled(`(?i)((?:password|passwd|passphrase|secretstring|secretbinary|rotationtoken|sessiontoken|session_token|secret_access_key|secretaccesskey|private_?key|api_?key)\b(?:\s*=\s*|\s*:\s*=?\s*))(?:\{[^}]*\}?|'[^']*'?|"[^"]*"?|[^\s,;&)]+)`), "${1}" + redacted},
	{words, compiled(`(?i)(\b(?:pwd|pass|pw|token)\s*=\s*)(?:'[^']*'?|"[^"]*"?|[^\s,;&)]+)`), "${1}" + redacted},
	// user:password@host in a URL.
	{[]string{"://"}, compiled(`([a-zA-Z0-9]://[^\s:/@]*:)[^\s@]*(@)`), "${1}" + redacted + "${2}"},
	// Authorization headers and temporary credentials.
	{[]string{"bearer", "basic"}, compiled(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}`), "${1}" + redacted},
	{[]string{"x-amz"}, compiled(`(\bX-Amz-(?:Security-Token|Signature|Credential)[=:]\s*)[^\s&"']+`), "${1}" + redacted},
	{[]string{"scram-sha"}, compiled(`\bSCRAM-SHA-256\$\d+:[^\s"']+`), redacted},
}

// words are what names of secret members have in them.
var words = []string{"pass", "pwd", "pw", "secret", "token", "key", "credential"}

// harmless are texts of known failures that look like an assignment.
var harmless = compiled(`^(?:authentication failed|policy|expired|required|refused|incorrect|too (?:short|weak)|must|does|is|was|may|cannot|could|failed)`)

// scrub takes out of a text what looks like a secret and what a terminal or
// a table could take for more than text, and cuts it.
func scrub(s string) string {
	if len(s) > 4*maxText {
		s = s[:4*maxText]
	}
	lower := strings.ToLower(s)
	for _, h := range hidden {
		if !slices.ContainsFunc(h.words, func(word string) bool { return strings.Contains(lower, word) }) {
			continue
		}
		s = h.pattern.get().ReplaceAllStringFunc(s, func(found string) string {
			if _, after, ok := strings.Cut(found, ": "); ok && harmless.MatchString(after) {
				return found
			}
			return h.pattern.get().ReplaceAllString(found, h.keep)
		})
	}
	return cut(plain(s))
}

// plain makes one line of printable text.
func plain(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + " …"
}

// clean scrubs all texts of a finding that came from outside. Commands are
// made here, of names that are not secret, and only kept in one line.
func (f *Finding) clean() {
	f.Cause, f.Step = scrub(f.Cause), plain(f.Step)
	for i := range f.Facts {
		f.Facts[i].Text, f.Facts[i].Where = scrub(f.Facts[i].Text), cut(plain(f.Facts[i].Where))
	}
	for i := range f.RuledOut {
		f.RuledOut[i].Because = scrub(f.RuledOut[i].Because)
	}
	for i := range f.Next {
		f.Next[i] = scrub(f.Next[i])
	}
	for i := range f.Remedies {
		r := &f.Remedies[i]
		r.Text, r.Risk = scrub(r.Text), scrub(r.Risk)
		for j := range r.Commands {
			r.Commands[j] = plain(r.Commands[j])
		}
	}
}

func cleanGaps(gaps []Gap) []Gap {
	all := slices.Clone(gaps)
	for i := range all {
		all[i].Action, all[i].Resource = plain(all[i].Action), plain(all[i].Resource)
		all[i].Error, all[i].Missing = scrub(all[i].Error), scrub(all[i].Missing)
	}
	return all
}

// MarshalJSON leaves out of the lines that functions and servers wrote what
// looks like a secret, and all but the last lines of an invocation: a report
// with its evidence is made to be handed on.
func (e Evidence) MarshalJSON() ([]byte, error) {
	type shape Evidence // which has no such method
	s := shape(e)
	s.Gaps = cleanGaps(e.Gaps)
	s.Events = slices.Clone(e.Events)
	for i := range s.Events {
		s.Events[i].ErrorMessage = scrub(s.Events[i].ErrorMessage)
	}
	s.Reports = slices.Clone(e.Reports)
	for i := range s.Reports {
		s.Reports[i].Error = scrub(s.Reports[i].Error)
	}
	s.Invocations = slices.Clone(e.Invocations)
	for i := range s.Invocations {
		lines := slices.Clone(lastLines(&s.Invocations[i]))
		for j := range lines {
			lines[j].Text = scrub(lines[j].Text)
		}
		s.Invocations[i].Lines = lines
	}
	s.Probes = slices.Clone(e.Probes)
	for i := range s.Probes {
		stages := slices.Clone(s.Probes[i].Stages)
		for j := range stages {
			stages[j].Text = scrub(stages[j].Text)
		}
		s.Probes[i].Stages = stages
	}
	if e.Request != nil {
		s.Request = new(*e.Request)
		s.Request.Text = scrub(e.Request.Text)
	}
	s.Values = slices.Clone(e.Values)
	for i := range s.Values {
		v := &s.Values[i]
		v.Host, v.Database, v.Username, v.Error, v.Problem = scrub(v.Host), scrub(v.Database), scrub(v.Username), scrub(v.Error), scrub(v.Problem)
	}
	if e.Function != nil {
		s.Function = new(*e.Function)
		s.Function.StateReason = scrub(e.Function.StateReason)
		s.Function.Variables = maps.Clone(e.Function.Variables)
		for name, value := range s.Function.Variables {
			s.Function.Variables[name] = scrub(value)
		}
	}
	b, err := json.Marshal(s)
	return inert(b), err
}

// inert escapes what a terminal of eight bits takes for control characters,
// and JSON lets pass.
func inert(b []byte) []byte {
	if !bytes.ContainsAny(b, controls) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		if r >= 0x7f && r <= 0x9f {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

const controls = "\u007f\u0080\u0081\u0082\u0083\u0084\u0085\u0086\u0087\u0088\u0089\u008a\u008b\u008c\u008d\u008e\u008f" +
	"\u0090\u0091\u0092\u0093\u0094\u0095\u0096\u0097\u0098\u0099\u009a\u009b\u009c\u009d\u009e\u009f"
