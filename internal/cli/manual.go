package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/commandline"
	"github.com/keyturn/keyturn/internal/manual"
	"github.com/keyturn/keyturn/internal/release"
)

type completionCmd struct {
	Shell string `arg:"" help:"Shell to complete in: ${enum}." enum:"bash,zsh,fish"`
}

// Help says how to load what is printed.
func (completionCmd) Help() string {
	return `Prints a script. For bash: source <(keyturn completion bash), or write it to /etc/bash_completion.d/keyturn. For zsh: write it to a file _keyturn in a folder of $fpath. For fish: write it to ~/.config/fish/completions/keyturn.fish.`
}

// Run prints the completions of a shell.
func (c *completionCmd) Run(p *program) error {
	return describe(p.model).WriteCompletion(p.stdout, c.Shell)
}

type manCmd struct{}

// Help says how to read what is printed.
func (manCmd) Help() string {
	return `Prints the page in roff. Read it with: keyturn man | man -l -`
}

// Run prints the man page. SOURCE_DATE_EPOCH, in seconds since 1970, sets its
// date, so that packages can be built twice alike.
func (manCmd) Run(p *program) error {
	date := time.Now()
	if given := os.Getenv("SOURCE_DATE_EPOCH"); given != "" {
		seconds, err := strconv.ParseInt(given, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH is %q, not a number of seconds", given)
		}
		date = time.Unix(seconds, 0)
	}
	return describe(p.model).WritePage(p.stdout, date)
}

// describe makes the manual of the command line.
func describe(line *commandline.Command) *manual.Program {
	m := &manual.Program{
		Name: line.Name, Summary: "self-hosted secrets manager that speaks the AWS Secrets Manager API",
		Version: release.Read().Version, Root: describeCommand(line, nil), Sections: manualSections(),
	}
	m.Root.Detail = line.Help
	return m
}

// manualSections are what the page says beside the commands.
func manualSections() []manual.Section {
	return []manual.Section{
		{Title: "Files", Paragraphs: []string{"In the data folder, which is its owner's alone:"}, Terms: []manual.Term{
			{Name: "keyturn.db", Text: "The database, unless --store names a PostgreSQL."},
			{Name: "root.key", Text: "The root key, unless --root-key names another. Whoever has lost it has lost every secret: keep a copy apart from the backups."},
			{Name: "root-credentials.json", Text: "The access key of the first account's root, unless it was given."},
			{Name: "trail", Text: "Segments of the trail of reads."},
			{Name: "functions", Text: "Unpacked code and folders of functions that run."},
			{Name: "server.json", Text: "Where the running server listens."},
			{Name: "keyturn.lock", Text: "Held by the server that runs."},
		}},
		{Title: "Signals", Terms: []manual.Term{
			{Name: "SIGTERM, SIGINT", Text: "serve stops taking requests, lets those under way and running rotation steps finish within --grace, and exits with 0."},
		}},
		{Title: "Exit status", Terms: []manual.Term{
			{Name: "0", Text: "Done; for doctor, nothing was found."},
			{Name: "1", Text: "It failed, or could not be found out."},
			{Name: "2", Text: "The command line was wrong."},
			{Name: "3", Text: "doctor and rehearse found something."},
		}},
		{Title: "Security", Paragraphs: []string{
			"Every request is signed and authorised; there is no switch that turns this off. Plain HTTP is served on loopback only, unless --insecure-http is given. Give secrets by environment or file, not as flags: other users of the machine can read a command line.",
		}},
	}
}

// describeCommand describes a command and all below it.
func describeCommand(of *commandline.Command, path []string) manual.Command {
	c := manual.Command{Path: path, Help: of.Help, Detail: of.Detail}
	for _, sub := range of.Commands {
		c.Commands = append(c.Commands, describeCommand(sub, append(slices.Clone(path), sub.Name)))
	}
	for _, v := range of.Arguments {
		c.Arguments = append(c.Arguments, manual.Argument{
			Name: v.Name, Help: v.Help, Takes: takes(v), Values: words(v), Optional: v.Optional, Repeated: v.IsRepeated(),
		})
	}
	for _, v := range of.Flags {
		flag := manual.Flag{
			Name: v.Name, Help: v.Help, Takes: takes(v), Values: words(v), Placeholder: v.Placeholder,
			Default: v.Default, Variable: v.Variable, Repeated: v.IsRepeated(),
		}
		for _, letter := range v.Short {
			flag.Short = letter
		}
		c.Flags = append(c.Flags, flag)
	}
	return c
}

// takes says what a value is, by its type and by the word that stands for it.
func takes(v *commandline.Value) manual.Takes {
	switch {
	case v.IsBool():
		return manual.Nothing
	case v.Enum != nil:
		return manual.Words
	case v.Placeholder == "DIR" || v.Placeholder == "FOLDER" || v.Name == "data":
		return manual.Folder
	case v.Placeholder == "FILE" || v.Placeholder == "PATH" || v.Type != "" || v.Name == "file":
		return manual.File
	}
	return manual.Text
}

// words are the values that a flag or an argument may have.
func words(v *commandline.Value) []string {
	return slices.DeleteFunc(slices.Clone(v.Enum), func(s string) bool { return s == "" })
}
