package cli

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func TestMain(m *testing.M) {
	environment.LaunchIfAsked()
	builtin.RunIfAsked()
	testscript.Main(m, map[string]func(){
		"keyturn": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// The commands as a user types them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			return nil
		},
	})
}
