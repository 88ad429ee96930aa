package keeper

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/key"
)

var (
	_ key.Keeper = (*File)(nil)
	_ key.Keeper = (*Environment)(nil)
)

var rawKey = []byte("0123456789abcdef0123456789abcdef")

func environment(t *testing.T, raw []byte) *Environment {
	t.Helper()
	e, err := NewEnvironment(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWrap(t *testing.T) {
	ctx := t.Context()
	k := environment(t, rawKey)
	plain := []byte("material")
	wrapped, err := k.Wrap(ctx, plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, plain) {
		t.Error("the wrapped bytes show the plain ones")
	}
	again, err := k.Wrap(ctx, plain)
	if err != nil || bytes.Equal(again, wrapped) {
		t.Errorf("wrapping twice gives the same bytes, %v", err)
	}
	same := environment(t, rawKey)
	if same.ID() != k.ID() || len(k.ID()) != 16 {
		t.Errorf("got IDs %s and %s of one key", k.ID(), same.ID())
	}
	if got, err := same.Unwrap(ctx, wrapped); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %q, %v; want %q", got, err, plain)
	}
	for i := range wrapped {
		changed := bytes.Clone(wrapped)
		changed[i] ^= 1
		if _, err := k.Unwrap(ctx, changed); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := k.Unwrap(ctx, wrapped[:i]); err == nil {
			t.Errorf("opened with %d bytes", i)
		}
	}
	other := environment(t, []byte("fedcba9876543210fedcba9876543210"))
	_, err = other.Unwrap(ctx, wrapped)
	if !errors.Is(err, key.ErrWrongRootKey) || !strings.Contains(err.Error(), k.ID()) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("got %v, want the wrong root key with both IDs", err)
	}
}

func TestEnvironment(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 16) // needs both special characters
	want := environment(t, raw).ID()
	for _, value := range []string{
		base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw),
		" " + base64.StdEncoding.EncodeToString(raw) + "\n",
	} {
		if e, err := NewEnvironment(value); err != nil || e.ID() != want {
			t.Errorf("%d characters: %v", len(value), err)
		}
	}
	for value, text := range map[string]string{
		"":     "KEYTURN_ROOT_KEY: the root key has 0 bytes, want 32",
		"AAAA": "KEYTURN_ROOT_KEY: the root key has 3 bytes, want 32",
		"#+":   "KEYTURN_ROOT_KEY is not base64",
		base64.StdEncoding.EncodeToString(append(raw, 0)): "KEYTURN_ROOT_KEY: the root key has 33 bytes, want 32",
	} {
		if _, err := NewEnvironment(value); err == nil || err.Error() != text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}

func TestFileCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	made, err := OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	for _, fresh := range []bool{true, false} {
		got, err := OpenFile(path, fresh)
		if err != nil || got.ID() != made.ID() || got.Path() != path {
			t.Errorf("fresh %v: %v", fresh, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %d files, %v; want the key alone", len(entries), err)
	}
	wrapped, err := made.Wrap(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := made.Unwrap(t.Context(), wrapped); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFileRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	ids := make([]string, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			f, err := OpenFile(path, true)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = f.ID()
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("got keys %v, want one", ids)
		}
	}
}

func TestFileRefused(t *testing.T) {
	good, err := formatFile(rawKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := formatFile([]byte("fedcba9876543210fedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	short := strings.Replace(string(good), base64.StdEncoding.EncodeToString(rawKey), base64.StdEncoding.EncodeToString(rawKey[:31]), 1)
	mixed := strings.Join(append(strings.SplitAfter(string(good), "\n")[:2], strings.SplitAfter(string(other), "\n")[2]), "")
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"open to the group", string(good), 0o640, "chmod 600"},
		{"open to all", string(good), 0o604, "chmod 600"},
		{"writable by the group", string(good), 0o620, "has mode 0620"},
		{"empty", "", 0o600, "not a Keyturn root key file"},
		{"cut", string(good[:len(good)-9]), 0o600, "the root key has 27 bytes"},
		{"without its end", strings.TrimSuffix(string(good), "\n") + "=", 0o600, "damaged"},
		{"short key", short, 0o600, "the root key has 31 bytes, want 32"},
		{"another's id", mixed, 0o600, "the key does not belong to the id"},
		{"more lines", string(good) + "x\n", 0o600, "damaged"},
		{"newer format", strings.Replace(string(good), "key 1\n", "key 2\n", 1), 0o600, `format "2" is not known`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root.key")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := OpenFile(path, true)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q in it", err, tc.want)
			}
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "MDEyMzQ1") {
				t.Errorf("the error hides the path or shows the key: %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != tc.text {
				t.Error("the file was changed")
			}
		})
	}
}

func TestFileMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	_, err := OpenFile(path, false)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "put the file back from a backup") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was made")
	}
	if _, err := OpenFile(filepath.Join(path, "none", "root.key"), true); err == nil {
		t.Error("made a file in a folder that does not exist")
	}
	if _, err := OpenFile(t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v", err)
	}
}

func FuzzFile(f *testing.F) {
	good, err := formatFile(rawKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("keyturn root key 1\nid x\nkey \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseFile(text)
		if err != nil {
			return
		}
		if !strings.Contains(string(text), "id "+r.ID()+"\n") {
			t.Errorf("accepted %q without its ID", text)
		}
	})
}
