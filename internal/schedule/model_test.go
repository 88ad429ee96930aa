package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/schedule"
)

// predicate says whether something matches at a time; the model of a field.
type predicate func(t time.Time) bool

var (
	monthNames   = strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
	weekdayNames = strings.Fields("SUN MON TUE WED THU FRI SAT")
)

// pick draws one of several texts.
func pick(t *rapid.T, label string, choices ...string) string {
	return rapid.SampledFrom(choices).Draw(t, label)
}

// drawHours draws an hours field.
func drawHours(t *rapid.T) (string, predicate) {
	first := rapid.IntRange(0, 23).Draw(t, "hour")
	step := rapid.IntRange(4, 23).Draw(t, "every")
	switch pick(t, "hours", "one", "increment", "bare", "list") {
	case "one":
		return fmt.Sprint(first), func(t time.Time) bool { return t.Hour() == first }
	case "increment":
		return fmt.Sprintf("%d/%d", first, step), func(t time.Time) bool {
			return t.Hour() >= first && (t.Hour()-first)%step == 0
		}
	case "bare":
		return fmt.Sprintf("/%d", step), func(t time.Time) bool { return t.Hour()%step == 0 }
	}
	list := []int{first % 4}
	for h := list[0] + 4; h <= 20+list[0]; h += 4 {
		if rapid.Bool().Draw(t, "listed") {
			list = append(list, h)
		}
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ","), func(t time.Time) bool {
		return slices.Contains(list, t.Hour())
	}
}

// drawValue draws a value of a field, by number or by name in either case.
func drawValue(t *rapid.T, low, high int, names []string) (string, int) {
	n := rapid.IntRange(low, high).Draw(t, "value")
	text := fmt.Sprint(n)
	if names != nil {
		name := names[n-1]
		text = pick(t, "spelling", text, name, strings.ToLower(name))
	}
	return text, n
}

// drawItem draws a plain item of a list: a value, a range or an increment. of
// reads the field's value from a time.
func drawItem(t *rapid.T, high int, names []string, of func(time.Time) int) (string, predicate) {
	text, n := drawValue(t, 1, high, names)
	step := rapid.IntRange(1, high).Draw(t, "step")
	switch pick(t, "item", "value", "range", "increment", "whole", "bare") {
	case "range":
		upper, m := drawValue(t, n, high, names)
		return text + "-" + upper, func(t time.Time) bool { return of(t) >= n && of(t) <= m }
	case "increment":
		return fmt.Sprintf("%s/%d", text, step), func(t time.Time) bool {
			return of(t) >= n && (of(t)-n)%step == 0
		}
	case "whole":
		return fmt.Sprintf("*/%d", step), func(t time.Time) bool { return (of(t)-1)%step == 0 }
	case "bare":
		return fmt.Sprintf("/%d", step), func(t time.Time) bool { return (of(t)-1)%step == 0 }
	}
	return text, func(t time.Time) bool { return of(t) == n }
}

// drawDate draws an item of the day-of-month field.
func drawDate(t *rapid.T) (string, predicate) {
	switch pick(t, "date", "plain", "plain", "L", "SUNL") {
	case "L":
		return "L", func(t time.Time) bool { return t.AddDate(0, 0, 1).Day() == 1 }
	case "SUNL":
		weekday := rapid.IntRange(0, 6).Draw(t, "weekday")
		return weekdayNames[weekday] + "L", func(t time.Time) bool {
			return int(t.Weekday()) == weekday && t.AddDate(0, 0, 7).Month() != t.Month()
		}
	}
	return drawItem(t, 31, nil, time.Time.Day)
}

// drawWeekday draws an item of the day-of-week field.
func drawWeekday(t *rapid.T) (string, predicate) {
	switch pick(t, "weekday", "plain", "plain", "L", "SUN#1") {
	case "L":
		return "L", func(t time.Time) bool { return t.Weekday() == time.Saturday }
	case "SUN#1":
		text, n := drawValue(t, 1, 7, weekdayNames)
		nth := rapid.IntRange(1, 5).Draw(t, "nth")
		return fmt.Sprintf("%s#%d", text, nth), func(t time.Time) bool {
			return int(t.Weekday())+1 == n && t.AddDate(0, 0, -7*nth).Month() != t.Month() &&
				t.AddDate(0, 0, -7*(nth-1)).Month() == t.Month()
		}
	}
	return drawItem(t, 7, weekdayNames, func(t time.Time) int { return int(t.Weekday()) + 1 })
}

// drawMonth draws an item of the month field.
func drawMonth(t *rapid.T) (string, predicate) {
	return drawItem(t, 12, monthNames, func(t time.Time) int { return int(t.Month()) })
}

// drawField draws "*" or a list of items.
func drawField(t *rapid.T, item func(*rapid.T) (string, predicate)) (string, predicate) {
	if rapid.IntRange(0, 3).Draw(t, "any") == 0 {
		return "*", func(time.Time) bool { return true }
	}
	var texts []string
	var matches []predicate
	for range rapid.IntRange(1, 3).Draw(t, "items") {
		text, match := item(t)
		texts, matches = append(texts, text), append(matches, match)
	}
	return strings.Join(texts, ","), func(t time.Time) bool {
		return slices.ContainsFunc(matches, func(match predicate) bool { return match(t) })
	}
}

// drawCron draws a cron expression and its model.
func drawCron(t *rapid.T) (string, predicate) {
	hours, hour := drawHours(t)
	months, month := drawField(t, drawMonth)
	dates, weekdays, match := "?", "?", predicate(nil)
	if rapid.Bool().Draw(t, "by weekday") {
		weekdays, match = drawField(t, drawWeekday)
	} else {
		dates, match = drawField(t, drawDate)
	}
	expression := fmt.Sprintf("cron(0 %s %s %s %s *)", hours, dates, months, weekdays)
	return expression, func(t time.Time) bool { return hour(t) && month(t) && match(t) }
}

// scan tries every hour later than t, for 41 years.
func scan(t time.Time, match predicate) (time.Time, bool) {
	limit := t.AddDate(41, 0, 0)
	for t = t.Truncate(time.Hour).Add(time.Hour); t.Before(limit); t = t.Add(time.Hour) {
		if match(t) {
			return t, true
		}
	}
	return time.Time{}, false
}

// drawTime draws a time around the leap years and the century that is none.
func drawTime(t *rapid.T, label string) time.Time {
	first, last := at("1996-01-01T00:00:00Z").Unix(), at("2110-01-01T00:00:00Z").Unix()
	seconds := rapid.Int64Range(first, last).Draw(t, label)
	if rapid.Bool().Draw(t, label+" on the hour") {
		seconds -= seconds % 3600
	}
	return time.Unix(seconds, 0).UTC()
}

func TestCalendarAgainstHourlyScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expression, match := drawCron(t)
		from := drawTime(t, "from")
		s, err := schedule.Parse(schedule.Rules{Expression: expression})
		if err != nil {
			if start, ok := scan(from, match); ok {
				t.Fatalf("%s: %v, though it matches %v", expression, err, start)
			}
			return
		}
		h := schedule.History{Configured: from, Consumed: from}
		for range 5 {
			want, ok := scan(h.Consumed, match)
			if !ok {
				t.Fatalf("%s is accepted and never matches after %v", expression, h.Consumed)
			}
			got, _ := s.Next(h)
			if !got.Start.Equal(want) {
				t.Fatalf("%s after %v: got %v, want %v", expression, h.Consumed, got.Start, want)
			}
			h.Consumed = want
		}
	})
}

// drawRules draws any valid rules.
func drawRules(t *rapid.T) (schedule.Rules, schedule.Schedule) {
	var r schedule.Rules
	switch pick(t, "kind", "days", "rate(days)", "rate(hours)", "cron") {
	case "days":
		r.AutomaticallyAfterDays = rapid.Int64Range(1, 60).Draw(t, "days")
	case "rate(days)":
		r.Expression = fmt.Sprintf("rate(%d days)", rapid.IntRange(1, 60).Draw(t, "days"))
	case "rate(hours)":
		r.Expression = fmt.Sprintf("rate(%d hours)", rapid.IntRange(4, 23).Draw(t, "hours"))
	case "cron":
		r.Expression, _ = drawCron(t)
	}
	if rapid.Bool().Draw(t, "with duration") {
		r.Duration = fmt.Sprintf("%dh", rapid.IntRange(1, 24).Draw(t, "duration"))
	}
	s, err := schedule.Parse(r)
	if err != nil {
		r.Duration = ""
		if s, err = schedule.Parse(r); err != nil {
			t.SkipNow() // a day that never comes
		}
	}
	return r, s
}

// TestNextAgainstWindows compares Next with its definition for hours and
// calendars: the first window, of all that exist, that is neither consumed nor
// over at configuration.
func TestNextAgainstWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expression, match := drawCron(t)
		configured := drawTime(t, "configured")
		if rapid.Bool().Draw(t, "hours") {
			every := rapid.IntRange(4, 23).Draw(t, "every")
			expression = fmt.Sprintf("rate(%d hours)", every)
			first := configured.Truncate(24 * time.Hour)
			match = func(t time.Time) bool {
				return !t.Before(first) && int(t.Sub(first).Hours())%every == 0
			}
		}
		s, err := schedule.Parse(schedule.Rules{Expression: expression})
		if err != nil {
			t.SkipNow()
		}
		consumed := configured.Add(time.Duration(rapid.IntRange(-72, 72).Draw(t, "consumed")) * time.Hour)
		got, _ := s.Next(schedule.History{Configured: configured, Consumed: consumed})
		length := got.End.Sub(got.Start)
		want, ok := scan(configured.Add(-48*time.Hour), func(t time.Time) bool {
			return match(t) && t.After(consumed) && t.Add(length).After(configured)
		})
		if !ok || !got.Start.Equal(want) {
			t.Fatalf("%s, configured %v, consumed %v: got %v, want %v", expression, configured, consumed, got.Start, want)
		}
	})
}

// TestEngineOverMonths plays a rotation engine that is down at times and fails
// at times, and checks when it rotates.
func TestEngineOverMonths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := drawRules(t)
		h := schedule.History{Configured: drawTime(t, "configured")}
		now, last := h.Configured, schedule.Window{}
		for range 40 {
			f, ok := s.Firing(h, "app/db")
			if !ok {
				t.Fatalf("%+v: no firing", r)
			}
			checkSameFiring(t, s, h, f)
			up := !f.Due(now) // the engine sleeps until then, unless the server goes down
			now = latest(now, f.At)
			if rapid.IntRange(0, 4).Draw(t, "down") == 0 {
				up, now = false, now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "for hours"))*time.Hour)
			}
			if up && !f.Window.Contains(now) {
				t.Fatalf("%+v: due at %v, outside of %v", r, now, f.Window)
			}
			if now.Before(latest(f.Window.Start, h.Configured)) {
				t.Fatalf("%+v: due at %v, before %v", r, now, f.Window)
			}
			if f.Window.Start.Before(last.End) {
				t.Fatalf("%+v: %v overlaps %v, which had its rotation", r, f.Window, last)
			}
			last = f.Window
			before, _ := s.NextRotationDate(h)
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				h.GivenUp = now
				if after, _ := s.NextRotationDate(h); after != before {
					t.Fatalf("%+v: a failure at %v moved NextRotationDate from %v to %v", r, now, before, after)
				}
				continue
			}
			h.Consumed = now
			if after, _ := s.NextRotationDate(h); !after.After(now) || !after.After(before) {
				t.Fatalf("%+v: a rotation at %v moved NextRotationDate from %v to %v", r, now, before, after)
			}
		}
	})
}

// checkSameFiring checks that asking once more changes nothing, and that other
// secrets get the same window.
func checkSameFiring(t *rapid.T, s schedule.Schedule, h schedule.History, f schedule.Firing) {
	if again, _ := s.Firing(h, "app/db"); again != f {
		t.Fatalf("got %v, then %v", f, again)
	}
	if other, _ := s.Firing(h, "app/cache"); other.Window != f.Window {
		t.Fatalf("got window %v, for another secret %v", f.Window, other.Window)
	}
	checkFiring(t, f, h)
}

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestEveryWindowRotatesOnce runs an engine that is always up for two years:
// each window gets exactly one rotation, within its first half.
func TestEveryWindowRotatesOnce(t *testing.T) {
	for _, r := range []schedule.Rules{
		{AutomaticallyAfterDays: 30},
		{AutomaticallyAfterDays: 1, Duration: "3h"},
		{Expression: "rate(10 days)"},
		{Expression: "rate(4 hours)", Duration: "4h"},
		{Expression: "rate(10 hours)"},
		{Expression: "cron(0 2/10 * * ? *)"},
		{Expression: "cron(0 0 * * ? *)"},
		{Expression: "cron(0 18 ? * SAT *)", Duration: "2h"},
		{Expression: "cron(0 16 1,15 * ? *)"},
	} {
		s := mustParse(t, r)
		h := schedule.History{Configured: base}
		end := base.AddDate(2, 0, 0)
		var rotated []time.Time
		for now := base; now.Before(end); {
			f, ok := s.Firing(h, "app/db")
			if !ok || len(rotated) > 0 && !f.At.After(now) {
				t.Fatalf("%+v: after %v fires at %v", r, now, f.At)
			}
			checkFiring(t, f, h)
			now = f.At
			h.Consumed = now
			rotated = append(rotated, now)
		}
		windows := s.Preview(len(rotated), base)
		for i, w := range windows {
			if !w.Contains(rotated[i]) {
				t.Fatalf("%+v: rotation %d was at %v, its window is %v", r, i, rotated[i], w)
			}
		}
	}
}
