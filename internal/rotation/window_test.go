package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// at returns a time of the day that is n days after base's.
func at(n, hour, minute int) time.Time {
	return midnight(base).AddDate(0, 0, n).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

// wantAttempts demands that there were n attempts so far.
func (b *bubble) wantAttempts(n int) {
	b.t.Helper()
	if got := len(b.attempts()); got != n {
		b.t.Fatalf("at %s: %d attempts, want %d", stamp(time.Now()), got, n)
	}
}

// A value put by hand and a rotation on demand count as the rotation of their
// window; a count in days begins anew, hours and calendars stay.
func TestManualChangesPostpone(t *testing.T) {
	t.Run("count in days", func(t *testing.T) {
		inBubble(t, func(b *bubble) {
			b.start()
			b.rotate(days(30), false)
			b.until(at(20, 12, 0))
			b.put()
			b.wantNext(at(51, 0, 0).Add(-time.Second))
			b.until(at(49, 23, 59))
			b.wantAttempts(0)
			b.until(at(51, 0, 0))
			b.wantAttempts(1)
			b.until(at(60, 7, 0))
			b.rotate(nil, true)
			b.until(at(60, 7, 1))
			b.wantAttempts(2)
			b.wantNext(at(91, 0, 0).Add(-time.Second))
			b.until(at(89, 23, 59))
			b.wantAttempts(2)
			b.until(at(91, 0, 0))
			b.wantAttempts(3)
		})
	})
	t.Run("calendar", func(t *testing.T) {
		inBubble(t, func(b *bubble) { // every night, 2:00 to 6:00
			b.start()
			b.rotate(expression("cron(0 2 * * ? *)", "4h"), false)
			b.until(at(0, 5, 59).Add(59 * time.Second))
			b.wantAttempts(1) // in the rest of the window that was open
			b.until(at(1, 1, 0))
			b.put() // outside a window
			b.wantNext(at(1, 6, 0).Add(-time.Second))
			b.until(at(1, 6, 0))
			b.wantAttempts(2)
			b.until(at(2, 1, 0))
			b.rotate(nil, true) // likewise
			b.until(at(2, 1, 1))
			b.wantAttempts(3)
			b.wantNext(at(2, 6, 0).Add(-time.Second))
			b.until(at(2, 6, 0))
			b.wantAttempts(4)
			b.until(at(3, 2, 0))
			b.put() // in the window
			b.wantNext(at(4, 6, 0).Add(-time.Second))
			b.until(at(3, 6, 0))
			b.wantAttempts(4)
			b.until(at(4, 6, 0))
			b.wantAttempts(5)
		})
	})
	t.Run("a value by hand ends an unfinished rotation", func(t *testing.T) {
		inBubble(t, func(b *bubble) {
			b.fails = func(e event) bool { return e.Step == secret.SetSecret }
			b.start()
			b.rotate(expression("cron(0 22 * * ? *)", "2h"), false)
			b.until(at(1, 0, 0))
			b.wantAttempts(secret.MaxAttempts)
			b.until(at(1, 12, 0))
			b.put()
			if n := b.count("RotationAbandoned", b.arn); n != 1 {
				t.Errorf("%d events RotationAbandoned, want one", n)
			}
			b.wantNext(at(2, 0, 0).Add(-time.Second))
			b.fails = nil
			before := b.attempts()[0].ClientRequestToken
			b.until(at(2, 0, 0))
			b.wantAttempts(secret.MaxAttempts + 1)
			if got := b.attempts()[secret.MaxAttempts].ClientRequestToken; got == before {
				t.Error("the abandoned rotation goes on with its token")
			}
		})
	})
}

// A function that fails is tried five times inside its window, with growing
// pauses, and again in the next window with the same token and value, until
// it succeeds. NextRotationDate stays where it was.
func TestFailingFunctionIsRetried(t *testing.T) {
	for name, tc := range map[string]struct {
		rules  *api.RotationRulesType
		hour   int
		length time.Duration
	}{
		"shortest window": {expression("cron(0 22 * * ? *)", "1h"), 22, time.Hour},
		"whole day":       {days(1), 0, day},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				const bad = 4
				first := 0
				if tc.length == day {
					first = 1 // the day of the configuration does not count
				}
				b.fails = func(e event) bool { return e.Step == secret.TestSecret && e.at.Before(at(first+bad, 0, 0)) }
				b.start()
				b.rotate(tc.rules, false)
				b.until(base.Add(time.Minute))
				next := at(first, tc.hour, 0).Add(tc.length - time.Second)
				for i := range bad {
					start := at(first+i, tc.hour, 0)
					b.until(start.Add(-time.Second))
					b.wantAttempts(i * secret.MaxAttempts)
					b.until(start.Add(tc.length - time.Second))
					b.wantAttempts((i + 1) * secret.MaxAttempts)
					b.wantBackoff(start, tc.length)
					b.wantNext(next)
				}
				b.until(at(first+bad, tc.hour, 0).Add(tc.length - time.Second))
				b.wantAttempts(bad*secret.MaxAttempts + 1)
				for _, e := range b.attempts() {
					if e.ClientRequestToken != b.attempts()[0].ClientRequestToken {
						t.Fatal("an attempt has a token of its own")
					}
				}
				b.wantNext(next.AddDate(0, 0, bad+1))
				text := "Error when executing lambda " + bubbleFunction + " during testSecret step"
				for event, want := range map[string]int{
					"RotationStarted": bad*secret.MaxAttempts + 1, "RotationFailed": bad * secret.MaxAttempts, "RotationSucceeded": 1,
				} {
					if event == "RotationFailed" {
						if got := b.count(event, text); got != want {
							t.Errorf("%d events %s say %q, want %d", got, event, text, want)
						}
					}
					if got := b.count(event, b.arn); got != want {
						t.Errorf("%d events %s, want %d", got, event, want)
					}
				}
				if got := len(b.describe().VersionIdsToStages); got != 2 {
					t.Errorf("%d versions, want the first and the rotated one", got)
				}
			})
		})
	}
}

// wantBackoff demands that the last attempts lie in the window and are as far
// apart as Backoff says.
func (b *bubble) wantBackoff(start time.Time, length time.Duration) {
	b.t.Helper()
	list := b.attempts()
	list = list[len(list)-secret.MaxAttempts:]
	for i, e := range list {
		if e.at.Before(start) || !e.at.Before(start.Add(length)) {
			b.t.Errorf("attempt %d at %s is not in the window from %s", i+1, stamp(e.at), stamp(start))
		}
		if i == 0 {
			continue
		}
		low, high := secret.Backoff(i)
		steps := 3 * b.stepTime // up to testSecret
		if gap := e.at.Sub(list[i-1].at) - steps; gap < low || gap > high+time.Second {
			b.t.Errorf("attempt %d came %v after the failure before, want %v to %v", i+1, gap, low, high)
		}
	}
}

// However often the server stops and starts, in windows and between them,
// each window has one rotation.
func TestRestartsKeepToWindows(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.start()
		b.rotate(expression("cron(0 2,14 * * ? *)", ""), false)
		b.stop()
		const windows = 12
		for i := range windows {
			start := at(0, 14, 0).Add(time.Duration(i) * 12 * time.Hour)
			for t := start.Add(-11 * time.Hour); t.Before(start); t = t.Add(2 * time.Hour) {
				b.restartAt(t)
			}
			b.until(start.Add(-time.Second))
			b.wantAttempts(i)
			for t := start; t.Before(start.Add(time.Hour)); t = t.Add(7*time.Minute + 300*time.Millisecond) {
				b.restartAt(t)
			}
			b.until(start.Add(time.Hour))
			b.wantOneIn(i, start, time.Hour)
		}
		if got := b.count("RotationSucceeded", b.arn); got != windows {
			t.Errorf("%d rotations succeeded, want %d", got, windows)
		}
	})
}

// restartAt stops and starts the engine at a time, with a pause.
func (b *bubble) restartAt(t time.Time) {
	b.t.Helper()
	b.until(t)
	b.stop()
	time.Sleep(10 * time.Second)
	b.start()
}

// A server that comes up in an open window, late or not, rotates in it.
func TestStartInOpenWindow(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.start()
		b.rotate(expression("cron(0 8 * * ? *)", "4h"), false)
		for i := range 5 {
			b.until(at(i, 7, 0))
			b.stop()
			up := at(i, 8+min(i, 3), 30)
			b.until(up)
			b.wantAttempts(i)
			b.start()
			b.until(at(i, 12, 0))
			b.wantAttempts(i + 1)
			begun := b.attempts()[i].at
			if late := up.After(at(i, 10, 0)); begun.Before(up) || late && begun.After(up.Add(time.Second)) || begun.After(at(i, 12, 0)) {
				t.Errorf("up at %s: rotated at %s", stamp(up), stamp(begun))
			}
			b.wantNext(at(i+1, 12, 0).Add(-time.Second))
		}
	})
}

// A server that was down over windows, or whose clock jumps ahead, makes up
// for them with one rotation at once; then its windows count again.
func TestMissedWindowsAreMadeUpForOnce(t *testing.T) {
	for name, rules := range map[string]*api.RotationRulesType{
		"calendar": expression("cron(0 22 * * ? *)", "1h"), "hours": expression("rate(6 hours)", ""), "days": days(1),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.start()
				b.rotate(rules, false)
				b.stop()
				b.until(at(400, 10, 30))
				b.wantAttempts(0)
				b.start()
				synctest.Wait()
				b.until(at(400, 10, 31))
				b.wantAttempts(1)
				b.stop()
				b.start()
				b.until(at(400, 11, 59))
				b.wantAttempts(1)
				b.until(at(402, 0, 0).Add(-time.Second))
				if got, want := len(b.attempts()), map[string]int{"calendar": 3, "hours": 7, "days": 2}[name]; got != want {
					t.Errorf("%d rotations by the end of the day after, want %d", got, want)
				}
			})
		})
	}
}

// A rotation that makes up for a missed window and fails is tried for an
// hour; then it waits for the next window.
func TestMadeUpRotationFails(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.fails = func(e event) bool { return e.at.Before(at(3, 20, 0)) }
		b.start()
		b.rotate(expression("cron(0 22 * * ? *)", "1h"), false)
		b.stop()
		b.until(at(3, 10, 0))
		b.start()
		b.until(at(3, 11, 0))
		b.wantAttempts(secret.MaxAttempts)
		b.until(at(3, 21, 59))
		b.wantAttempts(secret.MaxAttempts)
		b.until(at(3, 23, 0))
		b.wantAttempts(secret.MaxAttempts + 1)
		b.wantNext(at(4, 23, 0).Add(-time.Second))
	})
}

// A clock that was set back leaves dates in the future behind. They count as
// what they are: the window has its rotation, and the next one comes.
func TestClockSetBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.start()
		b.rotate(expression("cron(0 8 * * ? *)", "4h"), false)
		b.until(at(0, 12, 0))
		b.wantAttempts(1)
		b.stop()
		b.until(at(1, 8, 0))
		b.edit(func(s *secret.Secret, _ *secret.RotationRun) { // at 11:00 it was made 8:00 again
			s.Rotation.LastRotatedAt = at(1, 9, 30)
			if err := s.Plan(nil); err != nil {
				t.Fatal(err)
			}
		})
		b.start()
		b.until(at(1, 12, 0))
		b.wantAttempts(1)
		b.until(at(2, 12, 0))
		b.wantAttempts(2)
		b.wantNext(at(3, 12, 0).Add(-time.Second))
	})
}

// A node whose clock was ahead and which died does not hold its rotation for
// as long as its clock was ahead.
func TestLeaseFromTheFuture(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.poll = 0 // the default
		b.rotate(days(30), true)
		b.update(func(tx *store.Tx) error {
			_, err := tx.ClaimRuns("dead", at(100, 0, 0), at(100, 0, 0), at(100, 0, 0).Add(30*time.Second), 1)
			return err
		})
		b.start()
		b.until(time.Now().Add(time.Minute))
		if got := b.count("RotationSucceeded", b.arn); got != 1 {
			t.Errorf("%d rotations succeeded, want one", got)
		}
	})
}

// Secrets that are scheduled for deletion or whose rotation is off do not
// rotate; restored, the secret makes up for what it missed.
func TestNoRotationWhileDeletedOrOff(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.start()
		b.rotate(days(1), false)
		b.until(at(0, 22, 0))
		if _, err := b.service.DeleteSecret(t.Context(), b.call(), &api.DeleteSecretRequest{SecretId: &b.arn}); err != nil {
			t.Fatal(err)
		}
		b.until(at(20, 10, 0))
		b.wantAttempts(0)
		if _, err := b.service.RestoreSecret(t.Context(), b.call(), &api.RestoreSecretRequest{SecretId: &b.arn}); err != nil {
			t.Fatal(err)
		}
		b.until(at(20, 10, 1))
		b.wantAttempts(1)
		if _, err := b.service.CancelRotateSecret(t.Context(), b.call(), &api.CancelRotateSecretRequest{SecretId: &b.arn}); err != nil {
			t.Fatal(err)
		}
		b.until(at(60, 0, 0))
		b.wantAttempts(1)
	})
}

// One secret that cannot be started for a fault of ours does not keep the
// others from rotating.
func TestOneBadSecretStopsNobody(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.quiet = true
		good := b.arn
		b.start()
		b.rotate(days(2), false)
		b.arn = b.create("app/bad")
		b.rotate(days(1), false)
		b.until(base.Add(time.Minute))
		b.edit(func(s *secret.Secret, _ *secret.RotationRun) { s.Rotation.Rules.Expression = "of another version" })
		b.arn = good
		b.until(at(3, 0, 0))
		if got := b.count("RotationSucceeded", good); got != 1 {
			t.Errorf("%d rotations succeeded, want one", got)
		}
		if got := b.logged.Load(); got == 0 || got > 60 {
			t.Errorf("the engine logged %d errors, want about one an hour", got)
		}
	})
}

// What a function says of its failure may quote the secret: only the name of
// the error's type is kept.
func TestErrorTextIsNotKept(t *testing.T) {
	for errorType, want := range map[string]string{
		"psycopg2.OperationalError": "psycopg2.OperationalError", "no login with s3cret": "unknown error", "": "unknown error",
		strings.Repeat("x", 101): "unknown error",
	} {
		t.Run(want, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.errorType = errorType
				b.fails = func(event) bool { return true }
				b.start()
				b.rotate(days(30), true)
				time.Sleep(10 * time.Second)
				if _, run := b.storedRun(); run.Error != "the function returned an error: "+want || run.FailedStep != secret.CreateSecret {
					t.Errorf("got error %q in %s", run.Error, run.FailedStep)
				}
			})
		})
	}
}
