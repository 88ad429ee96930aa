// Package schedule says when a secret rotates: it reads the rotation rules of
// AWS Secrets Manager and computes rotation windows, the NextRotationDate that
// clients see, and the moment at which the server starts a rotation.
//
// A schedule is a series of windows in UTC, all of one length, never
// overlapping. One rotation belongs in each. Three kinds exist:
//
//   - days: AutomaticallyAfterDays or rate(N days). The window opens at
//     midnight N days after the day of the last rotation or value change.
//   - hours: rate(N hours). A window every N hours without a break, the first
//     at the midnight that begins the day of configuration.
//   - calendar: cron(...). Windows on the hours and days that match, whatever
//     happened before.
//
// Everything here is a pure function of its arguments: callers pass all times,
// nothing is read from the clock, and the same arguments give the same answer
// on every node and after every restart.
package schedule

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Rules are the RotationRules of a RotateSecret call.
type Rules struct {
	// AutomaticallyAfterDays is 1 to 1000, or 0 when not given.
	AutomaticallyAfterDays int64
	// Duration is the window's length in hours, "1h" to "24h", or empty for
	// the default: to the end of the UTC day, or one hour where the schedule
	// counts in hours.
	Duration string
	// Expression is a rate() or cron() expression, or empty. It excludes
	// AutomaticallyAfterDays.
	Expression string
}

// AWS's answers to rules that it refuses. The texts are AWS's but for that of
// errDays, which is assumed, as are all codes but that of errTogether.
var (
	errTogether  = fault.New(fault.Parameter, "You cannot specify both rotation frequency and schedule expression together.")
	errDays      = fault.New(fault.Parameter, "RotationRules.AutomaticallyAfterDays must be within 1-1000.")
	errInvalid   = fault.New(fault.Parameter, "Invalid schedule expression.")
	errRateHours = fault.New(fault.Parameter, "Rate in hour should be least 4 and less than 24.")
	errRateDays  = fault.New(fault.Parameter, "Rate in day should be greater than 0 and less than 1000.")
	errDuration  = fault.New(fault.Parameter, "Duration must be at least 1 hour, at most 24 hour.")
	errOverlap   = fault.New(fault.Parameter, "Duration cannot be greater than Rate in hour.")
	errMidnight  = fault.New(fault.Parameter, "Starting hour and duration must be within a day.")
)

// kind tells the three ways to place windows apart; the zero kind has none.
type kind uint8

const (
	everyDays kind = iota + 1
	everyHours
	calendar
)

// Schedule is a valid set of rotation rules. The zero Schedule has no window:
// such a secret rotates on demand only. Schedules are comparable.
type Schedule struct {
	kind   kind
	every  int           // days or hours between windows, for the first two kinds
	cron   cron          // for calendar
	length time.Duration // of every window
}

// IsZero reports whether s never fires.
func (s Schedule) IsZero() bool { return s.kind == 0 }

// Parse checks rules and returns their schedule. Rules without a frequency
// give the zero Schedule. An error is a *fault.Error of kind fault.Parameter
// with AWS's text; its cause names the part that is wrong.
func Parse(r Rules) (Schedule, error) {
	if r.AutomaticallyAfterDays != 0 && r.Expression != "" {
		return Schedule{}, errTogether
	}
	s, err := parseFrequency(r)
	if err != nil {
		return Schedule{}, err
	}
	return s.withDuration(r.Duration)
}

// parseFrequency reads everything but the duration.
func parseFrequency(r Rules) (Schedule, error) {
	if n := r.AutomaticallyAfterDays; n != 0 {
		if n < 1 || n > 1000 {
			return Schedule{}, errDays
		}
		return Schedule{kind: everyDays, every: int(n)}, nil
	}
	if r.Expression == "" {
		return Schedule{}, nil
	}
	name, rest, _ := strings.Cut(r.Expression, "(")
	body, closed := strings.CutSuffix(rest, ")")
	switch {
	case closed && name == "rate":
		return parseRate(body)
	case closed && name == "cron":
		c, err := parseCron(body)
		return Schedule{kind: calendar, cron: c}, err
	}
	return Schedule{}, invalid("neither rate(...) nor cron(...)")
}

// parseRate reads the inside of rate(). Singular and plural units go with any
// number (assumed).
func parseRate(body string) (Schedule, error) {
	value, unit, _ := strings.Cut(body, " ")
	if !isDigits(value) {
		return Schedule{}, invalid("the rate's value is not a positive integer")
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		n = -1 // too large for an int: out of either range
	}
	switch unit {
	case "hour", "hours":
		if n < minGapHours || n > 23 {
			return Schedule{}, errRateHours
		}
		return Schedule{kind: everyHours, every: n}, nil
	case "day", "days":
		if n < 1 || n > 999 {
			return Schedule{}, errRateDays
		}
		return Schedule{kind: everyDays, every: n}, nil
	}
	return Schedule{}, invalid("the rate's unit is not hours or days")
}

// withDuration returns s with its window length set from the text of Duration.
// A window may reach neither into the next one nor, on a calendar, past the
// end of its UTC day.
func (s Schedule) withDuration(text string) (Schedule, error) {
	if text == "" {
		s.length = time.Duration(s.defaultHours()) * time.Hour
		return s, nil
	}
	hours, err := parseDuration(text)
	switch {
	case err != nil:
		return Schedule{}, err
	case s.IsZero():
		return Schedule{}, nil
	case s.kind == everyHours && hours > s.every:
		return Schedule{}, errOverlap
	case s.kind == calendar && s.cron.lastHour()+hours > 24:
		return Schedule{}, errMidnight
	case s.kind == calendar && hours > shortestGap(s.cron.hours, 24):
		return Schedule{}, errOverlap
	}
	s.length = time.Duration(hours) * time.Hour
	return s, nil
}

// parseDuration reads a whole number of hours from "1h" to "24h".
func parseDuration(text string) (int, error) {
	digits, ok := strings.CutSuffix(text, "h")
	if !ok || !isDigits(digits) {
		return 0, errDuration.Because(errors.New("not of the form 3h"))
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > 24 {
		return 0, errDuration
	}
	return n, nil
}

// defaultHours is the length of a window without a Duration: one hour where
// the schedule counts in hours, else the rest of the UTC day.
func (s Schedule) defaultHours() int {
	switch {
	case s.IsZero():
		return 0
	case s.kind == everyDays:
		return 24
	case s.kind == everyHours || s.cron.hourly:
		return 1
	}
	return 24 - s.cron.lastHour()
}

// DisplayDays is the AutomaticallyAfterDays that AWS shows beside an
// expression after a successful rotation: the number itself for schedules in
// days, 1 for schedules in hours, and the shortest usual interval for a
// calendar, counting a month as 30 days and a year as 365. AWS recorded: 1 for
// rate(10 hours), 7 for a weekly cron, 14 for the 1st and 15th; the formula is
// assumed. It is 0 for the zero Schedule.
func (s Schedule) DisplayDays() int64 {
	switch s.kind {
	case everyDays:
		return int64(s.every)
	case everyHours:
		return 1
	case calendar:
		return int64(s.cron.usualDays())
	}
	return 0
}

// invalid is AWS's one answer to every malformed expression, with the reason
// for the log and the command line.
func invalid(reason string) error { return errInvalid.Because(errors.New(reason)) }

// isDigits reports whether text is one or more ASCII digits.
func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
