//go:build linux

package environment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// processesWith finds the host's processes that have the text in their
// arguments or their environment, with both.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if all := string(cmdline) + "|" + string(environ); strings.Contains(all, text) {
			found = append(found, dir+": "+all)
		}
	}
	return found
}
