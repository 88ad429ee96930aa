package environment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// processesWith finds the host's processes that have the text in their
// arguments or their environment.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, name := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil && strings.Contains(string(data), text) {
				found = append(found, dir+": "+string(data))
				break
			}
		}
	}
	return found
}
