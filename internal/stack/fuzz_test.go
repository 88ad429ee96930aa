package stack

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/fault"
)

// FuzzParse says that no text makes the parser fail otherwise than by a
// refusal, and that what it admits is the same template again as JSON.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		small, diffHead + "  A: {Type: T}", `{"Resources": {"A": {"Type": "T", "Properties": {"P": [1, -2.5e3, true, "x"]}}}}`,
		"Resources:\n  A: &a {Type: X}\n  B: *a\n", "Resources: {A: {Type: T, Properties: !GetAtt A.B}}", "? [a]\n: b\n", "{a: b}", "- - - a",
		"Resources:\n  A:\n    Type: T\n    Properties: {P: 0x1F, Q: .5, R: 1_000, S: 012, T: !!binary aGk=, U: 2001-01-01, V: ~, W: !!str 5}\n",
		"Transform: [A, {Name: B}]\nResources: {'Fn::ForEach::X': [a, [b], {}]}", "%YAML 1.1\n---\na: b\n...\n---\nc: d\n", "\ufeff{}", "a: |\n  b\n   c\n",
		"Parameters: {P: {Type: String, Default: 5, MinLength: x}}\nResources: {A: {Type: T}}", "!Sub a", "<<: {a: b}\n", "\"\\ud800\": 1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		tpl, err := Parse(body)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		asJSON, err := tpl.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(string(asJSON))
		if err != nil {
			t.Fatalf("the template's JSON is refused: %v\n%s", err, asJSON)
		}
		if diff := cmp.Diff(validText(tpl.tree), validText(again.tree)); diff != "" {
			t.Errorf("the template's JSON is another template (-want +got):\n%s", diff)
		}
		if err := tpl.Check(nil, nil); err != nil {
			wantRefusal(t, err)
		}
		tpl.Summary()
		_ = tpl.Demand(nil, true)
	})
}

// FuzzResolve says that no template makes conditions, loops, the graph or the
// resolution fail otherwise than by a refusal.
func FuzzResolve(f *testing.F) {
	for _, tc := range intrinsics {
		f.Add("Transform: [AWS::LanguageExtensions]\n" + suiteHead[len("\nTransform: TRANSFORM\n"):] + tc.expression + "\n")
	}
	f.Add(`{"Resources": {"A": {"Type": "T", "Properties": {"Fn::If": ["C", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]}}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		tpl, err := Parse(body)
		if err != nil {
			return
		}
		args, err := tpl.Bind(nil, nil)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		s := &Scope{StackName: "app", Region: "eu-west-1", Arguments: args, Preview: true, Dynamic: func(DynamicReference) (string, error) { return "x", nil }}
		if tpl, err = tpl.Expand(s); err != nil {
			wantRefusal(t, err)
			return
		}
		if s.Conditions, err = tpl.Evaluate(s); err != nil {
			wantRefusal(t, err)
			return
		}
		if g, err := tpl.Graph(s.Conditions); err != nil {
			wantRefusal(t, err)
		} else if got := len(g.Order()); got != len(tpl.Active(s.Conditions)) {
			t.Errorf("the order has %d resources, want %d", got, len(tpl.Active(s.Conditions)))
		}
		for _, id := range tpl.LogicalIDs() {
			if _, err := tpl.ResolveProperties(id, s); err != nil {
				wantRefusal(t, err)
			}
		}
		state := State{Template: tpl, Conditions: s.Conditions, Arguments: args}
		Diff(state, state, func(string) *Schema { return nil })
	})
}

func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Validation || f.Message == "" {
		t.Errorf("got error %v, want a validation error with a text", err)
	}
}

// validText is a tree as JSON writes it, which has no broken UTF-8.
func validText(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return string(b)
}

// plain draws trees without functions and dynamic references.
func plain(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Custom(func(t *rapid.T) any { return rapid.StringMatching(`[a-zA-Z${}! .:-]{0,12}`).Draw(t, "text") }),
		rapid.Custom(func(t *rapid.T) any { return json.Number(rapid.StringMatching(`-?[1-9][0-9]{0,5}`).Draw(t, "number")) }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Bool().Draw(t, "truth") }),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	key := rapid.StringMatching(`[A-Za-z][a-z0-9]{4,6}`)
	return rapid.OneOf(append(scalars,
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(plain(depth-1), 0, 4).Draw(t, "list") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.MapOfN(key, plain(depth-1), 0, 4).Draw(t, "object") }),
	)...)
}

// TestResolveIdentity says that what holds no function resolves to itself.
func TestResolveIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		properties := rapid.MapOfN(rapid.StringMatching(`[A-Z][a-z]{3,8}`), plain(4), 0, 6).Draw(t, "properties")
		tpl, err := FromTree(map[string]any{"Resources": map[string]any{"A": map[string]any{"Type": "T", "Properties": properties}}})
		if err != nil {
			t.Fatal(err)
		}
		s := &Scope{Dynamic: func(DynamicReference) (string, error) { return "x", nil }}
		got, err := tpl.ResolveProperties("A", s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(properties, got); diff != "" {
			t.Errorf("properties (-want +got):\n%s", diff)
		}
		asJSON, err := tpl.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(string(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(properties, again.Resources["A"].Properties); diff != "" {
			t.Errorf("properties by way of JSON (-want +got):\n%s", diff)
		}
	})
}
