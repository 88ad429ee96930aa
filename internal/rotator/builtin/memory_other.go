//go:build !linux

package builtin

// forgetProgram does nothing where memory is not told about as on Linux.
func forgetProgram() {}
