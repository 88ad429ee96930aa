package environment

import (
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights over files that Landlock can withhold. Later versions of its
// interface added the last ones.
const (
	landlockReadExecute = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	landlockFileOnly = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlockResolvesUnix is the interface's version from which Landlock also
// withholds the host's Unix sockets, and landlockResolveUnix that right
// (linux/landlock.h).
const (
	landlockResolvesUnix = 9
	landlockResolveUnix  = 1 << 16
)

// landlockRuleNetPort is LANDLOCK_RULE_NET_PORT, and landlockNetPort what goes
// with it (linux/landlock.h: struct landlock_net_port_attr).
const landlockRuleNetPort = 2

type landlockNetPort struct{ access, port uint64 }

// landlockABI returns the version of the kernel's Landlock interface, 0 when
// there is none.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// restrictPaths leaves to the calling thread, and to what it starts, only the
// plan's paths, only its TCP ports if they are to be held, and no signals or
// abstract sockets to processes outside, as far as the kernel's version goes.
func (p *launch) restrictPaths() error {
	abi := landlockABI()
	attr := unix.LandlockRulesetAttr{Handled_access_fs: landlockReadExecute | landlockWrite}
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= landlockResolvesUnix {
		attr.Handled_access_fs |= landlockResolveUnix
	}
	if abi >= landlockConnect && p.HoldTCP {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return step("making a Landlock ruleset", errno)
	}
	defer unix.Close(int(fd))
	for _, path := range p.Paths {
		if err := allowPath(int(fd), attr.Handled_access_fs, path); err != nil {
			return step("allowing "+path.Path, err)
		}
	}
	for _, port := range p.Ports {
		rule := landlockNetPort{attr.Handled_access_net, uint64(port)}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, landlockRuleNetPort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return step("allowing port "+strconv.Itoa(int(port)), errno)
		}
	}
	_, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	if errno != 0 {
		return step("applying the Landlock ruleset", errno)
	}
	return nil
}

// allowPath adds one rule; a path that is not there needs none.
func allowPath(ruleset int, handled uint64, p access) error {
	fd, err := unix.Open(p.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rights := uint64(landlockReadExecute)
	switch {
	case p.Write:
		rights = handled
	case p.Devices:
		rights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= landlockFileOnly
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset),
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
