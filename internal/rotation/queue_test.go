package rotation_test

import (
	"testing"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
)

// A busy function is waited for, and its limit costs no attempt; one that
// stays busy fails the attempt in the end, and one that is switched off at
// once.
func TestBusyFunction(t *testing.T) {
	busy := fault.New(fault.Throttled, "Rate Exceeded.")
	for name, c := range map[string]struct {
		err         error
		free        time.Duration // since the beginning
		failed      int
		done, after time.Duration // the first is when it has succeeded at the latest
	}{
		"for a while":  {busy, time.Minute, 0, 70 * time.Second, time.Minute},
		"for too long": {busy, 2*time.Minute + 5*time.Second, 1, 3 * time.Minute, 2 * time.Minute},
		"switched off": {busy.Because(environment.ErrSwitchedOff), 10 * time.Second, 1, time.Minute, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.quiet = true
				b.busy = func() error {
					if time.Since(base) < c.free {
						return c.err
					}
					return nil
				}
				b.start()
				b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
				b.until(base.Add(c.done))
				if got := b.count("RotationFailed", ""); got != c.failed {
					t.Errorf("got %d failed attempts, want %d", got, c.failed)
				}
				if got := b.count("RotationSucceeded", ""); got != 1 {
					t.Fatalf("got %d rotations succeeded, want 1", got)
				}
				if first := b.invocations()[0].at.Sub(base); first < c.after {
					t.Errorf("the function ran %s after the beginning, want %s at the earliest", first, c.after)
				}
			})
		})
	}
}

// A server that stops does not wait for a busy function: the next one does.
func TestBusyFunctionStop(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.quiet = true
		b.busy = func() error { return fault.New(fault.Throttled, "Rate Exceeded.") }
		b.start()
		b.rotate(&api.RotationRulesType{AutomaticallyAfterDays: new(int64(30))}, true)
		b.until(base.Add(5 * time.Second))
		b.stop()
		if took := time.Since(base.Add(5 * time.Second)); took > time.Second {
			t.Errorf("stopping took %s", took)
		}
		b.busy = nil
		b.start()
		b.until(base.Add(time.Minute))
		if failed, done := b.count("RotationFailed", ""), b.count("RotationSucceeded", ""); failed != 0 || done != 1 {
			t.Errorf("got %d failed attempts and %d successes after the restart", failed, done)
		}
	})
}
