package stack

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// document is a decoded template: its tree, and the order of the members of
// each section, which a map cannot keep.
type document struct {
	tree  map[string]any
	order map[string][]string
}

// Parse reads a template in JSON or YAML and checks its shape. What Check
// refuses, Parse lets pass.
func Parse(body string) (*Template, error) {
	doc, err := decode(body)
	if err != nil {
		return nil, err
	}
	t, err := build(doc)
	if err != nil {
		return nil, err
	}
	t.Body = body
	return t, nil
}

// FromTree makes a template of a tree, such as a transform produces. The tree
// is copied.
func FromTree(tree map[string]any) (*Template, error) {
	return build(document{tree: clone(tree).(map[string]any)})
}

// Decode reads a template in JSON or YAML as a tree and checks nothing but
// the syntax. YAML's short forms (!Ref) become long ones.
func Decode(body string) (map[string]any, error) {
	doc, err := decode(body)
	return doc.tree, err
}

// decode takes a text that begins with a brace for JSON, as AWS does.
func decode(body string) (document, error) {
	if len(body) > MaxBytes {
		return document{}, invalid("Template may not exceed %d bytes in size.", MaxBytes)
	}
	if strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") {
		return decodeJSON(body)
	}
	return decodeYAML(body)
}

// errStructure refuses a document that is no object.
func errStructure() error { return invalid("Template format error: unsupported structure.") }

// decodeJSON keeps the last of several members of one name, as AWS does
// (assumed).
func decodeJSON(body string) (document, error) {
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		offset := int64(len(body))
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = syntax.Offset
		}
		return document{}, errJSON(body, offset-1)
	}
	r := jsonReader{body: body, decoder: json.NewDecoder(strings.NewReader(body)), order: map[string][]string{}}
	r.decoder.UseNumber()
	v, err := r.value(0, "")
	return newDocument(v, r.order, err)
}

// newDocument makes a document of what was read, with the reader's error.
func newDocument(v any, order map[string][]string, err error) (document, error) {
	if err != nil {
		return document{}, err
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return document{}, errStructure()
	}
	return document{tree: tree, order: order}, nil
}

// jsonReader reads a text that is known to be well-formed.
type jsonReader struct {
	body    string
	decoder *json.Decoder
	order   map[string][]string
}

// value reads one value; section is the member of the document in which it
// stands.
func (r *jsonReader) value(depth int, section string) (any, error) {
	token, err := r.decoder.Token()
	if err != nil || depth > MaxDepth {
		return nil, errJSON(r.body, r.decoder.InputOffset()-1)
	}
	switch token {
	case json.Delim('{'):
		return r.object(depth, section)
	case json.Delim('['):
		return r.list(depth, section)
	default:
		return token, nil
	}
}

func (r *jsonReader) object(depth int, section string) (any, error) {
	m := map[string]any{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return nil, errJSON(r.body, r.decoder.InputOffset()-1)
		}
		key := token.(string)
		within := section
		switch depth {
		case 0:
			within = key
			delete(r.order, key)
		case 1:
			if _, again := m[key]; !again {
				r.order[section] = append(r.order[section], key)
			}
		}
		if m[key], err = r.value(depth+1, within); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.Token()
	return m, ignoreEOF(err)
}

func (r *jsonReader) list(depth int, section string) (any, error) {
	l := []any{}
	for r.decoder.More() {
		v, err := r.value(depth+1, section)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := r.decoder.Token()
	return l, ignoreEOF(err)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// errJSON refuses the text at a byte's place.
func errJSON(body string, offset int64) error {
	line, column := position(body, int(offset))
	return invalid("Template format error: JSON not well-formed. (line %d, column %d)", line, column)
}

// position counts lines and columns from one; a column is a character.
func position(body string, offset int) (line, column int) {
	before := body[:max(0, min(offset, len(body)))]
	line = strings.Count(before, "\n") + 1
	return line, len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
}
