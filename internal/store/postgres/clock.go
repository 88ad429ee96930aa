package postgres

import (
	"sync/atomic"
	"time"
)

// clock tells the time of the database: what it said last, and how long ago
// that is. The time of day of this machine plays no part, nor that somebody
// sets it.
type clock struct{ last atomic.Pointer[reading] }

// reading is what the database's clock said, and when its answer was here.
type reading struct{ at, heard time.Time }

// quick is how long an answer may have taken that sets the clock. In a slower
// one this machine may have stood still after the database looked at its clock.
const quick = time.Second

// newClock returns a clock that was just read.
func newClock(at time.Time) *clock {
	c := &clock{}
	c.last.Store(&reading{at, time.Now()})
	return c
}

// set sets the clock by an answer to a question that began then.
func (c *clock) set(began, at time.Time) {
	if now := time.Now(); now.Sub(began) <= quick {
		c.last.Store(&reading{at, now})
	}
}

func (c *clock) now() time.Time {
	r := c.last.Load()
	return r.at.Add(time.Since(r.heard))
}
