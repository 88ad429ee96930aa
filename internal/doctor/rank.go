package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Row is a secret in a survey.
type Row struct {
	Secret string `json:"secret"`
	ARN    string `json:"arn"`
	// Standing is failing, stuck, overdue, abandoned, aging, off, rotating or
	// well; Troubles says in words what is wrong, the worst first, with the
	// codes of the findings in Codes.
	Standing string   `json:"standing"`
	Troubles []string `json:"troubles,omitempty"`
	Codes    []string `json:"codes,omitempty"`

	Function       string    `json:"function,omitempty"`
	Runtime        string    `json:"runtime,omitempty"`
	LastRotatedAt  time.Time `json:"lastRotatedAt,omitzero"`
	NextRotationAt time.Time `json:"nextRotationAt,omitzero"`

	score int
}

// Well tells that nothing is wrong with the secret.
func (r Row) Well() bool { return len(r.Troubles) == 0 }

// The scores of troubles: a row's is that of its worst, and a little for each
// further one.
const (
	scoreFailing   = 100
	scoreStuck     = 80
	scoreOverdue   = 60
	scoreBroken    = 50
	scoreAbandoned = 40
	scoreAging     = 10
)

// Rank judges every secret of a survey by the little that it holds, and
// returns the worst first. keyturn doctor SECRET finds out why.
func Rank(s *Survey) []Row {
	rows := make([]Row, 0, len(s.Secrets))
	for i := range s.Secrets {
		rows = append(rows, rowOf(s, &s.Secrets[i]))
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.score, a.score), a.NextRotationAt.Compare(b.NextRotationAt), cmp.Compare(a.Secret, b.Secret))
	})
	return rows
}

func rowOf(s *Survey, x *Surveyed) Row {
	r := Row{Secret: plain(cmp.Or(x.Name, x.ARN)), ARN: plain(x.ARN), LastRotatedAt: x.LastRotatedAt, NextRotationAt: x.NextRotationAt, Standing: "well"}
	if x.Function != nil {
		r.Function, r.Runtime = plain(x.Function.Name), plain(x.Function.Runtime)
	}
	stuck := x.Pending != "" && x.Pending != x.Current
	failed := x.LastFailure != nil && x.LastFailure.At.After(x.SucceededAt) && !x.LastRotatedAt.After(x.LastFailure.At)
	under := stuck && !failed && (s.At.Sub(x.StartedAt) < patience && !x.StartedAt.IsZero() || s.At.Sub(x.LastChangedAt) < patience && !x.LastChangedAt.IsZero())
	switch {
	case failed:
		text := "the last rotation failed"
		if x.Failures > 1 {
			text = fmt.Sprintf("%d rotations failed", x.Failures)
		}
		if step := stepIn(x.LastFailure.ErrorMessage); step != "" {
			text += " in " + step
		}
		r.add(scoreFailing+min(x.Failures, 9), "failing", "", text)
	case under:
		r.Standing = "rotating"
	}
	if stuck && !under {
		r.add(scoreStuck, "stuck", "D48", "AWSPENDING is stuck on "+plain(x.Pending))
	}
	secret := Secret{RotationEnabled: new(x.RotationEnabled), NextRotationAt: x.NextRotationAt}
	if overdue(&secret, s.At) && !under {
		r.add(scoreOverdue, "overdue", "D27", "due since "+day(x.NextRotationAt))
	}
	if !failed && !x.AbandonedAt.IsZero() && x.AbandonedAt.After(x.SucceededAt) {
		r.add(scoreAbandoned, "abandoned", "D43", "the last rotation was given up, because somebody wrote the secret")
	}
	c := &Case{Evidence: &Evidence{At: s.At, Region: s.Region, Secret: Secret{FunctionARN: x.FunctionARN, ARN: x.ARN}, Function: x.Function, Stack: x.Stack}}
	r.function(c)
	if r.Well() && r.Standing == "well" && !x.RotationEnabled && x.OwningService == "" {
		r.Standing = "off"
	}
	return r
}

// function adds what is wrong with the rotation function.
func (r *Row) function(c *Case) {
	if c.Function == nil {
		return
	}
	switch {
	case !c.Function.Found:
		r.add(scoreBroken, "broken", "D20", "its function does not exist")
		return
	case c.Function.State == "Failed":
		r.add(scoreBroken, "broken", "D28", "its function is in the state Failed")
	case c.Function.Reserved != nil && *c.Function.Reserved == 0:
		r.add(scoreBroken, "broken", "D44", "its function's reserved concurrency is 0")
	}
	if day, old := ended[c.runtime()]; old {
		r.add(scoreAging+3, "aging", "D50", c.runtime()+" is out of support since "+day)
	} else if c.runtime() == "python3.9" {
		r.add(scoreAging+2, "aging", "D51", "python3.9 is to be upgraded")
	}
	if c.template() == "" && c.Stack == nil {
		return
	}
	switch {
	case c.before(cutTLS):
		r.add(scoreAging+1, "aging", "D13", "its function is from before 2021-12-20: no TLS")
	case c.before(cutSCRAM):
		r.add(scoreAging+1, "aging", "D12", "its function is from before 2021-12-30: no SCRAM")
	}
}

func (r *Row) add(score int, standing, code, text string) {
	if r.score == 0 || score > r.score {
		r.score, r.Standing = score, standing
	} else {
		r.score++
	}
	r.Troubles = append(r.Troubles, text)
	if code != "" {
		r.Codes = append(r.Codes, code)
	}
}

// WriteSurvey writes the rows as a table for a terminal.
func WriteSurvey(w io.Writer, s *Survey, rows []Row, o TextOptions) error {
	var b bytes.Buffer
	bad := 0
	for _, r := range rows {
		if !r.Well() {
			bad++
		}
	}
	fmt.Fprintf(&b, "%d of %d rotating secrets of account %s in %s need attention.\n", bad, len(rows), cmp.Or(plain(s.Account), "?"), cmp.Or(plain(s.Region), "?"))
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nSECRET\tSTANDING\tLAST ROTATED\tDUE BY\tWHAT")
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Secret, r.Standing, date(r.LastRotatedAt), date(r.NextRotationAt), strings.Join(r.Troubles, "; "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		b.WriteString(fit(strings.TrimRight(line, " \n"), o.Width) + "\n")
	}
	p := &page{TextOptions: o}
	p.gaps(s.Gaps)
	b.Write(p.Bytes())
	if bad > 0 {
		b.WriteString("\nkeyturn doctor SECRET tells why.\n")
	}
	text := b.String()
	if o.Color {
		text = colorStandings(text)
	}
	_, err := io.WriteString(w, text)
	return err
}

func colorStandings(s string) string {
	p := page{TextOptions: TextOptions{Color: true}}
	for _, x := range []struct{ word, color string }{
		{"failing", red}, {"stuck", red}, {"overdue", red}, {"broken", red}, {"abandoned", yellow}, {"aging", yellow}, {"well", green},
	} {
		s = strings.ReplaceAll(s, "  "+x.word+" ", "  "+p.paint(x.color, x.word)+" ")
	}
	return s
}

// fit cuts a line of a table at the terminal's width.
func fit(line string, width int) string {
	if width < 20 || utf8.RuneCountInString(line) <= width {
		return line
	}
	runes := []rune(line)
	return strings.TrimRight(string(runes[:width-1]), " ") + "…"
}

func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.DateOnly)
}

// WriteSurveyMarkdown writes the rows as a table for a ticket.
func WriteSurveyMarkdown(w io.Writer, s *Survey, rows []Row) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Rotating secrets of account %s in %s\n\nLooked at %s.\n\n", escape(s.Account), escape(s.Region), s.At.UTC().Format(time.RFC3339))
	b.WriteString("| Secret | Standing | Last rotated | Due by | What | Codes |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", escape(r.Secret), r.Standing, date(r.LastRotatedAt), date(r.NextRotationAt),
			escape(strings.Join(r.Troubles, "; ")), strings.Join(r.Codes, ", "))
	}
	for i, g := range s.Gaps {
		if i == 0 {
			b.WriteString("\nNot looked at:\n\n")
		}
		fmt.Fprintf(&b, "- %s\n", escape(gapText(g)))
	}
	_, err := w.Write(b.Bytes())
	return err
}
