package host

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for people: what is to be mended first, and
// what is well in a line each.
func (r *Report) WriteText(w io.Writer) error {
	t := &strings.Builder{}
	for _, c := range r.Checks {
		mark := map[State]string{OK: "ok     ", Note: "note   ", Finding: "FINDING", Unknown: "unknown"}[c.State]
		fmt.Fprintf(t, "%s  %s  %s: %s\n", mark, c.Code, c.Title, c.Text)
		if c.Means != "" {
			fmt.Fprintf(t, "              %s\n", c.Means)
		}
		for _, remedy := range c.Remedies {
			if c.State != OK {
				fmt.Fprintf(t, "              - %s\n", remedy)
			}
		}
	}
	fmt.Fprintf(t, "\n%s\n", r.summary())
	_, err := io.WriteString(w, t.String())
	return err
}

// summary is the outcome in one line.
func (r *Report) summary() string {
	findings, unknown := r.Count(Finding), r.Count(Unknown)
	s := "Nothing is wrong here"
	switch {
	case findings == 1:
		s = "1 finding"
	case findings > 1:
		s = fmt.Sprint(findings, " findings")
	}
	if unknown > 0 {
		s += fmt.Sprintf("; %d could not be found out", unknown)
	}
	return s + "."
}
