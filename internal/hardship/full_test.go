//go:build linux

package hardship

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/faultdisk"
)

// until repeats an attempt until it fails; it is given up after many.
func until(t *testing.T, what string, attempt func() error) {
	t.Helper()
	for range 2000 {
		if attempt() != nil {
			return
		}
	}
	t.Errorf("%s goes on for ever", what)
}

// want demands that the server has logged a text.
func wantLogged(t *testing.T, p *apitest.Process, text string) {
	t.Helper()
	if !strings.Contains(p.Log(), text) {
		t.Errorf("the log does not say %q", text)
	}
}

// A server on a disk that is full refuses writes, answers reads as long as
// their events find room, refuses them after that, and goes on by itself once
// there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Small(t, 64<<20)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data")})
	l := newLedger(t, p, "full/a", "full/b")
	for range 3 {
		disk.Fill(t)
		until(t, "writing", func() error { return l.put(t, "full/a") })
		until(t, "reading", func() error { return l.get(t, "full/b") })
		wantLogged(t, p, "no space left on device")
		wantLogged(t, p, "database or disk is full")
		disk.Free(t)
		l.well(t)
	}
	disk.Fill(t)
	until(t, "writing", func() error { return l.put(t, "full/b") })
	p.Kill()
	// A start needs room; what it says is in TestStartOnFullDisk.
	disk.Free(t)
	checkDatabase(t, p.Dir)
	p.Restart()
	l.well(t)
	l.audit(t)
}

// The same where nobody may mount: the kernel refuses the process every write
// to a file, as a quota does.
func TestNoFileGrows(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	l := newLedger(t, p, "limited/a", "limited/b")
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		limit(0)
		if l.put(t, "limited/a") == nil {
			t.Error("a write that cannot be stored was acknowledged")
		}
		if l.get(t, "limited/b") == nil {
			t.Error("a read that cannot be recorded was answered")
		}
		wantLogged(t, p, "file too large")
		limit(unix.RLIM_INFINITY)
		l.well(t)
	}
	limit(0)
	if l.put(t, "limited/b") == nil {
		t.Error("a write that cannot be stored was acknowledged")
	}
	l.survive(t)
}
