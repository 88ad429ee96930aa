package transform

import (
	"regexp"
	"strings"
)

// scope resolves what transforms must know while they expand.
type scope struct {
	env  Environment
	tree map[string]any
}

// text returns the text that v is, or that its intrinsic function gives by
// the template's parameters and mappings alone.
func (s scope) text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case map[string]any:
		if len(v) == 1 {
			return s.call(v)
		}
	}
	return "", false
}

func (s scope) call(v map[string]any) (string, bool) {
	if name, ok := v["Ref"].(string); ok {
		return s.ref(name)
	}
	if path, ok := v["Fn::FindInMap"].([]any); ok && len(path) == 3 {
		return s.find(path)
	}
	if text, ok := v["Fn::Sub"].(string); ok {
		return s.substitute(text)
	}
	if parts, ok := v["Fn::Join"].([]any); ok && len(parts) == 2 {
		return s.join(parts)
	}
	return "", false
}

func (s scope) ref(name string) (string, bool) {
	switch name {
	case "AWS::AccountId":
		return s.env.Account, s.env.Account != ""
	case "AWS::Region":
		return s.env.Region, s.env.Region != ""
	case "AWS::Partition":
		return s.env.partition(), true
	case "AWS::URLSuffix":
		return s.env.suffix(), true
	case "AWS::StackName":
		return s.env.StackName, s.env.StackName != ""
	}
	parameters, _ := s.tree["Parameters"].(map[string]any)
	declared, _ := parameters[name].(map[string]any)
	if hidden(declared["NoEcho"]) { // or the processed template would show it
		return "", false
	}
	if value, ok := s.env.Parameters[name].(string); ok {
		return value, true
	}
	value, ok := declared["Default"].(string)
	return value, ok
}

// hidden reports whether a value of NoEcho says so.
func hidden(v any) bool {
	text, _ := v.(string)
	return v == true || strings.EqualFold(text, "true")
}

func (e Environment) partition() string {
	if e.Partition == "" {
		return "aws"
	}
	return e.Partition
}

func (e Environment) suffix() string {
	switch {
	case e.URLSuffix != "":
		return e.URLSuffix
	case e.Partition == "aws-cn":
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

func (s scope) find(path []any) (string, bool) {
	at, _ := s.tree["Mappings"].(map[string]any)
	for i, step := range path {
		key, ok := s.text(step)
		if !ok {
			return "", false
		}
		if i == len(path)-1 {
			return s.text(at[key])
		}
		at, _ = at[key].(map[string]any)
	}
	return "", false
}

var variable = regexp.MustCompile(`\$\{([^!{}]+)\}`)

func (s scope) substitute(text string) (string, bool) {
	known := true
	text = variable.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := s.ref(strings.TrimSpace(name[2 : len(name)-1]))
		known = known && ok
		return value
	})
	return text, known
}

func (s scope) join(parts []any) (string, bool) {
	delimiter, ok := parts[0].(string)
	list, many := parts[1].([]any)
	if !ok || !many {
		return "", false
	}
	texts := make([]string, len(list))
	for i, item := range list {
		if texts[i], ok = s.text(item); !ok {
			return "", false
		}
	}
	return strings.Join(texts, delimiter), true
}
