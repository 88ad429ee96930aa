package rotate

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Text returns the line for a terminal: the time of day in UTC, then what
// the engine or the function said.
//
// Control characters are left out: functions and drivers write what they
// like, and a terminal would obey.
func (l Line) Text() string { return printable(l.text()) }

// printable drops what a terminal takes for more than text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
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
