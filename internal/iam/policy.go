package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
)

// The versions of the policy language (AWS docs). A document without a
// version has the older one.
const (
	Version2012 = "2012-10-17"
	Version2008 = "2008-10-17"
)

// Effect is what a statement decides.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Document is a policy as ParseDocument read it.
type Document struct {
	// Version is one of the two versions.
	Version string
	ID      string
	// Statements has at least one element.
	Statements []Statement
}

// Statement is one rule of a policy. Of each pair of an element and its Not
// form at most one is set; a set element has at least one value.
type Statement struct {
	Sid    string
	Effect Effect
	// Principals and NotPrincipals are nil where the element is missing, as
	// in every identity policy.
	Principals, NotPrincipals *Principals
	Actions, NotActions       []string
	Resources, NotResources   []string
	Conditions                []Condition
}

// Principals is a Principal or NotPrincipal element. "*" by itself and
// {"AWS": "*"} are the same.
type Principals struct {
	// AWS holds "*", account IDs, ARNs and unique IDs, as given.
	AWS []string
	// Service, Federated and CanonicalUser hold names as given.
	Service, Federated, CanonicalUser []string
}

// Condition is one operator on one key.
type Condition struct {
	// Operator is a known operator, with its prefix and suffix.
	Operator string
	// Key is compared without regard to case (AWS docs).
	Key string
	// Values has at least one element; numbers and booleans are in their
	// JSON spelling.
	Values []string
}

// ParseDocument reads a policy. Element names and effects have to be spelt
// exactly, single values stand for lists of one, and unknown, repeated or
// contradictory elements are refused. Whether Principal and Resource belong in
// the document depends on its use: CheckIdentity and its siblings tell. The
// error is a fault.Policy in IAM's words; other services answer in their own.
func ParseDocument(text string) (*Document, error) {
	d, err := parseDocument([]byte(text))
	switch {
	case err == nil:
		return d, d.check()
	case !json.Valid([]byte(text)):
		return nil, fault.New(fault.Policy, "This policy contains invalid Json").Because(err)
	}
	return nil, syntaxError(err)
}

func parseDocument(text []byte) (*Document, error) {
	members, err := object(text)
	if err != nil {
		return nil, err
	}
	d := Document{Version: Version2008}
	err = each(members, map[string]func(json.RawMessage) error{
		"Version":   word(&d.Version, Version2008, Version2012),
		"Id":        word(&d.ID),
		"Statement": func(raw json.RawMessage) (err error) { d.Statements, err = statements(raw); return err },
	})
	if err == nil && len(d.Statements) == 0 {
		err = errors.New("there is no statement")
	}
	return &d, err
}

// member is one name with its value, in the order of the text.
type member struct {
	name  string
	value json.RawMessage
}

// object splits a JSON object and refuses names that occur twice, which
// encoding/json would let pass, and anything after it.
func object(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	var members []member
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)} // the decoder admits no other token here
		if seen[m.name] {
			return nil, fmt.Errorf("%q occurs twice", m.name)
		}
		seen[m.name] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is text after the document")
	}
	return members, nil
}

// each hands every member to the reader of its name.
func each(members []member, readers map[string]func(json.RawMessage) error) error {
	for _, m := range members {
		read, known := readers[m.name]
		if !known {
			return fmt.Errorf("%q is not an element here", m.name)
		}
		if err := read(m.value); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func statements(raw json.RawMessage) ([]Statement, error) {
	list, err := list(raw)
	if err != nil {
		return nil, err
	}
	all := make([]Statement, len(list))
	for i := range list {
		if err := all[i].parse(list[i]); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return all, nil
}

func (s *Statement) parse(raw json.RawMessage) error {
	members, err := object(raw)
	if err != nil {
		return err
	}
	return each(members, map[string]func(json.RawMessage) error{
		"Sid":          word(&s.Sid),
		"Effect":       word(&s.Effect, Allow, Deny),
		"Principal":    func(raw json.RawMessage) (err error) { s.Principals, err = principals(raw); return err },
		"NotPrincipal": func(raw json.RawMessage) (err error) { s.NotPrincipals, err = principals(raw); return err },
		"Action":       texts(&s.Actions),
		"NotAction":    texts(&s.NotActions),
		"Resource":     texts(&s.Resources),
		"NotResource":  texts(&s.NotResources),
		"Condition":    func(raw json.RawMessage) (err error) { s.Conditions, err = conditions(raw); return err },
	})
}

func principals(raw json.RawMessage) (*Principals, error) {
	var p Principals
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if name != "*" {
			return nil, fmt.Errorf("%q is not a principal without its kind", name)
		}
		p.AWS = []string{name}
		return &p, nil
	}
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, errors.New("no principal is named")
	}
	return &p, each(members, map[string]func(json.RawMessage) error{
		"AWS": texts(&p.AWS), "Service": texts(&p.Service), "Federated": texts(&p.Federated), "CanonicalUser": texts(&p.CanonicalUser),
	})
}

func conditions(raw json.RawMessage) ([]Condition, error) {
	operators, err := object(raw)
	if err != nil {
		return nil, err
	}
	var all []Condition
	for _, op := range operators {
		if _, known := parseOperator(op.name); !known {
			return nil, fmt.Errorf("%q is not an operator", op.name)
		}
		keys, err := object(op.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
		for _, k := range keys {
			c := Condition{Operator: op.name, Key: k.name}
			if c.Values, err = scalars(k.value); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", op.name, k.name, err)
			}
			if _, err := c.compile(true); err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// list returns the elements of an array, or the value itself as the one
// element.
func list(raw json.RawMessage) ([]json.RawMessage, error) {
	var elements []json.RawMessage
	if bytes.HasPrefix(raw, []byte("[")) {
		if err := json.Unmarshal(raw, &elements); err != nil {
			return nil, err
		}
		return elements, nil
	}
	return []json.RawMessage{raw}, nil
}

// scalars reads one or more strings, numbers and booleans as strings.
func scalars(raw json.RawMessage) ([]string, error) {
	elements, err := list(raw)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, errors.New("the list is empty")
	}
	values := make([]string, len(elements))
	for i, e := range elements {
		switch {
		case e[0] == '"':
			if err := json.Unmarshal(e, &values[i]); err != nil {
				return nil, err
			}
		case e[0] == '{' || e[0] == '[' || e[0] == 'n':
			return nil, fmt.Errorf("%s is not a plain value", e)
		default:
			values[i] = string(e)
		}
	}
	return values, nil
}

// texts reads one or more strings.
func texts(to *[]string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		elements, err := list(raw)
		if err != nil {
			return err
		}
		if len(elements) == 0 {
			return errors.New("the list is empty")
		}
		values := make([]string, len(elements))
		for i, e := range elements {
			if err := json.Unmarshal(e, &values[i]); err != nil || values[i] == "" {
				return fmt.Errorf("%s is not a text", e)
			}
		}
		*to = values
		return nil
	}
}

// word reads a string, which must be one of those allowed if any are given.
func word[T ~string](to *T, allowed ...T) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if err := json.Unmarshal(raw, to); err != nil {
			return err
		}
		if len(allowed) > 0 && !slices.Contains(allowed, *to) {
			return fmt.Errorf("%s is not one of %q", raw, allowed)
		}
		return nil
	}
}
