// Package release knows which build of the program this is.
package release

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// stamp is set by the linker for releases: the version and the commit, with a
// comma between. Without it, the Go tool's own record counts.
var stamp string

// Build is what a program was made from.
type Build struct {
	// Version is "(devel)" for a build that is no release.
	Version string `json:"version"`
	// Commit is "" when it is not known; Modified says that the checkout had
	// changes that are in no commit.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read returns what this program was made from.
func Read() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if version, commit, ok := strings.Cut(stamp, ","); ok {
		b.Version, b.Commit, b.Modified = version, commit, strings.HasSuffix(version, "-dirty")
	}
	return b
}
