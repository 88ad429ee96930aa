// Package manual writes what a program's users look things up in, from a
// description of its command line: the man page and the completions of shells.
// It knows no command line itself: package cli describes ours.
package manual

import (
	"cmp"
	"slices"
	"strings"
)

// Program is a command line as a whole.
type Program struct {
	// Name is the command; Summary one line on what it does.
	Name, Summary string
	// Version is that of the program, for the page's foot.
	Version string
	// Root holds the commands, and the flags that stand before them.
	Root Command
	// Sections end the page, in this order.
	Sections []Section
}

// Section is a part of the man page: paragraphs, each of text, or a list of
// terms when Terms is set.
type Section struct {
	Title      string
	Paragraphs []string
	Terms      []Term
}

// Term is an entry of a list and what it means.
type Term struct{ Name, Text string }

// Command is a command, or the place of the commands below it.
type Command struct {
	// Path is the words that call it, the program's name left out.
	Path []string
	Help string
	// Detail is help at length, in paragraphs between empty lines; may be "".
	Detail    string
	Commands  []Command
	Arguments []Argument
	Flags     []Flag
}

// Name is the last word of the command's path.
func (c *Command) Name() string { return c.Path[len(c.Path)-1] }

// Takes says what stands for an argument or behind a flag.
type Takes int

// What is taken.
const (
	Nothing Takes = iota // a flag that is there or not
	Text
	File
	Folder
	Words // of Values
)

// Argument is what a command takes by position.
type Argument struct {
	Name, Help         string
	Takes              Takes
	Values             []string
	Optional, Repeated bool
}

// Flag is a flag, without its hyphens.
type Flag struct {
	Name, Help string
	// Short is the flag's letter, or 0.
	Short rune
	Takes Takes
	// Placeholder stands for the value in text; Values are those of Words.
	Placeholder string
	Values      []string
	// Default and Variable, an environment variable, may be "".
	Default, Variable string
	Repeated          bool
}

// walk calls fn for the command and all below it, in their order.
func (c *Command) walk(fn func(*Command)) {
	fn(c)
	for i := range c.Commands {
		c.Commands[i].walk(fn)
	}
}

// names are the words by which the commands below c are called.
func (c *Command) names() (names []string) {
	for i := range c.Commands {
		names = append(names, c.Commands[i].Name())
	}
	return names
}

// variables are the environment variables of all flags with what they are
// for, each once, in their order.
func (p *Program) variables() (list []Term) {
	p.Root.walk(func(c *Command) {
		for _, f := range c.Flags {
			if f.Variable != "" && !slices.ContainsFunc(list, func(t Term) bool { return t.Name == f.Variable }) {
				list = append(list, Term{f.Variable, "--" + f.Name + " of " + p.Name + " " + strings.Join(c.Path, " ")})
			}
		}
	})
	slices.SortFunc(list, func(a, b Term) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// firstSentence is what fits beside a word in a shell's list.
func firstSentence(help string) string {
	if at := strings.IndexAny(help, ".:;"); at > 0 && (at+1 == len(help) || help[at+1] == ' ') {
		help = help[:at]
	}
	return strings.Join(strings.Fields(help), " ")
}
