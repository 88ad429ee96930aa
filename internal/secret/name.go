package secret

import (
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
)

// ValidateName refuses a name with a character outside ASCII letters, digits
// and -/_+=.@! with fault.Validation (AWS: recorded). Lengths are the wire's
// business.
func ValidateName(name string) error {
	for _, c := range []byte(name) {
		if !nameByte(c) {
			return fault.New(fault.Validation, "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
		}
	}
	return nil
}

// ValidateID is ValidateName for a SecretId, which may also be an ARN.
func ValidateID(id string) error {
	if arn.IsARN(id) {
		return nil
	}
	return ValidateName(id)
}

func nameByte(c byte) bool {
	switch c {
	case '-', '/', '_', '+', '=', '.', '@', '!':
		return true
	}
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// NewSuffix returns six random letters of either case and digits, for the end
// of a new secret's ARN (AWS docs).
func NewSuffix() string {
	var d dice
	suffix := make([]byte, arn.SuffixLen)
	for i := range suffix {
		suffix[i] = d.pick(upper + lower + digits)
	}
	return string(suffix)
}
