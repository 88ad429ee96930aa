package function

import (
	"archive/zip"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// The limits of a deployment package (AWS docs).
const (
	MaxZipped   = 52_428_800  // bytes of a zip sent through the API
	MaxUnzipped = 262_144_000 // bytes of code and layers together, unzipped
)

// maxArchiveFiles bounds the entries of one zip. AWS states no such limit;
// it keeps a package of empty files from using up the host's inodes.
const maxArchiveFiles = 200_000

// maxLinkTarget is the longest target of a symbolic link, in bytes (Linux).
const maxLinkTarget = 4095

// Archive is a deployment package or layer whose entries have been checked:
// no name leaves the archive's own tree, by itself or through a link.
type Archive struct {
	// Files holds the entries in the archive's order, names cleaned. A later
	// entry replaces an earlier one of the same name.
	Files []ArchiveFile
	// Unzipped is the sum of the sizes that the entries declare, in bytes.
	Unzipped int64
}

// ArchiveFile is one entry of an Archive.
type ArchiveFile struct {
	// Name is relative, cleaned and slash-separated.
	Name string
	// Mode is a directory, a symbolic link or a regular file, with the
	// permissions that the zip carries.
	Mode fs.FileMode
	// Target is where a symbolic link points, relative to its folder.
	Target string
	// Size is the declared length of a regular file, in bytes.
	Size int64

	entry *zip.File
}

// NotAZip is the error for a package that cannot be unzipped, in AWS's words
// (AWS: recorded).
func NotAZip(cause error) *fault.Error {
	return fault.New(fault.Parameter,
		"Could not unzip uploaded file. Please check your file, then try to upload again.").Because(cause)
}

// CheckUnzipped returns AWS's error when code and layers together unzip to
// more than the limit (AWS: recorded).
func CheckUnzipped(bytes int64) error {
	if bytes < MaxUnzipped {
		return nil
	}
	return fault.New(fault.Parameter, "Unzipped size must be smaller than %d bytes", MaxUnzipped)
}

// CheckZipped returns AWS's error when a zip is over the limit for uploads
// through the API (AWS: recorded).
func CheckZipped(bytes int64) error {
	if bytes < MaxZipped {
		return nil
	}
	return fault.New(fault.TooLarge, "Zipped size must be smaller than %d bytes", MaxZipped)
}

// ReadArchive reads a zip's directory and checks every entry. It fails with
// NotAZip for a damaged, encrypted or escaping archive and with
// CheckUnzipped's error for one that declares too much. It reads no contents
// but those of links.
func ReadArchive(r io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, NotAZip(err)
	}
	if len(z.File) > maxArchiveFiles {
		return nil, NotAZip(errors.New("too many entries"))
	}
	a := &Archive{Files: make([]ArchiveFile, 0, len(z.File))}
	kinds := make(map[string]fs.FileMode, len(z.File))
	for _, entry := range z.File {
		f, err := checkEntry(entry)
		if err != nil {
			return nil, NotAZip(err)
		}
		if f.Name == "." {
			continue
		}
		if err := place(kinds, f); err != nil {
			return nil, NotAZip(err)
		}
		if f.Size < 0 || f.Size > MaxUnzipped {
			return nil, CheckUnzipped(MaxUnzipped)
		}
		a.Unzipped += f.Size
		if err := CheckUnzipped(a.Unzipped); err != nil {
			return nil, err
		}
		a.Files = append(a.Files, f)
	}
	return a, nil
}

// checkEntry checks one entry by itself.
func checkEntry(entry *zip.File) (ArchiveFile, error) {
	name := entry.Name
	bad := func(why string) (ArchiveFile, error) {
		return ArchiveFile{}, errors.New("entry " + name + " " + why)
	}
	if name == "" || strings.ContainsRune(name, 0) || path.IsAbs(name) || !filepath.IsLocal(path.Clean(name)) {
		return bad("has an unsafe name")
	}
	if entry.Flags&1 != 0 {
		return bad("is encrypted")
	}
	f := ArchiveFile{Name: path.Clean(name), Mode: entry.Mode(), entry: entry}
	switch {
	case f.Mode.IsDir():
		return f, nil
	case f.Mode.IsRegular():
		f.Size = int64(entry.UncompressedSize64)
		return f, nil
	case f.Mode.Type() != fs.ModeSymlink:
		return bad("is neither a file, a folder nor a link")
	}
	target, err := readTarget(entry)
	if err != nil {
		return ArchiveFile{}, err
	}
	if target == "" || strings.ContainsRune(target, 0) || path.IsAbs(target) ||
		!filepath.IsLocal(path.Join(path.Dir(f.Name), target)) {
		return bad("links outside the archive")
	}
	f.Target = target
	return f, nil
}

// readTarget reads where a link points.
func readTarget(entry *zip.File) (string, error) {
	if entry.UncompressedSize64 > maxLinkTarget {
		return "", errors.New("entry " + entry.Name + " links to too long a name")
	}
	r, err := entry.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	target, err := io.ReadAll(io.LimitReader(r, maxLinkTarget+1))
	return string(target), err
}

// place records what f is and refuses what cannot stand beside the entries
// before it: anything below a file or a link, and a name of two kinds.
func place(kinds map[string]fs.FileMode, f ArchiveFile) error {
	kind := f.Mode.Type()
	if old, ok := kinds[f.Name]; ok && (old != kind || kind == fs.ModeSymlink) {
		return errors.New("entry " + f.Name + " is there twice")
	}
	kinds[f.Name] = kind
	for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
		old, ok := kinds[dir]
		if ok && old != fs.ModeDir {
			return errors.New("entry " + f.Name + " lies below a file")
		}
		if ok {
			return nil
		}
		kinds[dir] = fs.ModeDir
	}
	return nil
}

// WriteTo copies a regular file's contents to w and returns how many bytes
// went through. It stops with CheckUnzipped's error as soon as more than
// limit bytes come out, whatever the entry declares, and with NotAZip's when
// the data is damaged.
func (f ArchiveFile) WriteTo(w io.Writer, limit int64) (int64, error) {
	r, err := f.entry.Open()
	if err != nil {
		return 0, NotAZip(err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(damageReader{r}, limit+1))
	if err != nil {
		return n, err
	}
	if n > limit {
		return n, CheckUnzipped(MaxUnzipped)
	}
	return n, nil
}

// damageReader marks read errors as the archive's, so that they are told from
// errors of writing.
type damageReader struct{ r io.Reader }

func (d damageReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = NotAZip(err)
	}
	return n, err
}

// Verify unzips everything into nothing, so that damage is found when a
// package arrives and not when its function is first invoked.
func (a *Archive) Verify() error {
	left := int64(MaxUnzipped)
	for _, f := range a.Files {
		if !f.Mode.IsRegular() {
			continue
		}
		n, err := f.WriteTo(io.Discard, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}
