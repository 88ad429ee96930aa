package resource_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

// A template needs the capability for a type exactly if its handler says so.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	for _, typ := range resource.Types() {
		h := resource.Lookup(typ)
		want := map[string]string{`{}`: "", `{"` + h.Named + `":"x"}`: ""}
		if h.IAM {
			want[`{}`] = stack.CapabilityIAM
			want[`{"`+h.Named+`":"x"}`] = stack.CapabilityIAM
		}
		if h.Named != "" {
			want[`{"`+h.Named+`":"x"}`] = stack.CapabilityNamedIAM
		}
		for properties, capability := range want {
			tpl, err := stack.Parse(fmt.Sprintf(`{"Resources":{"R":{"Type":%q,"Properties":%s}}}`, typ, properties))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := tpl.Capabilities()
			if capability == "" && len(got) > 0 || capability != "" && !slices.Equal(got, []string{capability}) {
				t.Errorf("%s with %s: got %v, want [%s]", typ, properties, got, capability)
			}
		}
	}
}
