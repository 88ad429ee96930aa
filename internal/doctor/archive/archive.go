// Package archive looks into a Lambda function's deployment package, without
// running anything of it: is the handler there, do its native modules fit the
// runtime, does it pass the rotation token, which of AWS's rotation templates
// is it.
//
// A package comes from outside, so the work on it is bounded: by the number
// of files, by the size of each when unpacked and by the size of all. What is
// beyond a bound is not looked at, and Code.Truncated tells so.
package archive

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
)

const (
	// maxPackage is the largest package that is opened: as large as Lambda
	// lets one be when it is unpacked (AWS docs: 250 MB).
	maxPackage = 256 << 20
	// maxFiles is how many files a package may have.
	maxFiles = 50_000
	// maxUnpacked is how much of a package is unpacked, in bytes.
	maxUnpacked = 256 << 20
	// maxNative and maxSource bound one native module and one source file.
	maxNative = 64 << 20
	maxSource = 4 << 20
	// maxSources is how many source files are read.
	maxSources = 200
	// maxText is how much of a package is read as source, in bytes.
	maxText = 32 << 20
	// maxFileTokens and maxTokens bound what source is taken apart into: the
	// tokens of a file and of all files. AWS's templates have some thousands.
	maxFileTokens = 600_000
	maxTokens     = 1_200_000
	// maxCalls is how many calls that put a value are looked at.
	maxCalls = 100
	// maxInstalled is how many modules of libraries are noted.
	maxInstalled = 10_000
	// maxNatives is how many native modules are listed.
	maxNatives = 500
)

// rotatorPrefix is what the handlers of Keyturn's own rotators begin with.
const rotatorPrefix = "rotator."

// Rotator returns the name of the built-in rotator that a handler names, such
// as postgres.single; "" for other code.
func Rotator(handler string) string {
	name, ok := strings.CutPrefix(handler, rotatorPrefix)
	if !ok {
		return ""
	}
	return name
}

// Inspect tells what is in a deployment package: the zip file, the handler
// and the runtime of the function. The error is of a package that is no zip
// file or that is too large to be one.
func Inspect(data []byte, handler, runtime string) (*doctor.Code, error) {
	b, err := open(data)
	if err != nil {
		return nil, err
	}
	b.findNatives(handler, runtime)
	switch {
	case strings.HasPrefix(runtime, "python"):
		b.inspectPython(handler, strings.TrimPrefix(runtime, "python"))
	case strings.HasPrefix(runtime, "nodejs"):
		b.inspectNode(handler)
	case strings.HasPrefix(runtime, "provided"):
		b.inspectProvided()
	default: // other languages are not looked into
		b.code.HandlerFound = true
	}
	return b.code, nil
}

// bundle is an opened package.
type bundle struct {
	files map[string]*zip.File
	names []string // sorted
	dirs  map[string]bool
	left  int64 // how much more may be unpacked
	text  int64 // how much more may be read as source
	// unread tells that there is source which was not looked at.
	unread bool
	// tokens is how many more source may be taken apart into.
	tokens int
	found  map[string]place // what find has found
	code   *doctor.Code
}

// entryMark begins each entry of a zip file's directory.
const entryMark = "PK\x01\x02"

func open(data []byte) (*bundle, error) {
	if len(data) > maxPackage {
		return nil, fmt.Errorf("the package has %d bytes, and %d are the most", len(data), maxPackage)
	}
	if n := bytes.Count(data, []byte(entryMark)); n > maxFiles {
		return nil, fmt.Errorf("the package has some %d files, and %d are the most", n, maxFiles)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("opening the package: %w", err)
	}
	b := &bundle{
		files: map[string]*zip.File{}, dirs: map[string]bool{}, found: map[string]place{},
		left: maxUnpacked, text: maxText, tokens: maxTokens, code: &doctor.Code{},
	}
	for _, f := range z.File {
		name := path.Clean(strings.ReplaceAll(f.Name, `\`, "/"))
		if strings.HasSuffix(f.Name, "/") || strings.HasPrefix(name, "../") || strings.HasPrefix(name, "/") {
			continue
		}
		if _, twice := b.files[name]; !twice {
			b.names = append(b.names, name)
		}
		b.files[name] = f // the last one wins, as in unpacking
		b.addFolders(name)
	}
	slices.Sort(b.names)
	b.code.Files = len(b.names)
	return b, nil
}

// maxDepth is how many folders of a path are looked at.
const maxDepth = 40

func (b *bundle) addFolders(name string) {
	for range maxDepth {
		name = path.Dir(name)
		if name == "." || b.dirs[name] {
			return
		}
		b.dirs[name] = true
	}
}

// has tells whether a file exists.
func (b *bundle) has(name string) bool {
	_, ok := b.files[name]
	return ok
}

// read unpacks a file; ok is false if there is none, it cannot be unpacked or
// a bound is in the way.
func (b *bundle) read(name string, limit int64) (data []byte, ok bool) {
	data, whole := b.start(name, limit+1)
	if int64(len(data)) > limit {
		b.code.Truncated = true
		return nil, false
	}
	return data, whole
}

// start unpacks the beginning of a file. What a zip file says of sizes is not
// trusted.
func (b *bundle) start(name string, limit int64) (data []byte, ok bool) {
	f := b.files[name]
	if f == nil {
		return nil, false
	}
	if limit = min(limit, b.left); limit <= 0 {
		b.code.Truncated = true
		return nil, false
	}
	r, err := f.Open()
	if err != nil {
		return nil, false
	}
	defer func() { _ = r.Close() }() // nothing is written
	data, err = io.ReadAll(io.LimitReader(r, limit))
	b.left -= int64(len(data))
	return data, err == nil
}

// source unpacks a source file.
func (b *bundle) source(name string) (string, bool) {
	data, ok := b.read(name, min(maxSource, b.text))
	b.text -= int64(len(data))
	b.unread = b.unread || !ok
	return string(data), ok
}

// mayTake is how many tokens the next file may have.
func (b *bundle) mayTake() int { return min(maxFileTokens, b.tokens) }

// took counts the tokens of a file. One that has more than it may is not
// looked at.
func (b *bundle) took(n int, whole bool) {
	b.tokens -= n
	if !whole {
		b.code.Truncated, b.unread = true, true
	}
}
