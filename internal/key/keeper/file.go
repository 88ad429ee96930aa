package keeper

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a key.Keeper whose root key is in a file with mode 0600:
//
//	keyturn root key 1
//	id 0123456789abcdef
//	key <base64 of 32 bytes>
//
// The ID is derived from the key, so a changed character is noticed.
type File struct {
	root
	path string
}

const (
	fileTitle   = "keyturn root key "
	fileVersion = "1"
	maxFile     = 4096
)

// OpenFile reads the root key from the file. A missing file is made, with a
// new key, only when fresh says that nothing is sealed yet; it is then whole
// and on disk when OpenFile returns. When two processes make it at once, both
// get the same key. OpenFile refuses a file that others may read or write.
func OpenFile(path string, fresh bool) (*File, error) {
	f, err := readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if !fresh {
		return nil, fmt.Errorf("the root key file %s is missing, and what is stored cannot be opened without it: put the file back from a backup: %w", path, err)
	}
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("making the root key file %s: %w", path, err)
	}
	return readFile(path)
}

// Path returns the file's path.
func (f *File) Path() string { return f.path }

func readFile(path string) (*File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the root key file: %w", err)
	}
	defer func() { _ = in.Close() }() // it was only read
	info, err := in.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the root key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the root key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the root key file %s has mode %04o and is open to others than its owner: chmod 600 %[1]s", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile))
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("reading the root key file %s: %w", path, err)
	}
	r, err := parseFile(text)
	if err != nil {
		return nil, fmt.Errorf("the root key file %s: %w", path, err)
	}
	return &File{r, path}, nil
}

// parseFile reads the file's text. Its errors show nothing of the key.
func parseFile(text []byte) (root, error) {
	title, rest, _ := bytes.Cut(text, []byte("\n"))
	version, ok := strings.CutPrefix(string(title), fileTitle)
	if !ok {
		return root{}, errors.New("it is not a Keyturn root key file")
	}
	if version != fileVersion {
		return root{}, fmt.Errorf("its format %.20q is not known to this version of Keyturn", version)
	}
	idLine, rest, _ := bytes.Cut(rest, []byte("\n"))
	id, okID := bytes.CutPrefix(idLine, []byte("id "))
	keyLine, rest, _ := bytes.Cut(rest, []byte("\n"))
	encoded, okKey := bytes.CutPrefix(keyLine, []byte("key "))
	if !okID || !okKey || len(rest) > 0 {
		return root{}, errors.New("it is damaged: want the lines title, id and key")
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	defer clear(raw)
	n, err := base64.StdEncoding.Strict().Decode(raw, encoded)
	if err != nil {
		return root{}, errors.New("it is damaged: the key is not base64")
	}
	r, err := newRoot(raw[:n])
	if err != nil {
		return root{}, err
	}
	if r.ID() != string(id) {
		return root{}, errors.New("it is damaged: the key does not belong to the id")
	}
	return r, nil
}

// formatFile is the text of a file with the key.
func formatFile(raw []byte) ([]byte, error) {
	id, err := rootID(raw)
	if err != nil {
		return nil, err
	}
	b := []byte(fileTitle + fileVersion + "\nid " + hex.EncodeToString(id) + "\nkey ")
	b = base64.StdEncoding.AppendEncode(b, raw)
	return append(b, '\n'), nil
}

// createFile makes the file with a new key unless there is one.
func createFile(path string) error {
	raw := make([]byte, keyBytes)
	defer clear(raw)
	_, _ = rand.Read(raw) // it never fails
	text, err := formatFile(raw)
	if err != nil {
		return err
	}
	defer clear(text)
	temp := path + "." + strings.ToLower(rand.Text())
	if err := writeNew(temp, text); err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }() // a leftover does no harm
	err = os.Link(temp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// The file system has no links. A crash may then leave a part of
		// the file, which is noticed, but another's key is never replaced.
		err = writeNew(path, text)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeNew writes the text to a new file with mode 0600, through to disk.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir makes a new name in the folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
