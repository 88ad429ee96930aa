package rotation_test

import (
	"testing"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
)

const day = 24 * time.Hour

func days(n int64) *api.RotationRulesType {
	return &api.RotationRulesType{AutomaticallyAfterDays: &n}
}

// expression makes rules of an expression and a Duration, "" for none.
func expression(text, duration string) *api.RotationRulesType {
	r := &api.RotationRulesType{ScheduleExpression: &text}
	if duration != "" {
		r.Duration = &duration
	}
	return r
}

func midnight(t time.Time) time.Time { return t.UTC().Truncate(day) }

// every returns the windows that begin at first and then every step.
func every(first time.Time, step time.Duration) func(int) time.Time {
	return func(i int) time.Time { return first.Add(time.Duration(i) * step) }
}

// when returns the days from base on that pass, at an hour.
func when(hour int, pass func(time.Time) bool) func(int) time.Time {
	return func(n int) time.Time {
		for t := midnight(base).Add(time.Duration(hour) * time.Hour); ; t = t.Add(day) {
			if !t.After(base) || !pass(t) {
				continue
			}
			if n--; n < 0 {
				return t
			}
		}
	}
}

// Schedules fire on their own over months: one rotation in each window, in
// its first half, and NextRotationDate is the last second of the next window.
func TestSchedulesFire(t *testing.T) {
	lastSunday := func(t time.Time) bool { return t.Weekday() == time.Sunday && t.AddDate(0, 0, 7).Month() != t.Month() }
	weekday := func(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }
	for name, tc := range map[string]struct {
		rules *api.RotationRulesType
		// window returns the beginning of the i-th window; length is how
		// long each is; n how many the story has.
		window func(i int) time.Time
		length time.Duration
		n      int
	}{
		"30 days":               {days(30), every(midnight(base).Add(30*day), 30*day), day, 12},
		"1 day":                 {days(1), every(midnight(base).Add(day), day), day, 20},
		"rate 10 days 3h":       {expression("rate(10 days)", "3h"), every(midnight(base).Add(10*day), 10*day), 3 * time.Hour, 18},
		"rate 8 hours":          {expression("rate(8 hours)", ""), every(midnight(base).Add(8*time.Hour), 8*time.Hour), time.Hour, 30},
		"rate 5 hours 2h":       {expression("rate(5 hours)", "2h"), every(midnight(base).Add(5*time.Hour), 5*time.Hour), 2 * time.Hour, 30},
		"twice a month 2h":      {expression("cron(0 16 1,15 * ? *)", "2h"), when(16, func(t time.Time) bool { return t.Day() == 1 || t.Day() == 15 }), 2 * time.Hour, 14},
		"weekdays from 8":       {expression("cron(0 8 ? * MON-FRI *)", ""), when(8, weekday), 16 * time.Hour, 15},
		"last Sunday":           {expression("cron(0 0 SUNL * ? *)", "4h"), when(0, lastSunday), 4 * time.Hour, 12},
		"daily, the last hours": {expression("cron(0 22 * * ? *)", "2h"), when(22, func(time.Time) bool { return true }), 2 * time.Hour, 15},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.start()
				b.rotate(tc.rules, false)
				for i := range tc.n {
					start := tc.window(i)
					b.until(base.Add(2 * time.Second))
					b.wantNext(start.Add(tc.length - time.Second))
					b.until(start.Add(-time.Second))
					if got := len(b.attempts()); got != i {
						t.Fatalf("before window %d at %s: %d rotations", i, stamp(start), got)
					}
					b.until(start.Add(tc.length))
					b.wantOneIn(i, start, tc.length)
				}
				if got := b.count("RotationSucceeded", b.arn); got != tc.n {
					t.Errorf("%d rotations succeeded, want %d", got, tc.n)
				}
			})
		})
	}
}

// wantOneIn demands that the last rotation is the i-th and began in the
// first half of its window, or of what was left of it at base.
func (b *bubble) wantOneIn(i int, start time.Time, length time.Duration) {
	b.t.Helper()
	list := b.attempts()
	if len(list) != i+1 {
		b.t.Fatalf("after the window at %s: %d rotations, want %d", stamp(start), len(list), i+1)
	}
	begun, end := list[i].at, start.Add(length)
	if start.Before(base) {
		start = base
	}
	if begun.Before(start) || begun.After(start.Add(end.Sub(start)/2)) {
		b.t.Errorf("the rotation of the window at %s began at %s, not in the first half", stamp(start), stamp(begun))
	}
}
