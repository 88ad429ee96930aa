package function

import "github.com/keyturn/keyturn/internal/fault"

// The kinds of errors that only Lambda has.
const (
	// PolicyTooLong: a resource policy would pass its size limit.
	PolicyTooLong fault.Kind = "policy too long"
	// PayloadTooLarge: an invocation's event is over its limit.
	PayloadTooLarge fault.Kind = "payload too large"
	// InvalidPayload: an invocation's event is not JSON.
	InvalidPayload fault.Kind = "payload is not JSON"
	// NoProvisioned: a version or alias has no provisioned concurrency.
	NoProvisioned fault.Kind = "no provisioned concurrency"
	// CodeStorage: the account's code storage would pass its limit.
	CodeStorage fault.Kind = "code storage exceeded"
	// KeyDisabled, KeyState and KeyNotFound: the KMS key of the environment
	// variables cannot open them.
	KeyDisabled fault.Kind = "KMS key of variables disabled"
	KeyState    fault.Kind = "KMS key of variables in an invalid state"
	KeyNotFound fault.Kind = "KMS key of variables missing"
)
