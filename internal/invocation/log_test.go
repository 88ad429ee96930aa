package invocation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

var testStream = stream{"123456789012", "us-east-1", "/aws/lambda/f", "2026/01/02/[$LATEST]0", "ASIAEXAMPLE", "token"}

// logsAll is what a role needs to log everywhere.
const logsAll = `{"Effect":"Allow","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}`

// session is a session of the role r, which holds a policy of the statements.
func session(t testing.TB, statements string) iam.Principal {
	t.Helper()
	p := servicetest.User(t, servicetest.Account, "r", statements)
	p.Type, p.ARN = iam.AssumedRole, "arn:aws:sts::"+servicetest.Account+":assumed-role/r/f"
	p.RoleARN, p.ID, p.Session = "arn:aws:iam::"+servicetest.Account+":role/r", "AROAR:f", "f"
	return p
}

// as makes every session one of the principal.
func as(p iam.Principal) func(context.Context, string, string) (iam.Principal, error) {
	return func(context.Context, string, string) (iam.Principal, error) { return p, nil }
}

func newLogbook(t *testing.T) (*logbook, *bytes.Buffer) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var out bytes.Buffer
	return &logbook{
		store: s, logger: slog.New(slog.NewTextHandler(&out, nil)), pending: map[stream][]pendingEntry{},
		permit: permit{guard: authz.NewGuard(s, nil), principal: as(session(t, logsAll))},
	}, &out
}

// stored returns the messages of a stream, none if it does not exist.
func stored(t *testing.T, b *logbook, s stream) (messages []string) {
	t.Helper()
	err := b.store.View(t.Context(), func(tx *store.Tx) error {
		messages = nil
		g, err := tx.LogGroup(s.account, s.region, s.group)
		if err != nil {
			return ignoreNotFound(err)
		}
		found, err := tx.LogStream(g.ID, s.name)
		if err != nil {
			return ignoreNotFound(err)
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

// TestLogsLeftToRun leaves an entry to the logbook's own flush and stops it:
// the entry is stored, and nobody leaves it another one.
func TestLogsLeftToRun(t *testing.T) {
	b, _ := newLogbook(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.run(ctx) }()
	for !b.running.Load() {
		time.Sleep(time.Millisecond)
	}
	b.add(testStream, entry("left"))
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := stored(t, b, testStream); len(got) != 1 || got[0] != "left" {
		t.Errorf("got %q", got)
	}
	if b.running.Load() {
		t.Error("entries are left to a logbook that has stopped")
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

// TestLogsNeedPermission lets a function log what its role may write, and
// nothing else: a missing group and a missing stream take permissions of their
// own.
func TestLogsNeedPermission(t *testing.T) {
	const group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f"
	allow := func(actions, resource string) string {
		return `{"Effect":"Allow","Action":[` + actions + `],"Resource":"` + resource + `"}`
	}
	const put, stream, create = `"logs:PutLogEvents"`, `"logs:CreateLogStream"`, `"logs:CreateLogGroup"`
	for _, tc := range []struct {
		name, statements string
		group, stream    bool // which exist
		want             bool
		refused          string
	}{
		{"nothing", "", false, false, false, "logs:CreateLogGroup on resource: " + group + ":log-stream: "},
		{"no new groups", allow(put+","+stream, "*"), false, false, false, "logs:CreateLogGroup on resource: " + group + ":log-stream: "},
		{"no new groups, and it is there", allow(put+","+stream, "*"), true, false, true, ""},
		{"no new streams", allow(put+","+create, "*"), true, false, false, "logs:CreateLogStream on resource: " + group + ":log-stream:" + testStream.name + " "},
		{"no new streams, and it is there", allow(put, "*"), true, true, true, ""},
		{"no events", allow(create+","+stream, "*"), true, true, false, "logs:PutLogEvents on resource: " + group + ":log-stream:" + testStream.name + " "},
		{"as the console makes it", allow(create, "arn:aws:logs:us-east-1:123456789012:*") + "," + allow(stream+","+put, group+":*"), false, false, true, ""},
		{"for another function", allow(create+","+stream+","+put, group+"2:*"), false, false, false, "logs:CreateLogGroup on resource: " + group + ":log-stream: "},
		{"denied", logsAll + `,{"Effect":"Deny","Action":"logs:PutLogEvents","Resource":"*"}`, false, false, false, "logs:PutLogEvents on resource: " + group + ":log-stream:" + testStream.name + " with an explicit deny"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, out := newLogbook(t)
			err := b.store.Update(t.Context(), func(tx *store.Tx) error {
				if !tc.group {
					return nil
				}
				g := loggroup.Group{Account: testStream.account, Region: testStream.region, Name: testStream.group, CreatedAt: time.Now()}
				if err := tx.CreateLogGroup(&g); err != nil || !tc.stream {
					return err
				}
				return tx.CreateLogStream(g.ID, testStream.name, time.Now())
			})
			if err != nil {
				t.Fatal(err)
			}
			b.permit.principal = as(session(t, tc.statements))
			for range 2 {
				b.add(testStream, entry("x"))
				b.flush(t.Context())
			}
			if got := len(stored(t, b, testStream)) == 2; got != tc.want {
				t.Errorf("got %d entries, want them: %t", len(stored(t, b, testStream)), tc.want)
			}
			said := "User: arn:aws:sts::123456789012:assumed-role/r/f is not authorized to perform: " + tc.refused
			if got, want := strings.Count(out.String(), said), 1; tc.refused != "" && got != want {
				t.Errorf("the server's log says %q %d times, want once:\n%s", said, got, out)
			}
			if tc.refused == "" && out.Len() != 0 {
				t.Errorf("the server's log says %s", out)
			}
		})
	}
}

// TestLogsOfOthers stores what may be stored when one stream of a batch may
// not, and nothing of sessions that are over.
func TestLogsOfOthers(t *testing.T) {
	b, _ := newLogbook(t)
	over, poor := testStream, testStream
	over.accessKeyID, over.name, poor.accessKeyID, poor.name = "over", "over", "poor", "poor"
	rich, none := session(t, logsAll), session(t, "")
	b.permit.principal = func(_ context.Context, id, _ string) (iam.Principal, error) {
		switch id {
		case "over":
			return iam.Principal{}, fault.New("expired session", "")
		case "poor":
			return none, nil
		}
		return rich, nil
	}
	for _, s := range []stream{over, testStream, poor} {
		b.add(s, entry("x"))
	}
	b.flush(t.Context())
	for s, want := range map[stream]int{over: 0, poor: 0, testStream: 1} {
		if got := len(stored(t, b, s)); got != want {
			t.Errorf("%s: got %d entries, want %d", s.name, got, want)
		}
	}
}

// TestLogsWaitForIdentity keeps entries while it cannot be told who writes
// them.
func TestLogsWaitForIdentity(t *testing.T) {
	b, _ := newLogbook(t)
	known := b.permit.principal
	b.permit.principal = func(context.Context, string, string) (iam.Principal, error) {
		return iam.Principal{}, fault.New(fault.Unavailable, "")
	}
	b.add(testStream, entry("x"))
	b.flush(t.Context())
	b.permit.principal = known
	b.flush(t.Context())
	if got := stored(t, b, testStream); len(got) != 1 {
		t.Errorf("got %d entries, want the one that waited", len(got))
	}
}
