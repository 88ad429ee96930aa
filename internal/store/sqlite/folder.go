package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// prepareFolder makes the data folder, or checks one that is there.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("reading the data folder: %w", err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("data folder %s is open to every user of this machine (mode %04o): choose a folder of its own, or run: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// createPrivate makes an empty file with mode 0600 unless it exists. SQLite
// gives its side files the mode of the database.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return f.Close()
}

// lockFolder takes the folder's lock for as long as the file is open. The
// lock goes with the process, however that ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking data folder %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &InUseError{Dir: dir, PID: lockHolder(f)}
		}
		return nil, fmt.Errorf("locking data folder %s: %w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking data folder %s: %w", dir, err)
	}
	return f, nil
}

func lockHolder(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// InUseError tells that another process has the data folder open.
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

// Exists reports whether the folder holds a database.
func Exists(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, databaseName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
