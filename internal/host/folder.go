package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// server tells whether one runs on the data folder.
func (x *examiner) server(context.Context) []Check {
	pid, held, err := folder.Holder(x.Dir)
	switch {
	case err != nil:
		return one("H08", "server", Unknown, err.Error(), "")
	case !held:
		return one("H08", "server", Note, "none runs on the data folder "+x.Dir, "")
	}
	if x.running = pid; pid == 0 {
		x.running = -1
		return one("H08", "server", OK, "one runs on the data folder "+x.Dir, "")
	}
	return one("H08", "server", OK, fmt.Sprintf("process %d runs on the data folder %s", pid, x.Dir), "")
}

// Names in the data folder that hold secrets, or the trail.
var privateNames = [...]string{"root.key", "root-credentials.json", "server.json", "trail"}

// folder looks at who may read what is in the data folder.
func (x *examiner) folder(context.Context) []Check {
	info, err := os.Stat(x.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return one("H11", "data folder", Note, x.Dir+" is not there yet: the first start makes it", "")
	case err != nil:
		return one("H11", "data folder", Unknown, err.Error(), "Run this as the server's user.")
	case !info.IsDir():
		return one("H11", "data folder", Finding, x.Dir+" is not a folder", "The server does not start.")
	}
	var wrong []string
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		wrong = append(wrong, fmt.Sprintf("%s (%04o)", x.Dir, mode))
	}
	names := append([]string{sqlite.DatabaseFile(x.Dir)}, below(x.Dir, privateNames[:])...)
	for _, name := range append(names, x.keyFiles()...) {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return one("H11", "data folder", Unknown, err.Error(), "Run this as the server's user.")
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			wrong = append(wrong, fmt.Sprintf("%s (%04o)", name, mode))
		}
	}
	checks := owner(x.Dir, info)
	if len(wrong) == 0 {
		return append(checks, one("H11", "data folder", OK, x.Dir+": its files are their owner's alone", "")...)
	}
	return append(checks, one("H11", "data folder", Finding, "others than their owner may use "+strings.Join(wrong, ", "),
		"Whoever reads the root key and the database has every secret.", "chmod -R go= "+x.Dir)...)
}

func below(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// keyFiles are the root keys that are files elsewhere.
func (x *examiner) keyFiles() (paths []string) {
	for _, text := range append([]string{x.RootKey}, x.OldRootKeys...) {
		if path, ok := strings.CutPrefix(text, "file://"); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// owner tells when the folder belongs to somebody else than who asks.
func owner(dir string, info fs.FileInfo) []Check {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	return one("H12", "owner of the data folder", Note, fmt.Sprintf("%s belongs to user %d, and this is user %d", dir, stat.Uid, os.Geteuid()),
		"What is said here of confinement and limits may be different for the server.", fmt.Sprintf("Run this as the server's user: setpriv --reuid=%d keyturn doctor --self", stat.Uid))
}

// Bounds of free space, in bytes and in percent.
const (
	leastFree        = 1 << 30
	leastFreePercent = 5
)

// disk looks at what the data folder lies on.
func (x *examiner) disk(context.Context) []Check {
	dir := x.Dir
	for { // the folder may not be there yet
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	d, err := diskOf(dir)
	if err != nil {
		return one("H13", "disk", Unknown, err.Error(), "")
	}
	checks := one("H13", "file system", OK, d.kind, "")
	switch {
	case d.kind == "":
		checks = nil
	case d.network && x.StoreURL == "":
		checks = one("H13", "file system", Finding, "the data folder is on "+d.kind,
			"SQLite needs locks and fsync that network file systems do not keep: a crash can damage the database, and two servers could open it.",
			"Put --data on a local disk, or store in PostgreSQL with --store.")
	case d.volatile && x.StoreURL == "":
		checks = one("H13", "file system", Finding, "the data folder is on "+d.kind, "Everything is gone after a restart of the machine.", "Put --data on a disk.")
	case d.layered && x.StoreURL == "":
		checks = one("H13", "file system", Finding, "the data folder is on "+d.kind, "It is gone with the container.", "Mount a volume at "+x.Dir+".")
	}
	text := fmt.Sprintf("%s free of %s", bytes(d.free), bytes(d.size))
	if d.free < leastFree || d.free*100 < d.size*leastFreePercent {
		return append(checks, one("H14", "free disk", Finding, text, "When the disk is full, changes and recorded reads fail; nothing that was acknowledged is lost.",
			"Make room, or give the data folder a larger disk.")...)
	}
	return append(checks, one("H14", "free disk", OK, text, "")...)
}

// disk is what a folder lies on.
type disk struct {
	// kind is the file system's name, "" if it is not known.
	kind string
	// network, volatile and layered say that it keeps no locks, nothing past
	// a restart, nothing past its container.
	network, volatile, layered bool
	// free is what this user may still use of size, in bytes.
	free, size uint64
}

// bytes is a size for people.
func bytes(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// rootKey lets the keepers wrap and unwrap a probe.
func (x *examiner) rootKey(ctx context.Context) (checks []Check) {
	keys := append([]string{x.RootKey}, x.OldRootKeys...)
	for i, text := range keys {
		title := "root key"
		if i > 0 {
			title = "old root key"
		}
		if text == "" {
			text = "file://" + filepath.Join(x.Dir, "root.key")
			if _, err := os.Stat(filepath.Join(x.Dir, "root.key")); errors.Is(err, fs.ErrNotExist) {
				checks = append(checks, x.noRootKey()...)
				continue
			}
		}
		checks = append(checks, tryKey(ctx, title, text)...)
	}
	return checks
}

// noRootKey judges a missing key file: fine before the first start.
func (x *examiner) noRootKey() []Check {
	if _, err := os.Stat(sqlite.DatabaseFile(x.Dir)); err != nil && x.StoreURL == "" {
		return one("H15", "root key", Note, "there is none yet: the first start makes "+filepath.Join(x.Dir, "root.key"), "")
	}
	return one("H15", "root key", Finding, filepath.Join(x.Dir, "root.key")+" is missing, and there is a store",
		"Without the root key the store cannot be opened. A store that is empty gets a new one.",
		"Bring the file back from where you keep a copy of it, or copy it from another node.", "If the root key is elsewhere, say so with --root-key.")
}

func tryKey(ctx context.Context, title, text string) []Check {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k, err := keeper.Open(ctx, text, false)
	if err == nil {
		err = keeper.Check(ctx, k)
	}
	if err != nil {
		return one("H15", title, Finding, err.Error(), "The server does not start; one that runs goes on with what it has in memory.",
			"Check that this user may read the file, or may reach and use the key: it takes encrypt and decrypt.")
	}
	return one("H15", title, OK, k.ID()+" wraps and unwraps", "")
}
