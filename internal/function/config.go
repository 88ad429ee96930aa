package function

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/fault"
)

// The limits and defaults of a configuration (AWS docs).
const (
	MaxTimeout     = 900    // seconds
	DefaultTimeout = 3      // seconds
	MaxMemory      = 10_240 // MB
	DefaultMemory  = 128    // MB
	DefaultStorage = 512    // MB of /tmp
	MaxLayers      = 5
	MaxTags        = 50
	maxVariables   = 4096 // bytes of all environment variables as JSON

	// MaxCodeStorage bounds the code of an account in a region, in bytes.
	MaxCodeStorage = 80_530_636_800
)

// atMost is the error for a number over its limit that newer service models
// leave to the service (AWS: reported).
func atMost(value int64, member string, limit int64) error {
	if value <= limit {
		return nil
	}
	return fault.New(fault.Validation,
		"1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", value, member, limit)
}

// Check checks what the service model does not: the limits of time and
// memory, a handler, the number of layers, and the size of everything
// unzipped.
func (c *Config) Check() error {
	if err := atMost(c.TimeoutSeconds, "timeout", MaxTimeout); err != nil {
		return err
	}
	if err := atMost(c.MemoryMB, "memorySize", MaxMemory); err != nil {
		return err
	}
	if c.Handler == "" {
		return fault.New(fault.Parameter, "Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if len(c.Layers) > MaxLayers {
		return TooManyLayers()
	}
	total := c.Unzipped
	for _, l := range c.Layers {
		total += l.Unzipped
	}
	if len(c.Layers) > 0 && total >= MaxUnzipped {
		return fault.New(fault.Parameter,
			"Function code combined with layers exceeds the maximum allowed size of %d bytes. The actual size is %d bytes.", MaxUnzipped, total)
	}
	return CheckUnzipped(total)
}

// TooManyLayers is the error for more layers than a function may have (AWS:
// recorded).
func TooManyLayers() *fault.Error {
	return fault.New(fault.Parameter, "Cannot reference more than %d layers.", MaxLayers)
}

// NoLayer is the error for a layer version that does not exist or is out of
// reach (AWS: recorded).
func NoLayer(arn string) *fault.Error {
	return fault.New(fault.Parameter, "Layer version %s does not exist.", arn).For(arn)
}

// CheckVariables checks environment variables: reserved names and the limit
// on their size. AWS repeats all of them in its message about the size; we
// give the size instead, because variables may be secrets.
func CheckVariables(variables map[string]string) error {
	var reserved []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if ReservedVariable(name) {
			reserved = append(reserved, name)
		}
	}
	if reserved != nil {
		return fault.New(fault.Parameter,
			"Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys "+
				"that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(reserved, ", "))
	}
	if n := len(encode(variables)); n > maxVariables {
		return fault.New(fault.Parameter,
			"Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. "+
				"String measured: %d bytes", n)
	}
	return nil
}

// CheckTags checks tags that a client gives a function (AWS docs; text
// assumed): keys that start with aws: are reserved.
func CheckTags(tags map[string]string) error {
	for key := range tags {
		if reservedTag(key) {
			return errReservedTag()
		}
	}
	return CheckAllTags(tags)
}

// CheckUntag checks the keys of tags that a client takes away.
func CheckUntag(keys []string) error {
	if slices.ContainsFunc(keys, reservedTag) {
		return errReservedTag()
	}
	return nil
}

func reservedTag(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

func errReservedTag() *fault.Error {
	return fault.New(fault.Parameter, "Tag keys starting with aws: are reserved for system use.")
}

// CheckAllTags checks the tags that a function will have, with those of AWS's
// services, which have no limit (AWS docs; the first text recorded, the others
// assumed).
func CheckAllTags(tags map[string]string) error {
	users := 0
	for key := range tags {
		if !reservedTag(key) {
			users++
		}
	}
	if users > MaxTags {
		return fault.New(fault.Parameter, "Number of tags exceeds resource tag limit.")
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > 128:
			return fault.New(fault.Parameter, "A tag key must have 1 to 128 characters.")
		case utf8.RuneCountInString(value) > 256:
			return fault.New(fault.Parameter, "A tag value must have at most 256 characters.")
		}
	}
	return nil
}

// TooMuchCode is the error for code over an account's storage (AWS docs).
func TooMuchCode() *fault.Error {
	return fault.New(CodeStorage, "Code storage limit exceeded.")
}

// StaleRevision is the error for a RevisionId that is not the latest (AWS:
// recorded).
func StaleRevision() *fault.Error {
	return fault.New(fault.Precondition,
		"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
}

// CheckInvocable refuses a version that is not ready (AWS: reported).
func (c *Config) CheckInvocable() error {
	switch c.State {
	case "", StateActive:
		return nil
	}
	return fault.New(fault.Conflict, "The operation cannot be performed at this time. The function is currently in the following state: %s", c.State)
}

// CheckChangeable refuses to change a version while it is made or an update
// is in progress (AWS: recorded for the update, reported for the state).
func (c *Config) CheckChangeable(functionARN string) error {
	if c.State == StatePending {
		return c.CheckInvocable()
	}
	if c.LastUpdate == UpdateInProgress {
		return fault.New(fault.Conflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", functionARN).For(functionARN)
	}
	return nil
}
