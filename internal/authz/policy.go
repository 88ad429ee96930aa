package authz

import (
	"sync"

	"github.com/keyturn/keyturn/internal/iam"
)

// compiledText bounds the policies of resources that are kept compiled, by
// their texts, in bytes; policyFactor tells what they take compiled.
// compiledBase is what one counts beside its text.
const (
	compiledText = 4 << 20
	compiledBase = 256
)

// compiler compiles policies of resources and keeps them by their texts: a
// changed policy is another text, so nothing has to be told of a change.
type compiler struct {
	mu   sync.RWMutex
	kept map[string]*iam.Policy
	// text is the size of what is kept.
	text int
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
	if other := c.kept[text]; other != nil {
		return other // somebody else was faster
	}
	size := len(text) + compiledBase
	if c.kept == nil || c.text+size > compiledText {
		c.kept, c.text = make(map[string]*iam.Policy), 0
	}
	c.kept[text] = p
	c.text += size
	return p
}

// unreadable stands for a policy that does not compile, though it was checked
// when it was put: it denies everything to all but the account's root, who
// can replace it.
func unreadable() *iam.Policy {
	return fixed("a policy that cannot be read", iam.Statement{
		Sid: "Unreadable", Effect: iam.Deny, Principals: &iam.Principals{AWS: []string{"*"}}, Actions: []string{"*"}, Resources: []string{"*"},
		Conditions: []iam.Condition{{Operator: "StringNotEquals", Key: "aws:PrincipalType", Values: []string{"Account"}}},
	})
}

// closed stands for a policy of a user or role that may have denied
// something, and denies everything.
func closed(name string) *iam.Policy {
	return fixed(name, iam.Statement{Sid: "Unreadable", Effect: iam.Deny, Actions: []string{"*"}, Resources: []string{"*"}})
}

// fixed compiles a policy of one statement that nobody but this package wrote.
func fixed(name string, s iam.Statement) *iam.Policy {
	p, err := iam.Compile(&iam.Document{Version: iam.Version2012, Statements: []iam.Statement{s}}, name)
	if err != nil {
		panic("authz: " + err.Error()) // nothing in it can be wrong
	}
	return p
}
