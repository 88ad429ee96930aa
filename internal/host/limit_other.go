//go:build !linux

package host

import (
	"errors"
	"syscall"
)

// ForbidCoreDumps keeps the memory of this process, and of those that it
// starts, from being written to disk when it crashes.
func ForbidCoreDumps() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }

func kernelRelease() string { return "" }

func swapArea() string { return "" }

func memoryLimit() (uint64, string) { return 0, "" }

func synchronised() (yes, known bool) { return false, false }

func diskOf(string) (disk, error) {
	return disk{}, errors.New("disks are examined on Linux only")
}
