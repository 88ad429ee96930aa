// Package examples holds rotation functions and policies to learn from, and
// gives the demo and the tests the same files.
package examples

import (
	"embed"
	"fmt"
	"strings"
)

// Files holds the functions in Python of rotation-template, postgres-python
// and db2-python, postgres-node/index.mjs, command-postgres/rotate.sh and the
// policies.
//
//go:embed rotation-template/lambda_function.py postgres-python/lambda_function.py db2-python/lambda_function.py
//go:embed postgres-node/index.mjs command-postgres/rotate.sh policies/*.json
var Files embed.FS

// Names replace the words in capitals in the policies.
type Names struct{ Region, Account, Function, Role, Secret string }

// Policy returns one of the policies, such as operator, for the names.
func Policy(name string, n Names) (string, error) {
	b, err := Files.ReadFile("policies/" + name + ".json")
	if err != nil {
		return "", fmt.Errorf("reading the policy %s: %w", name, err)
	}
	return strings.NewReplacer("REGION", n.Region, "ACCOUNT", n.Account, "FUNCTION", n.Function, "ROLE", n.Role, "SECRET", n.Secret).Replace(string(b)), nil
}
