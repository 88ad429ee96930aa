package backup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listing is a visitor that writes down what it gets.
type listing []string

func (l *listing) add(kind string, v any) error {
	*l = append(*l, fmt.Sprintf("%s %#v", kind, v))
	return nil
}
func (l *listing) Table(name string, columns []string) error { return l.add(name, columns) }
func (l *listing) Row(values []any) error                    { return l.add("row", values) }
func (l *listing) File(path string) error                    { return l.add("file", path) }
func (l *listing) Data(b []byte) error                       { return l.add("data", string(b)) }

// example writes records of every kind.
func example(t testing.TB) (content []byte, want listing) {
	t.Helper()
	var b bytes.Buffer
	e := newEncoder(&b)
	long := bytes.Repeat([]byte("z"), chunkSize+1)
	rows := [][]any{{"text", int64(-5), nil}, {"", int64(1) << 62, []byte{}}, {"né\x00\xff", int64(0), long}}
	err := errors.Join(e.beginTable("secret", []string{"a", "b", "c"}), e.row(rows[0]), e.row(rows[1]), e.row(rows[2]),
		e.beginTable("code", []string{"x"}), e.row([]any{"y"}), e.beginFile("trail/1.jsonl"))
	if err == nil {
		_, err = e.Write([]byte("line\n"))
	}
	if err := errors.Join(err, e.end()); err != nil {
		t.Fatal(err)
	}
	_ = want.Table("secret", []string{"a", "b", "c"})
	for _, r := range rows {
		_ = want.Row(r)
	}
	_ = want.Table("code", []string{"x"})
	_ = want.Row([]any{"y"})
	_ = want.File("trail/1.jsonl")
	_ = want.Data([]byte("line\n"))
	return b.Bytes(), want
}

func TestRecordRoundTrip(t *testing.T) {
	content, want := example(t)
	var got listing
	c, err := decode(bytes.NewReader(content), &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(counts{Rows: map[string]int64{"secret": 3, "code": 1}, Files: 1, Bytes: 5}, c); diff != "" {
		t.Errorf("counts: want -, got +:\n%s", diff)
	}
}

// The records say by themselves when some are missing: a fault of the writer
// would be noticed too.
func TestRecordsAreCounted(t *testing.T) {
	content, _ := example(t)
	for i := range content {
		if i > 300 && i < len(content)-300 {
			continue
		}
		if _, err := decode(bytes.NewReader(content[:i]), &checker{}); err == nil {
			t.Errorf("cut at %d: got no error", i)
		}
		if _, err := decode(bytes.NewReader(flip(content, i)), &checker{}); err == nil {
			t.Errorf("flipped at %d: got no error", i)
		}
	}
	if _, err := decode(bytes.NewReader(append(content, 0)), &checker{}); err == nil {
		t.Error("something behind the end: got no error")
	}
}

// Whatever bytes the reader gets, it ends with an error or has read what its
// last record counts, and takes no more memory than there are bytes.
func FuzzDecode(f *testing.F) {
	content, _ := example(f)
	f.Add(content)
	f.Add([]byte{kindTable, 1, 'x', 1, 1, 'y', kindRow, typeBytes, 0xff, 0xff, 0xff, 0xff, 0x03})
	f.Add([]byte{kindFile, 1, 'x', kindData, 0xff, 0xff, 0xff, 0xff, 0x03, 1})
	f.Add([]byte{kindTable, 0, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got listing
		c, err := decode(bytes.NewReader(b), &got)
		if err != nil {
			return
		}
		var rows int64
		for _, n := range c.Rows {
			rows += n
		}
		if int64(len(got)) < rows+int64(c.Files) {
			t.Errorf("got %d records, but %d rows and %d files", len(got), rows, c.Files)
		}
	})
}

// Whatever file the reader gets, it does not open without its key.
func FuzzOpen(f *testing.F) {
	p := Protection{Keepers: rootKey(f, 1)}
	content := []byte("a content of some length")
	file := sealed(f, p, content)
	f.Add(file)
	f.Add([]byte(magic + `{"format":1,"schema":1,"wrapped":"AQ=="}` + "\n"))
	f.Add([]byte(magic + `{"format":1,"schema":1,"kdf":{"name":"argon2id","salt":"AAAAAAAAAAA=","time":1,"memoryKiB":64,"threads":1}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := opened(t.Context(), p, b)
		if err == nil && (!bytes.Equal(b, file) || !bytes.Equal(got, content)) {
			t.Errorf("a file that was not written opened, with %d bytes", len(got))
		}
	})
}
