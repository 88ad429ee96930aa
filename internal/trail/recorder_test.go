package trail

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
)

func event(name string, at time.Time) *Event {
	return &Event{
		ID: "id-" + name, Time: at, Type: APICall, Account: "123456789012", Region: "us-east-1",
		Source: "secretsmanager.amazonaws.com", Name: name, ReadOnly: true,
		Principal: iam.Principal{Type: iam.IAMUser, Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/u", ID: "AIDA", Name: "u", AccessKeyID: "AKIA"},
		SourceIP:  "127.0.0.1", UserAgent: "test", RequestID: "r", Request: json.RawMessage(`{"secretId":"a<b"}`),
	}
}

// Many callers at once: every one is answered, and every event is there once.
func TestRecordConcurrently(t *testing.T) {
	r, err := NewRecorder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := time.Now().UTC().Truncate(time.Second).Add(-30 * time.Minute)
	const callers, each = 16, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if err := r.Record(event(strconv.Itoa(c*each+i), at)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	err = r.Scan(at, at.Add(time.Second), func(rec Record) bool { seen[rec.Name]++; return true })
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != callers*each {
		t.Errorf("got %d events, want %d", len(seen), callers*each)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("event %s is there %d times", name, n)
		}
	}
}

func TestScanNewestFirstWithinRange(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().UTC().Truncate(time.Second).Add(-30 * time.Minute)
	for seg := range 3 { // a new Recorder begins a new segment
		r, err := NewRecorder(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			n := seg*2 + i
			if err := r.Record(event(strconv.Itoa(n), at.Add(time.Duration(n)*time.Minute))); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	// Cut the last line short, as a crash would.
	names, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	last, err := os.OpenFile(names[len(names)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = last.WriteString(`{"eventVersion":"1.0`)
	last.Close()
	r, _ := NewRecorder(dir)
	scan := func(from, to time.Duration, most int) (got []string) {
		if err := r.Scan(at.Add(from), at.Add(to), func(rec Record) bool {
			got = append(got, rec.Name)
			return len(got) < most
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff([]string{"5", "4", "3", "2", "1", "0"}, scan(0, time.Hour, 99)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3", "2", "1"}, scan(time.Minute, 4*time.Minute, 99)); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"5", "4"}, scan(0, time.Hour, 2)); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
}

// A segment that cannot be written fails the call, and a later one works.
func TestRecordFailsClosed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	r, err := NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Record(event("x", time.Now())); err == nil {
		t.Fatal("recorded into a folder that is gone")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Record(event("y", time.Now())); err != nil {
		t.Errorf("did not recover: %v", err)
	}
}

func TestPruneKeepsYoungSegments(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"20250101T000000.000000000", "20250102T000000.000000000", "20250103T000000.000000000"} {
		if err := os.WriteFile(filepath.Join(dir, name+".jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := NewRecorder(dir)
	if err := r.Prune(time.Date(2025, 1, 2, 12, 0, 0, 0, time.UTC), 0, nil); err != nil {
		t.Fatal(err)
	}
	left, _ := r.segments()
	if diff := cmp.Diff([]string{"20250102T000000.000000000.jsonl", "20250103T000000.000000000.jsonl"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
