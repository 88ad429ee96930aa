package archive

import (
	"path"
	"slices"
	"strings"
)

// inspectNode looks at the handler of a Node.js function and the files of the
// package that it requires by a relative path.
func (b *bundle) inspectNode(handler string) {
	dir, base := path.Split(handler)
	module, function, ok := strings.Cut(base, ".")
	if !ok || module == "" {
		b.code.HandlerProblem = "the handler names no file and function: it has to be FILE.FUNCTION"
		return
	}
	b.code.HandlerFile = dir + module + ".js"
	file := b.nodeFile(path.Clean(dir + module))
	if file == "" {
		b.code.HandlerProblem = "there is no file " + b.code.HandlerFile + " (or .mjs, .cjs) in the package"
		return
	}
	b.code.HandlerFile = file
	export, _, _ := strings.Cut(function, ".")
	u, read := uses{}, false
	b.scripts(file, func(name string, tokens []token) {
		u.mentioned = u.mentioned || mentions(tokens)
		u.countNode(tokens)
		if name == file {
			read = true
			b.code.HandlerFound = exports(tokens, export)
		}
	})
	switch {
	case !read:
		b.code.HandlerProblem = "the file " + file + " cannot be unpacked or is too large"
		return
	case !b.code.HandlerFound:
		b.code.HandlerProblem = "the file " + file + " exports no " + export
	}
	if b.unread {
		u.unseen()
	}
	b.code.PassesToken = u.verdict()
}

// nodeFile finds a module's file as Lambda and require do.
func (b *bundle) nodeFile(base string) string {
	for _, file := range []string{base, base + ".js", base + ".mjs", base + ".cjs", base + "/index.js", base + "/index.mjs"} {
		if b.has(file) {
			return file
		}
	}
	return ""
}

// scripts shows the tokens of a file and of those that it requires, its own
// first. They are good until the next file's.
func (b *bundle) scripts(file string, show func(name string, tokens []token)) {
	var tokens []token
	queue, seen := []string{file}, map[string]bool{file: true}
	for read := 0; len(queue) > 0; read++ {
		file, queue = queue[0], queue[1:]
		if read == maxSources {
			b.code.Truncated, b.unread = true, true
			return
		}
		source, ok := b.source(file)
		if !ok {
			continue
		}
		var whole bool
		tokens, whole = scriptTokens(source, tokens[:0], b.mayTake())
		b.took(len(tokens), whole)
		if !whole {
			continue
		}
		show(file, tokens)
		for i, t := range tokens {
			if t.kind != text || !strings.HasPrefix(t.text, "./") && !strings.HasPrefix(t.text, "../") || i == 0 {
				continue
			}
			before := tokens[i-1]
			if !before.op("(") && !before.is(name, "from") && !before.is(name, "import") {
				continue
			}
			if next := b.nodeFile(path.Join(path.Dir(file), t.text)); next != "" && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
}

// exports tells whether a script gives a name to its callers: by exports.x,
// module.exports, or export. A script that hands its exports on from
// elsewhere may.
func exports(tokens []token, wanted string) bool {
	last := -1 // where the name stands last
	for i, t := range tokens {
		if t.text == wanted {
			last = i
		}
	}
	for i, t := range tokens {
		rest := tokens[i+1:]
		switch {
		case t.is(name, "exports") && follows(rest, "."+wanted), t.is(name, "exports") && follows(rest, "[") && len(rest) > 1 && rest[1].text == wanted,
			t.is(name, "exports") && follows(rest, "=") && last > i:
			return true
		case t.is(name, "export"):
			if exportsName(rest, wanted) {
				return true
			}
		case t.is(name, "__export"), t.is(name, "__exportStar"), t.is(name, "defineProperty"):
			if last > i {
				return true
			}
		case t.is(name, "exports") && follows(rest, "=") && follows(rest[1:], "require"):
			return true
		}
	}
	return false
}

// follows tells whether tokens begin with a piece of source without spaces.
func follows(tokens []token, source string) bool {
	for _, t := range tokens {
		if source == "" {
			return true
		}
		after, ok := strings.CutPrefix(source, t.text)
		if !ok || t.text == "" {
			return false
		}
		source = after
	}
	return source == ""
}

// exportsName reads what follows export.
func exportsName(rest []token, wanted string) bool {
	for i, t := range rest {
		switch {
		case i == 0 && t.op("*"):
			return true
		case i == 0 && t.op("{"):
			for _, u := range rest[1:] {
				if u.op("}") || u.op("{") { // which no list has within
					return false
				}
				if u.is(name, wanted) {
					return true
				}
			}
		case t.kind == name && slices.Contains([]string{"const", "let", "var", "async", "function", "class"}, t.text):
			continue
		}
		return t.is(name, wanted)
	}
	return false
}

// countNode looks at the calls that put a value: the SDK's command, and the
// method of its older clients.
func (u *uses) countNode(tokens []token) {
	for i, t := range tokens {
		after := tokens[i+1:]
		if i == 0 || t.kind != name || !follows(after, "(") {
			continue
		}
		command := t.text == "PutSecretValueCommand" && (tokens[i-1].is(name, "new") || tokens[i-1].op("."))
		if command || t.text == "putSecretValue" && tokens[i-1].op(".") {
			u.countObject(after)
		}
	}
}

// countObject looks at the first argument of a call.
func (u *uses) countObject(call []token) {
	if u.full() {
		return
	}
	args := arguments(call)
	if len(args) == 0 || !args[0][0].op("{") {
		u.unknown++ // a variable, or what a function returns
		return
	}
	spread := false
	for _, member := range arguments(args[0]) {
		switch {
		case member[0].text == rotationToken && member[0].kind != operator:
			u.with++
			return
		case member[0].op(".") && mentions(member):
			u.with++
			return
		case member[0].op("."):
			spread = true
		}
	}
	if spread {
		u.unknown++
		return
	}
	u.without++
}
