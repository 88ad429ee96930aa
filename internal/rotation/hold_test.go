package rotation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const (
	reader  = "arn:aws:iam::123456789012:user/apps/reader"
	session = "arn:aws:sts::123456789012:assumed-role/app/i-0123"
)

// hold makes setSecret wait for readers until a time.
func (b *bubble) hold(until time.Time) {
	b.errorType = "RotationHeld"
	b.errorText = "kept until " + until.Format(time.RFC3339) + " for 2 readers: " + session + " (the password is hunter2), " + reader + ", " + session
	b.fails = func(e event) bool { return e.Step == secret.SetSecret && time.Now().Before(until) }
}

// steps returns the times of the invocations for a step since the beginning
// of the story.
func (b *bubble) steps(step secret.Step) (at []time.Duration) {
	for _, e := range b.invocations() {
		if e.Step == step {
			at = append(at, e.at.Sub(base))
		}
	}
	return at
}

// reported returns the reports with a status.
func (b *bubble) reported(status string) (list []map[string]any) {
	b.t.Helper()
	b.update(func(tx *store.Tx) error {
		list = nil
		group, err := tx.LogGroup(servicetest.Account, servicetest.Region, "/keyturn/rotation")
		if err != nil {
			return err
		}
		entries, err := tx.LogEntries(group.ID, store.LogQuery{Limit: 1000})
		for _, e := range entries {
			if strings.Contains(e.Message, `"status":"`+status+`"`) {
				var r map[string]any
				if err := json.Unmarshal([]byte(e.Message), &r); err != nil {
					return err
				}
				list = append(list, r)
			}
		}
		return err
	})
	return list
}

// A hold is no failure: the step alone is repeated, at growing distances and
// at the hold's end, by whichever engine runs.
func TestHeld(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.start()
		until := base.Add(40 * time.Minute)
		b.hold(until)
		b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
		b.until(base.Add(10 * time.Minute))
		b.stop()
		b.start()
		b.until(until.Add(time.Minute))
		if n := len(b.steps(secret.CreateSecret)); n != 1 {
			t.Errorf("createSecret ran %d times, want once", n)
		}
		looks := b.steps(secret.SetSecret)
		if n := len(looks); n < 10 || n > 40 || looks[1]-looks[0] != 16*time.Second || looks[n-1] != 40*time.Minute {
			t.Errorf("got setSecret at %v, want from every 15 seconds on, and at the end after 40 minutes", looks)
		}
		for name, want := range map[string]int{"RotationStarted": 1, "RotationFailed": 0, "RotationSucceeded": 1} {
			if got := b.count(name, ""); got != want {
				t.Errorf("got %d events %s, want %d", got, name, want)
			}
		}
		held := b.reported("held")
		if len(held) != len(looks)-1 {
			t.Fatalf("got %d reports of a hold of %d looks", len(held), len(looks))
		}
		want := map[string]any{
			"secretArn": b.arn, "token": held[0]["token"], "status": "held", "step": "setSecret", "attempt": 1.0, "durationMs": 1000.0,
			"error":   "the function waits until 2025-03-10T06:10:00Z for " + reader + ", " + session + " to read the secret again",
			"retryAt": "2025-03-10T05:30:17Z", "heldUntil": "2025-03-10T06:10:00Z", "readers": []any{reader, session},
		}
		if diff := cmp.Diff(want, held[0]); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	})
}

// A hold may be longer than the window in which the rotation began.
func TestHeldPastTheWindow(t *testing.T) {
	inBubble(t, func(b *bubble) {
		until := base.Add(6 * time.Hour)
		b.hold(until)
		b.start()
		b.rotate(&api.RotationRulesType{ScheduleExpression: new("cron(0 8 10 * ? *)"), Duration: new("1h")}, false)
		b.until(until.Add(time.Minute))
		if started, failed, done := b.count("RotationStarted", ""), b.count("RotationFailed", ""), b.count("RotationSucceeded", ""); started != 1 || failed != 0 || done != 1 {
			t.Errorf("got %d rotations started, %d failed and %d succeeded", started, failed, done)
		}
		b.wantNext(time.Date(2025, 4, 10, 8, 59, 59, 0, time.UTC))
	})
}

// What is no hold fails: one that is over, one without an end, and one of
// another step.
func TestHeldWrongly(t *testing.T) {
	for name, mistake := range map[string]func(b *bubble){
		"over":        func(b *bubble) { b.errorText = "until " + base.Add(-time.Hour).Format(time.RFC3339) },
		"without end": func(b *bubble) { b.errorText = "for " + reader },
		"other step": func(b *bubble) {
			b.hold(base.Add(time.Hour))
			b.fails = func(e event) bool { return e.Step == secret.TestSecret }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.start()
				b.errorType = "RotationHeld"
				b.fails = func(e event) bool { return e.Step == secret.SetSecret }
				mistake(b)
				b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
				b.until(base.Add(10 * time.Second))
				if got := b.count("RotationFailed", ""); got != 1 {
					t.Errorf("got %d failures, want one", got)
				}
				if failed := b.reported("failed"); len(failed) != 1 || failed[0]["error"] != "the function returned an error: RotationHeld" {
					t.Errorf("got reports %v", failed)
				}
			})
		})
	}
}
