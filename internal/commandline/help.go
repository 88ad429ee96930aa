package commandline

import (
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// helpWidth is how wide help is, and leftWidth how wide its left column
	// may become, in characters.
	helpWidth, leftWidth = 80, 32
)

// WriteHelp writes how to use the command.
func (c *Command) WriteHelp(w io.Writer) error {
	h := &help{}
	h.line("Usage: " + c.usage())
	h.text(c.Help)
	if c.Detail != "" {
		h.text(c.Detail)
	}
	h.section("Arguments:", c.Arguments)
	h.add("\nFlags:\n")
	rows := []row{{"-h, --help", "Show this help."}}
	for level := c; level != nil; level = level.Parent {
		for _, v := range level.Flags {
			rows = append(rows, row{v.left(), v.explanation()})
		}
	}
	h.rows(rows)
	if len(c.Commands) > 0 {
		h.add("\nCommands:\n")
		rows := []row{}
		for _, sub := range c.Commands {
			rows = append(rows, row{strings.TrimPrefix(sub.Path(), root(c).Name+" "), sub.Help})
		}
		h.rows(rows)
		h.add("\nRun \"" + c.Path() + " <command> --help\" for more on a command.\n")
	}
	_, err := io.WriteString(w, h.String())
	return err
}

func root(c *Command) *Command {
	for c.Parent != nil {
		c = c.Parent
	}
	return c
}

// usage is the command with what must and may follow.
func (c *Command) usage() string {
	s := c.Path()
	for _, v := range c.Flags {
		if !v.Optional {
			s += " " + v.synopsis()
		}
	}
	for _, v := range c.Arguments {
		s += " " + v.synopsis()
	}
	if len(c.Commands) > 0 {
		return s + " <command>"
	}
	return s + " [flags]"
}

// synopsis is the flag or argument as it stands in a line.
func (v *Value) synopsis() string {
	if !v.argument {
		if v.IsBool() {
			return v.title()
		}
		return v.title() + "=" + v.Placeholder
	}
	s := v.title()
	if v.IsRepeated() {
		s += " ..."
	}
	if v.Optional {
		s = "[" + s + "]"
	}
	return s
}

// left is what stands left of the explanation: a default shows in place of
// the placeholder.
func (v *Value) left() string {
	if v.argument {
		return v.synopsis()
	}
	s := "    "
	if v.Short != "" {
		s = "-" + v.Short + ", "
	}
	if v.Default != "" && !v.IsBool() {
		return s + v.title() + "=" + v.Default
	}
	return s + v.synopsis()
}

// explanation is the help, with the variable at its end.
func (v *Value) explanation() string {
	if v.Variable == "" {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " ($" + v.Variable + ")."
}

// row is a line of two columns.
type row struct{ left, right string }

// help collects the text.
type help struct{ strings.Builder }

func (h *help) add(s string)  { h.WriteString(s) }
func (h *help) line(s string) { h.add(s + "\n") }

// text writes paragraphs, which empty lines part.
func (h *help) text(s string) {
	for part := range strings.SplitSeq(s, "\n\n") {
		if part != "" {
			h.add("\n" + strings.Join(wrap(part, helpWidth), "\n") + "\n")
		}
	}
}

func (h *help) section(title string, values []*Value) {
	if len(values) == 0 {
		return
	}
	h.add("\n" + title + "\n")
	var rows []row
	for _, v := range values {
		rows = append(rows, row{v.left(), v.explanation()})
	}
	h.rows(rows)
}

// rows writes two columns. What is too wide for the left one has a line of
// its own.
func (h *help) rows(rows []row) {
	width := 0
	for _, r := range rows {
		if n := utf8.RuneCountInString(r.left); n <= leftWidth {
			width = max(width, n)
		}
	}
	for _, r := range rows {
		lines := wrap(r.right, helpWidth-width-6)
		n := utf8.RuneCountInString(r.left)
		if n > width {
			h.line("  " + r.left)
		}
		for i, text := range lines {
			left := ""
			if i == 0 && n <= width {
				left = r.left
			}
			h.line("  " + left + strings.Repeat(" ", width-utf8.RuneCountInString(left)+4) + text)
		}
	}
}

// wrap breaks text into lines of at most width characters, where it can.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
