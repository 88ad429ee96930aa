package manual

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WritePage writes the man page of section 8 in the man macros. The date
// stands in its head.
func (p *Program) WritePage(w io.Writer, date time.Time) error {
	page := &page{}
	// Dates are read, so that their hyphens stay as they are.
	page.line(fmt.Sprintf(".TH %s 8 %s \"%s\" \"System Administration\"", escape(strings.ToUpper(p.Name)), date.UTC().Format(time.DateOnly), escape(p.Name+" "+p.Version)))
	page.macro("SH", "NAME")
	page.text(p.Name + " - " + p.Summary)
	page.macro("SH", "SYNOPSIS")
	page.line(`.B ` + escape(p.Name))
	page.line(`.I command`)
	page.text("[flags] [arguments]")
	if p.Root.Detail != "" {
		page.macro("SH", "DESCRIPTION")
		page.paragraphs(p.Root.Detail)
	}
	page.macro("SH", "COMMANDS")
	p.Root.walk(func(c *Command) {
		if len(c.Path) > 0 && len(c.Commands) == 0 {
			page.command(p.Name, c)
		}
	})
	page.macro("SH", "ENVIRONMENT")
	page.text("Each variable stands for a flag that is not given.")
	page.terms(p.variables())
	for _, s := range p.Sections {
		page.macro("SH", strings.ToUpper(s.Title))
		page.paragraphs(strings.Join(s.Paragraphs, "\n\n"))
		page.terms(s.Terms)
	}
	_, err := io.WriteString(w, page.String())
	return err
}

// page collects the lines of a man page.
type page struct{ strings.Builder }

func (p *page) line(s string) { p.WriteString(s + "\n") }

// macro writes a request with its arguments quoted.
func (p *page) macro(name string, args ...string) {
	line := "." + name
	for _, a := range args {
		line += ` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`
	}
	p.line(line)
}

// text writes one paragraph's words.
func (p *page) text(s string) { p.line(escape(strings.Join(strings.Fields(s), " "))) }

// paragraphs writes text in which empty lines stand between paragraphs.
func (p *page) paragraphs(s string) {
	first := true
	for part := range strings.SplitSeq(s, "\n\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		if !first {
			p.line(".PP")
		}
		first = false
		p.text(part)
	}
}

func (p *page) terms(list []Term) {
	for _, t := range list {
		p.line(".TP")
		p.line(`.B ` + escape(t.Name))
		p.text(t.Text)
	}
}

func (p *page) command(program string, c *Command) {
	title := program + " " + strings.Join(c.Path, " ")
	for _, a := range c.Arguments {
		title += " " + a.synopsis()
	}
	p.macro("SS", title)
	p.text(c.Help)
	if c.Detail != "" {
		p.line(".PP")
		p.paragraphs(c.Detail)
	}
	for _, a := range c.Arguments {
		p.line(".TP")
		p.line(`.I ` + escape(a.Name))
		p.text(a.Help)
	}
	for _, f := range c.Flags {
		p.line(".TP")
		p.line(f.roff())
		p.text(f.explain())
	}
}

func (a *Argument) synopsis() string {
	s := "<" + a.Name + ">"
	if a.Repeated {
		s += " ..."
	}
	if a.Optional {
		s = "[" + s + "]"
	}
	return s
}

// roff is the flag's line: bold, its placeholder in italics.
func (f *Flag) roff() string {
	s := `\fB` + escape("--"+f.Name) + `\fR`
	if f.Short != 0 {
		s = `\fB` + escape("-"+string(f.Short)) + `\fR, ` + s
	}
	if f.Takes != Nothing {
		s += `=\fI` + escape(f.Placeholder) + `\fR`
	}
	return s
}

// explain is the flag's help with its default and its variable.
func (f *Flag) explain() string {
	s := f.Help
	if f.Default != "" {
		s += fmt.Sprintf(" Default: %s.", f.Default)
	}
	if f.Variable != "" {
		s += fmt.Sprintf(" Variable: %s.", f.Variable)
	}
	return s
}

// escape makes plain text of what roff would read: backslashes, hyphens that
// are to stay hyphens, and dots and quotes at the start of a line.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "’", "'", "–", `\(en`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
