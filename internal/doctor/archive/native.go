package archive

import (
	"bytes"
	"debug/elf"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
)

// findNatives lists the ELF files.
func (b *bundle) findNatives(handler, runtime string) {
	for _, name := range b.names {
		if !mayBeNative(name) {
			continue
		}
		head, ok := b.start(name, elfHead)
		if !ok || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
			continue
		}
		if len(b.code.Natives) == maxNatives {
			b.code.Truncated = true
			return
		}
		n := doctor.Native{Path: name, Python: pythonTag(name), Architecture: architecture(head)}
		// Keyturn's own program is large, and known.
		own := name == bootstrap && strings.HasPrefix(runtime, "provided") && Rotator(handler) != ""
		if !own {
			if data, ok := b.read(name, maxNative); ok {
				describe(&n, data)
			}
		}
		b.code.Natives = append(b.code.Natives, n)
	}
}

// elfHead is how much of a file tells that it is ELF, and for which machine.
const elfHead = 64

// mayBeNative leaves out what is named as something else.
func mayBeNative(name string) bool {
	base := path.Base(name)
	return strings.Contains(base, ".so") || strings.HasSuffix(base, ".node") || !strings.Contains(base, ".")
}

// architecture reads the machine out of an ELF header, in the words of
// Lambda; "" for machines that it does not have.
func architecture(head []byte) string {
	const at = 18 // of e_machine
	if len(head) < at+2 {
		return ""
	}
	machine := elf.Machine(uint16(head[at]) | uint16(head[at+1])<<8)
	if head[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		machine = elf.Machine(uint16(head[at])<<8 | uint16(head[at+1]))
	}
	switch machine {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return ""
}

// tag is how extension modules are named for one version of CPython (PEP
// 3149): cpython-37m, cpython-310. Modules of the stable interface, abi3, are
// for every later version and so have none.
var tag = regexp.MustCompile(`\.cpython-([23])([0-9]{1,2})[a-z]*[.-]`)

func pythonTag(name string) string {
	m := tag.FindStringSubmatch(path.Base(name))
	if m == nil {
		return ""
	}
	return m[1] + "." + m[2]
}

// scram is in every libpq that knows the method (PostgreSQL: since 10).
const scram = "SCRAM-SHA-256"

func describe(n *doctor.Native, data []byte) {
	n.SCRAM = bytes.Contains(data, []byte(scram))
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return
	}
	paths, _ := f.DynString(elf.DT_RUNPATH) // files that are broken have none
	if len(paths) == 0 {
		paths, _ = f.DynString(elf.DT_RPATH)
	}
	n.RunPath = strings.Join(paths, ":")
	n.Needs, _ = f.ImportedLibraries()
	n.GLIBC = newestGLIBC(f)
	if libpq.MatchString(path.Base(n.Path)) {
		n.LibPQ = libpqVersion(path.Base(n.Path), n.RunPath, data)
	}
}

// newestGLIBC is the newest version of GLIBC that a file asks for.
func newestGLIBC(f *elf.File) string {
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		return ""
	}
	newest := ""
	for _, library := range needs {
		for _, n := range library.Needs {
			version, ok := strings.CutPrefix(n.Dep, "GLIBC_")
			if ok && glibcVersion.MatchString(version) && older(newest, version) {
				newest = version
			}
		}
	}
	return newest
}

var glibcVersion = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){1,2}$`)

// older tells whether a version of dotted numbers is older than another.
func older(a, b string) bool {
	return slices.Compare(numbers(a), numbers(b)) < 0
}

func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		all = append(all, n)
	}
	return all
}

var (
	// libpq is how its file is named, also by tools that bundle it with a
	// hash in the name. The number behind .so.5 counts PostgreSQL's versions.
	libpq = regexp.MustCompile(`^libpq(-[0-9a-f]+)?\.so(\.5(\.([0-9]{1,2}))?)?`)
	// release is the name of the folder in which AWS builds it (AWS docs: the
	// troubleshooting guide's readelf step).
	release = regexp.MustCompile(`(?i)PostgreSQL-([0-9]{1,2})(\.([0-9]{1,2}))?`)
)

// libpqVersion is the version of PostgreSQL that a libpq is of.
func libpqVersion(base, runPath string, data []byte) string {
	if m := release.FindStringSubmatch(runPath); m != nil {
		return major(m[1], m[3])
	}
	if m := libpq.FindStringSubmatch(base); m != nil && m[4] != "" {
		n, err := strconv.Atoi(m[4])
		switch {
		case err != nil:
			return ""
		case n >= 10:
			return m[4]
		case n >= 3: // 5.3 came with 9.0, and so on
			return "9." + strconv.Itoa(n-3)
		}
		return "8"
	}
	if m := release.FindSubmatch(data); m != nil {
		return major(string(m[1]), string(m[3]))
	}
	return ""
}

// major leaves out the minor release: since 10 the first number alone is the
// version.
func major(first, second string) string {
	if len(first) > 1 || second == "" {
		return first
	}
	return first + "." + second
}
