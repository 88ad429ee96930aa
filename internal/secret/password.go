package secret

import (
	"crypto/rand"
	"encoding/binary"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/plaintext"
)

// The character classes of GetRandomPassword (AWS docs).
const (
	upper       = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower       = "abcdefghijklmnopqrstuvwxyz"
	digits      = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// Lengths of a random password, in characters (AWS service model).
const (
	DefaultPasswordLength = 32
	MaxPasswordLength     = 4096
)

// PasswordRules are the parameters of GetRandomPassword. Start from
// DefaultPasswordRules: the zero value is not AWS's default.
type PasswordRules struct {
	// Length is 1 to MaxPasswordLength.
	Length int64
	// ExcludeCharacters are taken out of every class and of the space.
	ExcludeCharacters                                                      string
	ExcludeUppercase, ExcludeLowercase, ExcludeNumbers, ExcludePunctuation bool
	// IncludeSpace admits the space; it is never required.
	IncludeSpace bool
	// RequireEachIncludedType asks for at least one character of every class
	// that is not switched off.
	RequireEachIncludedType bool
}

// DefaultPasswordRules returns the rules of a call without parameters.
func DefaultPasswordRules() PasswordRules {
	return PasswordRules{Length: DefaultPasswordLength, RequireEachIncludedType: true}
}

// NewPassword returns a random password. Every character is drawn uniformly
// from what the rules admit, but for one of each required class, and their
// order is shuffled uniformly.
//
// Errors: fault.Parameter for rules that no password meets (AWS: texts
// recorded, code assumed), fault.Validation for a length out of bounds.
func NewPassword(rules PasswordRules) (plaintext.Value, error) {
	if err := checkLength(rules.Length); err != nil {
		return plaintext.Value{}, err
	}
	pool, required, err := rules.alphabet()
	if err != nil {
		return plaintext.Value{}, err
	}
	var d dice
	defer d.forget()
	password := make([]byte, 0, rules.Length)
	for _, class := range required {
		password = append(password, d.pick(class))
	}
	for len(password) < int(rules.Length) {
		password = append(password, d.pick(pool))
	}
	for i := len(password) - 1; i > 0; i-- {
		j := d.below(i + 1)
		password[i], password[j] = password[j], password[i]
	}
	return plaintext.New(password), nil
}

func checkLength(n int64) error {
	bound, limit := "less", int64(MaxPasswordLength)
	switch {
	case n < 1:
		bound, limit = "greater", 1
	case n <= MaxPasswordLength:
		return nil
	}
	return fault.New(fault.Validation, "1 validation error detected: Value '%d' at 'passwordLength' "+
		"failed to satisfy constraint: Member must have value %s than or equal to %d", n, bound, limit)
}

// alphabet returns all admitted characters and the classes of which one is
// required.
func (rules PasswordRules) alphabet() (pool string, required []string, err error) {
	emptied := false
	for _, class := range []struct {
		chars    string
		excluded bool
	}{
		{upper, rules.ExcludeUppercase},
		{lower, rules.ExcludeLowercase},
		{digits, rules.ExcludeNumbers},
		{punctuation, rules.ExcludePunctuation},
	} {
		if class.excluded {
			continue
		}
		rest := rules.remaining(class.chars)
		emptied = emptied || rest == ""
		pool += rest
		required = append(required, rest)
	}
	if rules.IncludeSpace {
		pool += rules.remaining(" ")
	}
	switch {
	case pool == "":
		return "", nil, fault.New(fault.Parameter, "All characters have been excluded from selection")
	case !rules.RequireEachIncludedType:
		return pool, nil, nil
	case emptied:
		return "", nil, fault.New(fault.Parameter, "All characters of the desired type have been excluded")
	case rules.Length < int64(len(required)):
		return "", nil, fault.New(fault.Parameter, "Password length is too short based on the required types.")
	}
	return pool, required, nil
}

func (rules PasswordRules) remaining(class string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(rules.ExcludeCharacters, c) {
			return -1
		}
		return c
	}, class)
}

// dice draws uniform numbers from crypto/rand, a block at a time.
type dice struct {
	block [512]byte
	rest  []byte
}

// below returns a number from 0 to n-1; n is 1 to 65536. Draws from the
// incomplete last stretch of multiples of n are thrown away, as keeping them
// would favour small numbers.
func (d *dice) below(n int) int {
	limit := 1<<16 - (1<<16)%n
	for {
		if len(d.rest) < 2 {
			_, _ = rand.Read(d.block[:]) // it never fails
			d.rest = d.block[:]
		}
		v := int(binary.LittleEndian.Uint16(d.rest))
		d.rest = d.rest[2:]
		if v < limit {
			return v % n
		}
	}
}

func (d *dice) pick(from string) byte { return from[d.below(len(from))] }

func (d *dice) forget() { clear(d.block[:]) }
