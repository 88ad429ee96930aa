package stack

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testSchema = Schema{
	Type: "AWS::T", Attributes: []string{"Arn", "Outputs.*"},
	Properties: map[string]Property{
		"Name":   {Kind: String, Required: true, MinLength: new(2), MaxLength: new(5), Pattern: "^[a-z]+$", Update: Replacement},
		"Mode":   {Kind: String, Enum: []string{"on", "off"}},
		"Size":   {Kind: Integer, Minimum: new(int64(1)), Maximum: new(int64(9)), Update: SomeInterruption},
		"Flag":   {Kind: Boolean},
		"Names":  {Kind: List, Items: &Property{Kind: String}, MinItems: new(1), MaxItems: new(2)},
		"Labels": {Kind: Map, Items: &Property{Kind: String}},
		"Policy": {Kind: JSON},
		"Rules": {Kind: List, Items: &Property{Kind: Object, Properties: map[string]Property{
			"Port": {Kind: Integer, Required: true}, "Open": {Kind: Boolean},
		}}},
		"Arn": {Kind: String, ReadOnly: true},
	},
}

func TestSchemaCheck(t *testing.T) {
	for _, tc := range []struct{ properties, want string }{
		{`{"Name": "abc"}`, ""},
		{`{"Name": "abc", "Size": "3", "Flag": "true", "Names": ["a", 5], "Labels": {"a": 1}, "Policy": {"any": [1]}, "Rules": [{"Port": "80"}]}`, ""},
		{`{"Name": "abc", "Policy": "{}"}`, ""},
		{`{"Name": "{{changeSet:KNOWN_AFTER_APPLY}}", "Size": "{{changeSet:KNOWN_AFTER_APPLY}}", "Names": "{{changeSet:KNOWN_AFTER_APPLY}}"}`, ""},
		{`{"Name": "{{resolve:ssm:name-of-the-thing}}", "Size": "{{resolve:ssm:size}}", "Flag": "{{resolve:ssm:flag}}"}`, ""},
		{`{}`, "Property validation failure: [The property {/Name} is required]"},
		{`{"Name": "abc", "Nmae": 1}`, "Encountered unsupported property Nmae"},
		{`{"Name": "abc", "Arn": "x"}`, "Encountered unsupported property Arn"},
		{`{"Name": ["abc"]}`, "Property validation failure: [Value of property {/Name} does not match type {String}]"},
		{`{"Name": "a"}`, "Property validation failure: [Length of value for property {/Name} is less than minimum allowed length {2}]"},
		{`{"Name": "abcdef"}`, "Property validation failure: [Length of value for property {/Name} is greater than maximum allowed length {5}]"},
		{`{"Name": "ABC"}`, "Property validation failure: [Value of property {/Name} does not match pattern {^[a-z]+$}]"},
		{`{"Name": "abc", "Mode": "x"}`, "Property validation failure: [Value of property {/Mode} must be one of {on,off}]"},
		{`{"Name": "abc", "Size": "x"}`, "Property validation failure: [Value of property {/Size} does not match type {Integer}]"},
		{`{"Name": "abc", "Size": 1.5}`, "Property validation failure: [Value of property {/Size} does not match type {Integer}]"},
		{`{"Name": "abc", "Size": 0}`, "Property validation failure: [Value of property {/Size} is less than minimum allowed value {1}]"},
		{`{"Name": "abc", "Size": 10}`, "Property validation failure: [Value of property {/Size} is greater than maximum allowed value {9}]"},
		{`{"Name": "abc", "Flag": "yes"}`, "Property validation failure: [Value of property {/Flag} does not match type {Boolean}]"},
		{`{"Name": "abc", "Names": "a"}`, "Property validation failure: [Value of property {/Names} does not match type {List}]"},
		{`{"Name": "abc", "Names": []}`, "Property validation failure: [Number of items in property {/Names} is less than minimum allowed {1}]"},
		{`{"Name": "abc", "Names": ["a", "b", "c"]}`, "Property validation failure: [Number of items in property {/Names} is greater than maximum allowed {2}]"},
		{`{"Name": "abc", "Names": ["a", {}]}`, "Property validation failure: [Value of property {/Names/1} does not match type {String}]"},
		{`{"Name": "abc", "Labels": ["a"]}`, "Property validation failure: [Value of property {/Labels} does not match type {Object}]"},
		{`{"Name": "abc", "Labels": {"a": []}}`, "Property validation failure: [Value of property {/Labels/a} does not match type {String}]"},
		{`{"Name": "abc", "Policy": [1]}`, "Property validation failure: [Value of property {/Policy} does not match type {Json}]"},
		{`{"Name": "abc", "Rules": [{"Open": true}]}`, "Property validation failure: [The property {/Rules/0/Port} is required]"},
		{`{"Name": "abc", "Rules": [{"Port": 1, "Zip": 1, "Odd": 1}]}`, "Property validation failure: [Encountered unsupported properties in {/Rules/0}: [Odd, Zip]]"},
	} {
		err := testSchema.Check(decodeObject(t, tc.properties))
		if tc.want == "" && err == nil {
			continue
		}
		checkRefusal(t, err, tc.want)
	}
}

func decodeObject(t *testing.T, text string) map[string]any {
	t.Helper()
	tree, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestSchemaCoerce(t *testing.T) {
	got := testSchema.Coerce(decodeObject(t, `{"Name": 5, "Size": "3", "Flag": "TRUE", "Names": [1, true], "Labels": {"a": 1}, "Rules": [{"Port": "80", "Open": "false"}], "Mode": true, "Other": "1"}`))
	want := map[string]any{
		"Name": "5", "Size": json.Number("3"), "Flag": true, "Names": []any{"1", "true"}, "Labels": map[string]any{"a": "1"},
		"Rules": []any{map[string]any{"Port": json.Number("80"), "Open": false}}, "Mode": "true", "Other": "1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("coerced (-want +got):\n%s", diff)
	}
}

func TestSchemaCompare(t *testing.T) {
	for _, tc := range []struct {
		old, new string
		changed  []string
		update   Update
	}{
		{`{"Name": "abc", "Size": 3}`, `{"Name": "abc", "Size": "3"}`, nil, NoInterruption},
		{`{"Name": "abc", "Size": 3}`, `{"Name": "abc", "Size": 4, "Flag": true}`, []string{"Flag", "Size"}, SomeInterruption},
		{`{"Name": "abc", "Size": 3}`, `{"Name": "abd"}`, []string{"Name", "Size"}, Replacement},
	} {
		changed, update := testSchema.Compare(decodeObject(t, tc.old), decodeObject(t, tc.new))
		if diff := cmp.Diff(tc.changed, changed); diff != "" || update != tc.update {
			t.Errorf("%s to %s: update %v, want %v; changed (-want +got):\n%s", tc.old, tc.new, update, tc.update, diff)
		}
	}
}

func TestHasAttribute(t *testing.T) {
	for name, want := range map[string]bool{"Arn": true, "Outputs.X": true, "Outputs.": false, "Outputs": false, "Id": false} {
		if got := testSchema.HasAttribute(name); got != want {
			t.Errorf("HasAttribute(%q) = %v, want %v", name, got, want)
		}
	}
}
