package rehearse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// workspace is the temporary folder of one rehearsal, in which its servers and
// databases have theirs. It is locked as long as this process lives, so that
// a later rehearsal can tell and remove what one left that was killed.
type workspace struct {
	dir  string
	lock *os.File
}

const (
	workspaceName = "keyturn-rehearse-"
	workspaceLock = "lock"
)

// openWorkspace removes what dead rehearsals of this user left, and makes a
// folder.
func openWorkspace() (*workspace, error) {
	sweepWorkspaces()
	// It gets its name once it is locked: until then nobody takes it for dead.
	made, err := os.MkdirTemp("", "."+workspaceName)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the rehearsal: %w", err)
	}
	w := &workspace{dir: filepath.Join(filepath.Dir(made), strings.TrimPrefix(filepath.Base(made), "."))}
	if w.lock, err = lockFile(filepath.Join(made, workspaceLock)); err == nil {
		// The folders inside are closed; servers that run as another user must
		// be able to reach theirs.
		err = os.Chmod(made, 0o711)
	}
	if err == nil {
		err = os.Rename(made, w.dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a folder for the rehearsal: %w", err), os.RemoveAll(made))
	}
	return w, nil
}

// lockFile makes a file, if it is missing, and locks it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepWorkspaces removes the folders of rehearsals whose process is gone.
// What cannot be removed is another user's, and stays.
func sweepWorkspaces() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), workspaceName+"*")) // the pattern is right
	for _, dir := range found {
		path := filepath.Join(dir, workspaceLock)
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || !own(info) {
			continue
		}
		lock, err := lockFile(path)
		if err != nil {
			continue // it lives
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}

// own tells whether a file is this user's.
func own(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// folder makes one inside for a kind of server.
func (w *workspace) folder(kind string) (string, error) {
	dir, err := os.MkdirTemp(w.dir, kind+"-")
	if err != nil {
		return "", fmt.Errorf("making a folder for %s: %w", kind, err)
	}
	return dir, nil
}

func (w *workspace) close() error {
	return errors.Join(os.RemoveAll(w.dir), syscall.Flock(int(w.lock.Fd()), syscall.LOCK_UN), w.lock.Close())
}
