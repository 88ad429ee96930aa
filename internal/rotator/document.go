package rotator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Document is a secret's value that is one JSON object. Members keep their
// order and, unless changed, their spelling. It prints as redacted.
type Document struct{ members []member }

type member struct {
	key   string
	value json.RawMessage
}

// ParseDocument reads a JSON object. The error holds nothing of the value.
func ParseDocument(v plaintext.Value) (*Document, error) {
	dec := json.NewDecoder(bytes.NewReader(v.Reveal()))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	d := &Document{}
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return nil, fmt.Errorf("not JSON at byte %d", dec.InputOffset())
		}
		d = d.with(key.(string), value) // a member's name is a string, or Token fails
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("not JSON at byte %d", dec.InputOffset())
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON object")
	}
	return d, nil
}

// Keys returns the members' names in their order.
func (d *Document) Keys() []string {
	keys := make([]string, len(d.members))
	for i, m := range d.members {
		keys[i] = m.key
	}
	return keys
}

// Has tells whether the member exists.
func (d *Document) Has(key string) bool { return d.index(key) >= 0 }

// Text returns a member that is a string, and the JSON of any other; "" when
// it is missing or null.
func (d *Document) Text(key string) string {
	i := d.index(key)
	if i < 0 {
		return ""
	}
	raw := d.members[i].value
	var s *string
	if json.Unmarshal(raw, &s) == nil {
		if s == nil {
			return ""
		}
		return *s
	}
	return string(raw)
}

// Secret is Text for members that must not be shown.
func (d *Document) Secret(key string) plaintext.Value { return plaintext.Of(d.Text(key)) }

// Decode reads a member into a Go value; a missing one leaves it as it is.
func (d *Document) Decode(key string, into any) error {
	i := d.index(key)
	if i < 0 {
		return nil
	}
	if err := json.Unmarshal(d.members[i].value, into); err != nil {
		return Invalid("The member %s of the secret's JSON is not of the type that is needed", key)
	}
	return nil
}

// With returns a copy with the member set to what JSON makes of the value. A
// plaintext.Value is set by what it holds.
func (d *Document) With(key string, value any) *Document {
	if p, ok := value.(plaintext.Value); ok {
		value = p.RevealText()
	}
	return d.with(key, encodeJSON(value))
}

// encodeJSON writes a value without escaping what HTML would need escaped.
func encodeJSON(value any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		panic("rotator: a member that JSON cannot hold") // callers set strings, numbers and lists of them
	}
	return bytes.TrimSpace(b.Bytes())
}

// Without returns a copy that lacks the member.
func (d *Document) Without(key string) *Document {
	return &Document{slices.DeleteFunc(slices.Clone(d.members), func(m member) bool { return m.key == key })}
}

func (d *Document) with(key string, value json.RawMessage) *Document {
	members := slices.Clone(d.members)
	if i := d.index(key); i >= 0 {
		members[i].value = value
		return &Document{members}
	}
	return &Document{append(members, member{key, value})}
}

func (d *Document) index(key string) int {
	return slices.IndexFunc(d.members, func(m member) bool { return m.key == key })
}

// Value returns the JSON text.
func (d *Document) Value() plaintext.Value {
	parts := make([]string, len(d.members))
	for i, m := range d.members {
		key, _ := json.Marshal(m.key) // strings always marshal
		parts[i] = string(key) + ": " + string(m.value)
	}
	return plaintext.Of("{" + strings.Join(parts, ", ") + "}")
}

// Format implements fmt.Formatter by redacting under every verb.
func (*Document) Format(f fmt.State, _ rune) { fmt.Fprint(f, plaintext.Value{}) }

// LogValue implements slog.LogValuer by redacting.
func (*Document) LogValue() slog.Value { return plaintext.Value{}.LogValue() }
