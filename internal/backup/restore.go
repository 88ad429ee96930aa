package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// unhide returns the cause of an internal error: its reader is the operator.
func unhide(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Message == "" && f.Cause != nil {
		return unhide(f.Cause)
	}
	return err
}

// content opens a backup and returns its records' reader.
func content(ctx context.Context, from io.Reader, p Protection) (*openReader, *gzip.Reader, *Header, error) {
	in, h, err := newOpenReader(ctx, from, p)
	if err != nil {
		return nil, nil, h, unwrapped(err)
	}
	if known := store.Schema(); h.Schema > known {
		return nil, nil, h, fmt.Errorf("the backup is of a newer keyturn (its schema is number %d, this program knows %d): use that version", h.Schema, known)
	}
	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, nil, h, cut(err)
	}
	zip.Multistream(false)
	return in, zip, h, nil
}

func unwrapped(err error) error {
	if errors.Is(err, key.ErrWrongRootKey) {
		return err
	}
	return unhide(err)
}

// readAll hands over all of a backup, and returns nil only when it was whole.
func readAll(in *openReader, zip *gzip.Reader, v visitor) (counts, error) {
	c, err := decode(zip, v)
	if err != nil {
		return c, err
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		if err == nil {
			err = damaged("something is behind its end")
		}
		return c, err
	}
	return c, nil
}

// checker looks at everything and keeps nothing.
type checker struct{ rootKey bool }

func (*checker) Table(string, []string) error { return nil }
func (*checker) Row([]any) error              { return nil }
func (*checker) Data([]byte) error            { return nil }
func (c *checker) File(path string) error {
	c.rootKey = c.rootKey || path == RootKeyFile
	return nil
}

// Check reads all of a backup and tells what it holds. It changes nothing.
func Check(ctx context.Context, p Protection, from io.Reader) (*Summary, error) {
	in, zip, h, err := content(ctx, &stoppable{ctx, from}, p)
	if err != nil {
		return nil, err
	}
	var seen checker
	c, err := readAll(in, zip, &seen)
	if err != nil {
		return nil, err
	}
	return &Summary{Header: *h, Rows: c.Rows, Files: c.Files, Bytes: c.Bytes, RootKey: seen.rootKey}, nil
}

// Target says where to restore: into a data folder that is empty but for the
// root key's file, and a database that is.
type Target struct {
	// Dir is the data folder, made if it is missing. StoreURL is the
	// postgres:// URL of the store, or "" for SQLite in Dir.
	Dir, StoreURL string
	// Protection is what the backup is under. With a passphrase, Keepers may
	// be set too: then what is restored must open with them.
	Protection Protection
}

// Restore puts a backup back. When it returns nil, a server may be started on
// the target; with any other result nothing was restored. A Restore that is
// killed leaves a folder that servers refuse, and in which Restore can be
// repeated.
func Restore(ctx context.Context, target Target, from io.Reader) (_ *Summary, err error) {
	in, zip, h, err := content(ctx, &stoppable{ctx, from}, target.Protection)
	if err != nil {
		return nil, err
	}
	if keepers := target.Protection.Keepers; keepers != nil {
		for _, id := range h.RootKeys {
			if !keepers.Has(id) {
				return nil, fmt.Errorf("what was backed up needs the root key %s too, and the root key given is %s: add the other with --old-root-key", id, keepers.ID())
			}
		}
	}
	_, statErr := os.Lstat(target.Dir)
	held, err := folder.OpenForRestore(target.Dir, RootKeyFile)
	if err != nil {
		return nil, err
	}
	r := &restorer{dir: held.Path}
	defer func() {
		if err != nil && !r.done {
			err = errors.Join(err, r.undo(held, errors.Is(statErr, fs.ErrNotExist)))
		}
	}()
	if err := os.RemoveAll(filepath.Join(held.Path, TrailFolder)); err != nil { // of a restore that was killed
		return nil, fmt.Errorf("removing what an earlier restore left: %w", err)
	}
	var c counts
	fill := func(l *store.Loader) (err error) {
		r.Loader = l
		c, err = readAll(in, zip, r)
		return errors.Join(err, r.closeFile())
	}
	if target.StoreURL != "" {
		err = postgres.Restore(ctx, target.StoreURL, h.Schema, fill)
	} else {
		err = sqlite.Restore(ctx, held, h.Schema, fill)
	}
	if err != nil {
		return nil, err
	}
	r.done = true
	if err := errors.Join(held.Restored(), held.Close()); err != nil {
		return nil, fmt.Errorf("everything is restored, but the data folder could not be opened for servers: %w", err)
	}
	return &Summary{Header: *h, Rows: c.Rows, Files: c.Files, Bytes: c.Bytes, RootKey: r.rootKey}, nil
}

// restorer is the visitor that restores.
type restorer struct {
	*store.Loader
	dir     string
	file    *os.File
	rootKey bool
	made    []string // files, to be removed on failure
	keep    []byte   // what a file must hold that is there already
	same    bool
	done    bool // the database is in place
}

// File implements visitor.
func (r *restorer) File(name string) error {
	if err := r.closeFile(); err != nil {
		return err
	}
	path := filepath.Join(r.dir, RootKeyFile)
	switch rest, trail := strings.CutPrefix(name, TrailFolder+"/"); {
	case trail && isTrailFile(rest):
		path = filepath.Join(r.dir, TrailFolder, rest)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("making the trail folder: %w", err)
		}
	case name == RootKeyFile:
		r.rootKey = true
		if there, err := os.ReadFile(path); err == nil {
			r.keep, r.same = there, true
			return nil
		}
	default:
		return damaged("it holds a file %.100q, which is no file of a server", name)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restoring a file: %w", err)
	}
	r.file, r.made = f, append(r.made, path)
	return nil
}

// Data implements visitor.
func (r *restorer) Data(b []byte) error {
	if r.same {
		rest, ok := bytes.CutPrefix(r.keep, b)
		if !ok {
			return errors.New("the data folder has another root key than the backup: move root.key away")
		}
		r.keep = rest
		return nil
	}
	if _, err := r.file.Write(b); err != nil {
		return fmt.Errorf("restoring a file: %w", err)
	}
	return nil
}

// closeFile ends the file that is being restored, on disk.
func (r *restorer) closeFile() error {
	if r.same && len(r.keep) > 0 {
		return errors.New("the data folder has another root key than the backup: move root.key away")
	}
	r.same = false
	if r.file == nil {
		return nil
	}
	err := errors.Join(r.file.Sync(), r.file.Close())
	r.file = nil
	if err != nil {
		return fmt.Errorf("restoring a file: %w", err)
	}
	return nil
}

// undo removes what was restored, and the folder if it was made for that.
func (r *restorer) undo(held *folder.Folder, made bool) error {
	var errs []error
	if r.file != nil {
		_ = r.file.Close() // it goes
	}
	for _, path := range r.made {
		errs = append(errs, os.Remove(path))
	}
	trail := filepath.Join(r.dir, TrailFolder)
	if err := os.Remove(trail); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil {
		err = held.Restored()
	}
	if made && err == nil {
		err = os.RemoveAll(r.dir)
	}
	return errors.Join(err, held.Close())
}
