package stack

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// expression checks the functions of one block without resolving them.
type expression struct {
	*checker
	block string
	// undefined gathers the names that stand for nothing in this block.
	undefined map[string]bool
}

// check looks at every function in a tree.
func (e *expression) check(v any) error {
	if m, ok := v.(map[string]any); ok {
		if name, arg, ok := call(m); ok {
			return e.call(name, arg)
		}
		if name, ok := m[fnCondition].(string); ok && len(m) == 1 && e.block == "Conditions" {
			return e.conditionExists(name, e.block)
		}
	}
	for _, v := range children(v) {
		if err := e.check(v); err != nil {
			return err
		}
	}
	return nil
}

// call checks one function: the shape of its argument, then what is in it.
func (e *expression) call(name string, arg any) error {
	switch name {
	case fnRef:
		return e.ref(arg)
	case fnGetAtt:
		return e.getAtt(arg)
	case fnSub:
		return e.sub(arg)
	case fnIf:
		return e.ifElse(arg)
	case fnFindInMap:
		return e.findInMap(arg)
	case fnImportValue:
		return e.importValue(arg)
	}
	shape, ok := e.shapes[name]
	if !ok {
		return errFunction(name, arg)
	}
	if !shape.fits(arg) {
		return shape.refusal()
	}
	return e.check(arg)
}

// shape is what a function's argument looks like.
type shape struct {
	fits    func(arg any) bool
	refusal func() error
}

// shapes lists those functions whose argument needs no more than a look at
// its shape; extended adds those of LanguageExtensions.
func shapes(extended bool) map[string]shape {
	boolean := func(v any) bool {
		s, ok := scalarText(v)
		return ok && (s == "true" || s == "false") || isCall(v) || isCondition(v)
	}
	text := func(v any) bool {
		_, ok := scalarText(v)
		return ok || isCall(v)
	}
	list := func(v any) bool {
		_, ok := v.([]any)
		return ok || isCall(v)
	}
	plain := func(v any) bool {
		s, ok := v.(string)
		return ok && s != ""
	}
	delimiter := func(v any) bool {
		_, ok := v.(string)
		return ok
	}
	index := func(v any) bool {
		s, ok := scalarText(v)
		_, err := strconv.Atoi(s)
		return isCall(v) || ok && err == nil
	}
	junction := func(name string) shape {
		return shape{fits: every(2, 10, boolean), refusal: func() error { return errAndOr(name) }}
	}
	shapes := map[string]shape{
		fnJoin:   {fits: each(delimiter, list), refusal: errJoin},
		fnSelect: {fits: each(index, list), refusal: errSelect},
		fnSplit:  {fits: each(plain, text), refusal: errSplit},
		fnAnd:    junction(fnAnd),
		fnOr:     junction(fnOr),
		fnNot:    {fits: each(boolean), refusal: errNot},
		fnEquals: {fits: each(anything, anything), refusal: errEquals},
		fnGetAZs: {fits: text, refusal: errGetAZs},
		fnBase64: {fits: text, refusal: errBase64},
		fnCidr:   {fits: every(2, 3, text), refusal: errCidr},
	}
	if extended {
		shapes[fnLength] = shape{fits: list, refusal: errLength}
		shapes[fnToJSONString] = shape{fits: func(v any) bool { _, scalar := scalarText(v); return !scalar }, refusal: errToJSONString}
	}
	return shapes
}

func anything(any) bool { return true }

// each fits a list whose members fit one by one.
func each(fits ...func(any) bool) func(any) bool {
	return func(v any) bool {
		list, _ := v.([]any)
		if len(list) != len(fits) {
			return false
		}
		for i, fit := range fits {
			if !fit(list[i]) {
				return false
			}
		}
		return true
	}
}

// every fits a list of least to most members that all fit.
func every(least, most int, fits func(any) bool) func(any) bool {
	return func(v any) bool {
		list, _ := v.([]any)
		return len(list) >= least && len(list) <= most && !slices.ContainsFunc(list, func(v any) bool { return !fits(v) })
	}
}

func (e *expression) ref(arg any) error {
	name, ok := arg.(string)
	if !ok {
		return errRef()
	}
	e.name(name)
	return nil
}

// name notes a name that stands for nothing in this block.
func (e *expression) name(name string) {
	if isPseudo(name) || slices.ContainsFunc(e.t.Parameters, func(p Parameter) bool { return p.Name == name }) {
		return
	}
	if _, ok := e.t.Resources[name]; !ok || e.block == "Conditions" {
		e.undefined[name] = true
	}
}

func (e *expression) getAtt(arg any) error {
	id, attribute, ok := attributeOf(arg)
	if !ok {
		return errGetAtt()
	}
	if e.block == "Conditions" {
		e.undefined[id] = true
		return nil
	}
	r, ok := e.t.Resources[id]
	switch {
	case ok:
	case e.raw:
		return nil
	default:
		return invalid("Template error: instance of Fn::GetAtt references undefined resource %s", id)
	}
	name, isText := attribute.(string)
	if !isText {
		return e.check(attribute)
	}
	if e.attributes != nil && !e.raw && !e.attributes(r.Type, name) {
		return invalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt", id, name)
	}
	return nil
}

func (e *expression) sub(arg any) error {
	text, own, err := subArguments(arg)
	if err != nil {
		return err
	}
	parts, err := fragments(text)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, local := own[part.text]; !part.variable || local {
			continue
		}
		id, attribute, dotted := strings.Cut(part.text, ".")
		if !dotted {
			e.name(part.text)
			continue
		}
		r, ok := e.t.Resources[id]
		if e.block == "Conditions" {
			e.undefined[id] = true
		} else if !e.raw && (!ok || e.attributes != nil && !e.attributes(r.Type, attribute)) {
			return invalid("Template error: instance of Fn::Sub references invalid resource attribute %s", part.text)
		}
	}
	return e.check(own)
}

func (e *expression) ifElse(arg any) error {
	args, _ := arg.([]any)
	if len(args) != 3 {
		return errIf()
	}
	name, ok := args[0].(string)
	if !ok {
		return errIf()
	}
	if _, ok := e.t.Conditions[name]; !ok && !e.raw {
		return errCondition(name)
	}
	return e.check(args[1:])
}

func (e *expression) findInMap(arg any) error {
	args, _ := arg.([]any)
	extended := e.t.Declares(LanguageExtensions)
	if len(args) < 3 || len(args) > 4 || len(args) == 4 && !extended {
		return errFindInMap()
	}
	var keys [3]string
	for i := range keys {
		text, literal := scalarText(args[i])
		if !literal && !isCall(args[i]) {
			return errFindInMap()
		}
		keys[i] = text
	}
	if _, ok := e.t.Mappings[keys[0]]; !ok && !isCall(args[0]) && !e.raw && len(args) == 3 {
		return invalid("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", keys[0])
	}
	return e.check(args)
}

func (e *expression) importValue(arg any) error {
	if _, ok := scalarText(arg); !ok && !isCall(arg) {
		return errImport()
	}
	depends := false
	for ref := range references(arg, nil) {
		_, isResource := e.t.Resources[ref.Name]
		depends = depends || isResource
	}
	if depends || mentions(arg, fnImportValue) || mentions(arg, fnGetAZs) {
		return invalid("Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs")
	}
	return e.check(arg)
}

// mentions reports whether a function is called anywhere in a tree.
func mentions(v any, function string) bool {
	if m, ok := v.(map[string]any); ok {
		if _, ok := m[function]; ok {
			return true
		}
	}
	for _, e := range children(v) {
		if mentions(e, function) {
			return true
		}
	}
	return false
}

// conditionNames yields the conditions that a condition function names.
func conditionNames(v any) iter.Seq[string] {
	return func(yield func(string) bool) {
		var walk func(v any) bool
		walk = func(v any) bool {
			if m, ok := v.(map[string]any); ok && len(m) == 1 {
				if name, ok := m[fnCondition].(string); ok && !yield(name) {
					return false
				}
				if args, ok := m[fnIf].([]any); ok && len(args) > 0 {
					if name, ok := args[0].(string); ok && !yield(name) {
						return false
					}
				}
			}
			for _, e := range children(v) {
				if !walk(e) {
					return false
				}
			}
			return true
		}
		walk(v)
	}
}

// children yields the members of an object by name, or of a list by index,
// in order.
func children(v any) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				if !yield(name, v[name]) {
					return
				}
			}
		case []any:
			for i, e := range v {
				if !yield(strconv.Itoa(i), e) {
					return
				}
			}
		}
	}
}
