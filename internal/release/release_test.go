package release

import (
	"runtime"
	"testing"
)

func TestRead(t *testing.T) {
	if b := Read(); b.Version == "" || b.Go != runtime.Version() || b.Platform == "" {
		t.Errorf("got %+v", b)
	}
	defer func() { stamp = "" }()
	stamp = "1.2.3-4-gabcdef0-dirty,abcdef0123"
	if b := Read(); b.Version != "1.2.3-4-gabcdef0-dirty" || b.Commit != "abcdef0123" || !b.Modified {
		t.Errorf("got %+v", b)
	}
	stamp = "1.2.3,abcdef0123"
	if b := Read(); b.Version != "1.2.3" || b.Modified {
		t.Errorf("got %+v", b)
	}
}
