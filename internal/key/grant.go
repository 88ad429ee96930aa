package key

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Grant lets a principal do operations with one key, beside what policies
// allow.
type Grant struct {
	// ID is 64 hexadecimal digits.
	ID string
	// Account, Region and KeyID are those of the key.
	Account, Region, KeyID string
	// Name makes a repeated CreateGrant the same one; "" is none.
	Name string
	// Grantee may use the key; Retiring may retire the grant, "" is nobody.
	// Both are unique IDs of users, roles and sessions, or ARNs of roots and of
	// others who do not live here.
	Grantee, Retiring string
	// Issuer is the account of who made the grant.
	Issuer string
	// Operations are named as in CreateGrant.
	Operations []string
	// Equals and Subset bind the operations that have an encryption context:
	// it must be just so, or hold at least that. nil is no constraint.
	Equals, Subset EncryptionContext
	CreatedAt      time.Time
}

// grantOperations are the operations that a grant on a symmetric encryption
// key may allow (AWS docs), and whether they have an encryption context.
var grantOperations = map[string]bool{
	"Decrypt": true, "Encrypt": true, "GenerateDataKey": true, "GenerateDataKeyWithoutPlaintext": true,
	"GenerateDataKeyPair": true, "GenerateDataKeyPairWithoutPlaintext": true, "ReEncryptFrom": true, "ReEncryptTo": true,
	"CreateGrant": false, "RetireGrant": false, "DescribeKey": false,
}

// NewGrantID returns an ID for a grant.
func NewGrantID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// IsGrantID reports whether s has the form of a grant's ID.
func IsGrantID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// Check refuses, with fault.Validation, operations that a key for symmetric
// encryption does not have (text assumed).
func (g *Grant) Check() error {
	for _, op := range g.Operations {
		if _, ok := grantOperations[op]; !ok {
			return fault.New(fault.Validation, "Grant operation %s is not valid for a key with key usage ENCRYPT_DECRYPT.", op)
		}
	}
	return nil
}

// Constrained reports whether the grant has constraints.
func (g *Grant) Constrained() bool { return g.Equals != nil || g.Subset != nil }

// Allows reports whether the grant covers an operation with an encryption
// context. Constraints do not concern operations that have none (AWS docs).
func (g *Grant) Allows(operation string, ec EncryptionContext) bool {
	if !slices.Contains(g.Operations, operation) {
		return false
	}
	return !grantOperations[operation] || g.fits(ec)
}

// fits reports whether an encryption context satisfies the constraints. Their
// keys are compared without regard to case, values with it (AWS docs).
func (g *Grant) fits(ec EncryptionContext) bool {
	if g.Equals != nil && (len(g.Equals) != len(ec) || !ec.holds(g.Equals)) {
		return false
	}
	return ec.holds(g.Subset)
}

// holds reports whether every pair of few is in c.
func (c EncryptionContext) holds(few EncryptionContext) bool {
	for k, v := range few {
		if !c.has(k, v) {
			return false
		}
	}
	return true
}

func (c EncryptionContext) has(key, value string) bool {
	for k, v := range c {
		if v == value && strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// MayGrant reports whether who may create grants by g alone may create
// another one: it gives no more operations, and its constraints are no weaker
// (AWS docs).
func (g *Grant) MayGrant(child *Grant) bool {
	for _, op := range child.Operations {
		if !slices.Contains(g.Operations, op) {
			return false
		}
	}
	switch {
	case g.Equals != nil:
		return child.Equals != nil && g.fits(child.Equals)
	case g.Subset != nil:
		return child.Equals != nil && child.Equals.holds(g.Subset) || child.Subset != nil && child.Subset.holds(g.Subset)
	}
	return true
}

// Same reports whether two grants say the same, whenever and by whomever they
// were made.
func (g *Grant) Same(other *Grant) bool {
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	equal := func(a, b EncryptionContext) bool { return (a == nil) == (b == nil) && maps.Equal(a, b) }
	return g.Account == other.Account && g.Region == other.Region && g.KeyID == other.KeyID && g.Name == other.Name &&
		g.Grantee == other.Grantee && g.Retiring == other.Retiring &&
		slices.Equal(sorted(g.Operations), sorted(other.Operations)) && equal(g.Equals, other.Equals) && equal(g.Subset, other.Subset)
}

// GrantRef is what a grant token names.
type GrantRef struct{ Account, Region, KeyID, ID string }

// tokenFormat is the first byte of a grant token before encoding; 16 random
// bytes follow, which make each token another one, and then the parts of the
// GrantRef between zero bytes. A token gives no right: it names a grant.
const tokenFormat = 4

const tokenRandom = 16

var errToken = errors.New("not a grant token of this server")

// Token returns a new token for the grant.
func (g *Grant) Token() string {
	b := make([]byte, 1+tokenRandom, 192)
	b[0] = tokenFormat
	_, _ = rand.Read(b[1:]) // it never fails
	b = append(b, strings.Join([]string{g.Account, g.Region, g.KeyID, g.ID}, "\x00")...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseGrantToken returns the grant that a token names, which need not exist
// any more.
func ParseGrantToken(token string) (GrantRef, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= 1+tokenRandom || b[0] != tokenFormat {
		return GrantRef{}, errToken
	}
	parts := strings.Split(string(b[1+tokenRandom:]), "\x00")
	if len(parts) != 4 || !IsGrantID(parts[3]) {
		return GrantRef{}, errToken
	}
	return GrantRef{parts[0], parts[1], parts[2], parts[3]}, nil
}
