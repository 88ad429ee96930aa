package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// TextOptions say how a report is laid out.
type TextOptions struct {
	// Color turns on ANSI colours. Width is the terminal's, in columns; 0
	// breaks no lines, as for a file or a pipe.
	Color bool
	Width int
}

// WriteText reports for a terminal. The evidence is for the names alone, and
// may be nil.
func WriteText(w io.Writer, d Diagnosis, e *Evidence, o TextOptions) error {
	p := &page{TextOptions: o}
	if e != nil {
		p.line(0, p.bold(cmp.Or(plain(e.Secret.Name), plain(e.Secret.ARN), "secret")))
	}
	p.text(0, d.State)
	if d.Live != "" {
		p.text(0, "Live in the database: "+d.Live+".")
	}
	for i, f := range d.Findings {
		p.finding(i+1, f)
	}
	if len(d.Findings) == 0 {
		p.line(0, "")
		p.line(0, p.paint(green, "Nothing is wrong."))
	}
	p.gaps(d.Gaps)
	if e != nil && e.Endpoint != "" && hasCommands(d) {
		p.line(0, "")
		p.text(0, "The commands are for "+plain(e.Endpoint)+": AWS_ENDPOINT_URL has to name it.")
	}
	_, err := w.Write(p.Bytes())
	return err
}

func hasCommands(d Diagnosis) bool {
	for _, f := range d.Findings {
		for _, r := range f.Remedies {
			if len(r.Commands) > 0 {
				return true
			}
		}
	}
	return false
}

// The colours.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	gray   = "90"
)

// page collects a report.
type page struct {
	bytes.Buffer
	TextOptions
}

func (p *page) paint(color, s string) string {
	if !p.Color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (p *page) bold(s string) string { return p.paint("1", s) }

func (p *page) line(indent int, s string) {
	p.WriteString(strings.TrimRight(strings.Repeat(" ", indent)+s, " ") + "\n")
}

// text writes a paragraph, broken at the width. Everything in it has been
// made printable before.
func (p *page) text(indent int, s string) { p.wrapped(indent, indent, "", s) }

// wrapped writes a paragraph whose first line begins with head.
func (p *page) wrapped(indent, hang int, head, s string) {
	width := p.Width - hang
	if p.Width <= 0 {
		width = 1 << 20
	}
	width = max(width, 20)
	line, room := head, width
	used := utf8.RuneCountInString(head) - (hang - indent)
	if used < 0 {
		used = 0
	}
	first, pad := true, indent
	for word := range strings.FieldsSeq(s) {
		n := utf8.RuneCountInString(word)
		if !first && used+1+n > room {
			p.line(pad, line)
			line, used, pad, first = "", 0, hang, true
		}
		if !first {
			line += " "
			used++
		}
		line += word
		used += n
		first = false
	}
	p.line(pad, line)
}

func (p *page) finding(n int, f Finding) {
	color := yellow
	if f.Confidence == Certain && f.rank != rankRisk {
		color = red
	}
	p.line(0, "")
	head := fmt.Sprintf("%d. ", n)
	said := string(f.Confidence)
	if f.Step != "" {
		said += ", in " + f.Step
	}
	p.wrapped(0, 3, head, p.paint(color, f.Code)+" "+p.bold(f.Title)+" "+p.paint(gray, "("+said+")"))
	p.text(3, f.Cause)
	if len(f.Facts) > 0 {
		p.line(3, p.bold("Evidence"))
		for _, x := range f.Facts {
			p.wrapped(5, 7, "- ", factText(x))
		}
	}
	if len(f.RuledOut) > 0 {
		p.line(3, p.bold("Ruled out"))
		for _, x := range f.RuledOut {
			p.wrapped(5, 7, "- ", x.Code+" ("+x.Title+"): "+x.Because)
		}
	}
	if len(f.Next) > 0 {
		p.line(3, p.bold("To be surer, look at"))
		for _, x := range f.Next {
			p.wrapped(5, 7, "- ", x)
		}
	}
	p.remedies(f.Remedies)
}

func (p *page) remedies(all []Remedy) {
	if len(all) == 0 {
		return
	}
	p.line(3, p.bold("What to do"))
	for _, r := range all {
		text := r.Text
		if r.Action != nil {
			text += " (--fix does this.)"
		}
		p.wrapped(5, 7, "- ", text)
		for _, command := range r.Commands {
			p.line(9, p.paint(green, command)) // never broken: it is to be copied
		}
		if r.Risk != "" {
			p.wrapped(7, 7, "", "Risk: "+r.Risk)
		}
	}
}

func factText(x Fact) string {
	var head []string
	if !x.At.IsZero() {
		head = append(head, x.At.UTC().Format("2006-01-02 15:04:05Z"))
	}
	head = append(head, x.Source)
	if x.Where != "" {
		head = append(head, x.Where)
	}
	return strings.Join(head, ", ") + ": " + x.Text
}

func (p *page) gaps(gaps []Gap) {
	if len(gaps) == 0 {
		return
	}
	p.line(0, "")
	p.line(0, p.bold("Not looked at"))
	for _, g := range gaps {
		p.wrapped(2, 4, "- ", gapText(g))
	}
}

func gapText(g Gap) string {
	text := scrub(g.Missing) + " (" + plain(g.Action)
	if g.Error != "" {
		text += ": " + scrub(g.Error)
	}
	return text + ")"
}

// WriteMarkdown reports for a ticket.
func WriteMarkdown(w io.Writer, d Diagnosis, e *Evidence) error {
	var b bytes.Buffer
	if e != nil {
		fmt.Fprintf(&b, "# Rotation of %s\n\n", escape(cmp.Or(e.Secret.Name, e.Secret.ARN, "the secret")))
	}
	fmt.Fprintf(&b, "%s\n", escape(d.State))
	if e != nil {
		fmt.Fprintf(&b, "\n| | |\n|---|---|\n| Secret | `%s` |\n", code(e.Secret.ARN))
		if e.Secret.FunctionARN != "" {
			fmt.Fprintf(&b, "| Function | `%s` |\n", code(e.Secret.FunctionARN))
		}
		fmt.Fprintf(&b, "| Looked at | %s |\n", e.At.UTC().Format(time.RFC3339))
		if d.Live != "" {
			fmt.Fprintf(&b, "| Live in the database | %s |\n", escape(d.Live))
		}
	}
	for _, f := range d.Findings {
		markdownFinding(&b, f)
	}
	if len(d.Findings) == 0 {
		b.WriteString("\nNothing is wrong.\n")
	}
	if len(d.Gaps) > 0 {
		b.WriteString("\n## Not looked at\n\n")
		for _, g := range d.Gaps {
			fmt.Fprintf(&b, "- %s\n", escape(gapText(g)))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func markdownFinding(b *bytes.Buffer, f Finding) {
	fmt.Fprintf(b, "\n## %s: %s\n\n%s\n\nConfidence: %s.", f.Code, escape(f.Title), escape(f.Cause), f.Confidence)
	if f.Step != "" {
		fmt.Fprintf(b, " Step: %s.", escape(f.Step))
	}
	b.WriteString("\n")
	if len(f.Facts) > 0 {
		b.WriteString("\n**Evidence**\n\n")
		for _, x := range f.Facts {
			fmt.Fprintf(b, "- %s\n", escape(factText(x)))
		}
	}
	if len(f.RuledOut) > 0 {
		b.WriteString("\n**Ruled out**\n\n")
		for _, x := range f.RuledOut {
			fmt.Fprintf(b, "- %s (%s): %s\n", x.Code, escape(x.Title), escape(x.Because))
		}
	}
	if len(f.Next) > 0 {
		b.WriteString("\n**To be surer, look at**\n\n")
		for _, x := range f.Next {
			fmt.Fprintf(b, "- %s\n", escape(x))
		}
	}
	if len(f.Remedies) > 0 {
		b.WriteString("\n**What to do**\n")
	}
	for _, r := range f.Remedies {
		fmt.Fprintf(b, "\n%s\n", escape(r.Text))
		if len(r.Commands) > 0 {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.Join(r.Commands, "\n"), "```", "` ` `"))
		}
		if r.Risk != "" {
			fmt.Fprintf(b, "\nRisk: %s\n", escape(r.Risk))
		}
	}
}

// escape keeps text from being markup.
func escape(s string) string {
	return markup.Replace(plain(s))
}

var markup = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "|", `\|`, "#", `\#`)

// code keeps text inside of a code span.
func code(s string) string { return strings.ReplaceAll(plain(s), "`", "'") }
