package host

import (
	"context"
	"fmt"
	"syscall"
)

// leastFiles is what the server needs of open files: one for each client,
// and a handful for each function that runs.
const leastFiles = 4096

// files looks at the limit of open files. The Go run time raises the soft
// limit to the hard one by itself.
func (x *examiner) files(context.Context) []Check {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return one("H09", "open files", Unknown, err.Error(), "")
	}
	text := fmt.Sprintf("up to %d", limit.Max)
	if limit.Max < leastFiles {
		return one("H09", "open files", Finding, text, "Every connection takes one; past the limit clients are not let in.",
			"LimitNOFILE=65536 in the unit, or ulimit -Hn 65536 before the start.")
	}
	return one("H09", "open files", OK, text, "")
}

// coreDumps tells where memory might end up on a disk.
func (x *examiner) coreDumps(context.Context) []Check {
	checks := one("H10", "core dumps", OK, "keyturn serve turns them off for itself and its functions", "")
	if area := swapArea(); area != "" {
		checks = append(checks, one("H10", "swap", Note, area+" is in use", "Memory with secrets in the clear may be written there.",
			"Encrypt the swap area, turn it off, or set MemorySwapMax=0 in the unit, as deploy/systemd/keyturn.service does.")...)
	}
	return checks
}

// besidesCache is what the process holds beside its cache, in bytes, with
// room for functions.
const besidesCache = 256 << 20

// memory compares what there is with what the server may use.
func (x *examiner) memory(context.Context) []Check {
	limit, from := memoryLimit()
	if limit == 0 {
		return one("H16", "memory", Unknown, "not known on this system", "")
	}
	text := fmt.Sprintf("%s (%s), cache of %s", bytes(limit), from, bytes(uint64(max(x.CacheSize, 0))))
	if need := uint64(max(x.CacheSize, 0)) + besidesCache; limit < need {
		return one("H16", "memory", Finding, text, fmt.Sprintf("With functions the server may need %s, and be ended by the kernel.", bytes(need)),
			"Give it more, or a smaller --cache-size.")
	}
	return one("H16", "memory", OK, text, "")
}
