//go:build linux

package environment

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

type zipEntry struct {
	name, body string
	mode       fs.FileMode
}

func rawZip(t testing.TB, entries ...zipEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		out, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, e.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func newTestPackages(t *testing.T) *packages {
	dir := filepath.Join(t.TempDir(), "code")
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dir) })
	return newPackages(dir)
}

func TestUnpack(t *testing.T) {
	p := newTestPackages(t)
	code := rawZip(t,
		zipEntry{"private.py", "secret mode", 0o600}, zipEntry{"bin/tool", "#!/bin/sh", 0o700},
		zipEntry{"lib/a.so.1", "library", 0o755}, zipEntry{"lib/a.so", "a.so.1", fs.ModeSymlink | 0o777},
		zipEntry{"suid", "x", 0o755 | fs.ModeSetuid}, zipEntry{"twice", "first", 0o644}, zipEntry{"twice", "second", 0o644})
	dir, err := p.acquire(t.Context(), []Package{packageOf(code)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		".": fs.ModeDir | 0o555, "private.py": 0o444, "bin": fs.ModeDir | 0o555, "bin/tool": 0o555, "lib/a.so.1": 0o555,
		"lib/a.so": fs.ModeSymlink | 0o777, "suid": 0o555,
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "lib/a.so")); string(text) != "library" {
		t.Errorf("through the link: got %q", text)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "twice")); string(text) != "second" {
		t.Errorf("written twice: got %q, want the later", text)
	}
}

func TestLayersOverlay(t *testing.T) {
	p := newTestPackages(t)
	a := packageOf(rawZip(t, zipEntry{"bin/x", "a", 0o755}, zipEntry{"only-a", "a", 0o644}))
	b := packageOf(rawZip(t, zipEntry{"bin/x", "b", 0o755}, zipEntry{"bin/only-b", "b", 0o755}))
	read := func(list ...Package) string {
		t.Helper()
		dir, err := p.acquire(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "bin/x"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if ab, ba := read(a, b), read(b, a); ab != "b" || ba != "a" {
		t.Errorf("got %s and %s, want the later layer each time", ab, ba)
	}
	clash := packageOf(rawZip(t, zipEntry{"bin", "a file", 0o644}))
	if _, err := p.acquire(t.Context(), []Package{a, clash}); !fault.Is(err, fault.Parameter) {
		t.Errorf("a file over a folder: got %v", err)
	}
}

// Many environments that want the same code at once unpack it once.
func TestUnpackOnce(t *testing.T) {
	p := newTestPackages(t)
	data := rawZip(t, zipEntry{"a", strings.Repeat("x", 1<<20), 0o644})
	var opened atomic.Int32
	pkg := packageOf(data)
	open := pkg.Open
	pkg.Open = func(ctx context.Context) (io.ReaderAt, int64, error) {
		opened.Add(1)
		time.Sleep(20 * time.Millisecond)
		return open(ctx)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.acquire(t.Context(), []Package{pkg}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if opened.Load() != 1 {
		t.Errorf("opened %d times, want once", opened.Load())
	}
	left, err := os.ReadDir(p.dir)
	if err != nil || len(left) != 1 {
		t.Errorf("got %v, %v; want one folder", left, err)
	}
}

func TestUnpackFailsWhole(t *testing.T) {
	p := newTestPackages(t)
	noise := make([]byte, 4096)
	rand.Read(noise)
	data := rawZip(t, zipEntry{"ok.py", "fine", 0o644}, zipEntry{"bad.bin", string(noise), 0o644})
	data[len(data)/2] ^= 0xff
	for range 2 {
		_, err := p.acquire(t.Context(), []Package{packageOf(data)})
		if e, ok := errors.AsType[*fault.Error](err); !ok || !strings.HasPrefix(e.Message, "Could not unzip uploaded file.") {
			t.Errorf("got %v", err)
		}
	}
	if left, _ := os.ReadDir(p.dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	broken := Package{SHA256: "x", Open: func(context.Context) (io.ReaderAt, int64, error) { return nil, 0, io.ErrUnexpectedEOF }}
	if _, err := p.acquire(t.Context(), []Package{broken}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the store's error", err)
	}
}

func TestPackageSweep(t *testing.T) {
	p := newTestPackages(t)
	dir, err := p.acquire(t.Context(), []Package{packageOf(rawZip(t, zipEntry{"a/b", "x", 0o644}))})
	if err != nil {
		t.Fatal(err)
	}
	p.sweep(time.Now().Add(2 * packageAge))
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("removed while in use: %v", err)
	}
	p.release(dir)
	p.sweep(time.Now())
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("removed too early: %v", err)
	}
	p.sweep(time.Now().Add(2 * packageAge))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// FuzzUnzip unpacks anything and looks for what left its folder.
func FuzzUnzip(f *testing.F) {
	f.Add(rawZip(f, zipEntry{"a/b", "x", 0o644}, zipEntry{"l", "a/b", fs.ModeSymlink | 0o777}))
	f.Add(rawZip(f, zipEntry{"l", "../out", fs.ModeSymlink | 0o777}, zipEntry{"l/x", "x", 0o644}))
	f.Add(rawZip(f, zipEntry{"d", "e/f", fs.ModeSymlink | 0o777}, zipEntry{"m", "d/..", fs.ModeSymlink | 0o777}, zipEntry{"../x", "x", 0o644}))
	f.Fuzz(func(t *testing.T, data []byte) {
		archive, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		base := t.TempDir()
		mustWrite(t, base+"/out", "untouched", 0o600)
		if err := os.Mkdir(base+"/in", 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(base + "/in")
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if unzip(root, archive) == nil {
			closeFolders(base + "/in")
		}
		if text, _ := os.ReadFile(base + "/out"); string(text) != "untouched" {
			t.Errorf("changed a file outside: %q", text)
		}
		if entries, err := os.ReadDir(base); err != nil || len(entries) != 2 {
			t.Errorf("outside: %v, %v", entries, err)
		}
		if err := removeTree(base + "/in"); err != nil {
			t.Errorf("cannot be removed: %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir+"/empty.pem", "nothing here\n", 0o600)
	mustWrite(t, dir+"/key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600)
	mustWrite(t, dir+"/damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600)
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{}, "Functions need a folder."},
		{Config{Dir: "/usr/share/keyturn"}, "/usr/share/keyturn lies in /usr, which every function can read."},
		{Config{Dir: dir, Private: []string{"/usr/local/keyturn"}}, "/usr/local/keyturn lies in /usr"},
		{Config{Dir: dir, CABundle: []string{dir + "/none.pem"}}, "no such file"},
		{Config{Dir: dir, CABundle: []string{dir + "/empty.pem"}}, "no certificate in PEM form"},
		{Config{Dir: dir, CABundle: []string{dir + "/key.pem"}}, "PRIVATE KEY, which functions must not see"},
		{Config{Dir: dir, CABundle: []string{dir + "/damaged.pem"}}, "damaged.pem"},
	}
	for _, test := range tests {
		if _, err := New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

// What an earlier server left in the folder is cleared.
func TestOldFilesAreCleared(t *testing.T) {
	dir := t.TempDir() + "/functions"
	if err := os.MkdirAll(dir+"/live/code/x", 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir+"/live/code/x/file", "old", 0o400)
	if err := os.Chmod(dir+"/live/code/x", 0o500); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/old-1/x", 0o700); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir() + "/keyturn-functions-1"
	if err := os.MkdirAll(elsewhere+"/live/code", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere+"/live", dir+"/old-2"); err != nil {
		t.Fatal(err)
	}
	k := newKit(t, func(c *Config) { c.Dir = dir })
	k.value(spec(t, py("return 1"), nil), "{}")
	if _, err := os.Stat(dir + "/live/code/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old code is still in use: %v", err)
	}
	eventually(t, "the older folders go", patience, func() bool {
		_, err := os.Stat(dir + "/old-1")
		_, err2 := os.Stat(elsewhere)
		return errors.Is(err, fs.ErrNotExist) && errors.Is(err2, fs.ErrNotExist)
	})
}

func TestBrokenCodeIsTheInvocationsError(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py("pass"), func(s *Spec) { s.Code = packageOf([]byte("not a zip")) })
	_, err := k.Invoke(t.Context(), s, free, Event{RequestID: "r"})
	if !fault.Is(err, fault.Parameter) {
		t.Errorf("got %v, want the unzip error", err)
	}
	eventually(t, "nothing is left of it", patience, func() bool { return k.environments() == 0 })
}

func TestLimits(t *testing.T) {
	k := newKit(t, nil)
	s := spec(t, py(`import resource as r, os
---
def write():
    try:
        with open("/tmp/big", "wb") as f:
            for _ in range(20): f.write(b"x" * (1 << 20))
    except OSError as e:
        return [e.errno, os.path.getsize("/tmp/big") >> 20]
return [r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NPROC), write(), oct(os.umask(0))]`),
		func(s *Spec) { s.EphemeralMB = 10 })
	want := `[[1024, 1024], [0, 0], [1024, 1024], [27, 10], "0o22"]`
	if got := k.value(s, "{}"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
