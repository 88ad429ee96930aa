// Package commandline reads a command line into structs: commands are structs in
// a struct, flags and arguments their fields, described by tags.
//
//	cmd:""            the field is a command
//	embed:""          the field's own fields belong to the command
//	arg:""            the field is an argument, in the order of the fields
//	help:"TEXT"       what it is for
//	name:"NAME"       its name; the field's, as words with hyphens, if missing
//	short:"X"         the flag's letter
//	default:"VALUE"   its value when nothing gives one
//	env:"VARIABLE"    the environment variable that gives it without the flag,
//	                  unless it is empty
//	enum:"A,B"        all that it may be
//	placeholder:"X"   what stands for its value in help
//	type:"path"       a path, made absolute; existingfile must exist, too
//	sep:"X"           what is between the elements of a list: a comma if
//	                  missing; none for one element a flag
//	mapsep:"X"        the same between the entries of a map
//	required:""       the flag must be given
//	optional:""       the argument may be missing
//	passthrough:""    the argument takes all that follows, flags too
//	xor:"GROUP"       of the flags of a group one may be given
//
// It finds no method by name. Programs that do keep every exported method of
// every type, also of the large libraries that they use little of: this one
// would be nearly twice as large.
package commandline

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Command is a command, or the place of the commands below it.
type Command struct {
	// Name is the word that calls it; of the root, the program's.
	Name, Help string
	// Detail is help at length, from the method Help() string of the
	// command's struct; "" without one.
	Detail string
	// Parent is nil for the root.
	Parent    *Command
	Commands  []*Command
	Flags     []*Value
	Arguments []*Value
	target    reflect.Value
}

// Value is a flag, without its hyphens, or an argument.
type Value struct {
	Name, Help string
	// Short is a flag's letter, or "".
	Short string
	// Placeholder stands for the value in text.
	Placeholder string
	// Default and Variable, an environment variable, may be "".
	Default, Variable string
	// Enum are the values that are allowed; nil for all.
	Enum []string
	// Type is that of the tag: path, existingfile or "".
	Type string
	// Optional tells that it may be missing; Passthrough that it takes the
	// rest of the line.
	Optional, Passthrough bool

	xor, separator string
	argument       bool
	target         reflect.Value
	given          bool
}

// New describes the command line that root, a pointer to a struct, holds. It
// panics at a field that it cannot read into.
func New(name, help string, root any) *Command {
	c := &Command{Name: name, Help: help, target: reflect.ValueOf(root).Elem()}
	c.add(c.target)
	return c
}

// Target is a pointer to the command's struct.
func (c *Command) Target() any { return c.target.Addr().Interface() }

// Path is the words that call the command, the program's first.
func (c *Command) Path() string {
	if c.Parent == nil {
		return c.Name
	}
	return c.Parent.Path() + " " + c.Name
}

// IsBool reports whether a flag needs no value.
func (v *Value) IsBool() bool { return v.target.Kind() == reflect.Bool }

// IsRepeated reports whether it may be given several times.
func (v *Value) IsRepeated() bool {
	return v.target.Kind() == reflect.Slice || v.target.Kind() == reflect.Map
}

// add takes in the fields of a struct.
func (c *Command) add(target reflect.Value) {
	for i := range target.NumField() {
		field, f := target.Type().Field(i), target.Field(i)
		has := func(key string) bool { _, ok := field.Tag.Lookup(key); return ok }
		switch {
		case has("embed"):
			// Fields of an unexported embedded struct can be set all the same.
			c.add(f)
		case has("cmd"):
			sub := &Command{Name: nameOf(field), Help: field.Tag.Get("help"), Parent: c, target: f}
			if more, ok := sub.Target().(interface{ Help() string }); ok {
				sub.Detail = more.Help()
			}
			sub.add(f)
			c.Commands = append(c.Commands, sub)
		case has("arg"):
			c.Arguments = append(c.Arguments, newValue(field, f))
		case has("help"):
			c.Flags = append(c.Flags, newValue(field, f))
		}
	}
}

func newValue(field reflect.StructField, target reflect.Value) *Value {
	tag := field.Tag
	has := func(key string) bool { _, ok := tag.Lookup(key); return ok }
	v := &Value{
		Name: nameOf(field), Help: tag.Get("help"), Short: tag.Get("short"), Placeholder: tag.Get("placeholder"),
		Default: tag.Get("default"), Variable: tag.Get("env"), Type: tag.Get("type"),
		Passthrough: has("passthrough"), xor: tag.Get("xor"), separator: tag.Get("sep") + tag.Get("mapsep"),
		argument: has("arg"), target: target,
	}
	v.Optional = has("optional") || !v.argument && !has("required")
	if v.separator == "" {
		v.separator = ","
	}
	if enum := tag.Get("enum"); enum != "" {
		v.Enum = strings.Split(enum, ",")
		v.Help = strings.ReplaceAll(v.Help, "${enum}", enum)
	}
	if v.Placeholder == "" {
		v.Placeholder = strings.ToUpper(strings.ReplaceAll(field.Type.String(), "time.", ""))
	}
	if !readable(target.Type()) {
		panic(fmt.Sprintf("commandline: the type %s of the field %s is not known", target.Type(), field.Name))
	}
	return v
}

// nameOf is the name that the tag gives, or the field's: TLSCert becomes
// tls-cert.
func nameOf(field reflect.StructField) string {
	if name := field.Tag.Get("name"); name != "" {
		return name
	}
	var b strings.Builder
	letters := []rune(field.Name)
	for i, r := range letters {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// flag finds a flag of the command or of one above it.
func (c *Command) flag(matches func(*Value) bool) *Value {
	for ; c != nil; c = c.Parent {
		if i := slices.IndexFunc(c.Flags, matches); i >= 0 {
			return c.Flags[i]
		}
	}
	return nil
}
