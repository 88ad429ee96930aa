package environment

import "syscall"

// short reports whether the disk of a folder has less room than a start
// needs.
func short(dir string) bool {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return false // what needs the room will say so
	}
	return disk.Bavail*uint64(disk.Bsize) < startRoom
}
