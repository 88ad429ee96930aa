package command

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// FuzzLines demands that lines do not depend on how what is written is cut:
// half a secret would not be recognised.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\n three"), 1)
	f.Add([]byte("\n\n"), 2)
	f.Add([]byte(""), 3)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		size = max(1, size%100)
		var whole, cut lines
		_, _ = whole.Write(text)
		whole.end()
		for part := range slices.Chunk(text, size) {
			if n, err := cut.Write(part); n != len(part) || err != nil {
				t.Fatalf("got %d and %v for %d bytes", n, err, len(part))
			}
		}
		cut.end()
		if !slices.Equal(whole.kept, cut.kept) || whole.last != cut.last {
			t.Errorf("got %q in parts of %d, want %q", cut.kept, size, whole.kept)
		}
		for _, line := range whole.kept {
			if !bytes.Contains(text, []byte(line)) || strings.Contains(line, "\n") {
				t.Errorf("%q is no line of what was written", line)
			}
		}
	})
}

func TestLongLinesAreLeftOut(t *testing.T) {
	var l lines
	_, _ = l.Write([]byte("before\n" + strings.Repeat("x", maxLine) + "\nbetween\n"))
	_, _ = l.Write(bytes.Repeat([]byte("y"), maxLine))
	_, _ = l.Write([]byte("the end of a secret\nafter"))
	l.end()
	want := []string{"before", strings.Repeat("x", maxLine), "between", "(a line longer than 1 MiB was left out)", "after"}
	if !slices.Equal(l.kept, want) {
		t.Errorf("got %d lines, the last being %q", len(l.kept), l.last)
	}
}
