// Package cli holds the commands of the keyturn program.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/keyturn/keyturn/internal/commandline"
)

// Exit codes. exitFindings tells that something is wrong with what was looked
// at, in contrast to exitFailed: that it could not be found out.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitFindings = 3
)

// commands is the command line: each field is a command with its flags.
type commands struct {
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	Dev      devCmd      `cmd:"" help:"Run a throw-away server with the keys test/test and print the environment that reaches it."`
	Env      envCmd      `cmd:"" help:"Print the environment that reaches the running server of a data folder."`
	Rotate   rotateCmd   `cmd:"" help:"Rotate a secret now; with --wait, show the steps and the verdict."`
	Doctor   doctorCmd   `cmd:"" help:"Tell why a rotation failed, and what to do."`
	Rehearse rehearseCmd `cmd:"" help:"Run a rotation function through faults in a private server with a private database."`
	Function functionCmd `cmd:"" help:"Make rotation functions of the built-in rotators."`
	Network  networkCmd  `cmd:"" help:"Follow a connection of a function through its VPC, to the first hop that refuses."`
	Schedule scheduleCmd `cmd:"" help:"Show when a rotation schedule fires."`
	Account  accountCmd  `cmd:"" help:"Manage the accounts of a deployment."`
	Rekey    rekeyCmd    `cmd:"" help:"Wrap all keys with the root key that the server was started with."`
	Backup   backupCmd   `cmd:"" help:"Write everything that a server stores into one encrypted file, while it serves."`
	Restore  restoreCmd  `cmd:"" help:"Restore a backup into an empty data folder or an empty PostgreSQL, or check it."`
	Trail    trailCmd    `cmd:"" help:"Look after the record of calls: verify that nobody changed it."`
	Demo     demoCmd     `cmd:"" help:"Show the main job end to end with a private PostgreSQL."`
	Health   healthCmd   `cmd:"" help:"Ask a running server whether it is ready, for health checks."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print completions for a shell."`
	Man        manCmd        `cmd:"" help:"Print the man page."`
}

// program is what every command gets.
type program struct {
	ctx            context.Context
	stdout, stderr io.Writer
	// model is the command line itself.
	model *commandline.Command
}

// exitError makes Main return a code without printing anything more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs the command that args name and returns the exit code: 0, 1 for a
// failure, 2 for a wrong command line. SIGINT and SIGTERM cancel the command.
func Main(args []string, stdout, stderr io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line := newCommandLine()
	called, err := line.Parse(args)
	if help, ok := errors.AsType[*commandline.HelpError](err); ok {
		if err := help.Command.WriteHelp(stdout); err != nil {
			return exitFailed
		}
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "keyturn: %v (see keyturn --help)\n", err)
		return exitUsage
	}
	err = called.Target().(runner).Run(&program{ctx, stdout, stderr, line})
	if quiet, ok := errors.AsType[exitError](err); ok {
		return int(quiet)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "keyturn:", problem(err))
		return exitFailed
	}
	return 0
}

// runner is what every command is.
type runner interface{ Run(p *program) error }

// newCommandLine describes the command line.
func newCommandLine() *commandline.Command {
	return commandline.New("keyturn", "A self-hosted secrets manager that speaks the AWS Secrets Manager API and rotates secrets as AWS does.\n\n"+
		"Every flag can be given as the environment variable shown beside it.", &commands{})
}
