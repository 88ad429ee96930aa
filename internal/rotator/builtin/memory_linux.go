package builtin

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// forgetProgram takes the program's code and constants out of the process's
// memory. The kernel maps nearly all of the program while it starts; what is
// used comes back, from the page cache, as it is used. Nothing is lost:
// these mappings cannot be written to.
func forgetProgram() {
	self, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != self || fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, wrong := strconv.ParseUint(from, 16, 64)
		end, bad := strconv.ParseUint(to, 16, 64)
		if wrong == nil && bad == nil {
			// It is a saving and no more: a refusal changes nothing.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(begin), uintptr(end-begin), syscall.MADV_DONTNEED)
		}
	}
}
