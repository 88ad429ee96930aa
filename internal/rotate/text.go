package rotate

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Text returns the line for a terminal: the time of day in UTC, then what
// the engine or the function said. Of control characters only ends of lines
// and tabs are left: what functions write is not to steer the terminal.
func (l Line) Text() string { return Plain(l.text()) }

// Plain takes the control characters out of a text, also those of eight bits,
// but for ends of lines and tabs: a terminal would obey what others wrote.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

func (l Line) text() string {
	at := l.Time.UTC().Format("15:04:05.000")
	if l.Report == nil {
		return at + "    | " + strings.ReplaceAll(l.Log, "\n", "\n                | ")
	}
	rep := l.Report
	what := rep.Step
	if what == "" {
		what = "rotation"
	}
	s := fmt.Sprintf("%s  %-12s %s", at, what, rep.Status)
	if rep.DurationMS > 0 {
		s += fmt.Sprintf(" in %s", time.Duration(rep.DurationMS)*time.Millisecond)
	}
	if rep.Attempt > 1 {
		s += fmt.Sprintf(" (attempt %d)", rep.Attempt)
	}
	if rep.Error != "" {
		s += ": " + rep.Error
	}
	switch {
	case rep.Status == Held && rep.RetryAt != "":
		s += "; next look at " + rep.RetryAt
	case rep.RetryAt != "":
		s += "; next attempt at " + rep.RetryAt
	}
	return s + rep.Finding.text()
}

// findingIndent puts a finding's lines below what the report says.
const findingIndent = "\n                  "

// text is the finding in short: what it is, and the first thing to do. A nil
// finding has none.
func (f *Finding) text() string {
	if f == nil {
		return ""
	}
	s := findingIndent + f.Code + " " + f.Title
	if f.Confidence != "" && f.Confidence != "certain" {
		s += " (" + f.Confidence + ")"
	}
	if f.Cause != "" {
		s += findingIndent + strings.ReplaceAll(f.Cause, "\n", findingIndent)
	}
	if len(f.Remedies) == 0 {
		return s
	}
	first := f.Remedies[0]
	s += findingIndent + "remedy: " + first.Text
	for _, command := range first.Commands {
		s += findingIndent + "    " + strings.ReplaceAll(command, "\n", findingIndent+"    ")
	}
	if first.Risk != "" {
		s += findingIndent + "risk: " + first.Risk
	}
	return s
}
