package trail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var chainKey = []byte("a key of the tests that nobody has")

// recordSome makes a sealed folder with the given numbers of events in its
// segments, each the work of a process of its own; nine events are written
// one by one, and more than that together with others.
func recordSome(t testing.TB, dir string, counts ...int) {
	t.Helper()
	for _, n := range counts {
		r := sealedRecorder(t, dir)
		for i := range n {
			if err := r.Record(event(fmt.Sprint("e", i), time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func sealedRecorder(t testing.TB, dir string) *Recorder {
	t.Helper()
	r, err := NewRecorder(dir)
	if err == nil {
		err = r.Seal("node", chainKey)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verify(t testing.TB, dir string, heads ...Head) *Verdict {
	t.Helper()
	v, err := Verify(dir, chainKey, "node", heads)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestSealedSegmentsAreWhole(t *testing.T) {
	dir := t.TempDir()
	recordSome(t, dir, 3, 1, 5)
	r := sealedRecorder(t, dir)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if err := r.Record(event(fmt.Sprint(i, ".", j), time.Now()), event("second", time.Now())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v := verify(t, dir, *r.Head())
	if len(v.Faults) > 0 || v.Segments != 4 || v.Sealed != 9+800 || v.Open != 0 {
		t.Errorf("got %+v, want 4 segments with 809 events", v)
	}
	seen := 0
	if err := r.Scan(time.Time{}, time.Now().Add(time.Hour), func(Record) bool { seen++; return true }); err != nil || seen != 809 {
		t.Errorf("a scan sees %d events and %v, want 809 and no seals", seen, err)
	}
	if other, err := Verify(dir, []byte("another key"), "node", nil); err != nil || len(other.Faults) != 4 {
		t.Errorf("with another key: got %+v and %v, want that nothing is right", other, err)
	}
}

// Each way to tamper with segments is found, and said where.
func TestTamperedSegments(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	lines := func(edit func(list [][]byte) [][]byte) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Join(edit(bytes.SplitAfter(b, []byte("\n"))), nil) }
	}
	for name, tc := range map[string]struct {
		segment int
		edit    func([]byte) []byte // nil removes the segment
		where   string
	}{
		"an event changed":          {1, lines(func(l [][]byte) [][]byte { l[6] = bytes.Replace(l[6], []byte("e2"), []byte("e9"), 1); return l }), "lines 7 to 8"},
		"an event removed":          {1, lines(func(l [][]byte) [][]byte { return slices.Delete(l, 4, 5) }), "line"},
		"an event and seal removed": {1, lines(func(l [][]byte) [][]byte { return slices.Delete(l, 4, 6) }), "line"},
		"an event inserted":         {1, lines(func(l [][]byte) [][]byte { return slices.Insert(l, 4, l[2]) }), "line"},
		"an event and seal again":   {1, lines(func(l [][]byte) [][]byte { return slices.Insert(l, 4, l[2], l[3]) }), "line"},
		"events reordered":          {1, lines(func(l [][]byte) [][]byte { l[2], l[4] = l[4], l[2]; return l }), "line"},
		"events and seals reordered": {1, lines(func(l [][]byte) [][]byte {
			l[2], l[3], l[4], l[5] = l[4], l[5], l[2], l[3]
			return l
		}), "line"},
		"a seal changed":          {1, lines(func(l [][]byte) [][]byte { l[3][5] ^= 1; return l }), "line"},
		"all seals removed":       {1, lines(func(l [][]byte) [][]byte { return [][]byte{l[0], l[2], l[4]} }), ""},
		"heading removed":         {1, lines(func(l [][]byte) [][]byte { return l[1:] }), "heading"},
		"heading and seals gone":  {1, lines(func(l [][]byte) [][]byte { return [][]byte{l[2], l[4]} }), "missing"},
		"number changed":          {1, replace(`"number":2`, `"number":3`), ""},
		"end cut off":             {1, lines(func(l [][]byte) [][]byte { return l[:6] }), "its end is not the one"},
		"something behind":        {1, func(b []byte) []byte { return append(b, "{}\n"...) }, "had"},
		"a segment removed":       {1, nil, "segments 2 to 2 of node node are missing"},
		"the first one removed":   {0, nil, "segments 1 to 1 of node node are missing"},
		"the newest one removed":  {2, nil, "it is missing: it is segment 3"},
		"the newest one cut off":  {2, lines(func(l [][]byte) [][]byte { return l[:4] }), "but events were sealed up to byte"},
		"an unsealed file inside": {1, func([]byte) []byte { return []byte("{\"eventID\":\"forged\"}\n") }, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			recordSome(t, dir, 2, 4)
			r := sealedRecorder(t, dir)
			for range 2 {
				if err := r.Record(event("last", time.Now())); err != nil {
					t.Fatal(err)
				}
			}
			if v := verify(t, dir, *r.Head()); len(v.Faults) > 0 {
				t.Fatalf("before: %+v", v)
			}
			path := segmentFiles(t, dir)[tc.segment]
			var err error
			if tc.edit == nil {
				err = os.Remove(path)
			} else {
				var b []byte
				if b, err = os.ReadFile(path); err == nil {
					err = os.WriteFile(path, tc.edit(b), 0o600)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			v := verify(t, dir, *r.Head())
			if len(v.Faults) == 0 || !strings.Contains(fmt.Sprint(v.Faults), tc.where) {
				t.Errorf("got %+v, want a fault with %q", v, tc.where)
			}
		})
	}
}

// Segments exchanged with each other, or taken from another folder, do not
// pass.
func TestExchangedSegments(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	recordSome(t, dir, 2, 2, 2)
	recordSome(t, other, 2, 2, 2)
	mine, theirs := segmentFiles(t, dir), segmentFiles(t, other)
	b, err := os.ReadFile(theirs[1])
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(mine[1])
	if err := errors.Join(err, os.WriteFile(mine[1], b, 0o600)); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir); len(v.Faults) == 0 {
		t.Error("another folder's segment passed")
	}
	if err := os.WriteFile(mine[1], kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir); len(v.Faults) != 0 {
		t.Fatalf("put back: %+v", v)
	}
	if err := errors.Join(os.Rename(mine[1], mine[1]+".x"), os.Rename(mine[2], mine[1]), os.Rename(mine[1]+".x", mine[2])); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir); len(v.Faults) == 0 {
		t.Error("two segments under each other's name passed")
	}
}

// What a crash leaves in the middle of a write is not taken for tampering, but
// what is done to it later is.
func TestCrashedSegments(t *testing.T) {
	for _, tc := range []struct {
		name string
		tail string
		open int
	}{
		{"nothing", "", 0},
		{"half a line", `{"eventVersion":"1.`, 0},
		{"a line without its seal", "{\"eventID\":\"a\"}\n", 1},
		{"lines and half a seal", "{\"eventID\":\"a\"}\n{\"eventID\":\"b\"}\n#abc", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			recordSome(t, dir, 2)
			path := segmentFiles(t, dir)[0]
			whole, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, append(bytes.Clone(whole), tc.tail...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			check := func(when string, want int) {
				t.Helper()
				if v := verify(t, dir); len(v.Faults) != 0 || v.Open != tc.open || v.Sealed != want {
					t.Errorf("%s: got %+v, want %d whole and %d open events", when, v, want, tc.open)
				}
			}
			check("after the crash", 2)
			recordSome(t, dir, 3)
			check("after the next start", 5)
			for _, changed := range []string{tc.tail + "x", strings.Replace(tc.tail, "e", "f", 1)} {
				if changed == tc.tail {
					continue
				}
				if err := os.WriteFile(path, append(bytes.Clone(whole), changed...), 0o600); err != nil {
					t.Fatal(err)
				}
				if v := verify(t, dir); len(v.Faults) != 1 {
					t.Errorf("with %q in its place: got %+v, want one fault", changed, v)
				}
			}
		})
	}
}

// What retention removes leaves a chain that verifies, and an anchor that
// nobody else can make.
func TestPrunedSegments(t *testing.T) {
	dir := t.TempDir()
	recordSome(t, dir, 2, 2, 2, 2)
	r := sealedRecorder(t, dir)
	size := func() (total int64) {
		for _, path := range segmentFiles(t, dir) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		return total
	}
	before := size()
	if err := r.Prune(time.Time{}, before-1, chainKey); err != nil {
		t.Fatal(err)
	}
	if got := segmentFiles(t, dir); len(got) != 3 {
		t.Errorf("got %d segments, want that the oldest one made room", len(got))
	}
	if v := verify(t, dir); len(v.Faults) != 0 || v.Segments != 3 {
		t.Errorf("by bytes: got %+v", v)
	}
	if err := r.Prune(time.Now().Add(time.Hour), 0, chainKey); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir); len(v.Faults) != 0 || v.Segments != 1 {
		t.Errorf("by age: got %+v, want the newest segment alone", v)
	}
	recordSome(t, dir, 2)
	if v := verify(t, dir); len(v.Faults) != 0 || v.Segments != 2 {
		t.Errorf("gone on: got %+v", v)
	}
	// All that there was is removed by hand and the anchor left: the numbers
	// go on, and what is missing shows.
	anchorPath := filepath.Join(dir, "node.anchor")
	text, err := os.ReadFile(anchorPath)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string][]byte{"changed": bytes.Replace(text, []byte(`"first":4`), []byte(`"first":5`), 1), "no JSON": []byte("x"), "removed": nil} {
		if changed == nil {
			err = os.Remove(anchorPath)
		} else {
			err = os.WriteFile(anchorPath, changed, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if v := verify(t, dir); len(v.Faults) == 0 {
			t.Errorf("an anchor that was %s passed", name)
		}
	}
}

// A disk that took half of a write leaves a segment that goes on whole.
func TestSealAfterFailedWrite(t *testing.T) {
	dir := t.TempDir()
	r := sealedRecorder(t, dir)
	for i := range 3 {
		if err := r.Record(event("x", time.Now())); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			_ = r.file.Close() // the next write fails
			if err := r.Record(event("lost", time.Now())); err == nil {
				t.Fatal("a write to a closed file was recorded")
			}
			r.file = nil
		}
	}
	if v := verify(t, dir, *r.Head()); len(v.Faults) != 0 || v.Sealed != 3 {
		t.Errorf("got %+v, want 3 whole events", v)
	}
}

// Whatever bytes stand in a segment, looking at it ends, and nothing that was
// not sealed counts as whole.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	recordSome(f, dir, 2)
	whole, err := os.ReadFile(segmentFiles(f, dir)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add([]byte("#{\"trail\":1,\"chain\":\"../x\",\"number\":1}\n#\n"))
	f.Add([]byte("{}\n#" + strings.Repeat("A", linkText) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "20260101T000000.000000000.jsonl"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(dir, chainKey, "node", nil)
		if err != nil {
			t.Fatal(err)
		}
		if v.Sealed > 0 && !bytes.HasPrefix(b, whole[:bytes.IndexByte(whole, '\n')]) {
			t.Errorf("%d events are whole that were never sealed", v.Sealed)
		}
	})
}
