package function_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

type file struct {
	name, body string
	mode       fs.FileMode
}

func zipOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(f.mode)
		fw, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(fw, f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestReadArchive(t *testing.T) {
	const unzip = "Could not unzip uploaded file. Please check your file, then try to upload again."
	link := fs.ModeSymlink | 0o777
	tests := []struct {
		name  string
		files []file
		want  string // message, or "" for accepted
	}{
		{"plain", []file{{"lambda_function.py", "x", 0o644}, {"lib/", "", fs.ModeDir | 0o755}, {"lib/a.so", "y", 0o755}}, ""},
		{"dot prefix", []file{{"./", "", fs.ModeDir | 0o755}, {"./index.js", "", 0o644}}, ""},
		{"link inside", []file{{"lib/a.so.1", "y", 0o755}, {"lib/a.so", "a.so.1", link}, {"b", "lib/../lib/a.so", link}}, ""},
		{"written twice", []file{{"a", "1", 0o644}, {"a", "2", 0o644}}, ""},
		{"parent", []file{{"../evil", "x", 0o644}}, unzip},
		{"parent inside", []file{{"a/../../evil", "x", 0o644}}, unzip},
		{"absolute", []file{{"/etc/passwd", "x", 0o644}}, unzip},
		{"link to parent", []file{{"l", "../secret", link}}, unzip},
		{"link to absolute", []file{{"l", "/etc/passwd", link}}, unzip},
		{"link then below it", []file{{"d", "e", link}, {"d/x", "x", 0o644}}, unzip},
		{"below, then a link", []file{{"d/x", "x", 0o644}, {"d", "e", link}}, unzip},
		{"below a file", []file{{"d", "x", 0o644}, {"d/x", "x", 0o644}}, unzip},
		{"long link", []file{{"l", strings.Repeat("a/", 4000) + "b", link}}, unzip},
		{"device", []file{{"null", "", fs.ModeDevice | fs.ModeCharDevice | 0o666}}, unzip},
		{"pipe", []file{{"p", "", fs.ModeNamedPipe | 0o666}}, unzip},
		{"nul", []file{{"a\x00b", "", 0o644}}, unzip},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data := zipOf(t, test.files...)
			_, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
			checkMessage(t, err, test.want)
		})
	}
	t.Run("not a zip", func(t *testing.T) {
		_, err := function.ReadArchive(strings.NewReader("hello"), 5)
		checkMessage(t, err, unzip)
	})
}

func checkMessage(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want != "" && !fault.Is(err, fault.Parameter):
		t.Errorf("got %v, want %q", err, want)
	case want != "" && err.(*fault.Error).Message != want:
		t.Errorf("got %q, want %q", err.(*fault.Error).Message, want)
	}
}

func TestReadArchiveTooLarge(t *testing.T) {
	big := strings.Repeat("\x00", 100<<20)
	data := zipOf(t, file{"a", big, 0o644}, file{"b", big, 0o644}, file{"c", big, 0o644})
	_, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
	checkMessage(t, err, "Unzipped size must be smaller than 262144000 bytes")
}

// A bomb that lies about its size is stopped by what comes out of it.
func TestVerifyStopsLiars(t *testing.T) {
	data := zipOf(t, file{"a", strings.Repeat("\x00", 1<<20), 0o644})
	// The declared sizes stand in the data descriptor and in the directory;
	// the reader believes the directory.
	i := bytes.LastIndex(data, []byte("PK\x01\x02"))
	copy(data[i+24:i+28], []byte{10, 0, 0, 0})
	a, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	checkMessage(t, a.Verify(), "Could not unzip uploaded file. Please check your file, then try to upload again.")

	good := zipOf(t, file{"a", strings.Repeat("\x00", 1<<20), 0o644})
	if a, err = function.ReadArchive(bytes.NewReader(good), int64(len(good))); err != nil {
		t.Fatal(err)
	}
	n, err := a.Files[0].WriteTo(io.Discard, 1000)
	checkMessage(t, err, "Unzipped size must be smaller than 262144000 bytes")
	if n > 1001 {
		t.Errorf("read %d bytes past a limit of 1000", n)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	data := zipOf(t, file{"a", fmt.Sprint("some ", strings.Repeat("text ", 50)), 0o644})
	data[35] ^= 0xff
	a, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
	if err == nil {
		err = a.Verify()
	}
	checkMessage(t, err, "Could not unzip uploaded file. Please check your file, then try to upload again.")
}

func FuzzReadArchive(f *testing.F) {
	f.Add(zipOf(f, file{"a/b.py", "x", 0o644}, file{"l", "a/b.py", fs.ModeSymlink | 0o777}))
	f.Add(zipOf(f, file{"../x", "x", 0o644}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := function.ReadArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, x := range a.Files {
			if x.Name != path.Clean(x.Name) || strings.HasPrefix(x.Name, "/") || x.Name == ".." || strings.HasPrefix(x.Name, "../") {
				t.Errorf("accepted the name %q", x.Name)
			}
			if to := path.Join(path.Dir(x.Name), x.Target); x.Target != "" && (to == ".." || strings.HasPrefix(to, "../")) {
				t.Errorf("accepted the link %q to %q", x.Name, x.Target)
			}
		}
	})
}
