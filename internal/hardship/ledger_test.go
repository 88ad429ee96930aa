//go:build linux

package hardship

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// ledger is what a client knows of its secrets: what was acknowledged, and
// what may or may not have been stored.
type ledger struct {
	p *apitest.Process

	mu      sync.Mutex
	secrets map[string]*entry
	// puts and gets were answered well.
	puts, gets int
	numbers    atomic.Int64
}

// entry is one secret.
type entry struct {
	// value was acknowledged or seen last; open may have been stored since.
	value string
	open  []string
}

// newLedger creates the named secrets.
func newLedger(t *testing.T, p *apitest.Process, names ...string) *ledger {
	t.Helper()
	l := &ledger{p: p, secrets: map[string]*entry{}}
	for _, name := range names {
		value := l.fresh()
		if _, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value}); err != nil {
			t.Fatalf("creating %s: %v", name, err)
		}
		l.secrets[name] = &entry{value: value}
	}
	return l
}

// names are those of n secrets.
func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s/%d", prefix, i)
	}
	return list
}

// fresh returns a value of 60 KiB that no other is.
func (l *ledger) fresh() string {
	return fmt.Sprintf("value %d %s", l.numbers.Add(1), strings.Repeat("x", 60<<10))
}

// number is what tells values apart.
func number(value string) string {
	fields := strings.Fields(value)
	if len(fields) < 2 {
		return value
	}
	return fields[1]
}

// put writes a new value. Its error is the server's own, told as an answer.
func (l *ledger) put(t *testing.T, name string) error {
	t.Helper()
	value := l.fresh()
	l.mu.Lock()
	l.secrets[name].open = append(l.secrets[name].open, value)
	l.mu.Unlock()
	_, err := l.p.Secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: &value})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		wantClean(t, err)
		return err
	}
	l.secrets[name].value, l.secrets[name].open = value, nil
	l.puts++
	return nil
}

// get reads the value and demands that it is the one that must be there, or
// one that may be. What was seen once must stay.
func (l *ledger) get(t *testing.T, name string) error {
	t.Helper()
	out, err := l.p.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
	if err != nil {
		wantClean(t, err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gets++
	e, got := l.secrets[name], *out.SecretString
	if got == e.value {
		return nil
	}
	for i, value := range e.open {
		if got == value {
			e.value, e.open = value, e.open[i+1:]
			return nil
		}
	}
	t.Errorf("%s: got value %s, want %s or one of %d that were not acknowledged", name, number(got), number(e.value), len(e.open))
	return nil
}

// wantClean demands that an error is an answer of the server that says no more
// than it should: not a connection that broke, and no success.
func wantClean(t *testing.T, err error) {
	t.Helper()
	refused, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok:
		t.Errorf("got no answer: %v", err)
	case refused.ErrorCode() != "InternalServiceError" && refused.ErrorCode() != "ServiceUnavailable" && refused.ErrorCode() != "InternalFailure":
		t.Errorf("got %s: %s", refused.ErrorCode(), refused.ErrorMessage())
	case strings.Contains(refused.ErrorMessage(), "/") || strings.Contains(refused.ErrorMessage(), "sqlite"):
		t.Errorf("the client is told too much: %s", refused.ErrorMessage())
	}
}

// well demands that everything works, at once.
func (l *ledger) well(t *testing.T) {
	t.Helper()
	for name := range l.secrets {
		if err := l.get(t, name); err != nil {
			t.Errorf("reading %s: %v", name, err)
		}
		if err := l.put(t, name); err != nil {
			t.Errorf("writing %s: %v", name, err)
		}
		if err := l.get(t, name); err != nil {
			t.Errorf("reading %s: %v", name, err)
		}
	}
}

// audit demands an event in the trail for all that was answered.
func (l *ledger) audit(t *testing.T) {
	t.Helper()
	for event, want := range map[string]int{"PutSecretValue": l.puts, "GetSecretValue": l.gets} {
		if got := l.events(t, event); got < want {
			t.Errorf("the trail has %d %s events that succeeded, want the %d that were answered", got, event, want)
		}
	}
}

// events counts events that tell of success.
func (l *ledger) events(t *testing.T, name string) (n int) {
	t.Helper()
	pages := cloudtrail.NewLookupEventsPaginator(l.p.Trail, &cloudtrail.LookupEventsInput{
		LookupAttributes: []cloudtrailtypes.LookupAttribute{{AttributeKey: cloudtrailtypes.LookupAttributeKeyEventName, AttributeValue: &name}},
		StartTime:        aws.Time(time.Now().Add(-time.Hour)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("looking up %s: %v", name, err)
		}
		for _, e := range page.Events {
			if !strings.Contains(*e.CloudTrailEvent, `"errorCode"`) {
				n++
			}
		}
	}
	return n
}

// survive kills the server, checks its database, starts it again and demands
// that all is there and works.
func (l *ledger) survive(t *testing.T) {
	t.Helper()
	l.p.Kill()
	checkDatabase(t, l.p.Dir)
	l.p.Restart()
	l.well(t)
	l.audit(t)
}

// checkDatabase demands that the database of a server that does not run is
// sound.
func checkDatabase(t *testing.T, dir string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: filepath.Clean(dir)})
	if err != nil {
		t.Fatalf("opening the database: %v", err)
	}
	if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
		t.Errorf("the database: %v", err)
	}
}

// eventually repeats until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !so() {
		if ctx.Err() != nil {
			t.Fatalf("still not so: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
