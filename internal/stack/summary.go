package stack

import (
	"encoding/json"
	"slices"
)

// Summary is what GetTemplateSummary and ValidateTemplate tell of a template.
type Summary struct {
	Version, Description string
	Parameters           []Parameter
	// ResourceTypes holds each type once, in the template's order.
	ResourceTypes []string
	// LogicalIDs holds the resources of each type, in the template's order.
	LogicalIDs         map[string][]string
	Capabilities       []string
	CapabilitiesReason string
	DeclaredTransforms []string
	// Metadata is JSON, or "".
	Metadata string
}

// Summary describes the template.
func (t *Template) Summary() Summary {
	s := Summary{
		Version: t.Version, Description: t.Description, Parameters: slices.Clone(t.Parameters),
		LogicalIDs: map[string][]string{}, DeclaredTransforms: slices.Clone(t.Transforms),
	}
	s.Capabilities, s.CapabilitiesReason = t.Capabilities()
	for _, id := range t.ids {
		kind := t.Resources[id].Type
		if s.LogicalIDs[kind] == nil {
			s.ResourceTypes = append(s.ResourceTypes, kind)
		}
		s.LogicalIDs[kind] = append(s.LogicalIDs[kind], id)
	}
	if t.Metadata != nil {
		// A decoded tree always encodes again.
		b, _ := json.Marshal(t.Metadata)
		s.Metadata = string(b)
	}
	return s
}
