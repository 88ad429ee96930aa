package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// minGapHours is the least time between two windows of a schedule in hours
// (AWS docs).
const minGapHours = 4

// cron is a parsed cron expression: the hours, days and months at which
// windows open, as bit sets. Bit n stands for hour, day of the month or month
// n, so bit 0 is unused in the last two.
type cron struct {
	hours  uint32
	days   days
	months uint32
	hourly bool // the hours field repeats within the day
}

// days selects the days of a month, by day of the month or by weekday. In sets
// of weekdays bit 0 is Sunday.
type days struct {
	dates       uint32   // days of the month
	lastDate    bool     // L: the last day of the month
	lastWeekday uint8    // SUNL: weekdays, on their last occurrence
	weekdays    uint8    // every occurrence
	nth         [5]uint8 // TUE#3: weekdays, on their first to fifth occurrence
}

// field describes one field of an expression: its range and the names of its
// values from min on, three letters each.
type field struct {
	title    string
	min, max int
	names    string
}

var (
	hourField    = field{"hours", 0, 23, ""}
	dateField    = field{"day-of-month", 1, 31, ""}
	monthField   = field{"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"}
	weekdayField = field{"day-of-week", 1, 7, "SUNMONTUEWEDTHUFRISAT"}
)

// parseCron reads the inside of cron(): minutes, hours, day of the month,
// month, weekday and year, with single spaces between. Names are read in
// either case (assumed; AWS documents upper case).
func parseCron(body string) (cron, error) {
	// Upper case folds a few letters beyond ASCII into it.
	if strings.ContainsFunc(body, func(r rune) bool { return r > unicode.MaxASCII }) {
		return cron{}, invalid("cron takes ASCII only")
	}
	fields := strings.Split(strings.ToUpper(body), " ")
	if len(fields) != 6 {
		return cron{}, invalid("cron takes six fields with single spaces between")
	}
	minutes, hours, dates, months, weekdays, year := fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]
	switch {
	case minutes != "0":
		return cron{}, invalid("the minutes field must be 0")
	case year != "*":
		return cron{}, invalid("the year field must be *")
	case (dates == "?") == (weekdays == "?"):
		return cron{}, invalid("exactly one of day-of-month and day-of-week must be ?")
	}
	var c cron
	var err error
	if c.hours, err = parseHours(hours); err != nil {
		return cron{}, err
	}
	c.hourly = strings.ContainsAny(hours, "/,")
	if c.months, err = monthField.parse(months, nil); err != nil {
		return cron{}, err
	}
	if weekdays == "?" {
		c.days.dates, err = dateField.parse(dates, c.days.addLast)
	} else {
		var set uint32
		set, err = weekdayField.parse(weekdays, c.days.addNth)
		c.days.weekdays |= uint8(set >> 1)
	}
	if err == nil && !c.happens() {
		err = invalid("no such day in any of these months")
	}
	if err != nil {
		return cron{}, err
	}
	return c, nil
}

// parseHours reads the hours field: one hour, a start and an increment of at
// least 4 ("2/10", or "/8" from midnight), which begins anew each day, or a
// list of hours that are at least 4 apart, around midnight too. AWS documents
// no lists; they are accepted where its 4-hour minimum holds for certain.
func parseHours(text string) (uint32, error) {
	if from, step, ok := strings.Cut(text, "/"); ok {
		first, okFirst := hourField.value(from)
		n, okStep := number(step, minGapHours, hourField.max)
		if (from != "" && !okFirst) || !okStep {
			return 0, hourField.invalid(text)
		}
		return series(first, hourField.max, n), nil
	}
	var set uint32
	for item := range strings.SplitSeq(text, ",") {
		n, ok := hourField.value(item)
		if !ok || set>>n&1 == 1 {
			return 0, hourField.invalid(text)
		}
		set |= 1 << n
	}
	if shortestGap(set, 24) < minGapHours {
		return 0, hourField.invalid(text)
	}
	return set, nil
}

// parse reads "*" or a list whose items are values, ranges and increments, or
// something that only this field knows, which special takes up.
func (f field) parse(text string, special func(item string) bool) (uint32, error) {
	if text == "*" {
		return series(f.min, f.max, 1), nil
	}
	var set uint32
	for item := range strings.SplitSeq(text, ",") {
		if special != nil && special(item) {
			continue
		}
		span, ok := f.span(item)
		if !ok {
			return 0, f.invalid(text)
		}
		set |= span
	}
	return set, nil
}

// span reads one item: a value, a range from the lower to the higher, or an
// increment. An increment counts from a value to the end of the field, within
// a range, or, after "*" or nothing, through the whole field.
func (f field) span(item string) (uint32, bool) {
	from, step, stepped := strings.Cut(item, "/")
	n, ok := 1, true
	if stepped {
		if n, ok = number(step, 1, f.max); !ok {
			return 0, false
		}
		if from == "" || from == "*" {
			return series(f.min, f.max, n), true
		}
	}
	low, high, ranged := strings.Cut(from, "-")
	first, ok := f.value(low)
	if !ok {
		return 0, false
	}
	last := first
	if ranged {
		if last, ok = f.value(high); !ok || last < first {
			return 0, false
		}
	} else if stepped {
		last = f.max
	}
	return series(first, last, n), true
}

// value reads a number of the field's range or one of its names.
func (f field) value(text string) (int, bool) {
	if len(text) == 3 {
		if i := strings.Index(f.names, text); i >= 0 && i%3 == 0 {
			return f.min + i/3, true
		}
		return 0, false
	}
	return number(text, f.min, f.max)
}

// invalid is the error for a field's text.
func (f field) invalid(text string) error {
	return invalid(fmt.Sprintf("the %s field does not take %q", f.title, text))
}

// addLast takes up "L" and items such as "SUNL" in the day-of-month field.
func (d *days) addLast(item string) bool {
	if item == "L" {
		d.lastDate = true
		return true
	}
	name, ok := strings.CutSuffix(item, "L")
	if !ok || len(name) != 3 {
		return false
	}
	weekday, ok := weekdayField.value(name)
	if ok {
		d.lastWeekday |= 1 << (weekday - 1)
	}
	return ok
}

// addNth takes up "L", the last day of the week, and items such as "TUE#3" in
// the day-of-week field.
func (d *days) addNth(item string) bool {
	if item == "L" {
		d.weekdays |= 1 << time.Saturday
		return true
	}
	name, nth, _ := strings.Cut(item, "#")
	weekday, okDay := weekdayField.value(name)
	n, okNth := number(nth, 1, len(d.nth))
	if !okDay || !okNth {
		return false
	}
	d.nth[n-1] |= 1 << (weekday - 1)
	return true
}

// number reads one or two digits within a range.
func number(text string, low, high int) (int, bool) {
	if len(text) > 2 || !isDigits(text) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high
}

// series is the set {first, first+step, ...} up to last.
func series(first, last, step int) uint32 {
	var set uint32
	for n := first; n <= last; n += step {
		set |= 1 << n
	}
	return set
}

// shortestGap is the least distance between neighbours in a set on a circle of
// the given size; the whole circle for a set of one or none.
func shortestGap(set uint32, circle int) int {
	if set == 0 {
		return circle
	}
	first := bits.TrailingZeros32(set)
	gap, prev := circle, first
	for rest := set & (set - 1); rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros32(rest)
		gap, prev = min(gap, n-prev), n
	}
	if prev == first {
		return circle
	}
	return min(gap, circle-prev+first)
}
