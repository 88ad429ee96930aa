package stack

import (
	"strings"
)

// maxExpanded bounds the values that the loops of one template may make.
const maxExpanded = 200_000

// Expand applies the AWS::LanguageExtensions transform: it unfolds
// Fn::ForEach and puts the values of DeletionPolicy and UpdateReplacePolicy
// in their place. It needs the scope's arguments and pseudo parameters. A
// template that does not declare the transform comes back as it is.
// Fn::Length, Fn::ToJsonString and defaults of Fn::FindInMap stay for
// Resolve, so the result still declares the transform.
func (t *Template) Expand(s *Scope) (*Template, error) {
	if !t.Declares(LanguageExtensions) {
		return t, nil
	}
	x := &expander{r: t.resolver(s)}
	tree := make(map[string]any, len(t.tree))
	for section, v := range t.tree {
		tree[section] = v
		if section == "Conditions" || section == "Resources" || section == "Outputs" {
			unfolded, err := x.value(v, nil)
			if err != nil {
				return nil, err
			}
			tree[section] = unfolded
		}
	}
	unfolded, err := FromTree(tree)
	if err != nil {
		return nil, err
	}
	unfolded.Body = t.Body
	return unfolded, unfolded.policies(s)
}

// policies resolves DeletionPolicy and UpdateReplacePolicy, which may refer
// to parameters and conditions.
func (t *Template) policies(s *Scope) error {
	own := *s
	var err error
	if own.Conditions, err = t.Evaluate(&own); err != nil {
		return err
	}
	members, _ := t.tree["Resources"].(map[string]any)
	for _, r := range t.Resources {
		member, _ := members[r.LogicalID].(map[string]any)
		for name, into := range map[string]*string{"DeletionPolicy": &r.DeletionPolicy, "UpdateReplacePolicy": &r.UpdateReplacePolicy} {
			if !isCall(member[name]) {
				continue
			}
			if secret := t.secretIn(member[name], s); secret != "" {
				return errLoop(name + " cannot use the NoEcho parameter " + secret + ".")
			}
			v, err := t.Resolve(member[name], &own)
			if err != nil {
				return err
			}
			text, ok := v.(string)
			if !ok && v != nil {
				return invalid("Template format error: Every %s member must be a string.", name)
			}
			if *into = text; v == nil {
				delete(member, name)
			} else {
				member[name] = text
			}
		}
	}
	return nil
}

// secretIn returns a NoEcho parameter that an expression mentions, "" for
// none: its value would be seen in the processed template.
func (t *Template) secretIn(v any, s *Scope) string {
	for ref := range references(v, nil) {
		if s.Arguments.Secret(ref.Name) {
			return ref.Name
		}
	}
	return ""
}

// hasLoop reports whether a tree holds a loop.
func hasLoop(v any) bool {
	for name, e := range children(v) {
		if strings.HasPrefix(name, forEachPrefix) || hasLoop(e) {
			return true
		}
	}
	return false
}

// expander unfolds loops.
type expander struct {
	r    *resolver
	made int
}

// value copies a tree with its loops unfolded; vars are the loop variables in
// force.
func (x *expander) value(v any, vars map[string]string) (any, error) {
	if x.made++; x.made > maxExpanded {
		return nil, invalid("Template may not exceed %d bytes in size.", MaxBytes)
	}
	switch v := v.(type) {
	case string:
		return x.r.grow(substitute(v, vars))
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			var err error
			if list[i], err = x.value(e, vars); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		if name, ok := v[fnRef].(string); ok && len(v) == 1 {
			if value, ok := vars[name]; ok {
				return value, nil
			}
		}
		out := map[string]any{}
		return out, x.members(out, v, vars)
	default:
		return v, nil
	}
}

// members puts an object's members into out, and in place of a loop what it
// makes.
func (x *expander) members(out, m map[string]any, vars map[string]string) error {
	for name, e := range children(m) {
		if strings.HasPrefix(name, forEachPrefix) {
			if err := x.loop(out, e, vars); err != nil {
				return err
			}
			continue
		}
		key := substitute(name, vars)
		if _, again := out[key]; again {
			return errLoop("the key " + key + " is made more than once.")
		}
		v, err := x.value(e, vars)
		if err != nil {
			return err
		}
		out[key] = v
	}
	return nil
}

// loop unfolds [Identifier, Collection, {OutputKey: OutputValue}].
func (x *expander) loop(out map[string]any, arg any, vars map[string]string) error {
	args, _ := arg.([]any)
	if len(args) != 3 {
		return errLoop("Fn::ForEach layout is incorrect.")
	}
	identifier, isText := args[0].(string)
	body, isMap := args[2].(map[string]any)
	if !isText || !isMap || !alphanumeric(identifier) {
		return errLoop("Fn::ForEach layout is incorrect.")
	}
	if name := x.r.t.secretIn(args[1], x.r.s); name != "" {
		return errLoop("Fn::ForEach cannot use the NoEcho parameter " + name + ".")
	}
	collection, err := x.value(args[1], vars)
	if err != nil {
		return err
	}
	items, unknown, err := x.r.values(collection, func() error { return errLoop("Fn::ForEach layout is incorrect.") })
	if err != nil || unknown {
		return err
	}
	for _, item := range items {
		text, ok := scalarText(item)
		if !ok {
			return errLoop("Fn::ForEach layout is incorrect.")
		}
		inner := map[string]string{identifier: text}
		for name, value := range vars {
			if name != identifier {
				inner[name] = value
			}
		}
		if err := x.members(out, body, inner); err != nil {
			return err
		}
	}
	return nil
}

// substitute puts loop variables in place of ${Name}, and of &{Name} without
// what is not alphanumeric.
func substitute(s string, vars map[string]string) string {
	if !strings.Contains(s, "{") {
		return s
	}
	for name, value := range vars {
		s = strings.ReplaceAll(s, "${"+name+"}", value)
		s = strings.ReplaceAll(s, "&{"+name+"}", strings.Map(func(c rune) rune {
			if alphanumeric(string(c)) {
				return c
			}
			return -1
		}, value))
	}
	return s
}

func errLoop(why string) error {
	return invalid("Transform %s failed with: %s", LanguageExtensions, why)
}
