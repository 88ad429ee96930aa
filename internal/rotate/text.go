package rotate

import (
	"fmt"
	"strings"
	"time"
)

// Text returns the line for a terminal: the time of day in UTC, then what
// the engine or the function said.
func (l Line) Text() string {
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
	return s
}
