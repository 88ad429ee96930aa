package stack

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// jsonNumber is what may stand as a number in a tree. YAML numbers of another
// form, such as 0644 and 012345678901, stay text.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// decodeYAML reads one YAML document. Aliases are refused, as AWS refuses
// them, so a text cannot unfold to more than it says.
func decodeYAML(body string) (document, error) {
	if strings.TrimSpace(body) == "" {
		return document{}, errStructure()
	}
	var root yaml.Node
	if err := yaml.Load([]byte(body), &root); err != nil {
		if at, ok := errors.AsType[*yaml.LoadError](err); ok && at.Mark.Line > 0 {
			return document{}, errYAML(at.Mark.Line, max(1, at.Mark.Column))
		}
		return document{}, errYAML(1, 1)
	}
	node := &root
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		node = node.Content[0]
	}
	r := yamlReader{order: map[string][]string{}}
	v, err := r.value(node, 0, "")
	return newDocument(v, r.order, err)
}

type yamlReader struct{ order map[string][]string }

// value converts a node; section is the member of the document in which it
// stands.
func (r *yamlReader) value(n *yaml.Node, depth int, section string) (any, error) {
	if depth > MaxDepth {
		return nil, errYAML(n.Line, n.Column)
	}
	function, short := shortForm(n.Tag)
	var v any
	var err error
	switch n.Kind {
	case yaml.AliasNode:
		return nil, invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
	case yaml.MappingNode:
		v, err = r.mapping(n, depth, section)
	case yaml.SequenceNode:
		v, err = r.sequence(n, depth, section)
	case yaml.ScalarNode:
		if v = n.Value; !short {
			v = scalar(n)
		}
	default:
		return nil, errYAML(n.Line, n.Column)
	}
	if err != nil || !short {
		return v, err
	}
	return longForm(function, v), nil
}

func (r *yamlReader) mapping(n *yaml.Node, depth int, section string) (any, error) {
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			return r.value(k, depth, section)
		}
		if _, again := m[k.Value]; again || k.Kind != yaml.ScalarNode {
			return nil, errYAML(k.Line, k.Column)
		}
		within := section
		switch depth {
		case 0:
			within = k.Value
		case 1:
			r.order[section] = append(r.order[section], k.Value)
		}
		v, err := r.value(n.Content[i+1], depth+1, within)
		if err != nil {
			return nil, err
		}
		m[k.Value] = v
	}
	return m, nil
}

func (r *yamlReader) sequence(n *yaml.Node, depth int, section string) (any, error) {
	l := make([]any, 0, len(n.Content))
	for _, e := range n.Content {
		v, err := r.value(e, depth+1, section)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}

// scalar keeps dates, versions and the YAML 1.1 words yes, no, on and off as
// text.
func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		if b := strings.ToLower(n.Value); b == "true" || b == "false" {
			return b == "true"
		}
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// shortForm returns the function that a tag such as !GetAtt names.
func shortForm(tag string) (string, bool) {
	name, ok := strings.CutPrefix(tag, "!")
	if !ok || name == "" || strings.HasPrefix(name, "!") {
		return "", false
	}
	if name == fnRef || name == fnCondition {
		return name, true
	}
	return "Fn::" + name, true
}

// longForm is the function's call as an object. !GetAtt takes "A.B".
func longForm(function string, arg any) any {
	if text, ok := arg.(string); ok && function == fnGetAtt {
		if id, attribute, ok := strings.Cut(text, "."); ok {
			arg = []any{id, attribute}
		}
	}
	return map[string]any{function: arg}
}

func errYAML(line, column int) error {
	return invalid("Template format error: YAML not well-formed. (line %d, column %d)", line, column)
}
