package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/schedule"
)

// base is the moment from which the worked examples count: a Monday.
var base = at("2025-03-10T05:30:00Z")

// at reads an RFC 3339 time.
func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// rules makes Rules from a number of days or an expression.
func rules(frequency any, duration string) schedule.Rules {
	r := schedule.Rules{Duration: duration}
	switch f := frequency.(type) {
	case int:
		r.AutomaticallyAfterDays = int64(f)
	case string:
		r.Expression = f
	}
	return r
}

func TestNextRotationDateObserved(t *testing.T) {
	for _, tc := range []struct {
		name      string
		frequency any
		duration  string
		event     string
		want      string
	}{
		{"30 days, rotated 2026-01-22", 30, "", "2026-01-22T06:42:22Z", "2026-02-21T23:59:59Z"},
		{"30 days, rotated 2024-02-22", 30, "", "2024-02-22T07:16:15Z", "2024-03-23T23:59:59Z"},
		{"30 days, value changed by hand 2026-02-03", 30, "", "2026-02-03T12:00:00Z", "2026-03-05T23:59:59Z"},
		{"weekly on Monday, rotated 2023-10-16", "cron(0 0 ? * 2 *)", "", "2023-10-16T07:18:02Z", "2023-10-23T23:59:59Z"},
		{"weekly on Monday, rotated 2026-09-07", "cron(0 0 ? * MON *)", "", "2026-09-07T18:14:58Z", "2026-09-14T23:59:59Z"},
		{"16:00 for 2h, epoch 1665165599", "cron(0 16 * * ? *)", "2h", "2022-10-06T16:30:00Z", "2022-10-07T17:59:59Z"},
		{"7 days, rotated 2024-02-25, over the leap day", 7, "", "2024-02-25T23:59:59Z", "2024-03-03T23:59:59Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustParse(t, rules(tc.frequency, tc.duration))
			h := schedule.History{Configured: at("2020-01-01T10:00:00Z"), Consumed: at(tc.event)}
			got, ok := s.NextRotationDate(h)
			if want := at(tc.want); !ok || !got.Equal(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestNextRotationDateWorkedExamples(t *testing.T) {
	for _, tc := range []struct {
		frequency any
		duration  string
		start     string   // of the next window
		dates     []string // NextRotationDate and the following ones
	}{
		{1, "", "2025-03-11T00:00:00Z", []string{"2025-03-11T23:59:59Z", "2025-03-12T23:59:59Z", "2025-03-13T23:59:59Z"}},
		{"rate(10 days)", "3h", "2025-03-20T00:00:00Z", []string{"2025-03-20T02:59:59Z", "2025-03-30T02:59:59Z"}},
		{"rate(999 days)", "", "2027-12-04T00:00:00Z", []string{"2027-12-04T23:59:59Z"}},
		{"cron(0 /8 * * ? *)", "", "2025-03-10T08:00:00Z", []string{"2025-03-10T08:59:59Z", "2025-03-10T16:59:59Z", "2025-03-11T00:59:59Z"}},
		{"cron(0 8/8 * * ? *)", "2h", "2025-03-10T08:00:00Z", []string{"2025-03-10T09:59:59Z", "2025-03-10T17:59:59Z", "2025-03-11T09:59:59Z"}},
		{"cron(0 2/10 * * ? *)", "", "2025-03-10T12:00:00Z", []string{"2025-03-10T12:59:59Z", "2025-03-10T22:59:59Z", "2025-03-11T02:59:59Z", "2025-03-11T12:59:59Z"}},
		{"cron(0 4/12 * * ? *)", "", "2025-03-10T16:00:00Z", []string{"2025-03-10T16:59:59Z", "2025-03-11T04:59:59Z", "2025-03-11T16:59:59Z"}},
		{"cron(0 10 * * ? *)", "", "2025-03-10T10:00:00Z", []string{"2025-03-10T23:59:59Z", "2025-03-11T23:59:59Z", "2025-03-12T23:59:59Z"}},
		{"cron(0 18 ? * SAT *)", "", "2025-03-15T18:00:00Z", []string{"2025-03-15T23:59:59Z", "2025-03-22T23:59:59Z", "2025-03-29T23:59:59Z"}},
		{"cron(0 8 1 * ? *)", "", "2025-04-01T08:00:00Z", []string{"2025-04-01T23:59:59Z", "2025-05-01T23:59:59Z", "2025-06-01T23:59:59Z"}},
		{"cron(0 1 ? 1/3 SUN#1 *)", "", "2025-04-06T01:00:00Z", []string{"2025-04-06T23:59:59Z", "2025-07-06T23:59:59Z", "2025-10-05T23:59:59Z"}},
		{"cron(0 17 L * ? *)", "", "2025-03-31T17:00:00Z", []string{"2025-03-31T23:59:59Z", "2025-04-30T23:59:59Z", "2025-05-31T23:59:59Z"}},
		{"cron(0 8 ? * MON-FRI *)", "", "2025-03-10T08:00:00Z", []string{"2025-03-10T23:59:59Z", "2025-03-11T23:59:59Z", "2025-03-12T23:59:59Z", "2025-03-13T23:59:59Z", "2025-03-14T23:59:59Z", "2025-03-17T23:59:59Z"}},
		{"cron(0 16 1,15 * ? *)", "2h", "2025-03-15T16:00:00Z", []string{"2025-03-15T17:59:59Z", "2025-04-01T17:59:59Z", "2025-04-15T17:59:59Z"}},
		{"cron(0 0 ? * SUN#1 *)", "", "2025-04-06T00:00:00Z", []string{"2025-04-06T23:59:59Z", "2025-05-04T23:59:59Z", "2025-06-01T23:59:59Z"}},
		{"cron(0 0 ? 1/11 2#1 *)", "", "2025-12-01T00:00:00Z", []string{"2025-12-01T23:59:59Z", "2026-01-05T23:59:59Z", "2026-12-07T23:59:59Z"}},
		{"cron(0 0 SUNL * ? *)", "", "2025-03-30T00:00:00Z", []string{"2025-03-30T23:59:59Z", "2025-04-27T23:59:59Z", "2025-05-25T23:59:59Z"}},
		// Further ones, of the same rules.
		{"rate(10 hours)", "", "2025-03-10T10:00:00Z", []string{"2025-03-10T10:59:59Z", "2025-03-10T20:59:59Z", "2025-03-11T06:59:59Z"}},
		{"rate(23 hours)", "23h", "2025-03-10T00:00:00Z", []string{"2025-03-10T22:59:59Z", "2025-03-11T21:59:59Z"}},
		{"cron(0 0,4,20 * * ? *)", "4h", "2025-03-10T04:00:00Z", []string{"2025-03-10T07:59:59Z", "2025-03-10T23:59:59Z", "2025-03-11T03:59:59Z"}},
		{"cron(0 23 29 2 ? *)", "1h", "2028-02-29T23:00:00Z", []string{"2028-02-29T23:59:59Z", "2032-02-29T23:59:59Z"}},
		{"cron(0 0 ? 2 SUN#5 *)", "", "2032-02-29T00:00:00Z", []string{"2032-02-29T23:59:59Z", "2060-02-29T23:59:59Z", "2088-02-29T23:59:59Z", "2128-02-29T23:59:59Z"}},
		{"cron(0 8 15,L * ? *)", "", "2025-03-15T08:00:00Z", []string{"2025-03-15T23:59:59Z", "2025-03-31T23:59:59Z", "2025-04-15T23:59:59Z"}},
		{"cron(0 8 31 * ? *)", "", "2025-03-31T08:00:00Z", []string{"2025-03-31T23:59:59Z", "2025-05-31T23:59:59Z", "2025-07-31T23:59:59Z"}},
	} {
		t.Run(fmt.Sprintf("%v %s", tc.frequency, tc.duration), func(t *testing.T) {
			s := mustParse(t, rules(tc.frequency, tc.duration))
			windows := s.Preview(len(tc.dates), base)
			var got []string
			for _, w := range windows {
				got = append(got, w.End.Add(-time.Second).Format(time.RFC3339))
			}
			if diff := cmp.Diff(tc.dates, got); diff != "" {
				t.Errorf("last seconds of the windows (-want +got):\n%s", diff)
			}
			if want := at(tc.start); !windows[0].Start.Equal(want) {
				t.Errorf("got start %v, want %v", windows[0].Start, want)
			}
			date, _ := s.NextRotationDate(schedule.History{Configured: base})
			if want := at(tc.dates[0]); !date.Equal(want) {
				t.Errorf("got NextRotationDate %v, want %v", date, want)
			}
		})
	}
}

func TestNextAndFiring(t *testing.T) {
	const weekly = "cron(0 2 ? * MON *)" // Monday from 2 to 24
	for _, tc := range []struct {
		name                          string
		frequency                     any
		duration                      string
		configured, consumed, givenUp string
		next                          string // start of the Next window
		firing                        string // start of the Firing's window
	}{
		{"calendar: never rotated", weekly, "", "2025-03-04T12:00:00Z", "", "", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z"},
		{"calendar: open at configuration", weekly, "", "2025-03-10T12:00:00Z", "", "", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z"},
		{"calendar: closed at configuration", weekly, "1h", "2025-03-10T03:00:00Z", "", "", "2025-03-17T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: rotated as it opens", weekly, "", "2025-03-04T12:00:00Z", "2025-03-10T02:00:00Z", "", "2025-03-17T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: rotated just before", weekly, "", "2025-03-04T12:00:00Z", "2025-03-10T01:59:59Z", "", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z"},
		{"calendar: rotated after a missed window", weekly, "", "2025-03-04T12:00:00Z", "2025-03-12T09:00:00Z", "", "2025-03-17T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: reconfigured after rotating in the window", weekly, "", "2025-03-10T12:00:00Z", "2025-03-10T11:00:00Z", "", "2025-03-17T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: given up in the window", weekly, "", "2025-03-04T12:00:00Z", "", "2025-03-10T04:00:00Z", "2025-03-10T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: given up as it opens", weekly, "", "2025-03-04T12:00:00Z", "", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"calendar: given up twice", weekly, "", "2025-03-04T12:00:00Z", "", "2025-03-17T04:00:00Z", "2025-03-10T02:00:00Z", "2025-03-24T02:00:00Z"},
		{"calendar: given up on demand, before the window", weekly, "", "2025-03-04T12:00:00Z", "", "2025-03-09T04:00:00Z", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z"},
		{"calendar: reconfigured after giving up", weekly, "", "2025-03-10T05:00:00Z", "", "2025-03-10T04:00:00Z", "2025-03-10T02:00:00Z", "2025-03-10T02:00:00Z"},
		{"calendar: rotated after giving up", weekly, "", "2025-03-04T12:00:00Z", "2025-03-10T05:00:00Z", "2025-03-10T04:00:00Z", "2025-03-17T02:00:00Z", "2025-03-17T02:00:00Z"},
		{"days: never rotated", 30, "", "2025-03-10T12:00:00Z", "", "", "2025-04-09T00:00:00Z", "2025-04-09T00:00:00Z"},
		{"days: rotated before configuration, not yet due", 30, "", "2025-03-10T12:00:00Z", "2025-03-01T10:00:00Z", "", "2025-03-31T00:00:00Z", "2025-03-31T00:00:00Z"},
		{"days: due on the day of configuration", 30, "", "2025-03-31T12:00:00Z", "2025-03-01T10:00:00Z", "", "2025-03-31T00:00:00Z", "2025-03-31T00:00:00Z"},
		{"days: due before configuration", 30, "3h", "2025-03-31T12:00:00Z", "2025-03-01T10:00:00Z", "", "2025-04-30T00:00:00Z", "2025-04-30T00:00:00Z"},
		{"days: given up, again the following day", 30, "3h", "2025-01-01T12:00:00Z", "2025-03-01T10:00:00Z", "2025-03-31T02:00:00Z", "2025-03-31T00:00:00Z", "2025-04-01T00:00:00Z"},
		{"days: given up, days later", 30, "3h", "2025-01-01T12:00:00Z", "2025-03-01T10:00:00Z", "2025-04-05T11:00:00Z", "2025-03-31T00:00:00Z", "2025-04-06T00:00:00Z"},
		{"hours: never rotated", "rate(10 hours)", "", "2025-03-10T12:00:00Z", "", "", "2025-03-10T20:00:00Z", "2025-03-10T20:00:00Z"},
		{"hours: open at configuration", "rate(10 hours)", "2h", "2025-03-10T11:59:59Z", "", "", "2025-03-10T10:00:00Z", "2025-03-10T10:00:00Z"},
		{"hours: rotated on demand between windows", "rate(10 hours)", "", "2025-03-10T12:00:00Z", "2025-03-12T01:30:00Z", "", "2025-03-12T02:00:00Z", "2025-03-12T02:00:00Z"},
		{"hours: rotated in a window", "rate(10 hours)", "", "2025-03-10T12:00:00Z", "2025-03-12T02:00:30Z", "", "2025-03-12T12:00:00Z", "2025-03-12T12:00:00Z"},
		{"hours: given up", "rate(10 hours)", "", "2025-03-10T12:00:00Z", "", "2025-03-10T20:10:00Z", "2025-03-10T20:00:00Z", "2025-03-11T06:00:00Z"},
		{"hours: rotated before configuration", "rate(4 hours)", "", "2025-03-10T12:00:00Z", "1700-01-01T00:00:00Z", "", "2025-03-10T12:00:00Z", "2025-03-10T12:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustParse(t, rules(tc.frequency, tc.duration))
			h := schedule.History{Configured: at(tc.configured)}
			if tc.consumed != "" {
				h.Consumed = at(tc.consumed)
			}
			if tc.givenUp != "" {
				h.GivenUp = at(tc.givenUp)
			}
			next, _ := s.Next(h)
			if want := at(tc.next); !next.Start.Equal(want) {
				t.Errorf("got Next %v, want %v", next.Start, want)
			}
			firing, _ := s.Firing(h, "app/db")
			if want := at(tc.firing); !firing.Window.Start.Equal(want) {
				t.Errorf("got Firing in %v, want %v", firing.Window.Start, want)
			}
			checkFiring(t, firing, h)
		})
	}
}

// reporter is what checkFiring needs of a *testing.T or a *rapid.T.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// checkFiring checks that a firing lies after configuration and in the first
// half of what its window leaves.
func checkFiring(t reporter, f schedule.Firing, h schedule.History) {
	t.Helper()
	from := f.Window.Start
	if f.Window.Contains(h.Configured) {
		from = h.Configured
	}
	if middle := from.Add(f.Window.End.Sub(from) / 2); f.At.Before(from) || f.At.After(middle) {
		t.Errorf("Firing at %v in %v, configured at %v", f.At, f.Window, h.Configured)
	}
}

func TestFiringDueAndMissed(t *testing.T) {
	s := mustParse(t, rules("cron(0 2 ? * MON *)", "4h"))
	h := schedule.History{Configured: at("2025-03-04T12:00:00Z")}
	f, _ := s.Firing(h, "app/db")
	for _, tc := range []struct {
		now         time.Time
		due, missed bool
	}{
		{h.Configured, false, false},
		{f.At.Add(-time.Nanosecond), false, false},
		{f.At, true, false},
		{at("2025-03-10T05:59:59Z"), true, false},
		{at("2025-03-10T06:00:00Z"), true, true},
		{at("2025-06-01T00:00:00Z"), true, true},
	} {
		if due, missed := f.Due(tc.now), f.Missed(tc.now); due != tc.due || missed != tc.missed {
			t.Errorf("at %v: got due %v, missed %v, want %v, %v", tc.now, due, missed, tc.due, tc.missed)
		}
	}
}

func TestOtherTimeZones(t *testing.T) {
	zone := time.FixedZone("east", 14*3600)
	for _, expression := range []string{"rate(10 days)", "rate(10 hours)", "cron(0 2/10 ? * MON *)"} {
		s := mustParse(t, schedule.Rules{Expression: expression})
		utc := schedule.History{Configured: base, Consumed: base.Add(7 * time.Hour)}
		local := schedule.History{Configured: utc.Configured.In(zone), Consumed: utc.Consumed.In(zone)}
		want, _ := s.Firing(utc, "app/db")
		got, _ := s.Firing(local, "app/db")
		if got != want {
			t.Errorf("%s: got %v, want %v", expression, got, want)
		}
	}
}

func TestFireAtSpreads(t *testing.T) {
	const secrets, slots = 8000, 16
	w := schedule.Window{Start: base, End: base.Add(8 * time.Hour)}
	var count [slots]int
	for i := range secrets {
		seed := fmt.Sprintf("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db%d-AbCdEf", i)
		got := schedule.FireAt(w, seed)
		if again := schedule.FireAt(w, seed); got != again {
			t.Fatalf("FireAt gave %v, then %v", got, again)
		}
		offset := got.Sub(w.Start)
		if offset < 0 || offset >= 4*time.Hour {
			t.Fatalf("FireAt is %v after the start of an 8-hour window", offset)
		}
		count[offset*slots/(4*time.Hour)]++
	}
	for i, n := range count {
		if want := secrets / slots; n < want*7/10 || n > want*13/10 {
			t.Errorf("slot %d holds %d secrets, want about %d", i, n, want)
		}
	}
	next := schedule.Window{Start: w.Start.Add(24 * time.Hour), End: w.End.Add(24 * time.Hour)}
	if schedule.FireAt(w, "app/db").Sub(w.Start) == schedule.FireAt(next, "app/db").Sub(next.Start) {
		t.Error("FireAt takes the same moment of every window")
	}
	empty := schedule.Window{Start: base, End: base.Add(time.Second)}
	if got := schedule.FireAt(empty, "app/db"); !got.Equal(base) {
		t.Errorf("FireAt of one second = %v, want %v", got, base)
	}
}
