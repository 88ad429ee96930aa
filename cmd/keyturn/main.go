// Command keyturn serves the AWS Secrets Manager API and rotates secrets.
//
// The one program is also the launcher of functions and, with Lambda's
// Runtime API in its environment, a rotation function itself.
package main

import (
	"os"

	"github.com/keyturn/keyturn/internal/cli"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func main() {
	environment.LaunchIfAsked()
	builtin.RunIfAsked()
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
