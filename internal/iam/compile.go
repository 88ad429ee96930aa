package iam

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/arn"
)

// Policy is a Document made ready for evaluation. It does not change, and may
// be used by any number of goroutines.
type Policy struct {
	// Name is the policy's name or ARN, for reports.
	Name       string
	statements []statement
}

// statement is a compiled Statement.
type statement struct {
	ref    StatementRef
	effect Effect
	// principals is nil where the statement names none.
	principals   *principalSet
	notPrincipal bool
	actions      []pattern
	notAction    bool
	// resources is nil where the statement names none.
	resources   []pattern
	notResource bool
	conditions  []condition
}

// StatementRef tells which statement decided. The zero StatementRef is none.
type StatementRef struct {
	// Policy is the Name of the policy.
	Policy string
	// Sid is empty where the statement has none.
	Sid string
	// Number is the statement's place in the policy, from 1.
	Number int
}

// String names the statement for reports.
func (s StatementRef) String() string {
	switch {
	case s.Number == 0:
		return "no statement"
	case s.Sid != "":
		return fmt.Sprintf("statement %d (%s) of %s", s.Number, s.Sid, s.Policy)
	}
	return fmt.Sprintf("statement %d of %s", s.Number, s.Policy)
}

// Compile prepares a document for evaluation; name is the policy's name or
// ARN. The policy keeps the document's parts, which must not change any more.
// Only a document that ParseDocument did not read can fail.
func Compile(d *Document, name string) (*Policy, error) {
	p := &Policy{Name: name, statements: make([]statement, len(d.Statements))}
	for i := range d.Statements {
		s := &p.statements[i]
		s.ref = StatementRef{Policy: name, Sid: d.Statements[i].Sid, Number: i + 1}
		if err := s.compile(&d.Statements[i], d.Version == Version2012); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return p, nil
}

// CompileText is ParseDocument and Compile.
func CompileText(text, name string) (*Policy, error) {
	d, err := ParseDocument(text)
	if err != nil {
		return nil, err
	}
	return Compile(d, name)
}

func (s *statement) compile(from *Statement, variables bool) error {
	s.effect = from.Effect
	s.principals, s.notPrincipal = compilePrincipals(from.Principals), false
	if from.NotPrincipals != nil {
		s.principals, s.notPrincipal = compilePrincipals(from.NotPrincipals), true
	}
	s.actions, s.notAction = compileActions(from.Actions), false
	if from.NotActions != nil {
		s.actions, s.notAction = compileActions(from.NotActions), true
	}
	s.resources, s.notResource = compileResources(from.Resources, variables), false
	if from.NotResources != nil {
		s.resources, s.notResource = compileResources(from.NotResources, variables), true
	}
	s.conditions = make([]condition, len(from.Conditions))
	for i := range from.Conditions {
		var err error
		if s.conditions[i], err = from.Conditions[i].compile(variables); err != nil {
			return err
		}
		s.conditions[i].denies = s.effect == Deny
	}
	return nil
}

// compileActions makes patterns for a matcher that folds: names of actions and of
// services are compared without regard to case.
func compileActions(list []string) []pattern {
	patterns := make([]pattern, len(list))
	for i, text := range list {
		patterns[i] = parsePattern(lowerASCII(text), syntax{wildcards: true})
	}
	return patterns
}

func compileResources(list []string, variables bool) []pattern {
	if list == nil {
		return nil
	}
	patterns := make([]pattern, len(list))
	for i, text := range list {
		patterns[i] = parsePattern(text, syntax{wildcards: true, variables: variables})
	}
	return patterns
}

// principalSet is a compiled Principals.
type principalSet struct {
	everybody bool
	accounts  []string
	// identities holds ARNs of users, roles and sessions, and unique IDs.
	identities []string
	services   []string
	federated  []string
}

func compilePrincipals(from *Principals) *principalSet {
	if from == nil {
		return nil
	}
	p := &principalSet{everybody: slices.Contains(from.AWS, "*"), services: from.Service, federated: from.Federated}
	for _, name := range from.AWS {
		if account, ok := accountOf(name); ok {
			p.accounts = append(p.accounts, account)
		} else {
			p.identities = append(p.identities, name)
		}
	}
	return p
}

// accountOf returns the account that a principal stands for as a whole: its
// number, or the ARN of its root.
func accountOf(name string) (account string, ok bool) {
	if isAccount(name) {
		return name, true
	}
	a, ok := arn.Parse(name)
	return a.Account, ok && a.Service == "iam" && a.Resource == "root" && isAccount(a.Account)
}

// ContextKeys returns the condition keys that the document's conditions and
// policy variables ask for, as written, each once and in order of appearance.
func (p *Policy) ContextKeys() []string {
	var keys keyList
	for i := range p.statements {
		p.statements[i].eachKey(func(key, name string) { keys.add(key, name) })
	}
	return keys.names
}

// eachKey visits the condition keys that the statement asks for, in lower
// case and as written.
func (s *statement) eachKey(visit func(key, name string)) {
	for i := range s.resources {
		s.resources[i].eachVariable(visit)
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		visit(c.key, c.source.Key)
		for j := range c.values {
			c.values[j].pattern.eachVariable(visit)
		}
	}
}

func (p *pattern) eachVariable(visit func(key, name string)) {
	for _, v := range p.variables {
		visit(v.key, v.name)
	}
}

// keyList collects names of keys without repetition.
type keyList struct{ keys, names []string }

func (l *keyList) add(key, name string) {
	if !slices.Contains(l.keys, key) {
		l.keys, l.names = append(l.keys, key), append(l.names, name)
	}
}
