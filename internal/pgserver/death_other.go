//go:build !linux

package pgserver

import "syscall"

// endWithThread does nothing: this system has no signal for a parent's death,
// so a server whose starter is killed stays until somebody stops it.
func endWithThread(*syscall.SysProcAttr) {}
