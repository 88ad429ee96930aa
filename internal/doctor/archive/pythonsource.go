package archive

import (
	"slices"
	"strings"
)

// defines tells whether a name is bound at the level of the module: by def,
// class, an assignment or an import.
func (s *source) defines(function string) bool {
	inside := -1 // the indentation of the def or class that lines are in
	for _, l := range s.lines {
		if inside >= 0 && l.indent > inside {
			continue
		}
		inside = -1
		head := l
		if head.begins("async") {
			head.tokens = head.tokens[1:]
		}
		if head.begins("def") || head.begins("class") {
			if head.begins(head.tokens[0].text, function) {
				return true
			}
			inside = l.indent
			continue
		}
		if binds(l, function) {
			return true
		}
	}
	return false
}

// binds tells whether an assignment or an import gives a name.
func binds(l line, wanted string) bool {
	if l.begins("import") || l.begins("from") {
		from := slices.IndexFunc(l.tokens, func(t token) bool { return t.is(name, "import") })
		return from >= 0 && slices.ContainsFunc(l.tokens[from:], func(t token) bool { return t.is(name, wanted) || t.op("*") })
	}
	depth := 0
	for i, t := range l.tokens {
		switch {
		case t.opens():
			depth++
		case t.closes():
			depth--
		case depth == 0 && t.op("="):
			return slices.ContainsFunc(l.tokens[:i], func(t token) bool { return t.is(name, wanted) }) && !slices.ContainsFunc(l.tokens[:i], func(t token) bool { return t.op(".") })
		}
	}
	return false
}

// function is a def with its body.
type function struct {
	name string
	// inline is what follows the head on its line, and body the lines below.
	inline []token
	body   []line
}

// functions are the module's, those inside others included.
func (s *source) functions() []function {
	var all []function
	for i, l := range s.lines {
		head := l
		if head.begins("async") {
			head.tokens = head.tokens[1:]
		}
		if !head.begins("def") || len(head.tokens) < 2 {
			continue
		}
		f := function{name: head.tokens[1].text, inline: afterColon(head.tokens), body: s.lines[i+1:]}
		if end := slices.IndexFunc(f.body, func(next line) bool { return next.indent <= l.indent }); end >= 0 {
			f.body = f.body[:end]
		}
		all = append(all, f)
	}
	return all
}

// afterColon is what follows the colon that ends a head.
func afterColon(tokens []token) []token {
	depth := 0
	for i, t := range tokens {
		switch {
		case t.opens():
			depth++
		case t.closes():
			depth--
		case depth == 0 && t.op(":"):
			return tokens[i+1:]
		}
	}
	return nil
}

// onlyRaises tells whether all that a function does is to say that it is not
// written yet. Its comment, log lines and pass do not count.
func (f function) onlyRaises() bool {
	raises := false
	lines := f.body
	if len(f.inline) > 0 {
		lines = append([]line{{tokens: f.inline}}, lines...)
	}
	for _, l := range lines {
		switch {
		case len(l.tokens) == 1 && l.tokens[0].kind == text, l.begins("pass"), l.begins("print", "("),
			l.begins("logger", "."), l.begins("logging", "."), l.begins("log", "."):
		case l.begins("raise", "NotImplementedError"):
			raises = true
		default:
			return false
		}
	}
	return raises
}

// imported is an import statement, for one module.
type imported struct {
	module   string
	level    int      // how many dots a relative one begins with
	names    []string // what a from-import takes, which may be modules
	optional bool
}

// imports are those that run when the module is loaded. Those that the module
// can do without, because they stand in a condition or their failure is
// caught, are marked as optional.
func (s *source) imports() []imported {
	var all []imported
	var around []block
	for i, l := range s.lines {
		for len(around) > 0 && l.indent <= around[len(around)-1].indent {
			around = around[:len(around)-1]
		}
		if opens, b := s.opensBlock(i); opens {
			around = append(around, b)
			if rest := afterColon(l.tokens); b.kind != never && len(rest) > 0 {
				all = append(all, importsOf(line{tokens: rest}, true)...)
			}
			continue
		}
		if slices.ContainsFunc(around, func(b block) bool { return b.kind == never }) {
			continue
		}
		optional := slices.ContainsFunc(around, func(b block) bool { return b.kind == maybe })
		all = append(all, importsOf(l, optional)...)
	}
	return all
}

// block is a compound statement around lines.
type block struct {
	indent int
	kind   certainty
}

// certainty says whether what is in a block runs when the module is loaded.
type certainty byte

const (
	always certainty = iota
	maybe
	never
)

func (s *source) opensBlock(i int) (bool, block) {
	l := s.lines[i]
	switch {
	case l.begins("def"), l.begins("async", "def"):
		return true, block{l.indent, never}
	case l.begins("if", "__name__"), l.begins("if", "TYPE_CHECKING"), l.begins("if", "typing", ".", "TYPE_CHECKING"):
		return true, block{l.indent, never}
	case l.begins("if"), l.begins("elif"), l.begins("else"), l.begins("except"), l.begins("for"), l.begins("while"):
		return true, block{l.indent, maybe}
	case l.begins("try"):
		return true, block{l.indent, s.tryCertainty(i)}
	case l.begins("class"), l.begins("with"), l.begins("finally"):
		return true, block{l.indent, always}
	}
	return false, block{}
}

// tryCertainty tells whether a try statement catches a failing import.
func (s *source) tryCertainty(i int) certainty {
	caught := []string{"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
	for _, l := range s.lines[i+1:] {
		if l.indent < s.lines[i].indent {
			break
		}
		if l.indent > s.lines[i].indent {
			continue
		}
		if !l.begins("except") {
			break
		}
		if l.begins("except", ":") || slices.ContainsFunc(l.tokens, func(t token) bool { return t.kind == name && slices.Contains(caught, t.text) }) {
			return maybe
		}
	}
	return always
}

// importsOf reads an import statement.
func importsOf(l line, optional bool) []imported {
	switch {
	case l.begins("import"):
		var all []imported
		for _, clause := range arguments(append([]token{{operator, "("}}, l.tokens[1:]...)) {
			all = append(all, imported{module: dotted(clause), optional: optional})
		}
		return all
	case l.begins("from"):
		i := imported{optional: optional}
		at := slices.IndexFunc(l.tokens, func(t token) bool { return t.is(name, "import") })
		if at < 0 {
			return nil
		}
		from := l.tokens[1:at]
		for len(from) > 0 && from[0].op(".") {
			i.level++
			from = from[1:]
		}
		i.module = dotted(from)
		for n, t := range l.tokens[at+1:] {
			if t.kind == name && t.text != "as" && !l.tokens[at+n].is(name, "as") {
				i.names = append(i.names, t.text)
			}
		}
		return []imported{i}
	}
	return nil
}

// dotted joins the names of a module, up to an "as".
func dotted(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		if t.is(name, "as") || t.kind != name && !t.op(".") {
			break
		}
		b.WriteString(t.text)
	}
	return strings.Trim(b.String(), ".")
}
