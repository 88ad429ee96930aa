package backup_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/backup"
	"github.com/keyturn/keyturn/internal/store/folder"
)

// files lists what is in a folder, with the content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		found[path[len(dir):]] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What cannot be restored changes nothing, neither the folder nor the
// database, and can be replaced by something that can.
func TestRefusedRestores(t *testing.T) {
	p := rootKey(t, 1)
	dir := t.TempDir()
	openTables(t, dir)
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), backup.Source{Dir: dir, Protection: p}, &file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	middle := bytes.Clone(whole)
	middle[len(middle)/2] ^= 1
	broken := errors.New("the cable broke")
	for _, tc := range []struct {
		name string
		file []byte
		fail error
		p    backup.Protection
		want string
	}{
		{"wrong root key", whole, nil, rootKey(t, 2), "the backup is under the root key"},
		{"no key", whole, nil, backup.Protection{}, "under the root key of the server"},
		{"flipped byte", middle, nil, p, "the backup is damaged"},
		{"cut", whole[:len(whole)-1], nil, p, "the backup is damaged: it ends too early"},
		{"read error", whole[:len(whole)/2], broken, p, "the cable broke"},
		{"newer format", bytes.Replace(whole, []byte(`"format":1`), []byte(`"format":9`), 1), nil, p, "has format 9"},
	} {
		for _, url := range []string{"", apitest.StoreURL(t)} {
			source := func() *stream { return &stream{bytes.NewReader(tc.file), tc.fail} }
			target := backup.Target{Dir: filepath.Join(t.TempDir(), "new"), StoreURL: url, Protection: tc.p}
			if _, err := backup.Restore(t.Context(), target, source()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
			}
			if _, err := os.Stat(target.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: left behind %v", tc.name, files(t, target.Dir))
			}
			if _, err := backup.Check(t.Context(), tc.p, source()); err == nil {
				t.Errorf("%s: the check found nothing", tc.name)
			}
			if tc.name != "flipped byte" {
				continue
			}
			target.Protection = p
			if _, err := backup.Restore(t.Context(), target, bytes.NewReader(whole)); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		}
	}
}

// stream gives its bytes and then an error, if there is one.
type stream struct {
	*bytes.Reader
	err error
}

func (s *stream) Read(b []byte) (int, error) {
	if s.Len() == 0 && s.err != nil {
		return 0, s.err
	}
	return s.Reader.Read(b)
}

// A target that is not empty stays as it is.
func TestRefusedTargets(t *testing.T) {
	p := rootKey(t, 1)
	dir := t.TempDir()
	openTables(t, dir)
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), backup.Source{Dir: dir, Protection: p}, &file); err != nil {
		t.Fatal(err)
	}
	restore := func(target backup.Target) error {
		target.Protection = p
		_, err := backup.Restore(t.Context(), target, iotest.HalfReader(bytes.NewReader(file.Bytes())))
		return err
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := apitest.StoreURL(t)
	if err := restore(backup.Target{Dir: t.TempDir(), StoreURL: url}); err != nil {
		t.Fatal(err)
	}
	for want, target := range map[string]backup.Target{
		"is not empty: it holds keyturn.db": {Dir: dir},
		"is not empty: it holds notes.txt":  {Dir: used},
		"is not empty: it has":              {Dir: t.TempDir(), StoreURL: url},
	} {
		before := files(t, target.Dir)
		delete(before, "/keyturn.lock")
		if err := restore(target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		after := files(t, target.Dir)
		delete(after, "/keyturn.lock")
		if len(after) != len(before) {
			t.Errorf("%s: got %d files, want %d", want, len(after), len(before))
		}
	}
	held, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := restore(backup.Target{Dir: held.Path}); err == nil || !strings.Contains(err.Error(), "is in use by another keyturn server") {
		t.Errorf("a folder in use: got %v", err)
	}
}

// The root key goes into a backup under a passphrase only, and comes out of
// it beside nothing but itself.
func TestRootKeyInBackup(t *testing.T) {
	pass := backup.Protection{Passphrase: []byte("pass")}
	dir := t.TempDir()
	fillTables(t, dir)
	rootKeyFile := filepath.Join(dir, "root.key")
	if err := os.WriteFile(rootKeyFile, []byte("the key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), backup.Source{Dir: dir, Protection: rootKey(t, 1), RootKey: rootKeyFile}, &file); err == nil || file.Len() > 0 {
		t.Errorf("under the root key: got %v and %d bytes", err, file.Len())
	}
	s, err := backup.Write(t.Context(), backup.Source{Dir: dir, Protection: pass, RootKey: rootKeyFile}, &file)
	if err != nil || !s.RootKey {
		t.Fatalf("got %+v and %v", s, err)
	}
	for there, wantErr := range map[string]bool{"": false, "the key\n": false, "another key\n": true, "the key\nand more": true, "the": true} {
		target := backup.Target{Dir: t.TempDir(), Protection: pass}
		path := filepath.Join(target.Dir, "root.key")
		if there != "" {
			if err := os.WriteFile(path, []byte(there), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := backup.Restore(t.Context(), target, bytes.NewReader(file.Bytes()))
		if (err != nil) != wantErr {
			t.Errorf("over %q: got %v", there, err)
		}
		got, _ := os.ReadFile(path)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("over %q: got mode %v and %v", there, info.Mode(), err)
		}
		if want := map[bool]string{true: there, false: "the key\n"}[wantErr]; string(got) != want {
			t.Errorf("over %q: got %q, want %q", there, got, want)
		}
	}
}
