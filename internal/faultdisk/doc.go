// Package faultdisk gives tests disks that fail: a folder whose files refuse
// chosen operations with an error of the kernel (Mount), and one with little
// room (Small). What runs on them is the real program with real system calls.
// Both need Linux and the right to mount; where that is missing the test is
// skipped and says so.
package faultdisk
