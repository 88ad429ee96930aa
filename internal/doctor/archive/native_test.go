package archive_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/doctor"
)

const oldPath = "/local/p4clients/pkgbuild-x/workspace/build/PostgreSQL/PostgreSQL-9.4.x_client_only.1.0/AL2_x86_64/DEV.STD.PTHREAD/build/private/lib"

// machine is this machine's architecture in Lambda's words.
func machine() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

func nativeNamed(t *testing.T, c *doctor.Code, path string) doctor.Native {
	t.Helper()
	i := slices.IndexFunc(c.Natives, func(n doctor.Native) bool { return n.Path == path })
	if i < 0 {
		t.Fatalf("got natives %+v, want %s among them", c.Natives, path)
	}
	return c.Natives[i]
}

func TestLibPQ(t *testing.T) {
	without := compile(t, `const char *PQversion(void) { return "no SASL"; }`, "-Wl,--enable-new-dtags,-rpath,"+oldPath)
	oldTags := compile(t, `const char *PQversion(void) { return "SCRAM-SHA-256"; }`, "-Wl,--disable-new-dtags,-rpath,/build/PostgreSQL-12.8/lib")
	plain := compile(t, `const char *PQversion(void) { return "SCRAM-SHA-256"; }`)
	files := map[string]string{
		"libpq.so.5": without, "old/libpq.so.5": oldTags, "lib/libpq.so.5.7": without, "lib/libpq-0a1b2c3d.so.5.16": plain, "lib/libpq.so": plain, "lib/libz.so.1": plain,
	}
	got := inspect(t, files, "x.y", "python3.9")
	for _, c := range []struct {
		path, version, runPath string
		scram                  bool
	}{
		{"libpq.so.5", "9.4", oldPath, false},
		{"old/libpq.so.5", "12", "/build/PostgreSQL-12.8/lib", true},
		{"lib/libpq.so.5.7", "9.4", oldPath, false},
		{"lib/libpq-0a1b2c3d.so.5.16", "16", "", true},
		{"lib/libpq.so", "", "", true},
		{"lib/libz.so.1", "", "", true},
	} {
		n := nativeNamed(t, got, c.path)
		if n.LibPQ != c.version || n.RunPath != c.runPath || n.SCRAM != c.scram || n.Architecture != machine() {
			t.Errorf("got %+v, want version %q, run path %q, SCRAM %v", n, c.version, c.runPath, c.scram)
		}
	}
}

func TestPythonTag(t *testing.T) {
	lib := compile(t, "int x;")
	names := map[string]string{
		"_psycopg.cpython-37m-x86_64-linux-gnu.so": "3.7", "_pg.cpython-310-aarch64-linux-gnu.so": "3.10", "a/b.cpython-312.so": "3.12", "_rust.abi3.so": "", "libz.so.1": "",
	}
	files := map[string]string{}
	for name := range names {
		files[name] = lib
	}
	got := inspect(t, files, "x.y", "python3.9")
	for name, want := range names {
		if n := nativeNamed(t, got, name); n.Python != want {
			t.Errorf("%s: got %q, want %q", name, n.Python, want)
		}
	}
}

// TestOtherArchitecture changes the machine in a real file's header.
func TestOtherArchitecture(t *testing.T) {
	for _, c := range []struct {
		code byte
		want string
	}{{0xb7, "arm64"}, {0x3e, "x86_64"}, {0x08, ""}} {
		lib := []byte(compile(t, "int x;"))
		lib[18] = c.code
		got := inspect(t, map[string]string{"x.so": string(lib)}, "x.y", "python3.9")
		if n := nativeNamed(t, got, "x.so"); n.Architecture != c.want {
			t.Errorf("machine %#x: got %q, want %q", c.code, n.Architecture, c.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	lib := compile(t, "#include <stdio.h>\n#include <math.h>\nvoid f(void) { printf(\"x\"); }", "-Wl,--no-as-needed", "-lm")
	n := nativeNamed(t, inspect(t, map[string]string{"x.so": lib}, "x.y", "python3.9"), "x.so")
	if !slices.Contains(n.Needs, "libc.so.6") || !slices.Contains(n.Needs, "libm.so.6") || n.GLIBC == "" {
		t.Errorf("got %+v, want libc, libm and a version of GLIBC", n)
	}
}

// TestPsycopg looks at the driver as Debian packs it.
func TestPsycopg(t *testing.T) {
	modules, err := filepath.Glob("/usr/lib/python3/dist-packages/psycopg2/_psycopg.cpython-*.so")
	if err != nil || len(modules) == 0 {
		t.Fatal("the machine has no psycopg2: run: apt-get install python3-psycopg2")
	}
	libraries, err := filepath.Glob("/usr/lib/*-linux-gnu/libpq.so.5.*")
	if err != nil || len(libraries) == 0 {
		t.Fatal("the machine has no libpq: run: apt-get install libpq5")
	}
	files := map[string]string{}
	for _, path := range []string{modules[0], libraries[0]} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(data)
	}
	got := inspect(t, files, "x.y", "python3.9")
	if m := nativeNamed(t, got, filepath.Base(modules[0])); m.Python == "" || !slices.Contains(m.Needs, "libpq.so.5") {
		t.Errorf("got %+v, want a version of Python and libpq needed", m)
	}
	if l := nativeNamed(t, got, filepath.Base(libraries[0])); l.LibPQ == "" || l.LibPQ[0] == '9' || !l.SCRAM || l.GLIBC == "" {
		t.Errorf("got %+v, want a version of 10 or later that knows SCRAM", l)
	}
}
