// Package folder prepares a server's data folder and keeps it for one
// process: the lock file in it goes with the process, however that ends.
package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockName is the lock file inside the folder. It stays when the process
// ends, and holds the number of the process that had the lock last.
const lockName = "keyturn.lock"

// Folder is a data folder that this process has for itself until Close.
type Folder struct {
	// Path is absolute.
	Path string
	lock *os.File
}

// Open makes the folder with mode 0700 if it is missing, and locks it. It
// refuses a folder in which every user of the machine may write, and one that
// another process, or another Folder of this one, has (*InUseError).
func Open(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the data folder: %w", err)
	}
	if err := prepare(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = lock(f)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &InUseError{Dir: path, PID: holder(f)}
	} else if err != nil {
		err = fmt.Errorf("locking data folder %s: %w", path, err)
	}
	if err != nil {
		_ = f.Close() // nil if it was not opened; nothing was written through it
		return nil, err
	}
	return &Folder{path, f}, nil
}

// prepare makes the folder, or checks one that is there.
func prepare(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading the data folder: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("data folder %s is open to every user of this machine (mode %04o): choose a folder of its own, or run: chmod 700 %[1]s", path, mode)
	}
	return nil
}

// lock locks the file and writes this process into it.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// Close gives the folder back, at once: a process that is just being started
// has the file open too until its program runs.
func (f *Folder) Close() error {
	return errors.Join(syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN), f.lock.Close())
}

// InUseError tells that another process has the data folder.
type InUseError struct {
	Dir string
	// PID is that process, or 0 if it is not known.
	PID int
}

// Error names the folder and the process.
func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is in use by another keyturn server", e.Dir)
	}
	return fmt.Sprintf("data folder %s is in use by another keyturn server (pid %d)", e.Dir, e.PID)
}
