package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
)

// FuzzParse checks that rules are refused with a parameter error or give a
// schedule whose windows come soon, are whole hours and do not overlap.
func FuzzParse(f *testing.F) {
	for _, expression := range []string{
		"", "rate(4 hours)", "rate(999 days)", "rate(24 hours)", "cron(0 /8 * * ? *)", "cron(0 2/10 * * ? *)", "cron(0 0,4,20 * * ? *)",
		"cron(0 18 ? * SAT *)", "cron(0 1 ? 1/3 SUN#1 *)", "cron(0 17 L * ? *)", "cron(0 8 ? * mon-fri *)", "cron(0 16 1,15 * ? *)",
		"cron(0 0 SUNL * ? *)", "cron(0 0 ? 2 SUN#5 *)", "cron(0 0 29 2 ? *)", "cron(0 0 30 2 ? *)", "cron(0 0 31 4,6 ? *)",
		"cron(0 23 1-10/3,L */2 ? *)", "cron(0 0 ? * L,2#1 *)", "cron(0 0 ? /5 /3 *)",
	} {
		f.Add(int64(0), expression, "", int64(1741584600))
		f.Add(int64(0), expression, "4h", int64(0))
	}
	f.Add(int64(30), "", "3h", int64(1741584600))
	f.Add(int64(1001), "", "25h", int64(1741584600))
	f.Add(int64(30), "rate(30 days)", "", int64(1741584600))
	f.Fuzz(func(t *testing.T, days int64, expression, duration string, unix int64) {
		r := schedule.Rules{AutomaticallyAfterDays: days, Expression: expression, Duration: duration}
		s, err := schedule.Parse(r)
		if err != nil {
			if fe, ok := errors.AsType[*fault.Error](err); !ok || fe.Kind != fault.Parameter || fe.Message == "" {
				t.Fatalf("Parse(%+v) = %v", r, err)
			}
			return
		}
		if s.IsZero() {
			if days != 0 || expression != "" {
				t.Fatalf("Parse(%+v) never fires", r)
			}
			return
		}
		if n := s.DisplayDays(); n < 1 || n > 1000 {
			t.Fatalf("%+v: DisplayDays is %d", r, n)
		}
		checkWindows(t, r, s, time.Unix(unix%(1<<33), 0).UTC())
	})
}

// checkWindows checks the first windows of a schedule.
func checkWindows(t *testing.T, r schedule.Rules, s schedule.Schedule, from time.Time) {
	t.Helper()
	years := 9 // the 29th of February around 2100
	if strings.Contains(r.Expression, "#5") {
		years = 41 // the fifth Sunday of February around 2100
	}
	windows := s.Preview(4, from)
	if len(windows) != 4 {
		t.Fatalf("%+v has %d windows after %v", r, len(windows), from)
	}
	end := from
	for i, w := range windows {
		length := w.End.Sub(w.Start)
		switch {
		case w.Start != w.Start.Truncate(time.Hour), length != length.Truncate(time.Hour), length < time.Hour, length > 24*time.Hour:
			t.Fatalf("%+v: window %v", r, w)
		case !w.End.After(from), i > 0 && w.Start.Before(end):
			t.Fatalf("%+v: window %v comes after %v", r, w, end)
		case w.Start.After(end.AddDate(years, 0, 1)):
			t.Fatalf("%+v: window %v comes more than %d years after %v", r, w, years, end)
		}
		end = w.End
	}
}
