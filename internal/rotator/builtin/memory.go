package builtin

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent lets the heap of a function grow by this much between
// collections: it is small, idle most of its life, and one of many.
const gcPercent = 50

// settle makes a function's process small once its packages are
// initialised: most of what that took is never looked at again. It works on
// one event at a time, so one processor is enough, and each more has caches
// of its own. GOGC and GOMAXPROCS overrule it.
func settle() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	shrink()
}

// shrink gives back what is not in use.
func shrink() {
	debug.FreeOSMemory()
	forgetProgram()
}
