package keeper

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Variable is the environment variable whose value NewEnvironment takes.
const Variable = "KEYTURN_ROOT_KEY"

// Environment is a key.Keeper whose root key came in the environment.
type Environment struct{ root }

// NewEnvironment reads the value of Variable: 32 bytes in base64, with or
// without padding, in the standard or the URL alphabet. Its errors show
// nothing of the value.
func NewEnvironment(value string) (*Environment, error) { return newEnvironment(Variable, value) }

func newEnvironment(variable, value string) (*Environment, error) {
	value = strings.TrimRight(strings.TrimSpace(value), "=")
	value = strings.NewReplacer("-", "+", "_", "/").Replace(value)
	raw, err := base64.RawStdEncoding.DecodeString(value)
	defer clear(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64", variable)
	}
	r, err := newRoot(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return &Environment{r}, nil
}
