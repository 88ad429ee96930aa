package trail

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Lines of all lengths, over the edges of blocks, come back newest first,
// and a walk goes on where another one stopped.
func TestWalkPages(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	var want []string
	for seg := range 3 {
		var text bytes.Buffer
		for i := range 300 {
			line := fmt.Sprintf("%d.%d %s", seg, i, strings.Repeat("x", random.IntN(5000)))
			if i%100 == 50 {
				line += strings.Repeat("y", blockSize+i)
			}
			want = append(want, line)
			text.WriteString(line + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("20250101T0000%02d.000000000.jsonl", seg)), text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var got []string
	for place, page := (Place{}), []string{"first"}; len(page) > 0; {
		page = nil
		most := 1 + random.IntN(40)
		err := r.Walk(place, at.Add(-time.Hour), at.Add(time.Hour), func(line []byte, p Place) bool {
			place = p
			page = append(page, string(line))
			return len(page) < most
		})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[len(want)-1-i] {
			t.Fatalf("line %d: got %.30q of %d bytes, want %.30q of %d", i, got[i], len(got[i]), want[len(want)-1-i], len(want[len(want)-1-i]))
		}
	}
}

// A segment that holds nothing of the range is not read, and one that is
// gone is passed by.
func TestWalkSkipsSegments(t *testing.T) {
	dir := t.TempDir()
	for _, day := range []string{"01", "02", "03", "04"} {
		if err := os.WriteFile(filepath.Join(dir, "202501"+day+"T000000.000000000.jsonl"), []byte(day+"a\n"+day+"b\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := NewRecorder(dir)
	walk := func(before Place, from, to int) (got []string) {
		day := func(n int) time.Time { return time.Date(2025, 1, n, 12, 0, 0, 0, time.UTC) }
		if err := r.Walk(before, day(from), day(to), func(line []byte, _ Place) bool { got = append(got, string(line)); return true }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff([]string{"03b", "03a", "02b", "02a"}, walk(Place{}, 2, 3)); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"02a", "01b", "01a"}, walk(Place{"20250102T000000.000000000.jsonl", 4}, 1, 9)); diff != "" {
		t.Errorf("from a place (-want +got):\n%s", diff)
	}
	end, err := r.End()
	if err != nil || end != (Place{"20250104T000000.000000000.jsonl", 8}) {
		t.Errorf("end: got %v, error %v", end, err)
	}
	if err := os.Remove(filepath.Join(dir, "20250102T000000.000000000.jsonl")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"01b", "01a"}, walk(Place{"20250102T000000.000000000.jsonl", 4}, 1, 9)); diff != "" {
		t.Errorf("from a place that is gone (-want +got):\n%s", diff)
	}
}
