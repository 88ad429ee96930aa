// Package folder prepares a server's data folder and keeps it for one
// process: the lock file in it goes with the process, however that ends.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// lockName is the lock file inside the folder. It stays when the process
// ends, and holds the number of the process that had the lock last.
const lockName = "keyturn.lock"

// restoringName is a file that stands in a folder while a backup is being
// restored into it.
const restoringName = "restore.incomplete"

// Folder is a data folder that this process has for itself until Close.
type Folder struct {
	// Path is absolute.
	Path string
	lock *os.File
}

// Open makes the folder with mode 0700 if it is missing, and locks it. It
// refuses a folder in which every user of the machine may write, one that
// another process, or another Folder of this one, has (*InUseError), and one
// into which a backup was restored in part.
func Open(path string) (*Folder, error) {
	f, err := take(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(f.Path, restoringName)); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("a restore into the data folder %s did not come to its end: run keyturn restore again, or choose another folder", f.Path), err, f.Close())
	}
	return f, nil
}

// OpenForRestore is Open for a folder that a backup is restored into: Open
// refuses it from now on until Restored, also when this process is killed.
// Besides the named files, which may be there, the folder must be empty, or
// have been given to OpenForRestore before.
func OpenForRestore(path string, may ...string) (*Folder, error) {
	f, err := take(path)
	if err != nil {
		return nil, err
	}
	if err := f.beginRestore(may); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Folder) beginRestore(may []string) error {
	marker := filepath.Join(f.Path, restoringName)
	if _, err := os.Lstat(marker); err == nil {
		return nil
	}
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return fmt.Errorf("reading the data folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockName && !slices.Contains(may, e.Name()) {
			return fmt.Errorf("data folder %s is not empty: it holds %s; a backup is restored into an empty folder only", f.Path, e.Name())
		}
	}
	m, err := os.OpenFile(marker, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(m.Sync(), m.Close(), f.sync())
	}
	if err != nil {
		return fmt.Errorf("beginning to restore into the data folder: %w", err)
	}
	return nil
}

// Restored makes a folder from OpenForRestore one like any other.
func (f *Folder) Restored() error {
	err := f.sync()
	if err == nil {
		err = os.Remove(filepath.Join(f.Path, restoringName))
	}
	if err != nil {
		return fmt.Errorf("ending the restore into the data folder: %w", err)
	}
	return f.sync()
}

// sync makes the names in the folder last.
func (f *Folder) sync() error {
	d, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// take makes and locks the folder.
func take(path string) (*Folder, error) {
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
