package archive

import (
	"path"
	"slices"
	"strings"
)

// inspectPython looks at the handler and the modules of the package that it
// imports. version is the runtime's, such as 3.12.
func (b *bundle) inspectPython(handler, version string) {
	module, function := cutLast(strings.ReplaceAll(handler, "/", "."))
	if module == "" {
		b.code.HandlerProblem = "the handler names no file and function: it has to be FILE.FUNCTION"
		return
	}
	p := &program{bundle: b, version: version, foreign: b.installed(), seen: map[string]bool{}, missing: map[string]bool{}}
	b.code.HandlerFile = strings.ReplaceAll(module, ".", "/") + ".py"
	file, opaque := p.find(module)
	switch {
	case file != "":
		b.code.HandlerFile = file
		p.follow(module)
		b.checkHandler(p, function)
	case opaque: // compiled: what is in it cannot be seen
		b.code.HandlerFound = true
		return
	default:
		b.code.HandlerProblem = "there is no file " + b.code.HandlerFile + " in the package"
		return
	}
	b.code.PassesToken = p.passesToken()
	b.code.Unfinished = p.unfinished()
	b.code.Imports = p.absent()
	b.code.Template, b.code.Strategy = p.template()
	b.code.TriesTLS = p.triesTLS(b.code.Template)
}

func (b *bundle) checkHandler(p *program, function string) {
	if len(p.sources) == 0 { // it could not be unpacked
		b.code.HandlerProblem = "the file " + b.code.HandlerFile + " cannot be unpacked or is too large"
		return
	}
	b.code.HandlerFound = p.sources[0].defines(function)
	if !b.code.HandlerFound {
		b.code.HandlerProblem = "there is no function " + function + " in " + b.code.HandlerFile
	}
}

// cutLast splits a dotted name before its last part.
func cutLast(dotted string) (before, last string) {
	i := strings.LastIndexByte(dotted, '.')
	if i < 0 {
		return "", dotted
	}
	return dotted[:i], dotted[i+1:]
}

// program are the Python sources that a handler is made of: its own module
// first, and those of the package that it imports, libraries aside.
type program struct {
	*bundle
	version string
	foreign map[string]bool // top-level modules of installed libraries
	sources []*source
	seen    map[string]bool
	missing map[string]bool
}

// source is a module.
type source struct {
	module string
	lines  []line
	// holders are the variables that are given the token as a member; nil
	// until they are asked for.
	holders map[string]bool
}

// place is where a module is.
type place struct {
	file   string
	opaque bool
}

// find returns the file of a module, or tells that there is one which cannot
// be read: compiled, native, or a folder without a file of its own.
func (b *bundle) find(module string) (file string, opaque bool) {
	at, known := b.found[module]
	if !known {
		at.file, at.opaque = b.lookUp(module)
		b.found[module] = at
	}
	return at.file, at.opaque
}

func (b *bundle) lookUp(module string) (file string, opaque bool) {
	base := strings.ReplaceAll(module, ".", "/")
	for _, file := range []string{base + "/__init__.py", base + ".py"} {
		if b.has(file) {
			return file, false
		}
	}
	if b.has(base+".pyc") || b.has(base+"/__init__.pyc") || b.dirs[base] {
		return "", true
	}
	// Native modules have a tag in their names.
	at, _ := slices.BinarySearch(b.names, base+".")
	for _, name := range b.names[at:] {
		if !strings.HasPrefix(name, base+".") {
			break
		}
		if strings.HasSuffix(name, ".so") {
			return "", true
		}
	}
	return "", false
}

// follow reads a module and what it imports.
func (p *program) follow(module string) {
	if p.seen[module] {
		return
	}
	p.seen[module] = true
	file, _ := p.find(module)
	if file == "" {
		return
	}
	if len(p.sources) == maxSources {
		p.code.Truncated, p.unread = true, true
		return
	}
	text, ok := p.source(file)
	if !ok {
		return
	}
	lines, count, whole := pythonLines(text, p.mayTake())
	p.took(count, whole)
	if !whole {
		return
	}
	s := &source{module: module, lines: lines}
	p.sources = append(p.sources, s)
	folder := module
	if path.Base(file) != "__init__.py" {
		folder, _ = cutLast(module)
	}
	for _, i := range s.imports() {
		p.resolve(i, folder)
	}
}

// maxModule is how long the name of a module may be that is followed, in
// bytes.
const maxModule = 1000

// resolve follows an import, or notes that nothing holds it. folder is the
// package that relative imports begin at.
func (p *program) resolve(i imported, folder string) {
	if i.level > 0 {
		for range i.level - 1 {
			folder, _ = cutLast(folder)
		}
		i.module = strings.Trim(folder+"."+i.module, ".")
	}
	if len(i.module) > maxModule || strings.Count(i.module, ".") > maxDepth {
		return
	}
	top, _, _ := strings.Cut(i.module, ".")
	if top == "" || slices.Contains(given, top) || isStandard(top, p.version) {
		return
	}
	if file, opaque := p.find(top); file == "" && !opaque {
		if !i.optional {
			p.missing[top] = true
		}
		return
	}
	if p.foreign[top] {
		return
	}
	parts := strings.Split(i.module, ".")
	for n := range parts {
		p.follow(strings.Join(parts[:n+1], "."))
	}
	for _, name := range i.names {
		p.follow(i.module + "." + name)
	}
}

// absent lists the modules that nothing holds.
func (p *program) absent() []string {
	var all []string
	for module := range p.missing {
		all = append(all, module)
	}
	slices.Sort(all)
	return all
}

// installed are the modules that pip put into the package, by its records.
func (b *bundle) installed() map[string]bool {
	all := map[string]bool{}
	for _, name := range b.names {
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if strings.Contains(dir, "/") || !strings.HasSuffix(dir, ".dist-info") && !strings.HasSuffix(dir, ".egg-info") {
			continue
		}
		if base != "RECORD" && base != "top_level.txt" {
			continue
		}
		list, _ := b.source(name)
		for entry := range strings.Lines(list) {
			file, _, _ := strings.Cut(strings.TrimSpace(entry), ",")
			top, _, _ := strings.Cut(file, "/")
			top, _, _ = strings.Cut(top, ".")
			if len(all) < maxInstalled {
				all[strings.Clone(top)] = true
			}
		}
	}
	return all
}
