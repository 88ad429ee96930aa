package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// randomLetters are those of generated names (AWS: recorded).
const randomLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// nameLetters is how many random letters a generated name ends with.
const nameLetters = 12

// random returns letters that follow from the request's token: the same when
// the operation is repeated.
func (r *Request) random(n int) string {
	sum := sha256.Sum256([]byte("name\x00" + r.Stack.ID + "\x00" + r.LogicalID + "\x00" + r.Token))
	b := make([]byte, n)
	for i := range b {
		b[i] = randomLetters[int(sum[i])%len(randomLetters)]
	}
	return string(b)
}

// generatedName is STACK-LOGICALID-RANDOM, the stack's name and the logical
// ID cut so that the whole has at most limit characters.
func (r *Request) generatedName(limit int) string {
	room := limit - nameLetters - 2
	stackName, logical := r.Stack.Name, r.LogicalID
	if over := len(stackName) + len(logical) - room; over > 0 {
		stackName = cut(stackName, max(len(stackName)-over, room/2))
		logical = cut(logical, room-len(stackName))
	}
	return strings.Trim(stackName, "-") + "-" + logical + "-" + r.random(nameLetters)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// nameOr returns the given name, or a generated one.
func (r *Request) nameOr(given *string, limit int) (name string, generated bool) {
	if given != nil && *given != "" {
		return *given, false
	}
	return r.generatedName(limit), true
}

// token returns a UUID for one call of the operation, the same when it is
// repeated.
func (r *Request) token(purpose string) string {
	sum := sha256.Sum256([]byte("token\x00" + purpose + "\x00" + r.Stack.ID + "\x00" + r.LogicalID + "\x00" + r.Token))
	id, _ := uuid.FromBytes(sum[:16]) // which fails only for another length
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

// mark is what tells a resource that this very operation made, while it is
// being made.
func (r *Request) mark() string {
	sum := sha256.Sum256([]byte("mark\x00" + r.Stack.ID + "\x00" + r.LogicalID + "\x00" + r.Token))
	return hex.EncodeToString(sum[:16])
}

// initiated tells the caller the physical ID.
func (r *Request) initiated(id string) error {
	if r.Initiated == nil || r.PhysicalID == id {
		return nil
	}
	return r.Initiated(id)
}
