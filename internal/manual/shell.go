package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Shells are those for which there are completions.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// WriteCompletion writes the completions for one of Shells: of commands,
// flags, the words that a flag or an argument may be, files and folders. What
// only the server knows, such as names of secrets, is not completed: that
// would take credentials.
func (p *Program) WriteCompletion(w io.Writer, shell string) error {
	var text string
	switch shell {
	case "bash":
		text = p.bash()
	case "zsh":
		text = p.zsh()
	case "fish":
		text = p.fish()
	default:
		return fmt.Errorf("no completions for the shell %q, only for %s", shell, strings.Join(Shells(), ", "))
	}
	_, err := io.WriteString(w, text)
	return err
}

// script collects the lines of a shell script.
type script struct{ strings.Builder }

func (s *script) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// quoted is text in single quotes as sh and zsh read them.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// kind is the word by which the scripts know what is taken.
func kind(t Takes, values []string) string {
	switch t {
	case File:
		return "<file>"
	case Folder:
		return "<folder>"
	case Words:
		return strings.Join(values, " ")
	}
	return "<text>"
}

// flags are the words of a command's flags, beginning with hyphens.
func (c *Command) flags() (words []string) {
	for _, f := range c.Flags {
		words = append(words, "--"+f.Name)
	}
	return words
}

// tables writes the cases that bash and zsh share: of a command's path, its
// words; of a path and a flag that takes a value, the kind of value; of a
// path, the kind of its arguments.
func (p *Program) tables(s *script) {
	s.add("_%s_words() {", p.Name)
	s.add("  case $1 in")
	p.Root.walk(func(c *Command) {
		s.add("    %s) commands=%s; flags=%s ;;", quoted(strings.Join(c.Path, " ")), quoted(strings.Join(c.names(), " ")), quoted(strings.Join(c.flags(), " ")))
	})
	s.add("    *) return 1 ;;")
	s.add("  esac")
	s.add("}")
	s.add("_%s_value() {", p.Name)
	s.add("  case \"$1 $2\" in")
	p.Root.walk(func(c *Command) {
		for _, f := range c.Flags {
			if f.Takes != Nothing {
				s.add("    %s) takes=%s ;;", quoted(strings.Join(append(slices.Clone(c.Path), "--"+f.Name), " ")), quoted(kind(f.Takes, f.Values)))
			}
		}
	})
	s.add("    *) takes=; return 1 ;;")
	s.add("  esac")
	s.add("}")
	s.add("_%s_argument() {", p.Name)
	s.add("  case $1 in")
	p.Root.walk(func(c *Command) {
		if len(c.Arguments) > 0 {
			a := c.Arguments[0]
			s.add("    %s) takes=%s ;;", quoted(strings.Join(c.Path, " ")), quoted(kind(a.Takes, a.Values)))
		}
	})
	s.add("    *) takes= ;;")
	s.add("  esac")
	s.add("}")
}

func (p *Program) bash() string {
	s := &script{}
	s.add("# Completions of %s for bash. Load them with: source <(%[1]s completion bash)", p.Name)
	p.tables(s)
	s.WriteString(strings.ReplaceAll(bashWalk, "PROGRAM", p.Name))
	return s.String()
}

// bashWalk finds the command before the cursor and offers what may follow.
// bash splits words at "=": --flag=value is three of them.
const bashWalk = `_PROGRAM() {
  local cur=${COMP_WORDS[COMP_CWORD]} path= flag= takes= commands= flags= word i
  _PROGRAM_words ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      =) continue ;;
      --*)
        if _PROGRAM_value "$path" "$word"; then
          flag=$word
          [[ ${COMP_WORDS[i+1]} == = ]] && ((i++))
          ((++i < COMP_CWORD)) && flag=
        fi ;;
      *) _PROGRAM_words "${path:+$path }$word" && path="${path:+$path }$word" ;;
    esac
  done
  _PROGRAM_words "$path"
  [[ $cur == = ]] && cur=
  if [[ -n $flag ]]; then
    _PROGRAM_value "$path" "$flag"
  elif [[ $cur == -* ]]; then
    takes="$flags --help"
  elif [[ -n $commands ]]; then
    takes=$commands
  else
    _PROGRAM_argument "$path"
  fi
  case $takes in
    '<file>') COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null ;;
    '<folder>') COMPREPLY=($(compgen -d -- "$cur")); compopt -o filenames 2>/dev/null ;;
    '<text>' | '') COMPREPLY=() ;;
    *) COMPREPLY=($(compgen -W "$takes" -- "$cur")) ;;
  esac
}
complete -F _PROGRAM PROGRAM
`

func (p *Program) zsh() string {
	s := &script{}
	s.add("#compdef %s", p.Name)
	s.add("# Completions of %s for zsh. Load them with: source <(%[1]s completion zsh)", p.Name)
	p.tables(s)
	s.add("_%s_help() {", p.Name)
	s.add("  case \"$1 $2\" in")
	p.Root.walk(func(c *Command) {
		path := strings.Join(c.Path, " ")
		for i := range c.Commands {
			s.add("    %s) help=%s ;;", quoted(path+" "+c.Commands[i].Name()), quoted(firstSentence(c.Commands[i].Help)))
		}
		for _, f := range c.Flags {
			s.add("    %s) help=%s ;;", quoted(path+" --"+f.Name), quoted(firstSentence(f.Help)))
		}
	})
	s.add("    *) help= ;;")
	s.add("  esac")
	s.add("}")
	s.WriteString(strings.ReplaceAll(zshWalk, "PROGRAM", p.Name))
	return s.String()
}

// zshWalk does in zsh what bashWalk does, with an explanation beside each
// word.
const zshWalk = `_PROGRAM() {
  local cur=$words[CURRENT] place= flag= takes= commands= flags= word help
  local -i i
  local -a shown
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    case $word in
      --*=*) ;;
      --*)
        if _PROGRAM_value "$place" "$word"; then
          flag=$word
          ((++i < CURRENT)) && flag=
        fi ;;
      *) _PROGRAM_words "${place:+$place }$word" && place="${place:+$place }$word" ;;
    esac
  done
  _PROGRAM_words "$place"
  if [[ -z $flag && $cur == --*=* ]]; then
    flag=${cur%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    _PROGRAM_value "$place" "$flag"
  elif [[ $cur == -* ]]; then
    takes="$flags --help"
  elif [[ -n $commands ]]; then
    takes=$commands
  else
    _PROGRAM_argument "$place"
  fi
  case $takes in
    '<file>') _files ;;
    '<folder>') _files -/ ;;
    '<text>' | '') _message 'text' ;;
    *)
      for word in ${=takes}; do
        _PROGRAM_help "$place" "$word"
        shown+=("${word}${help:+:$help}")
      done
      _describe 'PROGRAM' shown ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
`

func (p *Program) fish() string {
	s := &script{}
	s.add("# Completions of %s for fish. Load them with: %[1]s completion fish | source", p.Name)
	s.add("function __%s_at --description 'Whether the words before the cursor are this command'", p.Name)
	s.WriteString(strings.ReplaceAll(p.fishWalk(), "PROGRAM", p.Name))
	s.add("complete -c %s -f", p.Name)
	p.Root.walk(func(c *Command) { p.fishCommand(s, c) })
	return s.String()
}

// fishWalk is the body of the function that compares the command before the
// cursor with its argument.
func (p *Program) fishWalk() string {
	s := &script{}
	s.add("    set -l path ''")
	s.add("    set -l skip 0")
	s.add("    for word in (commandline -opc)[2..-1]")
	s.add("        if test $skip = 1")
	s.add("            set skip 0")
	s.add("            continue")
	s.add("        end")
	s.add("        switch \"$path $word\"")
	var taking, paths []string
	p.Root.walk(func(c *Command) {
		path := strings.Join(c.Path, " ")
		for _, f := range c.Flags {
			if f.Takes != Nothing {
				taking = append(taking, fishQuoted(path+" --"+f.Name))
			}
		}
		if len(c.Path) > 0 {
			paths = append(paths, fishQuoted(strings.Join(c.Path[:len(c.Path)-1], " ")+" "+c.Name()))
		}
	})
	s.add("            case %s", strings.Join(taking, " "))
	s.add("                set skip 1")
	s.add("            case %s", strings.Join(paths, " "))
	s.add("                set path (string trim -- \"$path $word\")")
	s.add("        end")
	s.add("    end")
	s.add("    test \"$path\" = \"$argv[1]\"")
	s.add("end")
	return s.String()
}

func (p *Program) fishCommand(s *script, c *Command) {
	at := fmt.Sprintf("complete -c %s -n %s", p.Name, fishQuoted("__"+p.Name+"_at "+fishQuoted(strings.Join(c.Path, " "))))
	for i := range c.Commands {
		s.add("%s -a %s -d %s", at, c.Commands[i].Name(), fishQuoted(firstSentence(c.Commands[i].Help)))
	}
	for _, f := range c.Flags {
		line := fmt.Sprintf("%s -l %s", at, f.Name)
		switch f.Takes {
		case Text:
			line += " -x"
		case File:
			line += " -r -F"
		case Folder:
			line += " -x -a '(__fish_complete_directories)'"
		case Words:
			line += " -x -a " + fishQuoted(strings.Join(f.Values, " "))
		}
		s.add("%s -d %s", line, fishQuoted(firstSentence(f.Help)))
	}
	if len(c.Arguments) > 0 {
		switch a := c.Arguments[0]; a.Takes {
		case File:
			s.add("%s -F", at)
		case Folder:
			s.add("%s -a '(__fish_complete_directories)'", at)
		case Words:
			s.add("%s -a %s", at, fishQuoted(strings.Join(a.Values, " ")))
		}
	}
}

// fishQuoted is text in single quotes as fish reads them.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
