package authz

import (
	"sync"

	"github.com/keyturn/keyturn/internal/iam"
)

// maxCompiled bounds the policies of resources that are kept compiled.
const maxCompiled = 4096

// compiler compiles policies of resources and keeps them by their texts: a
// changed policy is another text, so nothing has to be told of a change.
type compiler struct {
	mu   sync.RWMutex
	kept map[string]*iam.Policy
}

// compile returns the policy, or nil for "".
func (c *compiler) compile(text string) *iam.Policy {
	if text == "" {
		return nil
	}
	c.mu.RLock()
	p := c.kept[text]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	p, err := iam.CompileText(text, "the resource's policy")
	if err != nil {
		p = unreadable()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxCompiled {
		c.kept = make(map[string]*iam.Policy)
	}
	c.kept[text] = p
	return p
}

// unreadable stands for a policy that does not compile, though it was checked
// when it was put: it denies everything to all but the account's root, who
// can replace it.
func unreadable() *iam.Policy {
	p, err := iam.CompileText(`{"Version":"2012-10-17","Statement":{"Sid":"Unreadable","Effect":"Deny","Principal":"*","Action":"*","Resource":"*",
		"Condition":{"StringNotEquals":{"aws:PrincipalType":"Account"}}}}`, "a policy that cannot be read")
	if err != nil {
		panic("authz: " + err.Error())
	}
	return p
}
