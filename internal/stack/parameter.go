package stack

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mask stands for the value of a NoEcho parameter wherever it is shown.
const Mask = "****"

// Parameter is one member of a template's Parameters.
type Parameter struct {
	Name, Type, Description string
	// Default is nil where there is none.
	Default       *string
	AllowedValues []string
	// AllowedPattern is a regular expression that the whole value matches, or
	// "".
	AllowedPattern        string
	MinLength, MaxLength  *int
	MinValue, MaxValue    *float64
	NoEcho                bool
	ConstraintDescription string
}

// Given is what a caller says about one parameter.
type Given struct {
	Value       string
	UsePrevious bool
}

// Arguments are the values of a template's parameters.
type Arguments struct {
	// ByName is what Ref gives: a string, or a []any of strings for a list.
	ByName map[string]any
	// Text is each value as submitted or defaulted. It is what a stack keeps,
	// and previous of the next Bind.
	Text map[string]string
	// Fetched holds what ResolveSSM found: DescribeStacks' ResolvedValue.
	Fetched map[string]string

	parameters []Parameter
	// used are the names that the template mentions outside its Rules.
	used map[string]bool
}

func (t *Template) buildParameters(doc document) error {
	members, err := section(doc.tree, "Parameters")
	if err != nil {
		return err
	}
	for _, name := range names(doc, "Parameters", members) {
		p, err := buildParameter(name, members[name])
		if err != nil {
			return err
		}
		t.Parameters = append(t.Parameters, p)
	}
	if len(t.Parameters) > MaxParameters {
		return tooMany("parameters", len(t.Parameters), MaxParameters)
	}
	return nil
}

// parameterAttributes are the members that a parameter may have (AWS docs).
var parameterAttributes = []string{
	"Type", "Description", "Default", "AllowedValues", "AllowedPattern", "MinLength", "MaxLength", "MinValue", "MaxValue",
	"NoEcho", "ConstraintDescription",
}

func buildParameter(name string, v any) (Parameter, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Parameter{}, invalid("Template format error: Any Parameters member must be an object.")
	}
	if _, ok := m["Type"]; !ok {
		return Parameter{}, invalid("Template format error: Every Parameters object must contain a Type member.")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(parameterAttributes, key) {
			return Parameter{}, invalid("Invalid template parameter property '%s'", key)
		}
	}
	p := Parameter{Name: name}
	at := "/Parameters/" + name
	var err error
	for key, into := range map[string]*string{
		"Type": &p.Type, "Description": &p.Description, "AllowedPattern": &p.AllowedPattern,
		"ConstraintDescription": &p.ConstraintDescription,
	} {
		if *into, err = text(m, at, key); err != nil {
			return p, err
		}
	}
	if !knownParameterType(p.Type) {
		return p, invalid("Template format error: Unrecognized parameter type: %s", p.Type)
	}
	return p, p.constraints(m, at)
}

func (p *Parameter) constraints(m map[string]any, at string) error {
	if v, ok := m["Default"]; ok {
		s, ok := scalarText(v)
		if !ok {
			return invalid("Template format error: Every Default member must be a string.")
		}
		p.Default = &s
	}
	if v, ok := m["AllowedValues"]; ok {
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return invalid("Template format error: AllowedValues member must be a non-empty list of strings.")
		}
		for _, e := range list {
			s, ok := scalarText(e)
			if !ok {
				return invalid("Template format error: Every AllowedValues member must be a string.")
			}
			p.AllowedValues = append(p.AllowedValues, s)
		}
	}
	noEcho, err := text(m, at, "NoEcho")
	if err != nil {
		return err
	}
	p.NoEcho = strings.EqualFold(noEcho, "true")
	for key, into := range map[string]**int{"MinLength": &p.MinLength, "MaxLength": &p.MaxLength} {
		if *into, err = bound(m, at, key, strconv.Atoi); err != nil {
			return err
		}
	}
	for key, into := range map[string]**float64{"MinValue": &p.MinValue, "MaxValue": &p.MaxValue} {
		if *into, err = bound(m, at, key, number); err != nil {
			return err
		}
	}
	return nil
}

// bound reads a limit, a number or its text; nil where there is none.
func bound[N int | float64](m map[string]any, at, key string, read func(string) (N, error)) (*N, error) {
	s, err := text(m, at, key)
	if err != nil || s == "" {
		return nil, err
	}
	n, err := read(s)
	if err != nil {
		return nil, invalid("Template format error: Every %s member must be a number.", key)
	}
	return &n, nil
}

func number(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// awsTypes are the parameter types that name a resource of AWS (AWS docs).
// Whether the resource exists is not asked.
var awsTypes = []string{
	"AWS::EC2::AvailabilityZone::Name", "AWS::EC2::Image::Id", "AWS::EC2::Instance::Id", "AWS::EC2::KeyPair::KeyName",
	"AWS::EC2::SecurityGroup::GroupName", "AWS::EC2::SecurityGroup::Id", "AWS::EC2::Subnet::Id", "AWS::EC2::Volume::Id",
	"AWS::EC2::VPC::Id", "AWS::Route53::HostedZone::Id",
}

func knownParameterType(name string) bool {
	if inner, ok := ssmType(name); ok {
		name = inner
	}
	switch name {
	case "String", "Number", "CommaDelimitedList", "AWS::SSM::Parameter::Name":
		return true
	}
	inner, list := strings.CutPrefix(name, "List<")
	if !list {
		return slices.Contains(awsTypes, name)
	}
	inner, closed := strings.CutSuffix(inner, ">")
	return closed && (inner == "String" || inner == "Number" || slices.Contains(awsTypes, inner))
}

// ssmType returns the T of AWS::SSM::Parameter::Value<T>.
func ssmType(name string) (string, bool) {
	inner, ok := strings.CutPrefix(name, "AWS::SSM::Parameter::Value<")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, ">")
}

// SSM reports whether the value names a parameter of Systems Manager.
func (p Parameter) SSM() bool {
	_, ok := ssmType(p.Type)
	return ok
}

// List reports whether Ref gives a list.
func (p Parameter) List() bool {
	kind := p.Type
	if inner, ok := ssmType(kind); ok {
		kind = inner
	}
	return kind == "CommaDelimitedList" || strings.HasPrefix(kind, "List<")
}

// Bind gives the template's parameters their values: what is given, the
// previous value where that is asked for, else the default. Values are held
// against the parameters' constraints.
func (t *Template) Bind(given map[string]Given, previous map[string]string) (Arguments, error) {
	a := Arguments{ByName: map[string]any{}, Text: map[string]string{}, Fetched: map[string]string{}, parameters: t.Parameters, used: t.used()}
	var missing []string
	unknown := maps.Clone(given)
	for _, p := range t.Parameters {
		delete(unknown, p.Name)
		value, ok, err := p.choose(given, previous)
		if err != nil {
			return a, err
		}
		if !ok {
			missing = append(missing, p.Name)
			continue
		}
		a.Text[p.Name] = value
	}
	if len(unknown) > 0 {
		return a, invalid("Parameters: [%s] do not exist in the template", strings.Join(slices.Sorted(maps.Keys(unknown)), ", "))
	}
	if len(missing) > 0 {
		return a, invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	for _, p := range t.Parameters {
		if err := p.check(a.Text[p.Name]); err != nil {
			return a, err
		}
		if !p.SSM() {
			a.ByName[p.Name] = p.value(a.Text[p.Name])
		}
	}
	return a, nil
}

// used returns the names that a template mentions outside its Rules, which
// nobody evaluates.
func (t *Template) used() map[string]bool {
	names := map[string]bool{}
	for section, v := range t.tree {
		if section == "Parameters" || section == "Rules" {
			continue
		}
		for ref := range references(v, nil) {
			names[ref.Name] = true
		}
	}
	return names
}

func (p Parameter) choose(given map[string]Given, previous map[string]string) (string, bool, error) {
	g, ok := given[p.Name]
	switch {
	case ok && g.UsePrevious:
		value, ok := previous[p.Name]
		if !ok {
			return "", false, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", p.Name)
		}
		return value, true, nil
	case ok:
		return g.Value, true, nil
	case p.Default != nil:
		return *p.Default, true, nil
	default:
		return "", false, nil
	}
}

// value is what Ref gives for a text. An empty text is a list of one empty
// string, as AWS has it (assumed).
func (p Parameter) value(text string) any {
	if !p.List() {
		return text
	}
	list := []any{}
	for e := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(e))
	}
	return list
}

// check holds a value against the constraints. Those of a list hold for each
// member.
func (p Parameter) check(value string) error {
	if p.SSM() {
		if value == "" {
			return invalid("Parameter '%s' must be the name of an SSM parameter.", p.Name)
		}
		return p.checkOne(value)
	}
	if !p.List() {
		return p.checkOne(value)
	}
	for _, e := range p.value(value).([]any) {
		if err := p.checkOne(e.(string)); err != nil {
			return err
		}
	}
	return nil
}

func (p Parameter) checkOne(value string) error {
	if len(p.AllowedValues) > 0 && !slices.Contains(p.AllowedValues, value) {
		return p.refuse("must be one of AllowedValues")
	}
	if p.AllowedPattern != "" {
		// A pattern that Go cannot compile (look-around) is not applied.
		if re, err := regexp.Compile(`^(?:` + p.AllowedPattern + `)$`); err == nil && !re.MatchString(value) {
			return p.refuse("must match pattern " + p.AllowedPattern)
		}
	}
	if p.Type == "Number" || p.Type == "List<Number>" {
		return p.checkNumber(value)
	}
	length := len([]rune(value))
	if p.MinLength != nil && length < *p.MinLength {
		return p.refuse("must contain at least " + strconv.Itoa(*p.MinLength) + " characters")
	}
	if p.MaxLength != nil && length > *p.MaxLength {
		return p.refuse("must contain at most " + strconv.Itoa(*p.MaxLength) + " characters")
	}
	return nil
}

func (p Parameter) checkNumber(value string) error {
	n, err := number(strings.TrimSpace(value))
	if err != nil || strings.ContainsAny(value, "xXpPnN_") {
		return invalid("Parameter '%s' must be a number.", p.Name)
	}
	if p.MinValue != nil && n < *p.MinValue {
		return p.refuse("must be a number not less than " + strconv.FormatFloat(*p.MinValue, 'f', -1, 64))
	}
	if p.MaxValue != nil && n > *p.MaxValue {
		return p.refuse("must be a number not greater than " + strconv.FormatFloat(*p.MaxValue, 'f', -1, 64))
	}
	return nil
}

// refuse gives the template's own words where it has some.
func (p Parameter) refuse(why string) error {
	if p.ConstraintDescription != "" {
		return invalid("Parameter %s failed to satisfy constraint: %s", p.Name, p.ConstraintDescription)
	}
	return invalid("Parameter '%s' %s", p.Name, why)
}

// ResolveSSM fetches the values of the parameters that name a parameter of
// Systems Manager, of those that the template uses outside its Rules: the CDK
// puts one into every template for the sake of a rule. It is called before
// Evaluate and Resolve; get's errors come back as they are.
func (a *Arguments) ResolveSSM(get func(name string) (string, error)) error {
	for _, p := range a.parameters {
		if !p.SSM() || !a.used[p.Name] {
			continue
		}
		value, err := get(a.Text[p.Name])
		if err != nil {
			return err
		}
		a.Fetched[p.Name] = value
		a.ByName[p.Name] = p.value(value)
	}
	return nil
}

// Secret reports whether a parameter is NoEcho.
func (a Arguments) Secret(name string) bool {
	return slices.ContainsFunc(a.parameters, func(p Parameter) bool { return p.Name == name && p.NoEcho })
}

// Format prints the parameters' names and none of their values, whatever the
// verb.
func (a Arguments) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "arguments of %s", strings.Join(slices.Sorted(maps.Keys(a.Text)), ", "))
}

// LogValue is what Format prints.
func (a Arguments) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// Shown returns a parameter's value as DescribeStacks shows it: Mask for a
// NoEcho parameter.
func (a Arguments) Shown(name string) string {
	if a.Secret(name) {
		return Mask
	}
	return a.Text[name]
}

// scalarText is the text of a string, number or boolean.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}
