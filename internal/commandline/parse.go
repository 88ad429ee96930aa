package commandline

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// HelpError asks for the help of a command, which the line names with --help.
type HelpError struct{ Command *Command }

func (e *HelpError) Error() string { return "help for " + e.Command.Path() }

// Parse reads the words behind the program's name into the structs and
// returns the command that they call. Errors are for who wrote the line; a
// *HelpError is none. A command line is parsed once.
func (c *Command) Parse(words []string) (*Command, error) {
	p := &parser{command: c, words: words}
	for len(p.words) > 0 {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	called := p.command
	if len(called.Commands) > 0 {
		return nil, errors.New("expected one of " + someOf(called.Commands))
	}
	if err := called.complete(p.taken); err != nil {
		return nil, err
	}
	return called, nil
}

// parser walks along the words.
type parser struct {
	command *Command
	words   []string
	// taken counts the command's arguments that have a value; ended tells that
	// no flags follow.
	taken int
	ended bool
}

// next takes one word, and the value that belongs to it.
func (p *parser) next() error {
	word := p.words[0]
	args := p.command.Arguments
	if p.taken < len(args) && args[p.taken].Passthrough && (word == "--" || !strings.HasPrefix(word, "-")) {
		rest := p.words
		p.words, p.taken = nil, p.taken+1
		for _, w := range rest {
			if err := args[p.taken-1].give(w); err != nil {
				return err
			}
		}
		return nil
	}
	p.words = p.words[1:]
	switch {
	case p.ended, word == "-", !strings.HasPrefix(word, "-"):
		return p.plain(word)
	case word == "--":
		p.ended = true
		return nil
	case word == "--help", word == "-h":
		return &HelpError{p.command}
	}
	return p.flag(word)
}

// plain takes a word that is no flag: a command's name or an argument.
func (p *parser) plain(word string) error {
	if p.taken == 0 {
		for _, sub := range p.command.Commands {
			if sub.Name == word {
				p.command = sub
				return nil
			}
		}
	}
	args := p.command.Arguments
	if p.taken == len(args) {
		return fmt.Errorf("unexpected argument %s", word)
	}
	v := args[p.taken]
	if !v.IsRepeated() {
		p.taken++
	}
	return v.give(word)
}

// flag takes a flag with its value.
func (p *parser) flag(word string) error {
	name, text, valued := strings.Cut(word, "=")
	matches := func(v *Value) bool { return "--"+v.Name == name }
	if !strings.HasPrefix(word, "--") {
		name, text = word[:2], strings.TrimPrefix(word[2:], "=")
		valued = len(word) > 2
		matches = func(v *Value) bool { return v.Short != "" && "-"+v.Short == name }
	}
	v := p.command.flag(matches)
	switch {
	case v == nil:
		return fmt.Errorf("unknown flag %s", name)
	case valued:
		return v.give(text)
	case v.IsBool():
		return v.give("true")
	case len(p.words) == 0:
		return fmt.Errorf("%s needs a value: %s=%s", name, name, v.Placeholder)
	}
	text, p.words = p.words[0], p.words[1:]
	return v.give(text)
}

// complete checks what was given and sets what was not: from the environment,
// or to the default.
func (c *Command) complete(taken int) error {
	for i, v := range c.Arguments {
		if i >= taken && !v.given && !v.Optional {
			return fmt.Errorf("expected %q", v.title())
		}
	}
	var missing []string
	groups := map[string]*Value{}
	for level := c; level != nil; level = level.Parent {
		for _, v := range level.Flags {
			if err := v.complete(); err != nil {
				return err
			}
			if !v.Optional && !v.given && v.Default == "" {
				missing = append(missing, v.synopsis())
			}
			if other := groups[v.xor]; v.xor != "" && v.given {
				if other != nil {
					return fmt.Errorf("%s and %s can't be used together", other.title(), v.title())
				}
				groups[v.xor] = v
			}
		}
	}
	if missing != nil {
		return errors.New("missing flags: " + strings.Join(missing, ", "))
	}
	return nil
}

// complete sets a flag that the line does not give. A variable that is set to
// nothing gives nothing.
func (v *Value) complete() error {
	if v.given {
		return nil
	}
	if text := os.Getenv(v.Variable); text != "" {
		v.given = true
		return v.put(text, "--"+v.Name+" (from $"+v.Variable+")")
	}
	if v.Default != "" {
		return v.put(v.Default, v.title())
	}
	return nil
}

// someOf names the first commands.
func someOf(commands []*Command) string {
	const most = 5
	var names []string
	for i, c := range commands {
		if i == most {
			names = append(names, "...")
			break
		}
		names = append(names, `"`+c.Name+`"`)
	}
	return strings.Join(names, ", ")
}
