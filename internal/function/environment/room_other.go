//go:build !linux

package environment

// short is not known here.
func short(string) bool { return false }
