package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
)

// Types of the Serverless transform that are expanded here.
const (
	serverlessPrefix      = "AWS::Serverless::"
	serverlessFunction    = serverlessPrefix + "Function"
	serverlessApplication = serverlessPrefix + "Application"
)

// serverless expands one template.
type serverless struct {
	scope
	// globals are the properties that all functions have.
	globals map[string]any
	// errors say what is wrong with a resource, in order.
	errors []string
	// names are what a template may call made resources, such as L.Version.
	names map[string]string
	all   map[string]any
}

// expandServerless replaces the resources of the Serverless transform, in
// place. Problems are reported all at once, as SAM does.
func expandServerless(tree map[string]any, env Environment) error {
	all, _ := tree["Resources"].(map[string]any)
	x := &serverless{scope: scope{env, tree}, names: map[string]string{}, all: all}
	x.readGlobals()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		r, _ := all[id].(resource)
		kind, _ := r["Type"].(string)
		if !strings.HasPrefix(kind, serverlessPrefix) {
			continue
		}
		if err := x.expand(id, kind, r); err != nil {
			x.errors = append(x.errors, fmt.Sprintf("Resource with id [%s] is invalid. %s", id, err.Message))
		}
	}
	if len(x.errors) > 0 { // AWS: recorded
		return failed(Serverless, fmt.Sprintf("Invalid Serverless Application Specification document. Number of errors found: %d. %s",
			len(x.errors), strings.Join(x.errors, " ")))
	}
	x.rename(tree)
	return nil
}

func (x *serverless) expand(id, kind string, r resource) *fault.Error {
	properties, ok := r["Properties"].(map[string]any)
	if !ok && r["Properties"] != nil {
		return invalid("'Properties' should be a map.")
	}
	if properties == nil {
		properties = map[string]any{}
	}
	switch kind {
	case serverlessFunction:
		return x.function(id, r, merged(x.globals, properties).(map[string]any))
	case serverlessApplication:
		return x.application(id, r, properties)
	}
	return invalid("Resources of type '%s' are not supported here.", kind)
}

// invalid is what is wrong with one resource.
func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Validation, format, args...)
}

// readGlobals takes the section Globals out of the template.
func (x *serverless) readGlobals() {
	section, ok := x.tree["Globals"]
	if !ok {
		return
	}
	delete(x.tree, "Globals")
	globals, ok := section.(map[string]any)
	if !ok {
		x.errors = append(x.errors, "'Globals' section is invalid. Must be a dictionary")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(globals)) {
		properties, ok := globals[name].(map[string]any)
		switch {
		case name != "Function":
			x.errors = append(x.errors, fmt.Sprintf("'Globals' section is invalid. '%s' is not supported here. Must be one of the following values - ['Function']", name))
		case !ok:
			x.errors = append(x.errors, "'Globals' section is invalid. Value of Function must be a dictionary")
		default:
			x.globals = properties
		}
	}
}

// merged is what a function has of its own, over what all have: objects are
// merged, lists appended, other values replaced (AWS docs).
func merged(global, own any) any {
	switch o := own.(type) {
	case map[string]any:
		g, ok := global.(map[string]any)
		if !ok || isCall(o) || isCall(g) {
			return o
		}
		both := copied(g).(map[string]any)
		for key, value := range o {
			if old, ok := both[key]; ok {
				value = merged(old, value)
			}
			both[key] = value
		}
		return both
	case []any:
		if g, ok := global.([]any); ok {
			return append(copied(g).([]any), o...)
		}
	}
	return own
}

// isCall tells whether an object is an intrinsic function.
func isCall(m map[string]any) bool {
	if len(m) != 1 {
		return false
	}
	for name := range m {
		return name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::")
	}
	return false
}

// made is a resource that takes the place of another, or stands beside it.
func (x *serverless) made(id, kind string, properties map[string]any, from resource) resource {
	r := resource{"Type": kind, "Properties": properties}
	pass(from, r, "Condition", "DeletionPolicy", "UpdateReplacePolicy")
	x.all[id] = r
	return r
}

// tagList are tags as CloudFormation has them; SAM's own come first.
func tagList(own [][2]any, v any) ([]any, *fault.Error) {
	var list []any
	for _, tag := range own {
		list = append(list, map[string]any{"Key": tag[0], "Value": tag[1]})
	}
	if v == nil {
		return list, nil
	}
	tags, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Type of property 'Tags' is invalid.")
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if strings.HasPrefix(key, "lambda:") || strings.HasPrefix(key, "serverlessrepo:") {
			return nil, invalid("Tags with the key '%s' are reserved.", key)
		}
		list = append(list, map[string]any{"Key": key, "Value": tags[key]})
	}
	return list, nil
}

var createdBySAM = [2]any{"lambda:createdBy", "SAM"}

// applicationProperties are those of AWS::Serverless::Application (AWS docs).
var applicationProperties = []string{"Location", "NotificationARNs", "Parameters", "Tags", "TimeoutInMinutes"}

// application makes a nested stack of a published application.
func (x *serverless) application(id string, r resource, properties map[string]any) *fault.Error {
	if err := known(properties, applicationProperties, serverlessApplication); err != nil {
		return err
	}
	if properties["Location"] == nil {
		return invalid("Resource is missing the required [Location] property.")
	}
	made := map[string]any{}
	own := [][2]any{createdBySAM}
	if url, ok := properties["Location"].(string); ok {
		made["TemplateURL"] = url
	} else {
		url, arn, version, err := x.published(properties["Location"])
		if err != nil {
			return err
		}
		made["TemplateURL"] = url
		own = append(own, [2]any{"serverlessrepo:applicationId", arn}, [2]any{"serverlessrepo:semanticVersion", version})
	}
	tags, err := tagList(own, properties["Tags"])
	if err != nil {
		return err
	}
	made["Tags"] = tags
	for _, name := range []string{"NotificationARNs", "Parameters", "TimeoutInMinutes"} {
		if v, ok := properties[name]; ok {
			made[name] = v
		}
	}
	pass(r, x.made(id, "AWS::CloudFormation::Stack", made, r), "DependsOn", "Metadata")
	return nil
}

// published finds the application that a Location names.
func (x *serverless) published(location any) (url, arn, version string, err *fault.Error) {
	where, ok := location.(map[string]any)
	if !ok {
		return "", "", "", invalid("Type of property 'Location' is invalid.")
	}
	texts := map[string]string{}
	for _, name := range []string{"ApplicationId", "SemanticVersion"} {
		if where[name] == nil {
			return "", "", "", invalid("Resource is missing the required [%s] property.", name)
		}
		if texts[name], ok = x.text(where[name]); !ok {
			return "", "", "", invalid("Type of property '%s' is invalid.", name)
		}
	}
	arn, version = texts["ApplicationId"], texts["SemanticVersion"]
	app, ok := application.Find(arn)
	if !ok { // assumed
		return "", "", "", invalid("Application with id [%s] could not be found.", arn)
	}
	if !app.Has(version) { // assumed
		return "", "", "", invalid("Application with id [%s] has no version [%s].", arn, version)
	}
	return application.TemplateURL(app.Name, version), arn, version, nil
}

// known refuses properties that a type does not have.
func known(properties map[string]any, names []string, kind string) *fault.Error {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !slices.Contains(names, name) {
			return invalid("property %s not defined for resource of type %s", name, kind)
		}
	}
	return nil
}

// rename puts the IDs of made resources where the template calls them by the
// names that SAM lets it use.
func (x *serverless) rename(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			x.rename(item)
		}
	case map[string]any:
		if name, ok := v["Ref"].(string); ok && x.names[name] != "" {
			v["Ref"] = x.names[name]
		}
		switch path := v["Fn::GetAtt"].(type) {
		case []any:
			x.renamePath(path)
		case string:
			for name, id := range x.names {
				if rest, ok := strings.CutPrefix(path, name+"."); ok {
					v["Fn::GetAtt"] = id + "." + rest
				}
			}
		}
		for _, item := range v {
			x.rename(item)
		}
	}
}

func (x *serverless) renamePath(path []any) {
	if len(path) == 0 {
		return
	}
	if name, ok := path[0].(string); ok && x.names[name] != "" {
		path[0] = x.names[name]
	}
}
