package rotation_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// diagnosed are the cases that the engine asked about.
type diagnosed struct {
	mu    sync.Mutex
	cases []rotation.Case
}

func (d *diagnosed) add(c rotation.Case) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cases = append(d.cases, c)
}

func (d *diagnosed) all() []rotation.Case {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.cases)
}

// findings returns the finding that is kept with the run, and those in the
// engine's reports, in order.
func (b *bubble) findings(token string) (kept string, reported []string) {
	b.t.Helper()
	err := b.Store.View(b.t.Context(), func(tx *store.Tx) error {
		_, run, err := b.load(tx)
		if err != nil {
			return err
		}
		kept, reported = run.Finding, nil
		group, err := tx.LogGroup(servicetest.Account, servicetest.Region, "/keyturn/rotation")
		if err != nil {
			return err
		}
		entries, err := tx.LogEntries(group.ID, store.LogQuery{Prefix: token, Limit: 100})
		for _, e := range entries {
			var line struct{ Finding json.RawMessage }
			if err := json.Unmarshal([]byte(e.Message), &line); err != nil {
				return err
			}
			if line.Finding != nil {
				reported = append(reported, string(line.Finding))
			}
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return kept, reported
}

// What the doctor finds is kept with the run, and in the report and the event
// of the failure, each time that the rotation fails; success leaves nothing.
func TestFinding(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var seen diagnosed
		b.diagnose = func(_ context.Context, c rotation.Case) *rotation.Finding {
			seen.add(c)
			return &rotation.Finding{Code: "D11", JSON: json.RawMessage(`{"code":"D11"}`)}
		}
		b.fails = func(e event) bool { return e.Step == secret.SetSecret && e.at.Before(base.Add(time.Minute)) }
		b.start()
		token := b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
		b.until(base.Add(10 * time.Second))
		kept, reported := b.findings(token)
		if want := []string{`{"code":"D11"}`}; kept != want[0] || !cmp.Equal(reported, want) {
			t.Errorf("got %q in the run and %q in the reports, want %q", kept, reported, want)
		}
		if n := b.count("RotationFailed", `"Finding":"D11"`); n != 1 || b.count("RotationFailed", "") != 1 {
			t.Errorf("got %d events with the code, want the one that there is", n)
		}
		text := secret.StepFailed(b.function, secret.SetSecret)
		want := []rotation.Case{{
			SecretARN: b.arn, Account: servicetest.Account, Region: servicetest.Region, FunctionARN: b.function, Token: token,
			Step: secret.SetSecret, Attempt: 1, Error: "the function returned an error: Error", EventText: text, Took: time.Second,
		}}
		if diff := cmp.Diff(want, seen.all(), cmpopts.IgnoreFields(rotation.Case{}, "At")); diff != "" {
			t.Errorf("cases (-want +got):\n%s", diff)
		}
		b.until(base.Add(5 * time.Minute))
		if kept, _ := b.findings(token); kept != "" || b.count("RotationSucceeded", "") != 1 {
			t.Errorf("after the success the run has the finding %q", kept)
		}
	})
}

// A diagnosis that hangs, panics, says nothing or too much costs the rotation
// its finding, and a few seconds at most.
func TestFindingFails(t *testing.T) {
	for name, tc := range map[string]struct {
		diagnose func(context.Context, rotation.Case) *rotation.Finding
		quiet    bool
		took     time.Duration
		code     int
	}{
		"hangs": {func(ctx context.Context, _ rotation.Case) *rotation.Finding { <-ctx.Done(); return nil }, false, 3 * time.Second, 0},
		"stands still": {func(context.Context, rotation.Case) *rotation.Finding {
			time.Sleep(8 * time.Second)
			return &rotation.Finding{Code: "D11"}
		}, false, 3 * time.Second, 0},
		"panics":  {func(context.Context, rotation.Case) *rotation.Finding { panic("the password is hunter2") }, true, 0, 0},
		"nothing": {func(context.Context, rotation.Case) *rotation.Finding { return nil }, false, 0, 0},
		"too much": {func(context.Context, rotation.Case) *rotation.Finding {
			return &rotation.Finding{Code: "D11", JSON: json.RawMessage(`"` + strings.Repeat("x", 16<<10) + `"`)}
		}, false, 0, 1},
		"no JSON": {func(context.Context, rotation.Case) *rotation.Finding {
			return &rotation.Finding{Code: "D11", JSON: json.RawMessage(`{`)}
		}, false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.diagnose, b.quiet = tc.diagnose, tc.quiet
				b.fails = func(e event) bool { return e.Step == secret.SetSecret }
				b.start()
				token := b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
				b.until(base.Add(2*time.Second + tc.took - time.Millisecond)) // two steps of a second each
				if n := b.count("RotationFailed", ""); n != 0 {
					t.Errorf("got %d failures before the diagnosis had ended", n)
				}
				b.until(base.Add(2*time.Second + tc.took + time.Millisecond))
				if n := b.count("RotationFailed", ""); n != 1 {
					t.Errorf("got %d failures, want 1", n)
				}
				if n := b.count("RotationFailed", `"Finding":"D11"`); n != tc.code {
					t.Errorf("got %d events with a code, want %d", n, tc.code)
				}
				if kept, reported := b.findings(token); kept != "" || reported != nil {
					t.Errorf("got the finding %q, reported %q", kept, reported)
				}
				b.until(base.Add(14 * time.Second)) // what was left behind ends
			})
		})
	}
}

// A server that stops does not wait for a diagnosis, and stores the failure.
func TestFindingStopped(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.diagnose = func(ctx context.Context, _ rotation.Case) *rotation.Finding { <-ctx.Done(); return nil }
		b.fails = func(e event) bool { return e.Step == secret.CreateSecret }
		b.start()
		b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
		b.until(base.Add(time.Second + time.Millisecond))
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > 0 || b.count("RotationFailed", "") != 1 {
			t.Errorf("stopping took %v and left %d failures, want none and 1", took, b.count("RotationFailed", ""))
		}
	})
}

// A scheduled rotation that cannot begin is diagnosed too, once.
func TestFindingRefused(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var seen diagnosed
		b.diagnose = func(_ context.Context, c rotation.Case) *rotation.Finding {
			seen.add(c)
			return &rotation.Finding{Code: "D22"}
		}
		b.start()
		b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(1))}, true)
		b.until(base.Add(time.Minute))
		b.edit(func(s *secret.Secret, _ *secret.RotationRun) {
			s.Versions = append(s.Versions, secret.Version{ID: "left", Labels: []string{secret.Pending}, CreatedAt: time.Now()})
		})
		b.until(base.Add(36 * time.Hour))
		if n := b.count("RotationFailed", `"Finding":"D22"`); n != 1 || b.count("RotationFailed", "") != 1 {
			t.Errorf("got %d failures, %d with the code; want 1 with it", b.count("RotationFailed", ""), n)
		}
		text := "A previous rotation isn't complete. That rotation will be reattempted."
		want := []rotation.Case{{
			SecretARN: b.arn, Account: servicetest.Account, Region: servicetest.Region, FunctionARN: b.function, Error: text, EventText: text,
		}}
		if diff := cmp.Diff(want, seen.all(), cmpopts.IgnoreFields(rotation.Case{}, "At")); diff != "" {
			t.Errorf("cases (-want +got):\n%s", diff)
		}
	})
}
