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

// iamNames lists the types that need a capability, each with the property
// that gives its resource a name of the caller's choice, "" for a type
// without (AWS docs).
var iamNames = map[string]string{
	"AWS::IAM::AccessKey":           "",
	"AWS::IAM::Group":               "GroupName",
	"AWS::IAM::InstanceProfile":     "InstanceProfileName",
	"AWS::IAM::ManagedPolicy":       "ManagedPolicyName",
	"AWS::IAM::Policy":              "",
	"AWS::IAM::Role":                "RoleName",
	"AWS::IAM::User":                "UserName",
	"AWS::IAM::UserToGroupAddition": "",
}

// Capabilities returns what a caller of ValidateTemplate is told to
// acknowledge, sorted, and why; nothing for a template that needs none.
func (t *Template) Capabilities() (names []string, reason string) {
	types := map[string]bool{}
	named := false
	for _, r := range t.Resources {
		property, iam := iamNames[r.Type]
		if !iam {
			continue
		}
		types[r.Type] = true
		if _, ok := r.Properties[property]; ok && property != "" {
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
	if macros := t.macros(); len(macros) > 0 {
		names = append(names, CapabilityAutoExpand)
		because = append(because, macros...)
	}
	if len(names) == 0 {
		return nil, ""
	}
	slices.Sort(names)
	return names, "The following resource(s) require capabilities: [" + strings.Join(because, ", ") + "]"
}

// macros returns the declared transforms that need AUTO_EXPAND.
// LanguageExtensions does too (AWS docs).
func (t *Template) macros() []string { return t.Transforms }

// Demand refuses a caller who has not acknowledged what the template needs.
// direct is true for CreateStack and UpdateStack, where a declared transform
// needs CAPABILITY_AUTO_EXPAND; a change set shows what a transform produces
// before it is executed, so there it does not.
func (t *Template) Demand(given []string, direct bool) error {
	names, _ := t.Capabilities()
	for _, need := range names {
		switch {
		case slices.Contains(given, need):
		case need == CapabilityIAM && slices.Contains(given, CapabilityNamedIAM):
		case need == CapabilityAutoExpand && !direct:
		default:
			return fault.New(InsufficientCapabilities, "Requires capabilities : [%s]", need)
		}
	}
	return nil
}
