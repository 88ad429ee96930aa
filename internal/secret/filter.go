package secret

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/fault"
)

// FilterKey names the attribute that a filter searches (AWS service model).
type FilterKey string

// The filter keys.
const (
	ByDescription   FilterKey = "description"
	ByName          FilterKey = "name"
	ByTagKey        FilterKey = "tag-key"
	ByTagValue      FilterKey = "tag-value"
	ByPrimaryRegion FilterKey = "primary-region"
	ByOwningService FilterKey = "owning-service"
	ByAll           FilterKey = "all"
)

// Filter is one entry of a Filters list. A leading "!" negates a value.
type Filter struct {
	Key    FilterKey
	Values []string
}

// Matcher is a compiled list of filters. The zero Matcher matches every
// secret. It may be used by several goroutines at once.
type Matcher struct {
	filters []compiledFilter
	prefix  string
}

type compiledFilter struct {
	key    FilterKey
	values []filterValue
}

type filterValue struct {
	negated bool
	text    string
	// words are the lower-case words of text, for the keys that match words.
	words []string
}

// ParseFilters compiles the filters. Filters combine with AND, the values of
// one filter with OR, negated ones included (AWS: recorded, the mixture
// assumed). Errors are fault.Parameter; their texts are assumed.
func ParseFilters(filters []Filter) (Matcher, error) {
	var m Matcher
	for _, f := range filters {
		switch f.Key {
		case ByDescription, ByName, ByTagKey, ByTagValue, ByPrimaryRegion, ByOwningService, ByAll:
		default:
			return Matcher{}, fault.New(fault.Parameter, "Invalid filter key")
		}
		if len(f.Values) == 0 {
			return Matcher{}, fault.New(fault.Parameter, "Invalid filter values for key: %s", f.Key)
		}
		c := compiledFilter{key: f.Key}
		for _, text := range f.Values {
			c.values = append(c.values, parseFilterValue(text))
		}
		if p := c.namePrefix(); len(p) > len(m.prefix) {
			m.prefix = p
		}
		m.filters = append(m.filters, c)
	}
	return m, nil
}

func parseFilterValue(text string) filterValue {
	text, negated := strings.CutPrefix(text, "!")
	v := filterValue{negated: negated, text: text}
	for word, rest := nextWord(text); word != ""; word, rest = nextWord(rest) {
		v.words = append(v.words, strings.ToLower(word))
	}
	return v
}

// NamePrefix returns a prefix that the name of every matching secret has, for
// an index to start from; ok is false when the filters imply none. Match still
// has to be asked.
func (m Matcher) NamePrefix() (prefix string, ok bool) { return m.prefix, m.prefix != "" }

// namePrefix returns the longest prefix common to the values of a name
// filter; "" when any name may match.
func (f *compiledFilter) namePrefix() string {
	if f.key != ByName {
		return ""
	}
	prefix := f.values[0].text
	for _, v := range f.values {
		if v.negated {
			return ""
		}
		n := 0
		for n < len(prefix) && n < len(v.text) && prefix[n] == v.text[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return prefix
}

// Match reports whether every filter matches the secret.
func (m Matcher) Match(s *Secret) bool {
	for i := range m.filters {
		if !m.filters[i].match(s) {
			return false
		}
	}
	return true
}

func (f *compiledFilter) match(s *Secret) bool {
	for i := range f.values {
		v := &f.values[i]
		if v.match(f.key, s) != v.negated {
			return true
		}
	}
	return false
}

// match looks at the attributes of the key. Name, tag and region filters
// compare prefixes with regard to case; description and all compare words
// without (AWS: recorded). For the owning service AWS's documents disagree on
// case; it plays no part here.
func (v *filterValue) match(key FilterKey, s *Secret) bool {
	switch key {
	case ByName:
		return strings.HasPrefix(s.Name, v.text)
	case ByPrimaryRegion:
		return s.PrimaryRegion != "" && strings.HasPrefix(s.PrimaryRegion, v.text)
	case ByOwningService:
		return s.OwningService != "" && hasPrefixFold(s.OwningService, strings.ToLower(v.text))
	case ByDescription:
		return v.matchWords(s.Description)
	case ByAll:
		return v.matchAny(s)
	}
	for _, tag := range s.Tags {
		text := tag.Key
		if key == ByTagValue {
			text = tag.Value
		}
		if strings.HasPrefix(text, v.text) {
			return true
		}
	}
	return false
}

// matchAny looks for the words in one attribute after the other; all must be
// in the same one (AWS: recorded).
func (v *filterValue) matchAny(s *Secret) bool {
	for _, text := range [...]string{s.Name, s.Description, s.PrimaryRegion, s.OwningService} {
		if v.matchWords(text) {
			return true
		}
	}
	for _, tag := range s.Tags {
		if v.matchWords(tag.Key) || v.matchWords(tag.Value) {
			return true
		}
	}
	return false
}

// matchWords reports whether every filter word begins some word of the text.
// A filter value without words matches nothing (AWS: recorded).
func (v *filterValue) matchWords(text string) bool {
	for _, want := range v.words {
		if !hasWord(text, want) {
			return false
		}
	}
	return len(v.words) > 0
}

func hasWord(text, want string) bool {
	for word, rest := nextWord(text); word != ""; word, rest = nextWord(rest) {
		if hasPrefixFold(word, want) {
			return true
		}
	}
	return false
}

// hasPrefixFold reports whether s begins with the lower-case prefix, without
// regard to the case of s.
func hasPrefixFold(s, prefix string) bool {
	for _, want := range prefix {
		c, n := utf8.DecodeRuneInString(s)
		if n == 0 || unicode.ToLower(c) != want {
			return false
		}
		s = s[n:]
	}
	return true
}

// nextWord returns the first word of the text and what follows it; "" when
// there is none. Words are runs of letters and digits, split further where a
// digit follows a letter, where an upper-case letter follows a lower-case one,
// and before an upper-case letter that a lower-case one follows, so
// "COMPANYthings" is COMPAN and Ythings (AWS: recorded).
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeftFunc(text, func(c rune) bool { return !wordRune(c) })
	var last rune
	for i, c := range text {
		if !wordRune(c) || i > 0 && startsWord(last, c, text[i+utf8.RuneLen(c):]) {
			return text[:i], text[i:]
		}
		last = c
	}
	return text, ""
}

func startsWord(last, c rune, after string) bool {
	if unicode.IsDigit(c) {
		return unicode.IsLetter(last)
	}
	if !unicode.IsUpper(c) {
		return false
	}
	next, _ := utf8.DecodeRuneInString(after)
	return unicode.IsLower(last) || unicode.IsLower(next)
}

func wordRune(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
