package iam

import (
	"encoding/json"
	"strings"
)

// MapPrincipals returns a policy's text in which every principal of the kind
// AWS is replaced by what name makes of it; whatever else there is stays byte
// by byte. It stops at the first error of name, and returns it. The text must
// be one that ParseDocument reads.
//
// Policies are kept with the unique IDs of users and roles in place of their
// ARNs, so that nobody inherits what was granted to a namesake (AWS docs): one
// mapping turns ARNs into IDs, another one IDs into the ARNs that they have
// by now.
func MapPrincipals(text string, name func(string) (string, error)) (string, error) {
	m := principalMapper{text: text, decoder: json.NewDecoder(strings.NewReader(text)), name: name}
	if err := m.value(); err != nil {
		return "", err
	}
	if m.copied == 0 {
		return text, nil
	}
	m.out.WriteString(text[m.copied:])
	return m.out.String(), nil
}

// principalMapper walks through the text of a policy.
type principalMapper struct {
	text    string
	decoder *json.Decoder
	name    func(string) (string, error)
	// path has the names of the members around the value to come.
	path []string
	out  strings.Builder
	// copied is how much of the text is in out.
	copied int
}

// value maps the next value.
func (m *principalMapper) value() error {
	before := m.decoder.InputOffset()
	token, err := m.decoder.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case string:
		if m.atPrincipal() {
			return m.replace(int(before), token)
		}
	case json.Delim:
		for m.decoder.More() {
			if err := m.element(token); err != nil {
				return err
			}
		}
		_, err = m.decoder.Token() // the closing bracket
	}
	return err
}

// element maps the next element of an array, or member of an object.
func (m *principalMapper) element(open json.Delim) error {
	if open == '[' {
		return m.value()
	}
	name, err := m.decoder.Token()
	if err != nil {
		return err
	}
	m.path = append(m.path, name.(string)) // the decoder admits no other token here
	err = m.value()
	m.path = m.path[:len(m.path)-1]
	return err
}

func (m *principalMapper) atPrincipal() bool {
	return len(m.path) == 3 && m.path[0] == "Statement" && (m.path[1] == "Principal" || m.path[1] == "NotPrincipal") && m.path[2] == "AWS"
}

// replace maps the text that was just read; before is where the token ahead
// of it ended.
func (m *principalMapper) replace(before int, old string) error {
	name, err := m.name(old)
	if err != nil || name == old {
		return err
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		return err
	}
	end := int(m.decoder.InputOffset())
	start := before + strings.IndexByte(m.text[before:end], '"')
	m.out.WriteString(m.text[m.copied:start])
	m.out.Write(quoted)
	m.copied = end
	return nil
}

// UniqueID returns what a principal's name has of a unique ID: that of a user,
// or of a role, behind which, for one of its sessions, a colon and the name of
// the session follow. ok is false for any other name.
func UniqueID(name string) (id, session string, ok bool) {
	if !strings.HasPrefix(name, "AROA") && !strings.HasPrefix(name, "AIDA") {
		return "", "", false
	}
	id, session, _ = strings.Cut(name, ":")
	return id, session, true
}
