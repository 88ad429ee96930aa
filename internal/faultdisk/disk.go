//go:build linux

package faultdisk

import (
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is what a program does to a file.
type Op string

// The operations that can fail.
const (
	Create   Op = "create" // of a file, a folder or a link
	Open     Op = "open"
	Read     Op = "read" // that the kernel has not in its cache
	Write    Op = "write"
	Sync     Op = "sync"
	Truncate Op = "truncate"
	Rename   Op = "rename" // the file is the old name's
	Remove   Op = "remove"
)

// Fault makes operations on files fail.
type Fault struct {
	// File is a pattern of path.Match for the path below the disk's folder, or
	// for one of the folders that it lies in; "*" matches everything.
	File string
	Op   Op
	// Err is what the program gets.
	Err syscall.Errno
	// Times is how often; 0 stands for as long as the disk is not healed.
	Times int
	// Applied does what was asked for before it fails.
	Applied bool
}

// Disk is a mounted folder. It is safe for concurrent use.
type Disk struct {
	// Dir is where it is mounted.
	Dir string

	mu     sync.Mutex
	faults []*Fault
	hits   int
}

// Mount mounts a disk that has no faults yet, until the test ends. Only other
// processes may use it: this one serves it.
func Mount(t testing.TB) *Disk {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("a disk with faults needs FUSE, which this machine does not give: %v", err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	backing := t.TempDir()
	d := &Disk{Dir: t.TempDir()}
	root := &node{disk: d}
	root.RootData = &fs.LoopbackRoot{Path: backing, RootNode: root}
	server, err := fs.Mount(d.Dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "faultdisk", Name: "faultdisk", DirectMountStrict: true, DirectMountFlags: syscall.MS_NODEV,
		AllowOther: true, Options: []string{"default_permissions"},
	}})
	if err != nil {
		t.Skipf("a disk with faults needs the right to mount, which these tests do not have: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmounting %s: %v", d.Dir, err)
			return
		}
		server.Wait()
	})
	return d
}

// Fail adds a fault.
func (d *Disk) Fail(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &f)
}

// Heal takes all faults away and returns how often they were met.
func (d *Disk) Heal() (hits int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hits = d.hits
	d.faults, d.hits = nil, 0
	return hits
}

// Hits returns how often faults were met since the disk was sound.
func (d *Disk) Hits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits
}

// meets returns the fault that an operation meets now, or nil.
func (d *Disk) meets(op Op, file string) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.Op != op || !f.concerns(file) {
			continue
		}
		d.hits++
		found := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Op = "" // meets nothing any more
			}
		}
		return &found
	}
	return nil
}

func (f *Fault) concerns(file string) bool {
	for ; file != "." && file != "/"; file = path.Dir(file) {
		if ok, _ := path.Match(f.File, file); ok { // a bad pattern matches nothing
			return true
		}
	}
	return false
}

// try does what was asked for, unless a fault is met.
func (d *Disk) try(op Op, file string, do func() syscall.Errno) syscall.Errno {
	f := d.meets(op, filepath.ToSlash(file))
	if f == nil {
		return do()
	}
	if f.Applied {
		if errno := do(); errno != 0 {
			return errno
		}
	}
	return f.Err
}
