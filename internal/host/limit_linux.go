package host

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ForbidCoreDumps keeps the memory of this process, and of those that it
// starts, from being written to disk when it crashes. A helper to which the
// kernel pipes core dumps is not bound by the limit, so that no memory is
// given to it either.
func ForbidCoreDumps() error {
	err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	if err == nil {
		err = os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0o600)
	}
	return err
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// swapArea is the first swap area in use, or "".
func swapArea() string {
	b, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) < 2 {
		return ""
	}
	name, _, _ := strings.Cut(lines[1], " ")
	return name
}

// memoryLimit is the least of the machine's memory and what the control group
// allows, in bytes.
func memoryLimit() (limit uint64, from string) {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0, ""
	}
	limit, from = uint64(info.Totalram)*uint64(info.Unit), "the machine's"
	for _, file := range []string{"/sys/fs/cgroup" + controlGroup() + "/memory.max", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil && n < limit {
			limit, from = n, "the control group's"
		}
	}
	return limit, from
}

// controlGroup is this process's in the unified hierarchy.
func controlGroup() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return strings.TrimSuffix(path, "/")
		}
	}
	return ""
}

// synchronised reports whether the kernel's clock follows another one.
func synchronised() (yes, known bool) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, false
	}
	return t.Status&unix.STA_UNSYNC == 0, true
}

// File systems by the number that statfs gives (linux/magic.h, and the
// kernel's fs/ceph, fs/smb and fs/9p).
const (
	nfsMagic, smbMagic, smb2Magic, cifsMagic = 0x6969, 0x517b, 0xfe534d42, 0xff534d42
	cephMagic, fuseMagic, ninePMagic         = 0xc36400, 0x65735546, 0x01021997
	tmpfsMagic, ramfsMagic, overlayMagic     = 0x01021994, 0x858458f6, 0x794c7630
	extMagic, xfsMagic, btrfsMagic, zfsMagic = 0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1
)

// diskOf asks what a folder lies on.
func diskOf(dir string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return disk{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	d := disk{free: s.Bavail * uint64(s.Bsize), size: s.Blocks * uint64(s.Bsize)}
	switch uint32(s.Type) {
	case nfsMagic:
		d.kind, d.network = "NFS", true
	case smbMagic, smb2Magic, cifsMagic:
		d.kind, d.network = "SMB", true
	case cephMagic:
		d.kind, d.network = "CephFS", true
	case ninePMagic:
		d.kind, d.network = "9p", true
	case fuseMagic:
		d.kind, d.network = "FUSE", true
	case tmpfsMagic, ramfsMagic:
		d.kind, d.volatile = "tmpfs", true
	case overlayMagic:
		d.kind, d.layered = "overlayfs", true
	case extMagic:
		d.kind = "ext4"
	case xfsMagic:
		d.kind = "XFS"
	case btrfsMagic:
		d.kind = "Btrfs"
	case zfsMagic:
		d.kind = "ZFS"
	default:
		d.kind = "file system 0x" + strconv.FormatUint(uint64(uint32(s.Type)), 16)
	}
	return d, nil
}
