//go:build linux

package egress

import (
	"testing"

	"golang.org/x/sys/unix"
)

// More descriptors than the kernel passes on are refused before any is
// duplicated: with a caller that has none, a look at one gives EBADF.
func TestTooManyDescriptors(t *testing.T) {
	rights := func(n int) []byte {
		fds := make([]int, n)
		for i := range fds {
			fds[i] = -1
		}
		return unix.UnixRights(fds...)
	}
	var many []byte
	for range 300 {
		many = append(many, rights(1)...)
	}
	for i, tc := range []struct {
		control []byte
		want    unix.Errno
	}{
		{rights(maxRights), unix.EBADF}, {rights(maxRights + 1), unix.EINVAL}, {rights(16000), unix.EINVAL},
		{append(rights(200), rights(53)...), unix.EBADF}, {append(rights(200), rights(54)...), unix.EINVAL}, {many, unix.EINVAL},
	} {
		c := call{caller: &caller{}}
		out, fds, got := c.unixControl(tc.control)
		if got != tc.want || out != nil || len(fds) != 0 {
			t.Errorf("%d: got %v with %d descriptors, want %v", i, got, len(fds), tc.want)
		}
	}
}
