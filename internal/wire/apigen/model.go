package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// model is the part of a service model that matters here.
type model struct {
	Metadata struct {
		APIVersion, JSONVersion, Protocol, ServiceID string
		SigningName, EndpointPrefix, TargetPrefix    string
		XMLNamespace                                 string
	}
	Operations map[string]*operation
	Shapes     map[string]*shape
}

type operation struct {
	Name string
	HTTP struct {
		Method, RequestURI string
		ResponseCode       int
	}
	Input, Output *ref
	Errors        []ref
	// AuthType is "none" for operations without a signature.
	AuthType string
}

// ref is the use of a shape.
type ref struct {
	Shape            string
	Location         string
	LocationName     string
	QueryName        string
	IdempotencyToken bool
	Flattened        bool
	TimestampFormat  string
	ResultWrapper    string
}

type shape struct {
	name string
	// added marks an empty structure that the model does not have.
	added bool

	Type             string
	Members          members
	Required         []string
	Member           *ref
	Key, Value       *ref
	Min, Max         *float64
	Pattern          string
	Enum             []string
	Sensitive        bool
	Flattened        bool
	Payload          string
	TimestampFormat  string
	Exception, Fault bool
	Error            struct {
		Code           string
		HTTPStatusCode int
	}
}

// members keeps a structure's members in the model's order.
type members []member

type member struct {
	name string
	ref  ref
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *members) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		one := member{name: fmt.Sprint(name)}
		if err := d.Decode(&one.ref); err != nil {
			return err
		}
		*m = append(*m, one)
	}
	return nil
}

// load reads service-2.json, plain or compressed, from dir.
func load(dir string) (*model, error) {
	text, err := os.ReadFile(filepath.Join(dir, "service-2.json"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = readGzip(filepath.Join(dir, "service-2.json.gz"))
	}
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func readGzip(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func parse(text []byte) (*model, error) {
	m := new(model)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, err
	}
	for name, s := range m.Shapes {
		s.name = name
	}
	return m, nil
}

func (m *model) signingName() string {
	if m.Metadata.SigningName != "" {
		return m.Metadata.SigningName
	}
	return m.Metadata.EndpointPrefix
}

func (m *model) shape(r *ref) *shape { return m.Shapes[r.Shape] }

func (s *shape) requires(name string) bool {
	for _, r := range s.Required {
		if r == name {
			return true
		}
	}
	return false
}

// inBody reports whether a member belongs to the body's structure.
func (s *shape) inBody(f *member) bool { return f.ref.Location == "" && s.Payload != f.name }

func (s *shape) hasBody() bool {
	for i := range s.Members {
		if s.inBody(&s.Members[i]) {
			return true
		}
	}
	return false
}

// hide makes a shape sensitive, or, named STRUCTURE.MEMBER, one member whose
// shape others have too; false if there is none.
func (m *model) hide(name string) bool {
	owner, field, one := strings.Cut(name, ".")
	s := m.Shapes[owner]
	if s == nil {
		return false
	}
	if !one {
		s.Sensitive = true
		return true
	}
	for i := range s.Members {
		if f := &s.Members[i]; f.name == field {
			secret := *m.Shapes[f.ref.Shape]
			secret.name, secret.Sensitive = name, true
			m.Shapes[name], f.ref.Shape = &secret, name
			return true
		}
	}
	return false
}

// sensitive reports whether a value of the shape must not be shown, itself
// or in its elements.
func (m *model) sensitive(s *shape) bool {
	switch {
	case s.Sensitive:
		return true
	case s.Type == "list":
		return m.elementSensitive(s.Member)
	case s.Type == "map":
		return m.elementSensitive(s.Key) || m.elementSensitive(s.Value)
	}
	return false
}

func (m *model) elementSensitive(r *ref) bool {
	s := m.shape(r)
	return s.Type != "structure" && m.sensitive(s)
}

// hides reports whether a structure holds anything sensitive at any depth.
func (m *model) hides(s *shape) bool {
	return m.any(s, map[string]bool{}, func(_ *shape, _ *member, s *shape) bool { return m.sensitive(s) })
}

// any reports whether test holds for a member of s or of a structure below.
func (m *model) any(s *shape, seen map[string]bool, test func(owner *shape, f *member, s *shape) bool) bool {
	if seen[s.name] {
		return false
	}
	seen[s.name] = true
	switch s.Type {
	case "list":
		return m.any(m.shape(s.Member), seen, test)
	case "map":
		return m.any(m.shape(s.Value), seen, test)
	}
	for i := range s.Members {
		f := &s.Members[i]
		if target := m.shape(&f.ref); test(s, f, target) || m.any(target, seen, test) {
			return true
		}
	}
	return false
}

// exported makes a Go name of a model name.
func exported(name string) string {
	name = strings.NewReplacer("-", "_", ".", "_").Replace(name)
	return strings.ToUpper(name[:1]) + name[1:]
}

// lowerFirst is a member's name in a path.
func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }
