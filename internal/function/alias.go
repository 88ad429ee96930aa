package function

import (
	"maps"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
)

// Alias points at a version, with optional routing weights.
type Alias struct {
	FunctionID, Name, Version, Description string
	RevisionID                             string
	// Weights maps other versions to their share of invocations, 0 to 1.
	Weights map[string]float64
}

// Pick returns the version that an invocation of the alias goes to, for a
// random number from 0 up to but not including 1.
func (a *Alias) Pick(random float64) string {
	for _, version := range slices.Sorted(maps.Keys(a.Weights)) {
		if random < a.Weights[version] {
			return version
		}
		random -= a.Weights[version]
	}
	return a.Version
}

// Check refuses routing that AWS refuses (AWS docs; texts assumed): one
// other version at most, no weight outside 0 to 1, and $LATEST on neither
// side.
func (a *Alias) Check() error {
	if len(a.Weights) > 1 {
		return fault.New(fault.Parameter, "Number of items in AdditionalVersionWeights cannot be greater than 1")
	}
	for version, weight := range a.Weights {
		switch {
		case version == a.Version:
			return fault.New(fault.Parameter, "Invalid function version %s. Function version %s is already included in routing configuration.", version, version)
		case a.Version == Latest:
			return fault.New(fault.Parameter, "$LATEST is not supported for an alias pointing to more than 1 version")
		case weight < 0 || weight > 1:
			return fault.New(fault.Parameter, "The weight of version %s must be between 0 and 1.", version)
		}
	}
	return nil
}

// Versions returns every version that the alias may send an invocation to.
func (a *Alias) Versions() []string {
	return append([]string{a.Version}, slices.Sorted(maps.Keys(a.Weights))...)
}
