package stack

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parametersOf is a template with a Parameters block.
func parametersOf(t *testing.T, parameters string) *Template {
	t.Helper()
	tpl, err := Parse("Parameters: {" + parameters + "}\nResources: {A: {Type: T}}\n")
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestBind(t *testing.T) {
	tpl := parametersOf(t, `
A: {Type: String},
B: {Type: String, Default: b},
N: {Type: Number, Default: 5},
L: {Type: "List<AWS::EC2::SecurityGroup::Id>", Default: "sg-1, sg-2"},
S: {Type: String, NoEcho: true, Default: hidden}`)
	args, err := tpl.Bind(map[string]Given{"A": {Value: "x"}, "B": {UsePrevious: true}}, map[string]string{"B": "before", "N": "9"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"A": "x", "B": "before", "N": "5", "L": []any{"sg-1", "sg-2"}, "S": "hidden"}
	if diff := cmp.Diff(want, args.ByName); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	texts := map[string]string{"A": "x", "B": "before", "N": "5", "L": "sg-1, sg-2", "S": "hidden"}
	if diff := cmp.Diff(texts, args.Text); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(format, Scope{Arguments: args}); strings.Contains(got, "hidden") || !strings.Contains(got, "arguments of A, B, L, N, S") {
			t.Errorf("%s prints %q, want the names alone", format, got)
		}
	}
	if got := args.LogValue().String(); strings.Contains(got, "hidden") {
		t.Errorf("the log has %q", got)
	}
	if got := args.Shown("S"); got != "****" || args.Shown("A") != "x" || !args.Secret("S") || args.Secret("A") {
		t.Errorf("a NoEcho parameter is shown as %q, want ****", got)
	}
}

// TestRefusedArguments wants the texts for values that a parameter does not
// admit.
func TestRefusedArguments(t *testing.T) {
	given := func(v string) map[string]Given { return map[string]Given{"P": {Value: v}} }
	for _, tc := range []struct {
		parameters string
		given      map[string]Given
		want       string
	}{
		{"P: {Type: String}, Q: {Type: String}", nil, "Parameters: [P, Q] must have values"},
		{"P: {Type: String}", map[string]Given{"P": {Value: "x"}, "X": {Value: "y"}, "W": {}}, "Parameters: [W, X] do not exist in the template"},
		{"P: {Type: String}", map[string]Given{"P": {UsePrevious: true}}, "Invalid input for parameter key P. Cannot specify usePreviousValue as true for a parameter key not in the previous template"},
		{"P: {Type: Number}", given("x"), "Parameter 'P' must be a number."},
		{"P: {Type: Number}", given("0x1"), "Parameter 'P' must be a number."},
		{"P: {Type: Number}", given("NaN"), "Parameter 'P' must be a number."},
		{"P: {Type: Number}", given(""), "Parameter 'P' must be a number."},
		{"P: {Type: List<Number>}", given("1,x"), "Parameter 'P' must be a number."},
		{"P: {Type: Number, MinValue: 5}", given("4.5"), "Parameter 'P' must be a number not less than 5"},
		{"P: {Type: Number, MaxValue: 5}", given("6"), "Parameter 'P' must be a number not greater than 5"},
		{"P: {Type: String, AllowedValues: [a, b]}", given("c"), "Parameter 'P' must be one of AllowedValues"},
		{"P: {Type: CommaDelimitedList, AllowedValues: [a, b]}", given("a,c"), "Parameter 'P' must be one of AllowedValues"},
		{"P: {Type: String, AllowedPattern: '[a-z]+'}", given("abc1"), "Parameter 'P' must match pattern [a-z]+"},
		{"P: {Type: String, AllowedPattern: 'a|b'}", given("ab"), "Parameter 'P' must match pattern a|b"},
		{"P: {Type: String, MinLength: 3}", given("é1"), "Parameter 'P' must contain at least 3 characters"},
		{"P: {Type: String, MaxLength: '3'}", given("abcd"), "Parameter 'P' must contain at most 3 characters"},
		{"P: {Type: String, MaxLength: 3, ConstraintDescription: three at most}", given("abcd"), "Parameter P failed to satisfy constraint: three at most"},
		{"P: {Type: String, AllowedValues: [a], Default: b}", nil, "Parameter 'P' must be one of AllowedValues"},
		{"P: {Type: 'AWS::SSM::Parameter::Value<String>'}", given(""), "Parameter 'P' must be the name of an SSM parameter."},
	} {
		_, err := parametersOf(t, tc.parameters).Bind(tc.given, nil)
		checkRefusal(t, err, tc.want)
	}
}

func TestAdmittedArguments(t *testing.T) {
	for _, tc := range []struct{ parameters, value string }{
		{"P: {Type: String, AllowedPattern: '^[a-z]*$'}", ""},
		{"P: {Type: String, AllowedPattern: '(?!x)[a-z]+'}", "xyz"}, // no look-ahead in Go
		{"P: {Type: Number, MinValue: 1, MaxValue: 2}", " 1.5"},
		{"P: {Type: Number}", "1e3"},
		{"P: {Type: String, MinLength: 3, MaxLength: 3}", "äöü"},
		{"P: {Type: String, NoEcho: 'true', AllowedValues: [true, 1]}", "true"},
		{"P: {Type: AWS::EC2::VPC::Id}", "vpc-1"},
		{"P: {Type: 'AWS::SSM::Parameter::Value<List<AWS::EC2::Subnet::Id>>'}", "/subnets"},
		{"P: {Type: AWS::SSM::Parameter::Name}", "/p"},
	} {
		if _, err := parametersOf(t, tc.parameters).Bind(map[string]Given{"P": {Value: tc.value}}, nil); err != nil {
			t.Errorf("%s: %q is refused: %v", tc.parameters, tc.value, err)
		}
	}
}

func TestResolveSSM(t *testing.T) {
	tpl, err := Parse(`
Parameters:
  P: {Type: AWS::SSM::Parameter::Value<CommaDelimitedList>, Default: /p}
  Q: {Type: String, Default: q}
  Unused: {Type: AWS::SSM::Parameter::Value<String>, Default: /unused}
Rules:
  R: {Assertions: [{Assert: !Equals [!Ref Unused, "1"]}]}
Resources:
  A: {Type: T, Properties: {List: !Ref P}}
`)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Bind(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, early := args.ByName["P"]; early {
		t.Error("the parameter has a value before it is fetched")
	}
	_, err = tpl.Resolve(map[string]any{"Ref": "P"}, &Scope{Arguments: args})
	checkRefusal(t, err, "Unable to fetch parameters [/p] from parameter store for this account.")
	if v, err := tpl.Resolve(map[string]any{"Ref": "P"}, &Scope{Arguments: args, Preview: true}); v != KnownAfterApply || err != nil {
		t.Errorf("a preview gives %v, %v; want %s", v, err, KnownAfterApply)
	}
	if err := args.ResolveSSM(func(name string) (string, error) { return name + "1," + name + "2", nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"/p1", "/p2"}, args.ByName["P"]); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
	if args.Text["P"] != "/p" || args.Fetched["P"] != "/p1,/p2" {
		t.Errorf("got text %q and fetched %q, want the name and the value", args.Text["P"], args.Fetched["P"])
	}
	if v, ok := args.Fetched["Unused"]; ok || args.Text["Unused"] != "/unused" {
		t.Errorf("got %q for a parameter that only a rule mentions", v)
	}
	missing := errors.New("no such parameter")
	if err := args.ResolveSSM(func(string) (string, error) { return "", missing }); !errors.Is(err, missing) {
		t.Errorf("got error %v, want %v", err, missing)
	}
}
