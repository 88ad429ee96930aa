package archive_test

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/archive"
)

// pack makes a package of files with the mode that says who may run them.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasPrefix(content, "#!") || strings.HasPrefix(content, "\x7fELF") {
			h.SetMode(0o755)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inspect(t testing.TB, files map[string]string, handler, runtime string) *doctor.Code {
	t.Helper()
	c, err := archive.Inspect(pack(t, files), handler, runtime)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// folder reads the files of a folder that end as one of the suffixes says.
func folder(t testing.TB, dir string, suffixes ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, s := range suffixes {
			if !strings.HasSuffix(path, s) {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			files[filepath.ToSlash(name)] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// compile makes a shared library by the C compiler and returns it.
func compile(t testing.TB, source string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "x.c"), filepath.Join(dir, "x.so")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", append([]string{"-shared", "-fPIC", "-o", out, in}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRotator(t *testing.T) {
	for handler, want := range map[string]string{"rotator.postgres.single": "postgres.single", "lambda_function.lambda_handler": "", "rotator": ""} {
		if got := archive.Rotator(handler); got != want {
			t.Errorf("Rotator(%q): got %q, want %q", handler, got, want)
		}
	}
}

func TestExamples(t *testing.T) {
	for _, c := range []struct {
		dir, suffix, handler, runtime, file string
		token                               *bool
		imports, unfinished                 []string
		template                            string
	}{
		{"postgres-python", ".py", "lambda_function.lambda_handler", "python3.12", "lambda_function.py", new(true), []string{"psycopg2"}, nil, ""},
		{
			"rotation-template", ".py", "lambda_function.lambda_handler", "python3.12", "lambda_function.py", new(true), nil,
			[]string{"setSecret", "testSecret"}, "SecretsManagerRotationTemplate",
		},
		{"db2-python", "n.py", "lambda_function.lambda_handler", "python3.12", "lambda_function.py", new(true), []string{"ibm_db"}, nil, ""},
		{"postgres-node", ".mjs", "index.handler", "nodejs22.x", "index.mjs", new(true), nil, nil, ""},
	} {
		t.Run(c.dir, func(t *testing.T) {
			files := folder(t, filepath.Join("../../../examples", c.dir), c.suffix)
			got := inspect(t, files, c.handler, c.runtime)
			if got.HandlerFile != c.file || !got.HandlerFound || got.HandlerProblem != "" {
				t.Errorf("handler: got %q, found %v, %q", got.HandlerFile, got.HandlerFound, got.HandlerProblem)
			}
			if !cmp.Equal(got.PassesToken, c.token) || !cmp.Equal(got.Imports, c.imports) {
				t.Errorf("got token %v, imports %v; want %v, %v", show(got.PassesToken), got.Imports, show(c.token), c.imports)
			}
			if got.Template != c.template || !cmp.Equal(got.Unfinished, c.unfinished) {
				t.Errorf("got template %q, unfinished %v; want %q, %v", got.Template, got.Unfinished, c.template, c.unfinished)
			}
		})
	}
}

func show(b *bool) string {
	switch {
	case b == nil:
		return "unknown"
	case *b:
		return "yes"
	}
	return "no"
}

// bomb makes a package of many shared libraries with the same content, which
// is compressed once.
func bomb(t testing.TB, content string, files int) []byte {
	one := pack(t, map[string]string{"a.so": content})
	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range files {
		raw, err := z.File[0].OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		h := z.File[0].FileHeader
		h.Name = strconv.Itoa(i) + ".so"
		out, err := w.CreateRaw(&h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	files := map[string]string{"lambda_function.py": "def lambda_handler(e, c): pass\n" + strings.Repeat("#", 5<<20)}
	got := inspect(t, files, "lambda_function.lambda_handler", "python3.12")
	if !got.Truncated || got.HandlerFound {
		t.Errorf("a source beyond the bound: got truncated %v, found %v", got.Truncated, got.HandlerFound)
	}
	data := bomb(t, "\x7fELF"+strings.Repeat(zeros, 40), 10)
	if len(data) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(data))
	}
	if got, err := archive.Inspect(data, "x.y", "python3.12"); err != nil || !got.Truncated {
		t.Errorf("a bomb: got %v, %v; want it truncated", got, err)
	}
	many := strings.Repeat("PK\x01\x02", 60_000)
	if _, err := archive.Inspect([]byte(many), "x.y", "python3.12"); err == nil || !strings.Contains(err.Error(), "files") {
		t.Errorf("too many files: got %v", err)
	}
	if _, err := archive.Inspect([]byte("no zip"), "x.y", "python3.12"); err == nil {
		t.Error("no zip file: got no error")
	}
}

func TestProvided(t *testing.T) {
	program := compile(t, "int x;")
	for _, c := range []struct{ name, content, want string }{
		{"a program", program, ""},
		{"a script", "#!/bin/sh\necho\n", ""},
		{"text", "hello", "the file bootstrap is not executable"},
	} {
		got := inspect(t, map[string]string{"bootstrap": c.content}, "rotator.postgres.single", "provided.al2023")
		if got.HandlerProblem != c.want || got.HandlerFound != (c.want == "") {
			t.Errorf("%s: got %q, found %v; want %q", c.name, got.HandlerProblem, got.HandlerFound, c.want)
		}
	}
	if got := inspect(t, map[string]string{"main": program}, "main", "provided.al2023"); got.HandlerFound {
		t.Error("no bootstrap: got it found")
	}
	got := inspect(t, map[string]string{"bootstrap": program}, "main", "provided.al2023")
	if len(got.Natives) != 1 || got.Natives[0].Architecture == "" {
		t.Errorf("got natives %+v, want bootstrap with its architecture", got.Natives)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(pack(f, map[string]string{"lambda_function.py": "import pg\ndef lambda_handler(e, c):\n    s.put_secret_value(RotationToken=1)\n"}), "lambda_function.lambda_handler", "python3.9")
	f.Add(pack(f, map[string]string{"index.js": "exports.handler = async e => c.send(new PutSecretValueCommand({...e}))"}), "index.handler", "nodejs20.x")
	f.Add(pack(f, map[string]string{"bootstrap": "#!/bin/sh", "libpq.so.5": "\x7fELF"}), "x", "provided.al2023")
	f.Fuzz(func(t *testing.T, data []byte, handler, runtime string) {
		if c, err := archive.Inspect(data, handler, runtime); (c == nil) == (err == nil) {
			t.Errorf("got %v and %v, want one of them", c, err)
		}
	})
}

// FuzzSource gives the tokenizers what zip files would hide from the fuzzer.
func FuzzSource(f *testing.F) {
	f.Add("def lambda_handler(event, context):\n\treturn f'''{event[\"x\"]}'''\n")
	f.Add("exports.handler = x => /[/]'/.test(`${x}`) // y")
	f.Fuzz(func(t *testing.T, source string) {
		inspect(t, map[string]string{"a.py": source}, "a.b", "python3.12")
		inspect(t, map[string]string{"a.js": source}, "a.b", "nodejs22.x")
	})
}
