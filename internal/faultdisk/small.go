//go:build linux

package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk is a mounted folder with little room.
type SmallDisk struct {
	// Dir is where it is mounted.
	Dir string
}

// fillerName is the file that takes the room that is left.
const fillerName = "filler"

// Small mounts a disk with room for the given bytes until the test ends.
func Small(t testing.TB, bytes int64) SmallDisk {
	t.Helper()
	d := SmallDisk{t.TempDir()}
	if err := syscall.Mount("faultdisk", d.Dir, "tmpfs", syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=0711", bytes)); err != nil {
		t.Skipf("a small disk needs the right to mount, which these tests do not have: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.Dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", d.Dir, err)
		}
	})
	return d
}

// Fill takes all the room that is left.
func (d SmallDisk) Fill(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir, fillerName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		err = nil
	}
}

// Free gives back what Fill took.
func (d SmallDisk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.Dir, fillerName)); err != nil {
		t.Fatal(err)
	}
}

// ReadOnly makes the disk one that cannot be written, or can be again. It
// fails while files are open for writing.
func (d SmallDisk) ReadOnly(t testing.TB, readOnly bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT | syscall.MS_NODEV)
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("", d.Dir, "", flags, ""); err != nil {
		t.Fatalf("mounting %s anew: %v", d.Dir, err)
	}
}
