package wire

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/fault"
)

// Rule is what the service model demands of the values of one shape.
type Rule struct {
	// Min and Max bound the length of a string (code points), blob (bytes),
	// list or map (elements), or the value of a number. They count if HasMin
	// or HasMax is set.
	Min, Max       int64
	HasMin, HasMax bool
	// Number says that Min and Max bound a value.
	Number  bool
	Pattern *Pattern
	Enum    []string
	// Sensitive values do not appear in messages.
	Sensitive bool
}

// Pattern is a regular expression of the service model, which must match
// the whole value. The models are written for Java's engine; where Go's reads
// them differently, Match and Not are the translation.
type Pattern struct {
	// Source is the model's text, for messages.
	Source string
	// Match must match, or Source if it is empty; Not, if any, must not.
	Match, Not string

	once       sync.Once
	match, not *regexp.Regexp
}

func (p *Pattern) matches(s string) bool {
	p.once.Do(func() {
		p.match = regexp.MustCompile(`\A(?:` + cmp.Or(p.Match, p.Source) + `)\z`)
		if p.Not != "" {
			p.not = regexp.MustCompile(`\A(?:` + p.Not + `)\z`)
		}
	})
	return p.match.MatchString(s) && (p.not == nil || !p.not.MatchString(s))
}

// texts lists the rule's demands in the order in which AWS prints those of
// list elements: maximum first (AWS: recorded).
func (r *Rule) texts() []string {
	noun := "length"
	if r.Number {
		noun = "value"
	}
	var t []string
	if r.HasMax {
		t = append(t, "Member must have "+noun+" less than or equal to "+strconv.FormatInt(r.Max, 10))
	}
	if r.HasMin {
		t = append(t, "Member must have "+noun+" greater than or equal to "+strconv.FormatInt(r.Min, 10))
	}
	if r.Pattern != nil {
		t = append(t, "Member must satisfy regular expression pattern: "+r.Pattern.Source)
	}
	if r.Enum != nil {
		t = append(t, "Member must satisfy enum value set: ["+strings.Join(r.Enum, ", ")+"]")
	}
	return t
}

// broken lists the demands that a value of length or value n and text s
// breaks; s counts only for patterns and enums.
func (r *Rule) broken(n float64, s string) []string {
	tooLarge := r.HasMax && n > float64(r.Max)
	tooSmall := r.HasMin && n < float64(r.Min)
	misfit := r.Pattern != nil && !r.Pattern.matches(s)
	unknown := r.Enum != nil && !slices.Contains(r.Enum, s)
	if !tooLarge && !tooSmall && !misfit && !unknown {
		return nil
	}
	c := *r
	c.HasMax, c.HasMin = tooLarge, tooSmall
	if !misfit {
		c.Pattern = nil
	}
	if !unknown {
		c.Enum = nil
	}
	return c.texts()
}

func (r *Rule) brokenText(s string) []string {
	// A string of n bytes has between n/4 and n code points.
	n := len(s)
	if r.HasMax && int64(n) > r.Max || r.HasMin && int64(n/4) < r.Min {
		n = utf8.RuneCountInString(s)
	}
	return r.broken(float64(n), s)
}

// maxReported is how many violations one message names (ours); all are
// counted.
const maxReported = 50

// Violations collects what is wrong with a request in AWS's words. The
// generated Validate methods fill it; its zero value is ready.
type Violations struct {
	path  []step
	count int
	texts []string
}

// step is one member on the way to the value at hand: its name and the
// element within it, which is a list position or a map key.
type step struct {
	name  string
	index int
	key   string
}

// Err returns nil or one *fault.Error of kind fault.Validation that names
// every violation.
func (v *Violations) Err() error {
	switch v.count {
	case 0:
		return nil
	case 1:
		return fault.New(fault.Validation, "1 validation error detected: %s", v.texts[0])
	}
	return fault.New(fault.Validation, "%d validation errors detected: %s", v.count, strings.Join(v.texts, "; "))
}

// Enter goes into the member name; Leave comes back.
func (v *Violations) Enter(name string) { v.path = append(v.path, step{name: name}) }

// EnterIndex goes into element i, from 0, of the list name.
func (v *Violations) EnterIndex(name string, i int) {
	v.path = append(v.path, step{name: name, index: i + 1})
}

// EnterKey goes into the value at key of the map name.
func (v *Violations) EnterKey(name, key string) {
	v.path = append(v.path, step{name: name, key: key})
}

// Leave comes back from the last Enter.
func (v *Violations) Leave() { v.path = v.path[:len(v.path)-1] }

func (v *Violations) at(name string) string {
	var b strings.Builder
	for _, s := range v.path {
		b.WriteString(s.name)
		switch {
		case s.index > 0:
			b.WriteString("." + strconv.Itoa(s.index) + ".member")
		case s.key != "":
			b.WriteString("." + s.key + ".member")
		}
		b.WriteByte('.')
	}
	return b.String() + name
}

// add notes one violation; value is how the value prints, with a leading
// space, or "" if it must not.
func (v *Violations) add(name, value, text string) {
	if v.count++; v.count <= maxReported {
		v.texts = append(v.texts, "Value"+value+" at '"+v.at(name)+"' failed to satisfy constraint: "+text)
	}
}

func (v *Violations) addAll(r *Rule, name, value string, texts []string) {
	if value = " '" + value + "'"; r.Sensitive {
		value = ""
	}
	for _, t := range texts {
		v.add(name, value, t)
	}
}

// Required notes a violation unless the member is present.
func (v *Violations) Required(name string, present bool) {
	if !present {
		v.add(name, " null", "Member must not be null")
	}
}

// Text checks a string member, if it is present.
func (v *Violations) Text(name string, s *string, r *Rule) {
	if s != nil {
		if texts := r.brokenText(*s); texts != nil {
			v.addAll(r, name, *s, texts)
		}
	}
}

// Long checks an integer member, if it is present.
func (v *Violations) Long(name string, n *int64, r *Rule) {
	if n != nil {
		if texts := r.broken(float64(*n), ""); texts != nil {
			v.addAll(r, name, strconv.FormatInt(*n, 10), texts)
		}
	}
}

// Double checks a floating-point member, if it is present.
func (v *Violations) Double(name string, f *float64, r *Rule) {
	if f != nil {
		if texts := r.broken(*f, ""); texts != nil {
			v.addAll(r, name, formatDouble(*f), texts)
		}
	}
}

func formatDouble(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// Blob checks the length of a blob member, if it is present. Its value is
// never printed.
func (v *Violations) Blob(name string, b []byte, r *Rule) {
	if b != nil {
		for _, t := range r.broken(float64(len(b)), "") {
			v.add(name, "", t)
		}
	}
}

// Strings checks a list of strings, if it is present: its size by size and
// its elements by element; either may be nil.
func (v *Violations) Strings(name string, list []string, size, element *Rule) {
	if list == nil {
		return
	}
	value := func() string { return "[" + strings.Join(list, ", ") + "]" }
	v.size(name, len(list), size, value)
	if element == nil {
		return
	}
	for _, s := range list {
		if element.brokenText(s) != nil {
			v.addAll(element, name, value(), []string{"Member must satisfy constraint: " + element.all()})
			return
		}
	}
}

// all lists every demand on an element, as AWS does whichever is broken.
func (r *Rule) all() string { return "[" + strings.Join(r.texts(), ", ") + "]" }

func (v *Violations) size(name string, n int, r *Rule, value func() string) {
	if r == nil {
		return
	}
	if texts := r.broken(float64(n), ""); texts != nil {
		v.addAll(r, name, value(), texts)
	}
}

// StringMap checks a map of strings, if it is present; each rule may be nil.
func (v *Violations) StringMap(name string, m map[string]string, size, key, value *Rule) {
	show := func() string { return printMap(m, func(s string) string { return s }) }
	v.size(name, len(m), presentOnly(size, m != nil), show)
	checkMap(v, name, m, key, value, show, (*Rule).brokenText)
}

// DoubleMap checks a map of numbers, if it is present; each rule may be nil.
func (v *Violations) DoubleMap(name string, m map[string]float64, size, key, value *Rule) {
	show := func() string { return printMap(m, formatDouble) }
	v.size(name, len(m), presentOnly(size, m != nil), show)
	checkMap(v, name, m, key, value, show, func(r *Rule, f float64) []string { return r.broken(f, "") })
}

func presentOnly(r *Rule, present bool) *Rule {
	if present {
		return r
	}
	return nil
}

func checkMap[T any](v *Violations, name string, m map[string]T, key, value *Rule, show func() string, broken func(*Rule, T) []string) {
	badKey, badValue := false, false
	for k, t := range m {
		badKey = badKey || key != nil && key.brokenText(k) != nil
		badValue = badValue || value != nil && broken(value, t) != nil
	}
	hidden := &Rule{Sensitive: key != nil && key.Sensitive || value != nil && value.Sensitive}
	if badKey {
		v.addAll(hidden, name, show(), []string{"Map keys must satisfy constraint: " + key.all()})
	}
	if badValue {
		v.addAll(hidden, name, show(), []string{"Map value must satisfy constraint: " + value.all()})
	}
}

func printMap[T any](m map[string]T, show func(T) string) string {
	parts := make([]string, 0, len(m))
	for k, t := range m {
		parts = append(parts, k+"="+show(t))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

type checkable[T any] interface {
	*T
	Validate(*Violations)
}

// CheckStruct checks the members of a structure, if it is present.
func CheckStruct[T any, P checkable[T]](v *Violations, name string, x *T) {
	if x != nil {
		v.Enter(name)
		P(x).Validate(v)
		v.Leave()
	}
}

// CheckStructs checks a list of structures, if it is present: its size by
// size, which may be nil, and each element's members.
func CheckStructs[T any, P interface {
	checkable[T]
	encodable[T]
}](v *Violations, name string, list []T, size *Rule) {
	if list == nil {
		return
	}
	v.size(name, len(list), size, func() string {
		e := NewTrailEncoder(nil)
		EncodeStructsValue[T, P](e, list)
		return string(e.Bytes())
	})
	for i := range list {
		v.EnterIndex(name, i)
		P(&list[i]).Validate(v)
		v.Leave()
	}
}
