package deploy

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Limits of Lambda in bytes (AWS docs): of a package's content, layers
// included, and of a package that is not uploaded through S3.
const (
	maxContent = 250 << 20
	maxDirect  = 50 << 20
)

// packageTime is when everything in a package was changed, so that the same
// content makes the same package. It is the earliest that a zip can say.
var packageTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// machines are the processors that Lambda has, by Go's names.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// LambdaArchitecture is Lambda's name of a processor by Go's.
func LambdaArchitecture(arch string) string {
	if arch == "amd64" {
		return "x86_64"
	}
	return arch
}

// standInPackage is the code of a function that the server's own program
// runs: no bootstrap, and at most the authorities to trust.
func standInPackage(bundle []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	err := errors.Join(addBundle(z, bundle), z.Close())
	return b.Bytes(), err
}

func addBundle(z *zip.Writer, bundle []byte) error {
	if len(bundle) == 0 {
		return nil
	}
	_, err := addFile(z, bundleFile, 0o644, bytes.NewReader(bundle))
	return err
}

func addFile(z *zip.Writer, name string, mode fs.FileMode, content io.Reader) (int64, error) {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: packageTime}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err != nil {
		return 0, err
	}
	return io.Copy(w, content)
}

// Size is how large a package is, in bytes.
type Size struct{ Zipped, Content int64 }

// NeedsS3 tells that the package is too large to be uploaded directly.
func (s Size) NeedsS3() bool { return s.Zipped > maxDirect }

// WritePackage writes the package of a function: the program, which is its
// own bootstrap, and the authorities to trust, if any. The file appears whole
// or not at all, and is the same for the same content.
func WritePackage(path, program string, bundle []byte) (size Size, err error) {
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return size, fmt.Errorf("writing the package: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing the package %s: %w", path, err), os.Remove(out.Name()))
		}
	}()
	size, err = writeZip(out, program, bundle)
	if err := errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return size, err
	}
	if size.Content > maxContent {
		return size, fmt.Errorf("its content has %d bytes, and Lambda takes %d: give a stripped program, as make dist builds", size.Content, maxContent)
	}
	return size, os.Rename(out.Name(), path)
}

func writeZip(out *os.File, program string, bundle []byte) (Size, error) {
	in, err := os.Open(program)
	if err != nil {
		return Size{}, err
	}
	defer func() { _ = in.Close() }() // it was only read
	z := zip.NewWriter(out)
	n, err := addFile(z, "bootstrap", 0o755, in)
	if err := errors.Join(err, addBundle(z, bundle), z.Close()); err != nil {
		return Size{}, err
	}
	info, err := out.Stat()
	if err != nil {
		return Size{}, err
	}
	return Size{Zipped: info.Size(), Content: n + int64(len(bundle))}, nil
}

// Program finds a keyturn program for Linux on a processor, by Go's name of
// it: the given one, else self if it fits, else the file keyturn-linux-ARCH
// beside self.
func Program(given, self, arch string) (string, error) {
	if given != "" {
		return given, checkProgram(given, arch)
	}
	unfit := checkProgram(self, arch)
	if unfit == nil {
		return self, nil
	}
	name := "keyturn-linux-" + arch
	sibling := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(sibling); err == nil {
		return sibling, checkProgram(sibling, arch)
	}
	return "", fmt.Errorf("%w; and there is no %s: run \"make dist\" in Keyturn's source, which builds dist/%s, and give that with --binary dist/%s",
		unfit, sibling, name, name)
}

// programPath is the package path that Go records in keyturn programs.
const programPath = "github.com/keyturn/keyturn/cmd/keyturn"

// checkProgram demands a keyturn program for Linux on a processor that needs
// no libraries.
func checkProgram(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no program for Linux: %w", path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if f.Machine != machines[arch] || f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("%s is a program for %s, not for %s", path, f.Machine, arch)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil || info.Path != programPath {
		return fmt.Errorf("%s is no keyturn program", path)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs the libraries of the system it was built on: build it with CGO_ENABLED=0, as make dist does", path)
		}
	}
	return nil
}
