package invocation

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

var testStream = stream{"123456789012", "us-east-1", "/aws/lambda/f", "2026/01/02/[$LATEST]0"}

func newLogbook(t *testing.T) (*logbook, *bytes.Buffer) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var out bytes.Buffer
	return &logbook{store: s, logger: slog.New(slog.NewTextHandler(&out, nil)), pending: map[stream][]pendingEntry{}}, &out
}

// stored returns the messages of a stream.
func stored(t *testing.T, b *logbook, s stream) (messages []string) {
	t.Helper()
	err := b.store.View(t.Context(), func(tx *store.Tx) error {
		messages = nil
		g, err := tx.LogGroup(s.account, s.region, s.group)
		if err != nil {
			return err
		}
		found, err := tx.LogStream(g.ID, s.name)
		if err != nil {
			return err
		}
		entries, err := tx.LogEntries(g.ID, store.LogQuery{Streams: []*loggroup.Stream{found}, Limit: 100_000})
		for _, e := range entries {
			messages = append(messages, e.Message)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func entry(text string) []environment.Entry {
	return []environment.Entry{{Time: time.Now(), Message: text}}
}

func TestLogsAreText(t *testing.T) {
	b, _ := newLogbook(t)
	b.add(testStream, entry("a\xffb\x00c\n"))
	b.flush(t.Context())
	if got := stored(t, b, testStream); len(got) != 1 || got[0] != "a\uFFFDb\uFFFDc\n" {
		t.Errorf("got %q", got)
	}
}

// TestLogsInOrder writes into several streams from several goroutines that
// flush at will: each stream is whole and in order.
func TestLogsInOrder(t *testing.T) {
	b, _ := newLogbook(t)
	var wg sync.WaitGroup
	streams := make([]stream, 4)
	for i := range streams {
		streams[i] = testStream
		streams[i].name += fmt.Sprint(i)
		wg.Go(func() {
			for n := range 200 {
				b.add(streams[i], entry(fmt.Sprint(n)))
				if n%20 == i {
					b.flush(t.Context())
				}
			}
			b.flush(t.Context())
		})
	}
	wg.Wait()
	for _, s := range streams {
		got := stored(t, b, s)
		if len(got) != 200 {
			t.Fatalf("%s: got %d entries, want 200", s.name, len(got))
		}
		for n, text := range got {
			if text != fmt.Sprint(n) {
				t.Fatalf("%s: got %s at place %d", s.name, text, n)
			}
		}
	}
}

// TestLogsBounded adds more than may wait: the newest are dropped and that is
// said.
func TestLogsBounded(t *testing.T) {
	b, out := newLogbook(t)
	line := strings.Repeat("x", 1<<20)
	for range 40 {
		b.add(testStream, entry(line))
	}
	if b.bytes > maxPending || b.dropped == 0 {
		t.Errorf("got %d bytes waiting and %d entries dropped, want at most %d bytes", b.bytes, b.dropped, maxPending)
	}
	dropped := b.dropped
	b.flush(t.Context())
	if got := len(stored(t, b, testStream)); got != 40-dropped || !strings.Contains(out.String(), fmt.Sprintf("entries=%d", dropped)) {
		t.Errorf("got %d entries and %q after %d were dropped", got, out, dropped)
	}
	if b.bytes != 0 {
		t.Errorf("got %d bytes still waiting", b.bytes)
	}
}

// TestLogsStoreDown keeps entries while the store does not answer.
func TestLogsStoreDown(t *testing.T) {
	b, out := newLogbook(t)
	up := b.store
	down, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := down.Close(); err != nil {
		t.Fatal(err)
	}
	b.store = down
	for n := range 5 {
		b.add(testStream, entry(fmt.Sprint(n)))
		b.flush(t.Context())
	}
	if !strings.Contains(out.String(), "storing the log of a function") {
		t.Errorf("got %q, want the failure in the server's log", out)
	}
	b.store = up
	b.flush(t.Context())
	if got := strings.Join(stored(t, b, testStream), ""); got != "01234" {
		t.Errorf("got %q, want everything in order", got)
	}
}
