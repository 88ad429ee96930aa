package builtin

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap of a function grow by this much between
// collections: it is small, idle most of its life, and one of many.
const gcPercent = 40

// settle makes a function's process small once its packages are
// initialised: most of what that took is never looked at again. GOGC
// overrules it.
func settle() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	debug.FreeOSMemory()
	forgetProgram()
}
