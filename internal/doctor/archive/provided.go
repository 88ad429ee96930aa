package archive

// bootstrap is the program that provided runtimes start (AWS docs).
const bootstrap = "bootstrap"

// inspectProvided looks for the program.
func (b *bundle) inspectProvided() {
	b.code.HandlerFile = bootstrap
	f := b.files[bootstrap]
	switch {
	case f == nil:
		b.code.HandlerProblem = "there is no file bootstrap in the package"
	case f.CreatorVersion>>8 == creatorUnix && f.Mode().Perm()&0o111 == 0:
		b.code.HandlerProblem = "the file bootstrap is not executable"
	default:
		b.checkProgram()
	}
	b.code.HandlerFound = b.code.HandlerProblem == ""
}

// creatorUnix is the system that a zip entry's mode is of. Packages made on
// other systems have no modes to look at.
const creatorUnix = 3

func (b *bundle) checkProgram() {
	head, ok := b.start(bootstrap, elfHead)
	switch {
	case !ok || len(head) == 0:
		b.code.HandlerProblem = "the file bootstrap is empty or cannot be unpacked"
	case string(head[:min(2, len(head))]) == "#!", len(b.code.Natives) > 0 && b.isNative(bootstrap):
	default:
		b.code.HandlerProblem = "the file bootstrap is neither a Linux program nor a script that begins with #!"
	}
}

func (b *bundle) isNative(name string) bool {
	for _, n := range b.code.Natives {
		if n.Path == name {
			return true
		}
	}
	return false
}
