package stack

import (
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// InsufficientCapabilities is the kind of an error for a template that needs
// more acknowledgement than the caller gave.
const InsufficientCapabilities fault.Kind = "insufficient capabilities"

// The capabilities that a caller acknowledges.
const (
	CapabilityIAM        = "CAPABILITY_IAM"
	CapabilityNamedIAM   = "CAPABILITY_NAMED_IAM"
	CapabilityAutoExpand = "CAPABILITY_AUTO_EXPAND"
)

// iamPrefix begins the types that need a capability.
const iamPrefix = "AWS::IAM::"

// iamNames lists the properties that give a resource of IAM a name of the
// caller's choice (AWS docs). The handlers of the types must agree.
var iamNames = map[string]string{
	"AWS::IAM::Group":           "GroupName",
	"AWS::IAM::InstanceProfile": "InstanceProfileName",
	"AWS::IAM::ManagedPolicy":   "ManagedPolicyName",
	"AWS::IAM::Role":            "RoleName",
	"AWS::IAM::User":            "UserName",
}

// Capabilities returns what a caller of ValidateTemplate is told to
// acknowledge, sorted, and why; nothing for a template that needs none.
func (t *Template) Capabilities() (names []string, reason string) {
	types := map[string]bool{}
	named := false
	for _, r := range t.Resources {
		if !strings.HasPrefix(r.Type, iamPrefix) {
			continue
		}
		types[r.Type] = true
		if property := iamNames[r.Type]; property != "" && r.Properties[property] != nil {
			named = true
		}
	}
	switch {
	case named:
		names = append(names, CapabilityNamedIAM)
	case len(types) > 0:
		names = append(names, CapabilityIAM)
	}
	because := slices.Sorted(maps.Keys(types))
	if len(t.Transforms) > 0 {
		names = append(names, CapabilityAutoExpand)
		because = append(because, t.Transforms...)
	}
	if len(names) == 0 {
		return nil, ""
	}
	slices.Sort(names)
	return names, "The following resource(s) require capabilities: [" + strings.Join(because, ", ") + "]"
}

// hosted reports whether the SecretsManager transforms will make nested
// stacks with execution roles of their own.
func (t *Template) hosted() bool {
	if !slices.ContainsFunc(t.Transforms, func(name string) bool { return strings.HasPrefix(name, "AWS::SecretsManager-") }) {
		return false
	}
	for _, r := range t.Resources {
		if _, ok := r.Properties["HostedRotationLambda"]; ok && r.Type == "AWS::SecretsManager::RotationSchedule" {
			return true
		}
	}
	return false
}

// application reports whether a resource is an application of the
// repository, whose template has transforms.
func (t *Template) application() bool {
	for _, r := range t.Resources {
		if r.Type == "AWS::Serverless::Application" {
			return true
		}
	}
	return false
}

// Demand refuses a caller who has not acknowledged what the template needs.
// direct is true for CreateStack and UpdateStack, where any declared
// transform needs CAPABILITY_AUTO_EXPAND. A change set shows what a transform
// produces before it is executed, so there it is needed only for what becomes
// a nested stack. A template with transforms is asked twice: as submitted and
// as processed.
func (t *Template) Demand(given []string, direct bool) error {
	needs, _ := t.Capabilities()
	nested := t.hosted() || t.application()
	needs = slices.DeleteFunc(needs, func(name string) bool { return name == CapabilityAutoExpand && !direct && !nested })
	if t.hosted() && !slices.Contains(needs, CapabilityIAM) && !slices.Contains(needs, CapabilityNamedIAM) {
		needs = append(needs, CapabilityIAM)
	}
	if nested && !slices.Contains(needs, CapabilityAutoExpand) {
		needs = append(needs, CapabilityAutoExpand)
	}
	missing := slices.DeleteFunc(needs, func(need string) bool {
		return slices.Contains(given, need) || need == CapabilityIAM && slices.Contains(given, CapabilityNamedIAM)
	})
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fault.New(InsufficientCapabilities, "Requires capabilities : [%s]", strings.Join(missing, ", "))
}
