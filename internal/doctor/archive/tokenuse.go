package archive

import (
	"slices"
	"strings"
)

// rotationToken is the member that a function has to hand on (AWS docs).
const rotationToken = "RotationToken"

// uses counts the calls that put a value, by whether they hand the token on.
type uses struct {
	with, without, unknown int
	// mentioned tells that the sources name the token at all.
	mentioned bool
}

// unseen notes that there is more than was looked at.
func (u *uses) unseen() {
	u.unknown++
	u.mentioned = true
}

// full tells whether there are more calls than are looked at, of each of
// which the arguments are read.
func (u *uses) full() bool {
	if u.with+u.without+u.unknown < maxCalls {
		return false
	}
	u.unknown = max(u.unknown, 1)
	return true
}

// verdict is what can be told of all calls together; nil for nothing.
func (u uses) verdict() *bool {
	switch {
	case u.with+u.without+u.unknown == 0:
		return nil
	case !u.mentioned:
		return new(false)
	case u.unknown > 0 || u.with > 0 && u.without > 0:
		return nil
	}
	return new(u.with > 0)
}

func mentions(tokens []token) bool {
	return slices.ContainsFunc(tokens, func(t token) bool {
		return t.kind == name && t.text == rotationToken || t.kind == text && strings.Contains(t.text, rotationToken)
	})
}

// passesToken tells whether every put_secret_value gets the rotation token.
func (p *program) passesToken() *bool {
	u := uses{}
	if p.unread {
		u.unseen()
	}
	for _, s := range p.sources {
		for _, l := range s.lines {
			u.mentioned = u.mentioned || mentions(l.tokens)
			for i, t := range l.tokens {
				if t.is(name, "put_secret_value") && i > 0 && l.tokens[i-1].op(".") {
					u.countPython(s, l.tokens[i+1:])
				}
			}
		}
	}
	return u.verdict()
}

// countPython looks at what follows the name of the operation in a module.
func (u *uses) countPython(s *source, after []token) {
	if u.full() {
		return
	}
	if len(after) == 0 || !after[0].op("(") {
		u.unknown++ // it is called by another name
		return
	}
	spread := false
	for _, a := range arguments(after) {
		switch {
		case len(a) > 1 && a[0].is(name, rotationToken) && a[1].op("="):
			u.with++
			return
		case a[0].op("**") && (mentions(a) || len(a) == 2 && s.putsToken(a[1].text)):
			u.with++
			return
		case a[0].op("**"):
			spread = true
		}
	}
	if spread {
		u.unknown++
		return
	}
	u.without++
}

// putsToken tells whether a module has a statement that gives a variable the
// token as a member.
func (s *source) putsToken(variable string) bool {
	if s.holders == nil {
		s.holders = map[string]bool{}
		for _, l := range s.lines {
			if len(l.tokens) > 1 && l.tokens[0].kind != text && l.tokens[1].kind == operator && mentions(l.tokens[1:]) {
				s.holders[l.tokens[0].text] = true
			}
		}
	}
	return s.holders[variable]
}

// steps are the names of the steps, as functions are usually named after
// them.
var steps = map[string]string{
	"create_secret": "createSecret", "set_secret": "setSecret", "test_secret": "testSecret", "finish_secret": "finishSecret",
	"createsecret": "createSecret", "setsecret": "setSecret", "testsecret": "testSecret", "finishsecret": "finishSecret",
}

// unfinished are the steps whose functions only raise NotImplementedError.
func (p *program) unfinished() []string {
	var all []string
	for _, s := range p.sources {
		for _, f := range s.functions() {
			step, ok := steps[strings.ToLower(f.name)]
			if ok && f.onlyRaises() && !slices.Contains(all, step) {
				all = append(all, step)
			}
		}
	}
	order := []string{"createSecret", "setSecret", "testSecret", "finishSecret"}
	slices.SortFunc(all, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return all
}
