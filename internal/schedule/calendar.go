package schedule

import (
	"math/bits"
	"time"
)

// searchMonths bounds the search for the next match. The rarest day is a fifth
// weekday in February: a leap year that begins the month with that weekday
// comes every 28 years, and after 40 around a century that is no leap year.
const searchMonths = 41 * 12

// lastHour is the latest hour of the day at which a window opens.
func (c cron) lastHour() int { return bits.Len32(c.hours) - 1 }

// happens reports whether any date ever matches: the 30th of February does not.
func (c cron) happens() bool {
	if c.days.lastDate || c.days.lastWeekday != 0 || c.days.dates == 0 {
		return true
	}
	first := bits.TrailingZeros32(c.days.dates)
	for month := time.January; month <= time.December; month++ {
		const leapYear = 2024
		if c.months>>month&1 == 1 && first <= lengthOf(leapYear, month) {
			return true
		}
	}
	return false
}

// after returns the first opening of a window that is later than t, in UTC.
func (c cron) after(t time.Time) (time.Time, bool) {
	year, month, today := t.Date()
	later := c.hours &^ (2<<t.Hour() - 1)
	past := uint32(2)<<today - 1
	if later != 0 {
		past >>= 1 // today still has an hour to come
	}
	for range searchMonths {
		if c.months>>month&1 == 1 {
			if left := c.days.in(year, month) &^ past; left != 0 {
				day, hours := bits.TrailingZeros32(left), c.hours
				if day == today {
					hours = later
				}
				return time.Date(year, month, day, bits.TrailingZeros32(hours), 0, 0, 0, time.UTC), true
			}
		}
		past, today = 0, 0
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return time.Time{}, false
}

// in returns the set of matching days of one month.
func (d days) in(year int, month time.Month) uint32 {
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Weekday()
	return d.of(first, lengthOf(year, month))
}

// of returns the set of matching days of a month that has the given length and
// begins with the given weekday.
func (d days) of(first time.Weekday, length int) uint32 {
	const everyWeek = 1 | 1<<7 | 1<<14 | 1<<21 | 1<<28
	set := uint64(d.dates)
	set |= firstWeek(d.weekdays, first) * everyWeek
	for n, weekdays := range d.nth {
		set |= firstWeek(weekdays, first) << (7 * n)
	}
	if d.lastDate {
		set |= 1 << length
	}
	// The last seven days hold each weekday once.
	begin := length - 6
	set |= firstWeek(d.lastWeekday, (first+time.Weekday(begin-1))%7) << (begin - 1)
	return uint32(set & (2<<length - 2))
}

// firstWeek turns a set of weekdays into the set of days 1 to 7 of a month
// that begins with the weekday first.
func firstWeek(weekdays uint8, first time.Weekday) uint64 {
	w := uint64(weekdays)
	return (w>>first | w<<(7-first)) & 0x7f << 1
}

// lengthOf returns the number of days of a month.
func lengthOf(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// usualDays is the shortest usual interval in days; see DisplayDays.
func (c cron) usualDays() int {
	if bits.OnesCount32(c.hours) > 1 {
		return 1
	}
	if c.days.weekdays != 0 {
		weekdays := c.days.weekdays
		for _, nth := range c.days.nth {
			weekdays |= nth
		}
		return shortestGap(uint32(weekdays), 7)
	}
	month := (shortestGap(c.months, 12)*365 + 6) / 12
	return shortestGap(c.days.of(time.Sunday, 30), month)
}
