package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Holder tells whether a process has the data folder, and which, 0 if that is
// not known. It changes nothing; a folder that is not there is nobody's.
func Holder(path string) (pid int, held bool, err error) {
	f, err := os.Open(filepath.Join(path, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking at the lock of data folder %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // which gives the lock back too
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return holder(f), true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking at the lock of data folder %s: %w", path, err)
	}
	return 0, false, nil
}
