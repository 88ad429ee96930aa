//go:build linux

package hardship

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/faultdisk"
)

// copyTree makes a copy of a data folder, modes included.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rest)
		if d.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// change rewrites a file of the folder.
func change(name string, how func([]byte) []byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, how(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// flip turns every bit of a range over.
func flip(from, to int) func([]byte) []byte {
	return func(b []byte) []byte {
		for i := from; i < min(to, len(b)); i++ {
			b[i] ^= 0xff
		}
		return b
	}
}

func keep(n int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:min(n, len(b))] }
}

func remove(names ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is wrong with a data folder is said in a line that names the file and
// what to do, before anything in it is changed.
func TestDamagedFolders(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	newLedger(t, p, "damaged/a", "damaged/b").well(t)
	p.Stop() // all is in the database now, and none in its log
	whole := p.Dir
	for _, tc := range []struct {
		name   string
		damage func(*testing.T, string)
		want   string // a regular expression
	}{
		{"no database header", change("keyturn.db", flip(0, 16)), `keyturn\.db is damaged.*: restore a backup`},
		{"no page sizes", change("keyturn.db", flip(16, 24)), `keyturn\.db is damaged.*: restore a backup`},
		{"the schema's page", change("keyturn.db", flip(100, 4096)), `keyturn\.db is damaged.*: restore a backup`},
		{"half a database", change("keyturn.db", func(b []byte) []byte { return b[:len(b)/2/4096*4096] }), `keyturn\.db is damaged.*: restore a backup`},
		{"some other file", change("keyturn.db", func([]byte) []byte { return []byte(strings.Repeat("hello\n", 2000)) }), `keyturn\.db is damaged.*: restore a backup`},
		{"an empty database", change("keyturn.db", keep(0)), `keyturn\.db is empty, but the folder has been in use: restore a backup`},
		{"no database", remove("keyturn.db"), `keyturn\.db is missing, but the folder has been in use: restore a backup`},
		{"no root key", remove("root.key"), `root\.key is missing, and what is stored cannot be opened without it: put the file back from a backup`},
		{"an empty root key", change("root.key", keep(0)), `root\.key: it is not a Keyturn root key file`},
		{"half a root key", change("root.key", keep(40)), `root\.key: it is damaged`},
		{"a changed root key", change("root.key", func(b []byte) []byte { return []byte(strings.ToUpper(string(b))) }), `root\.key: it is not a Keyturn root key file`},
		{"an open root key", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "root.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, `root\.key has mode 0644 and is open to others than its owner: chmod 600 `},
		{"a folder open to all", func(t *testing.T, dir string) {
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}, `is open to every user of this machine`},
		{"half a node name", change("node.json", keep(5)), `node\.json is damaged`},
		{"a file for a folder", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "trail")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "trail"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, `making the trail folder: .*not a directory`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := copyTree(t, whole)
			tc.damage(t, dir)
			before := stamp(t, dir)
			got := p.Program(dir).Refuse()
			lines := strings.Split(strings.TrimSpace(got), "\n")
			if last := lines[len(lines)-1]; !regexp.MustCompile(`^keyturn: .*`+tc.want).MatchString(last) || strings.Contains(got, "goroutine") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if after := stamp(t, dir); after != before {
				t.Errorf("the folder was changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// stamp lists the sizes of the files that matter.
func stamp(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{"keyturn.db", "root.key", "node.json"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			fmt.Fprintf(&b, "%s %d\n", name, info.Size())
		}
	}
	return b.String()
}

// A folder on a disk that cannot be written is refused, and so is one without
// room; both say so, and both work once that is over.
func TestStartOnBadDisk(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Small(t, 64<<20)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data")})
	l := newLedger(t, p, "start/a")
	p.Stop()
	disk.Fill(t)
	if got := p.Refuse(); !strings.Contains(got, "no space left on device") && !strings.Contains(got, "the disk is full, or fails") {
		t.Errorf("on a full disk: got %q", got)
	}
	disk.Free(t)
	disk.ReadOnly(t, true)
	if got := p.Refuse(); !strings.Contains(got, "read-only file system") {
		t.Errorf("on a read-only disk: got %q", got)
	}
	disk.ReadOnly(t, false)
	p.Restart()
	l.well(t)
	l.audit(t)
}

// A log of the database that was cut short or changed, as no crash does it,
// loses what lies behind that place, and nothing before: what is left is
// sound.
func TestCutLog(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	l := newLedger(t, p, "cut/a")
	for range 5 {
		if err := l.put(t, "cut/a"); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	for name, damage := range map[string]func([]byte) []byte{
		"cut in half":       func(b []byte) []byte { return b[:len(b)/2] },
		"cut to its header": keep(32),
		"cut inside that":   keep(10),
		"empty":             keep(0),
		"a byte changed":    func(b []byte) []byte { return flip(len(b)/2, len(b)/2+1)(b) },
		"zeros at the end":  func(b []byte) []byte { return append(b, make([]byte, 8192)...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyTree(t, p.Dir)
			change("keyturn.db-wal", damage)(t, dir)
			checkDatabase(t, dir)
		})
	}
	p.Restart()
	l.well(t)
}
