package trail

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// FuzzWalk: whatever a segment holds, a walk gives its lines, the last first,
// from its end and from any place; a scan gives what of them are records.
func FuzzWalk(f *testing.F) {
	r, err := event("GetSecretValue", time.Now()).Record()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("a\nb\n"), uint16(1))
	f.Add([]byte("\n\n\na\n"), uint16(1))
	f.Add([]byte(`{"eventVersion":"1.0`), uint16(1))
	f.Add(append(r.JSON, '\n'), uint16(900))
	f.Add([]byte("no end"), uint16(60_000))
	f.Fuzz(func(t *testing.T, data []byte, times uint16) {
		if len(data) > 4096 {
			return
		}
		data = bytes.Repeat(data, max(1, min(int(times), 1+2*blockSize/max(1, len(data)))))
		dir := t.TempDir()
		r, err := NewRecorder(dir)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		if err := os.WriteFile(filepath.Join(dir, now.Format(segmentLayout)+".jsonl"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		want := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
		if len(data) == 0 {
			want = nil
		}
		slices.Reverse(want)
		if len(want) > 0 && len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1] // an empty first line is none
		}
		from, to := now.Add(-2*time.Hour), now.Add(time.Hour)
		var places []Place
		got := 0
		err = r.Walk(Place{}, from, to, func(line []byte, at Place) bool {
			if got < len(want) && !bytes.Equal(line, want[got]) {
				t.Fatalf("line %d from the end: got %q, want %q", got, line, want[got])
			}
			got++
			places = append(places, at)
			return true
		})
		if err != nil || got != len(want) {
			t.Fatalf("got %d lines and %v, want %d", got, err, len(want))
		}
		if len(places) > 0 {
			middle := len(places) / 2
			rest := 0
			if err := r.Walk(places[middle], from, to, func([]byte, Place) bool { rest++; return true }); err != nil || rest != len(want)-middle-1 {
				t.Fatalf("from line %d: got %d more and %v, want %d", middle, rest, err, len(want)-middle-1)
			}
		}
		records := 0
		if err := r.Scan(from, to, func(Record) bool { records++; return true }); err != nil || records > len(want) {
			t.Fatalf("got %d records of %d lines and %v", records, len(want), err)
		}
	})
}

// FuzzParseRecord: what is read of a line is the same when it is read again.
func FuzzParseRecord(f *testing.F) {
	r, err := event("GetSecretValue", time.Now()).Record()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.JSON)
	f.Add([]byte(`{"eventTime":"2026-01-01T00:00:00Z","userIdentity":{"type":"AssumedRole","arn":"x/y/"},"resources":[{}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := ParseRecord(line)
		if err != nil {
			return
		}
		again, err := ParseRecord(first.JSON)
		if err != nil || again.EventID != first.EventID || !again.Time.Equal(first.Time) || again.Username != first.Username {
			t.Fatalf("got %+v, and then %+v, %v", first, again, err)
		}
	})
}
