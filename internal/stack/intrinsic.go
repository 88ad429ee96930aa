package stack

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// The intrinsic functions, by the names they have in a template.
const (
	fnRef          = "Ref"
	fnGetAtt       = "Fn::GetAtt"
	fnSub          = "Fn::Sub"
	fnJoin         = "Fn::Join"
	fnSelect       = "Fn::Select"
	fnSplit        = "Fn::Split"
	fnFindInMap    = "Fn::FindInMap"
	fnIf           = "Fn::If"
	fnAnd          = "Fn::And"
	fnOr           = "Fn::Or"
	fnNot          = "Fn::Not"
	fnEquals       = "Fn::Equals"
	fnCondition    = "Condition"
	fnImportValue  = "Fn::ImportValue"
	fnGetAZs       = "Fn::GetAZs"
	fnBase64       = "Fn::Base64"
	fnCidr         = "Fn::Cidr"
	fnTransform    = "Fn::Transform"
	fnLength       = "Fn::Length"
	fnToJSONString = "Fn::ToJsonString"
	forEachPrefix  = "Fn::ForEach::"
)

// supported is the list that AWS prints for an unknown function (AWS:
// recorded, but for Fn::Cidr).
const supported = "[Fn::Base64, Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Join, Fn::Split, Fn::FindInMap, Fn::Select, Ref, " +
	"Fn::Equals, Fn::If, Fn::Not, Condition, Fn::And, Fn::Or, Fn::Contains, Fn::EachMemberEquals, Fn::EachMemberIn, Fn::ValueOf, " +
	"Fn::ValueOfAll, Fn::RefAll, Fn::Sub, Fn::Cidr]"

// call resolves one function.
func (r *resolver) call(name string, arg any) (any, error) {
	switch name {
	case fnRef:
		return r.ref(arg)
	case fnGetAtt:
		return r.getAtt(arg)
	case fnSub:
		return r.sub(arg)
	case fnJoin:
		return r.join(arg)
	case fnSelect:
		return r.selectOne(arg)
	case fnSplit:
		return r.split(arg)
	case fnFindInMap:
		return r.findInMap(arg)
	case fnIf:
		return r.ifElse(arg)
	case fnAnd, fnOr, fnNot, fnEquals:
		return r.condition(map[string]any{name: arg})
	case fnImportValue:
		return r.importValue(arg)
	case fnGetAZs:
		return r.getAZs(arg)
	case fnBase64:
		return r.base64(arg)
	case fnCidr:
		return r.cidr(arg)
	case fnLength, fnToJSONString:
		if r.t.Declares(LanguageExtensions) {
			return r.extension(name, arg)
		}
	}
	return nil, errFunction(name, arg)
}

// errFunction refuses a function that is not one, or that a transform would
// have had to take away.
func errFunction(name string, arg any) error {
	if m, ok := arg.(map[string]any); ok && name == fnTransform {
		macro, _ := scalarText(m["Name"])
		return invalid("No transform named %s found.", macro)
	}
	return invalid("Template Error: Encountered unsupported function: %s Supported functions are: %s", name, supported)
}

func (r *resolver) ref(arg any) (any, error) {
	name, ok := arg.(string)
	if !ok {
		return nil, errRef()
	}
	return r.named(name)
}

// named is Ref of a pseudo parameter, a parameter or a resource. A parameter
// without a value is one of Systems Manager that nobody has fetched.
func (r *resolver) named(name string) (any, error) {
	if v, ok := r.s.pseudo(name); ok {
		return v, nil
	}
	if v, ok := r.s.Arguments.ByName[name]; ok {
		return r.own(v), nil
	}
	if r.s.Ref != nil {
		if v, ok := r.s.Ref(name); ok {
			return v, nil
		}
	}
	if r.s.Preview {
		return KnownAfterApply, nil
	}
	if key, ok := r.s.Arguments.Text[name]; ok {
		return nil, invalid("Unable to fetch parameters [%s] from parameter store for this account.", key)
	}
	return nil, errDependency([]string{name}, "Resources")
}

func (r *resolver) getAtt(arg any) (any, error) {
	id, attribute, ok := attributeOf(arg)
	if !ok {
		return nil, errGetAtt()
	}
	v, err := r.value(attribute)
	if err != nil {
		return nil, err
	}
	name, ok := v.(string)
	if !ok || name == "" {
		return nil, errGetAtt()
	}
	return r.attribute(id, name)
}

// attributeOf splits the argument of Fn::GetAtt: a list, or "A.B". The
// attribute may be a call.
func attributeOf(arg any) (id string, attribute any, ok bool) {
	if text, isText := arg.(string); isText {
		id, name, _ := strings.Cut(text, ".")
		return id, name, id != "" && name != ""
	}
	list, _ := arg.([]any)
	if len(list) != 2 {
		return "", nil, false
	}
	id, ok = list[0].(string)
	if name, isText := list[1].(string); isText && name == "" {
		return "", nil, false
	} else if !isText && !isCall(list[1]) {
		return "", nil, false
	}
	return id, list[1], ok && id != ""
}

func (r *resolver) attribute(id, name string) (any, error) {
	if r.s.GetAtt != nil {
		return r.s.GetAtt(id, name)
	}
	if r.s.Preview {
		return KnownAfterApply, nil
	}
	return nil, errDependency([]string{id}, "Resources")
}

// text resolves an argument that must come out as one string.
func (r *resolver) text(arg any, refusal func() error) (string, error) {
	v, err := r.value(arg)
	if err != nil {
		return "", err
	}
	s, ok := scalarText(v)
	if !ok {
		return "", refusal()
	}
	return s, nil
}

// values resolves an argument that must come out as a list; unknown is true
// when it is not known yet.
func (r *resolver) values(arg any, refusal func() error) (list []any, unknown bool, err error) {
	v, err := r.value(arg)
	if err != nil {
		return nil, false, err
	}
	if isUnknown(v) {
		return nil, true, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, false, refusal()
	}
	return list, false, nil
}

func (r *resolver) join(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) != 2 {
		return nil, errJoin()
	}
	delimiter, ok := args[0].(string)
	if !ok {
		return nil, errJoin()
	}
	list, unknown, err := r.values(args[1], errJoin)
	if err != nil || unknown {
		return KnownAfterApply, err
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if texts[i], ok = scalarText(e); !ok {
			return nil, errJoin()
		}
	}
	return r.grow(strings.Join(texts, delimiter))
}

func (r *resolver) selectOne(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) != 2 {
		return nil, errSelect()
	}
	text, err := r.text(args[0], errSelect)
	if err != nil || isUnknown(text) {
		return KnownAfterApply, err
	}
	index, err := strconv.Atoi(text)
	if err != nil {
		return nil, errSelect()
	}
	list, unknown, err := r.values(args[1], errSelect)
	if err != nil || unknown {
		return KnownAfterApply, err
	}
	if index < 0 || index >= len(list) {
		return nil, invalid("Template error: Fn::Select cannot select nonexistent value at index %d", index)
	}
	return list[index], nil
}

func (r *resolver) split(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) != 2 {
		return nil, errSplit()
	}
	delimiter, ok := args[0].(string)
	if !ok || delimiter == "" {
		return nil, errSplit()
	}
	text, err := r.text(args[1], errSplit)
	if err != nil || isUnknown(text) {
		return KnownAfterApply, err
	}
	if _, err := r.grow(text); err != nil {
		return nil, err
	}
	list := []any{}
	for e := range strings.SplitSeq(text, delimiter) {
		list = append(list, e)
	}
	return list, nil
}

// findInMap takes a fourth argument {DefaultValue: ...} under
// LanguageExtensions.
func (r *resolver) findInMap(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) < 3 || len(args) > 4 || len(args) == 4 && !r.t.Declares(LanguageExtensions) {
		return nil, errFindInMap()
	}
	var keys [3]string
	for i := range keys {
		var err error
		if keys[i], err = r.text(args[i], errFindInMap); err != nil {
			return nil, err
		}
	}
	mapping, found := r.t.Mappings[keys[0]]
	if !found && len(args) == 3 {
		return nil, invalid("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", keys[0])
	}
	top, _ := mapping.(map[string]any)
	second, _ := top[keys[1]].(map[string]any)
	if v, ok := second[keys[2]]; ok {
		return r.own(v), nil
	}
	if len(args) == 4 {
		options, _ := args[3].(map[string]any)
		if v, ok := options["DefaultValue"]; ok && len(options) == 1 {
			return r.value(v)
		}
		return nil, errFindInMap()
	}
	return nil, invalid("Template error: Unable to get mapping for %s::%s::%s", keys[0], keys[1], keys[2])
}

func (r *resolver) importValue(arg any) (any, error) {
	name, err := r.text(arg, errImport)
	if err != nil || isUnknown(name) {
		return KnownAfterApply, err
	}
	if r.s.Import != nil {
		return r.s.Import(name)
	}
	if r.s.Preview {
		return KnownAfterApply, nil
	}
	return nil, invalid("No export named %s found.", name)
}

func (r *resolver) getAZs(arg any) (any, error) {
	region, err := r.text(arg, errGetAZs)
	if err != nil {
		return nil, err
	}
	return r.s.zones(region), nil
}

func (r *resolver) base64(arg any) (any, error) {
	text, err := r.text(arg, errBase64)
	if err != nil || isUnknown(text) {
		return KnownAfterApply, err
	}
	return r.grow(base64.StdEncoding.EncodeToString([]byte(unmarked(text, r.mark))))
}

// extension resolves the functions of LanguageExtensions.
func (r *resolver) extension(name string, arg any) (any, error) {
	v, err := r.value(arg)
	if err != nil {
		return nil, err
	}
	if name == fnLength {
		if isUnknown(v) {
			return KnownAfterApply, nil
		}
		list, ok := v.([]any)
		if !ok {
			return nil, errLength()
		}
		return json.Number(strconv.Itoa(len(list))), nil
	}
	if kind := reflect.ValueOf(v).Kind(); kind != reflect.Map && kind != reflect.Slice {
		return nil, errToJSONString()
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, errToJSONString()
	}
	return r.grow(strings.TrimSuffix(b.String(), "\n"))
}
