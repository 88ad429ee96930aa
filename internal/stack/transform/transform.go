// Package transform expands the transforms that templates of rotation name:
// AWS::Serverless-2016-10-31 for what such templates use of it, and
// AWS::SecretsManager-2020-07-23 and AWS::SecretsManager-2024-09-16, which
// put hosted rotation functions into nested stacks.
//
// It works on plain trees, as JSON has them, and reads nothing else.
package transform

import (
	"maps"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
)

// Names of transforms (AWS docs).
const (
	Serverless         = "AWS::Serverless-2016-10-31"
	SecretsManager2020 = "AWS::SecretsManager-2020-07-23"
	SecretsManager2024 = "AWS::SecretsManager-2024-09-16"
	// LanguageExtensions is not expanded here: it is about how a template is
	// evaluated.
	LanguageExtensions = "AWS::LanguageExtensions"
)

// Environment is what a transform knows beside the template.
type Environment struct {
	Account, Region, Partition, URLSuffix string
	StackName                             string
	// Parameters are the values of the template's parameters, where they are
	// known: transforms need some texts themselves.
	Parameters map[string]any
}

// Named returns the transforms that a template's top level names, in order.
// A transform with parameters counts by its name.
func Named(tree map[string]any) []string {
	var names []string
	list, many := tree["Transform"].([]any)
	if !many {
		list = []any{tree["Transform"]}
	}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			names = append(names, item)
		case map[string]any:
			if name, ok := item["Name"].(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// Expand returns the template with its transforms applied, and itself
// unchanged. Of the member Transform only AWS::LanguageExtensions is left.
//
// Errors are of kind fault.Validation and have AWS's texts: "Transform NAME
// failed with: …" and, for transforms and macros that do not exist, "No
// transform named NAME found".
func Expand(tree map[string]any, env Environment) (map[string]any, error) {
	tree = copied(tree).(map[string]any)
	names := Named(tree)
	delete(tree, "Transform")
	if slices.Contains(names, SecretsManager2020) && slices.Contains(names, SecretsManager2024) {
		// AWS docs say that it fails; the text is assumed.
		return nil, failed(SecretsManager2024, "Can only specify one version of the AWS::SecretsManager transform.")
	}
	for _, name := range names {
		var err error
		switch name {
		case Serverless:
			err = expandServerless(tree, env)
		case SecretsManager2020, SecretsManager2024:
			err = expandHosted(tree, name, env)
		case LanguageExtensions:
			tree["Transform"] = name
		default:
			err = unknown(name)
		}
		if err != nil {
			return nil, err
		}
	}
	return tree, refuseMacros(tree)
}

// failed is the error of a transform that cannot do its work (AWS: recorded).
func failed(name, text string) *fault.Error {
	return fault.New(fault.Validation, "Transform %s failed with: %s", name, text)
}

func unknown(name string) *fault.Error {
	return fault.New(fault.Validation, "No transform named %s found.", name)
}

// refuseMacros fails for a macro below the top level: there are none here.
func refuseMacros(v any) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := refuseMacros(item); err != nil {
				return err
			}
		}
	case map[string]any:
		if call, ok := v["Fn::Transform"].(map[string]any); ok {
			if name, ok := call["Name"].(string); ok {
				return unknown(name)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := refuseMacros(v[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// copied is a tree of its own.
func copied(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = copied(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[key] = copied(value)
		}
		return m
	}
	return v
}

// resource is one of a template.
type resource = map[string]any

// resources returns the template's resources of a type, by logical ID.
func resources(tree map[string]any, kind string) (all map[string]any, ids []string) {
	all, _ = tree["Resources"].(map[string]any)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if r, ok := all[id].(resource); ok && r["Type"] == kind {
			ids = append(ids, id)
		}
	}
	return all, ids
}

// pass copies attributes of a resource to one that is made of it.
func pass(from, to resource, attributes ...string) {
	for _, name := range attributes {
		if v, ok := from[name]; ok {
			to[name] = copied(v)
		}
	}
}
