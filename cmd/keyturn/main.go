// Command keyturn serves the AWS Secrets Manager API and rotates secrets.
package main

import (
	"os"

	"github.com/keyturn/keyturn/internal/cli"
	"github.com/keyturn/keyturn/internal/function/environment"
)

func main() {
	environment.LaunchIfAsked()
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
