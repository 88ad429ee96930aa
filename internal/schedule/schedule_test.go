package schedule_test

import (
	"errors"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
)

// mustParse parses rules that are known to be valid.
func mustParse(t testing.TB, r schedule.Rules) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(r)
	if err != nil {
		t.Fatalf("Parse(%+v) = %v", r, err)
	}
	return s
}

const (
	together  = "You cannot specify both rotation frequency and schedule expression together."
	days      = "RotationRules.AutomaticallyAfterDays must be within 1-1000."
	invalid   = "Invalid schedule expression."
	rateHours = "Rate in hour should be least 4 and less than 24."
	rateDays  = "Rate in day should be greater than 0 and less than 1000."
	duration  = "Duration must be at least 1 hour, at most 24 hour."
	overlap   = "Duration cannot be greater than Rate in hour."
	midnight  = "Starting hour and duration must be within a day."
)

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		rules schedule.Rules
		want  string
	}{
		{schedule.Rules{AutomaticallyAfterDays: 30, Expression: "rate(30 days)"}, together},
		{schedule.Rules{AutomaticallyAfterDays: -1}, days},
		{schedule.Rules{AutomaticallyAfterDays: 1001}, days},
		{schedule.Rules{Expression: "rate(3 hours)"}, rateHours},
		{schedule.Rules{Expression: "rate(24 hours)"}, rateHours},
		{schedule.Rules{Expression: "rate(0 days)"}, rateDays},
		{schedule.Rules{Expression: "rate(1000 days)"}, rateDays},
		{schedule.Rules{Expression: "rate(99999999999999999999 days)"}, rateDays},
		{schedule.Rules{Expression: "rate(99999999999999999999 hours)"}, rateHours},
		{schedule.Rules{Expression: "rate(4 hours)", Duration: "5h"}, overlap},
		{schedule.Rules{Expression: "cron(0 20 * * ? *)", Duration: "6h"}, midnight},
		{schedule.Rules{Expression: "cron(0 2/10 * * ? *)", Duration: "3h"}, midnight},
		{schedule.Rules{Expression: "cron(0 /8 * * ? *)", Duration: "9h"}, midnight},
		{schedule.Rules{Expression: "cron(0 0,4 * * ? *)", Duration: "5h"}, overlap},
		{schedule.Rules{Expression: "rate(10 days)", Duration: "0h"}, duration},
		{schedule.Rules{Expression: "rate(10 days)", Duration: "25h"}, duration},
		{schedule.Rules{Expression: "rate(4 hours)", Duration: "25h"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "90m"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "2H"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "2"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "h"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "+2h"}, duration},
		{schedule.Rules{AutomaticallyAfterDays: 1, Duration: "99999999999999999999h"}, duration},
		{schedule.Rules{Duration: "25h"}, duration},
	} {
		checkRefused(t, tc.rules, tc.want)
	}
}

// checkRefused checks that rules are an invalid parameter with AWS's text.
func checkRefused(t *testing.T, r schedule.Rules, want string) {
	t.Helper()
	s, err := schedule.Parse(r)
	fe, ok := errors.AsType[*fault.Error](err)
	if !ok || fe.Kind != fault.Parameter || fe.Message != want {
		t.Errorf("Parse(%+v) = %v, want %v: %s", r, err, fault.Parameter, want)
	}
	if !s.IsZero() {
		t.Errorf("Parse(%+v) gave a schedule beside its error", r)
	}
}

func TestParseRefusesExpressions(t *testing.T) {
	for _, expression := range []string{
		// Not an expression of either form.
		" ", "rate", "rate(", "rate()", "cron", "cron(", "cron()", "at(1 day)", "4 hours", "0 0 * * ? *",
		"Rate(10 days)", "RATE(10 days)", "Cron(0 10 * * ? *)", "rate(10 days) ", " rate(10 days)", "rate(10 days))",
		"rate (10 days)", "cron (0 10 * * ? *)", "rate(rate(10 days))",
		// rate.
		"rate(10)", "rate(days)", "rate(10  days)", "rate( 10 days)", "rate(10 days )", "rate(-5 days)", "rate(+5 days)",
		"rate(1.5 days)", "rate(10 minutes)", "rate(2 weeks)", "rate(1 month)", "rate(10 Days)", "rate(10days)", "rate(1 day 4 hours)",
		// Number of fields and blanks.
		"cron(0 10 * * ?)", "cron(0 10 * * ? * *)", "cron(0  10 * * ? *)", "cron( 0 10 * * ? *)", "cron(0 10 * * ? * )", "cron(0 10\t* * ? *)",
		// Minutes and year.
		"cron(30 10 * * ? *)", "cron(00 10 * * ? *)", "cron(* 10 * * ? *)", "cron(/5 10 * * ? *)", "cron(0,0 10 * * ? *)",
		"cron(0 0 1 * ? 2026)", "cron(0 0 1 * ? 2026-2030)", "cron(0 0 1 * ? ?)", "cron(0 0 1 * ? */2)",
		// Hours.
		"cron(0 * * * ? *)", "cron(0 ? * * ? *)", "cron(0 24 * * ? *)", "cron(0 -1 * * ? *)", "cron(0 1/2 * * ? *)", "cron(0 0/3 * * ? *)",
		"cron(0 0/24 * * ? *)", "cron(0 24/4 * * ? *)", "cron(0 */8 * * ? *)", "cron(0 8-16 * * ? *)", "cron(0 8-16/4 * * ? *)", "cron(0 / * * ? *)",
		"cron(0 8/ * * ? *)", "cron(0 0/8/2 * * ? *)", "cron(0 0,3 * * ? *)", "cron(0 0,4,6 * * ? *)", "cron(0 0,23 * * ? *)", "cron(0 2,22,23 * * ? *)",
		"cron(0 8,8 * * ? *)", "cron(0 8, * * ? *)", "cron(0 ,8 * * ? *)", "cron(0 0/8,4 * * ? *)", "cron(0 008 * * ? *)", "cron(0 L * * ? *)",
		// Exactly one question mark among the days.
		"cron(0 0 1 * 2 *)", "cron(0 0 * * * *)", "cron(0 0 ? * ? *)", "cron(0 0 1 * * *)", "cron(0 0 * * 2 *)", "cron(0 0 ?,1 * ? *)",
		// Day of the month.
		"cron(0 0 0 * ? *)", "cron(0 0 32 * ? *)", "cron(0 0 31-1 * ? *)", "cron(0 0 1- * ? *)", "cron(0 0 -5 * ? *)", "cron(0 0 1-2-3 * ? *)",
		"cron(0 0 1,,2 * ? *)", "cron(0 0 1,* * ? *)", "cron(0 0 1/0 * ? *)", "cron(0 0 1/32 * ? *)", "cron(0 0 1/ * ? *)", "cron(0 0 15W * ? *)",
		"cron(0 0 LW * ? *)", "cron(0 0 L-3 * ? *)", "cron(0 0 15-L * ? *)", "cron(0 0 1L * ? *)", "cron(0 0 XXXL * ? *)", "cron(0 0 SUN * ? *)",
		"cron(0 0 SUN#1 * ? *)", "cron(0 0 JAN * ? *)", "cron(0 0 LL * ? *)", "cron(0 0 *-5 * ? *)", "cron(0 0 001 * ? *)",
		// Days that never come.
		"cron(0 0 30 2 ? *)", "cron(0 0 30,31 FEB ? *)", "cron(0 0 31 4,6,9,11 ? *)",
		// Month.
		"cron(0 0 1 0 ? *)", "cron(0 0 1 13 ? *)", "cron(0 0 1 ? ? *)", "cron(0 0 1 JANUARY ? *)", "cron(0 0 1 ANF ? *)", "cron(0 0 1 DEC-JAN ? *)",
		"cron(0 0 1 1/13 ? *)", "cron(0 0 1 1/0 ? *)", "cron(0 0 1 L ? *)", "cron(0 0 1 1#1 ? *)", "cron(0 0 1 MON ? *)", "cron(0 0 1 */ ? *)",
		// Day of the week.
		"cron(0 0 ? * 0 *)", "cron(0 0 ? * 8 *)", "cron(0 0 ? * SUNL *)", "cron(0 0 ? * 1L *)", "cron(0 0 ? * MON#0 *)", "cron(0 0 ? * MON#6 *)",
		"cron(0 0 ? * MON# *)", "cron(0 0 ? * #1 *)", "cron(0 0 ? * 8#1 *)", "cron(0 0 ? * MON-FRI#1 *)", "cron(0 0 ? * SAT-SUN *)", "cron(0 0 ? * FRI-MON *)",
		"cron(0 0 ? * MONDAY *)", "cron(0 0 ? * UNM *)", "cron(0 0 ? * MON/8 *)", "cron(0 0 ? * MON,* *)", "cron(0 0 ? * MON#1#2 *)", "cron(0 0 ? * 2W *)",
		// Letters that only fold into ASCII.
		"cron(0 0 ? * \u017fun *)", "cron(0 0 ? * FR\u0131 *)", "cron(0 0 ? * \xffUN *)",
	} {
		checkRefused(t, schedule.Rules{Expression: expression}, invalid)
	}
}

func TestParseZero(t *testing.T) {
	for _, r := range []schedule.Rules{{}, {Duration: "3h"}} {
		s := mustParse(t, r)
		if !s.IsZero() || s != (schedule.Schedule{}) {
			t.Errorf("Parse(%+v) is not the zero Schedule", r)
		}
	}
	var s schedule.Schedule
	h := schedule.History{Configured: base, Consumed: base}
	if w, ok := s.Next(h); ok {
		t.Errorf("Next of the zero Schedule = %v", w)
	}
	if date, ok := s.NextRotationDate(h); ok {
		t.Errorf("NextRotationDate of the zero Schedule = %v", date)
	}
	if f, ok := s.Firing(h, "app/db"); ok {
		t.Errorf("Firing of the zero Schedule = %v", f)
	}
	if got := s.Preview(3, base); len(got) != 0 {
		t.Errorf("Preview of the zero Schedule = %v", got)
	}
	if got := s.DisplayDays(); got != 0 {
		t.Errorf("DisplayDays of the zero Schedule = %d", got)
	}
}

func TestParseSameSchedule(t *testing.T) {
	for _, tc := range []struct{ a, b string }{
		{"rate(1 day)", "rate(1 days)"},
		{"rate(4 hour)", "rate(4 hours)"},
		{"cron(0 0/8 * * ? *)", "cron(0 /8 * * ? *)"},
		{"cron(0 0/8 * * ? *)", "cron(0 0,8,16 * * ? *)"},
		{"cron(0 0 ? * SUN#1 *)", "cron(0 0 ? * 1#1 *)"},
		{"cron(0 0 ? * TUE#3 *)", "cron(0 0 ? * tue#3 *)"},
		{"cron(0 0 ? * MON-FRI *)", "cron(0 0 ? * 2-6 *)"},
		{"cron(0 0 ? * L *)", "cron(0 0 ? * SAT *)"},
		{"cron(0 0 ? * * *)", "cron(0 0 ? * 1-7 *)"},
		{"cron(0 0 ? * MON/2 *)", "cron(0 0 ? * 2,4,6 *)"},
		{"cron(0 0 1 1/3 ? *)", "cron(0 0 1 JAN,4,Jul,oct ? *)"},
		{"cron(0 0 1 */3 ? *)", "cron(0 0 1 /3 ? *)"},
		{"cron(0 0 1/10 * ? *)", "cron(0 0 31,21,11,1 * ? *)"},
		{"cron(0 0 1-10/3 * ? *)", "cron(0 0 1,4,7,10 * ? *)"},
		{"cron(0 0 SUNL * ? *)", "cron(0 0 sunl 1-12 ? *)"},
	} {
		a, b := mustParse(t, schedule.Rules{Expression: tc.a}), mustParse(t, schedule.Rules{Expression: tc.b})
		if a != b {
			t.Errorf("%s is not %s", tc.a, tc.b)
		}
	}
}

func TestDisplayDays(t *testing.T) {
	for _, tc := range []struct {
		expression string
		want       int64
	}{
		{"rate(10 hours)", 1}, // AWS: recorded
		{"rate(4 hours)", 1},
		{"rate(1 day)", 1},
		{"rate(10 days)", 10},
		{"rate(999 days)", 999},
		{"cron(0 0 ? * 2 *)", 7},      // AWS: recorded
		{"cron(0 16 1,15 * ? *)", 14}, // AWS docs
		{"cron(0 /8 * * ? *)", 1},
		{"cron(0 /8 ? * SUN *)", 1},
		{"cron(0 10 * * ? *)", 1},
		{"cron(0 8 ? * MON-FRI *)", 1},
		{"cron(0 8 ? * MON,THU *)", 3},
		{"cron(0 8 ? * L *)", 7},
		{"cron(0 8 1 * ? *)", 30},
		{"cron(0 8 31 * ? *)", 30},
		{"cron(0 17 L * ? *)", 30},
		{"cron(0 0 SUNL * ? *)", 30},
		{"cron(0 0 ? * SUN#1 *)", 30},
		{"cron(0 0 ? * SUN#1,SUN#3 *)", 14},
		{"cron(0 0 ? * SUN,TUE#1 *)", 2},
		{"cron(0 1 ? 1/3 SUN#1 *)", 91},
		{"cron(0 1 1 1/6 ? *)", 183},
		{"cron(0 1 1 JAN ? *)", 365},
	} {
		if got := mustParse(t, schedule.Rules{Expression: tc.expression}).DisplayDays(); got != tc.want {
			t.Errorf("DisplayDays of %s = %d, want %d", tc.expression, got, tc.want)
		}
	}
	if got := mustParse(t, schedule.Rules{AutomaticallyAfterDays: 1000}).DisplayDays(); got != 1000 {
		t.Errorf("DisplayDays of 1000 days = %d", got)
	}
}
