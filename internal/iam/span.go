package iam

import (
	"encoding/json"
	"strings"
)

// Position is a place in the text of a policy: line and column count from 1,
// columns in bytes.
type Position struct{ Line, Column int }

// Span is the text of one statement, from its opening brace to behind its
// closing one.
type Span struct{ Start, End Position }

// Spans returns where the statements of a policy stand in its text, in their
// order; nil if the text is no policy.
func Spans(text string) []Span {
	d := json.NewDecoder(strings.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		if name == "Statement" {
			return statementSpans(d, text)
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return nil
		}
	}
	return nil
}

// statementSpans reads on from the name Statement: one object or an array.
func statementSpans(d *json.Decoder, text string) []Span {
	value := strings.TrimLeft(text[d.InputOffset():], ": \t\r\n")
	switch {
	case strings.HasPrefix(value, "{"):
		if span, ok := nextSpan(d, text); ok {
			return []Span{span}
		}
		return nil
	case !strings.HasPrefix(value, "["):
		return nil
	}
	if _, err := d.Token(); err != nil {
		return nil
	}
	var all []Span
	for d.More() {
		span, ok := nextSpan(d, text)
		if !ok {
			return nil
		}
		all = append(all, span)
	}
	if _, err := d.Token(); err != nil {
		return nil
	}
	return all
}

func nextSpan(d *json.Decoder, text string) (Span, bool) {
	var raw json.RawMessage
	if d.Decode(&raw) != nil {
		return Span{}, false
	}
	end := int(d.InputOffset())
	return Span{position(text, end-len(raw)), position(text, end)}, true
}

func position(text string, offset int) Position {
	before := text[:offset]
	return Position{Line: 1 + strings.Count(before, "\n"), Column: offset - strings.LastIndexByte(before, '\n')}
}
