package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// packageAge is how long an unpacked package that nothing uses is kept.
const packageAge = 24 * time.Hour

// packages unpacks code and layers into folders that environments share,
// read-only. A folder's name is the hash of what is in it; it appears whole
// or not at all.
type packages struct {
	dir  string
	once singleflight.Group

	mu   sync.Mutex
	used map[string]*packageUse
}

// packageUse says whether a folder is needed.
type packageUse struct {
	holders int
	last    time.Time
}

func newPackages(dir string) *packages {
	return &packages{dir: dir, used: map[string]*packageUse{}}
}

// acquire unpacks the packages over one another into one folder, unless it is
// there, and holds it until release.
func (p *packages) acquire(ctx context.Context, list []Package) (string, error) {
	name, err := folderName(list)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(p.dir, name)
	p.hold(dir, 1)
	// The work goes on for whoever else waits, so it does not end with ctx.
	_, err, _ = p.once.Do(name, func() (any, error) {
		if _, err := os.Stat(dir); err == nil {
			return nil, nil
		}
		return nil, p.unpack(context.WithoutCancel(ctx), dir, list)
	})
	if err != nil {
		p.release(dir)
		return "", err
	}
	return dir, nil
}

func (p *packages) release(dir string) { p.hold(dir, -1) }

func (p *packages) hold(dir string, change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	use := p.used[dir]
	if use == nil {
		use = &packageUse{}
		p.used[dir] = use
	}
	use.holders += change
	use.last = time.Now()
}

// sweep removes folders that nothing has used for long.
func (p *packages) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for dir, use := range p.used {
		if use.holders == 0 && now.Sub(use.last) > packageAge {
			removeTree(dir)
			delete(p.used, dir)
		}
	}
}

// folderName makes a name that is safe in a path from the packages' hashes.
func folderName(list []Package) (string, error) {
	sum := sha256.New()
	for _, pkg := range list {
		if pkg.SHA256 == "" || pkg.Open == nil {
			return "", errors.New("a package without hash or content")
		}
		io.WriteString(sum, pkg.SHA256+"\n")
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (p *packages) unpack(ctx context.Context, dir string, list []Package) error {
	fresh, err := os.MkdirTemp(p.dir, ".new-")
	if err != nil {
		return fault.Wrap(blameHost(err), "making a folder for code")
	}
	defer removeTree(fresh)
	for _, pkg := range list {
		if err := unzipPackage(ctx, fresh, pkg); err != nil {
			return fault.Wrap(blameHost(err), "unpacking code")
		}
	}
	if err := closeFolders(fresh); err != nil {
		return fault.Wrap(blameHost(err), "protecting unpacked code")
	}
	return fault.Wrap(blameHost(os.Rename(fresh, dir)), "keeping unpacked code")
}

func unzipPackage(ctx context.Context, dir string, pkg Package) error {
	r, size, err := pkg.Open(ctx)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	archive, err := function.ReadArchive(r, size)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return unzip(root, archive)
}

// unzip writes a checked archive below root. Everybody may read the files and
// execute those that anybody may execute; nothing is writable. It fails with
// NotAZip where the archive does not fit into what is there already, such as
// a file in the place of a layer's folder, and with an error of kind
// Unavailable where the disk does not take it.
func unzip(root *os.Root, archive *function.Archive) error {
	left := int64(function.MaxUnzipped)
	for _, f := range archive.Files {
		n, err := unzipFile(root, f, left)
		if err != nil {
			if _, ours := errors.AsType[*fault.Error](err); ours || errors.Is(err, fs.ErrPermission) {
				return err
			}
			if ofHost(err) {
				return err
			}
			return function.NotAZip(err)
		}
		left -= n
	}
	return nil
}

// ofHost tells errors of the disk and of the machine from those that the
// archive is to blame for.
func ofHost(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains([]syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EFBIG, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	}, errno)
}

// blameHost makes errors of the disk such that the caller may try again.
func blameHost(err error) error {
	if ofHost(err) {
		return fault.New(fault.Unavailable, "").Because(err)
	}
	return err
}

func unzipFile(root *os.Root, f function.ArchiveFile, limit int64) (int64, error) {
	name := filepath.FromSlash(f.Name)
	if f.Mode.IsDir() {
		return 0, root.MkdirAll(name, 0o755)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if f.Mode.Type() == fs.ModeSymlink {
		return 0, root.Symlink(f.Target, name)
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.WriteTo(out, limit)
	if err == nil {
		mode := fs.FileMode(0o444)
		if f.Mode.Perm()&0o111 != 0 {
			mode = 0o555 // the owner's right alone would not reach the function's user
		}
		err = out.Chmod(mode)
	}
	return n, errors.Join(err, out.Close())
}

// closeFolders takes the write permission from every folder.
func closeFolders(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o555)
	})
}

// removeTree removes a folder of ours whatever permissions it has by now.
// It follows no link.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// visibleTo reports whether a stranger may pass through every folder to dir.
func visibleTo(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// below reports whether path is dir or lies below it. Both are absolute and
// clean.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
