package environment

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// enterRoot builds the environment's own file system on a small tmpfs and
// makes it the launcher's root. The host's own tree is then unreachable.
func (p *launch) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return step("detaching mounts from the host", err)
	}
	err := unix.Mount("tmpfs", p.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m")
	if err != nil {
		return step("mounting the new root", err)
	}
	for _, b := range p.Binds {
		if err := p.bind(b); err != nil {
			return err
		}
	}
	for _, l := range p.Links {
		name := filepath.Join(p.Root, l.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return step("making the folder of "+l.Name, err)
		}
		if err := os.Symlink(l.Target, name); err != nil {
			return step("linking "+l.Name, err)
		}
	}
	for _, f := range p.Files {
		if err := p.file(f); err != nil {
			return err
		}
	}
	proc := filepath.Join(p.Root, "proc")
	if err := os.MkdirAll(proc, 0o555); err != nil {
		return step("making /proc", err)
	}
	// A host that hides parts of its own /proc, as containers do, forbids
	// this. Then the function has an empty /proc.
	_ = unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return p.pivot()
}

func (p *launch) file(f file) error {
	name := filepath.Join(p.Root, f.Name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return step("making the folder of "+f.Name, err)
	}
	return step("writing "+f.Name, os.WriteFile(name, []byte(f.Content), 0o644))
}

// bind shows one file or folder of the host.
func (p *launch) bind(b bind) error {
	info, err := os.Stat(b.From)
	if err != nil {
		if b.Optional {
			return nil
		}
		return step("looking at "+b.From, err)
	}
	to := filepath.Join(p.Root, b.To)
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = touch(to)
	}
	if err != nil {
		return step("making "+b.To, err)
	}
	if err := unix.Mount(b.From, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return step("mounting "+b.To, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_PRIVATE}
	if !b.Device {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	if !b.Write {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	err = unix.MountSetattr(unix.AT_FDCWD, to, unix.AT_RECURSIVE, &attr)
	return step("protecting "+b.To, err)
}

// touch makes an empty file to mount on, unless there is one.
func touch(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// pivot makes the new root the root, read-only, and drops the old one.
func (p *launch) pivot() error {
	if err := unix.Chdir(p.Root); err != nil {
		return step("entering the new root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return step("changing the root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return step("dropping the old root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return step("entering the new root", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	return step("protecting the new root", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr))
}
