package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Window is a span of time for one rotation, in UTC: from Start up to, not
// including, End.
type Window struct{ Start, End time.Time }

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool {
	return !t.Before(w.Start) && t.Before(w.End)
}

// History is what happened to a secret that bears on its next rotation.
type History struct {
	// Configured is when the rules came into force: rotation was turned on or
	// its rules changed. Always set. Windows that were over by then never
	// count as missed.
	Configured time.Time
	// Consumed is the later of the last successful rotation's completion and
	// the last value put by hand while rotation was on (AWS docs: it counts
	// as a rotation). Zero when there was neither.
	Consumed time.Time
	// GivenUp is when the last rotation that failed was given up, its retries
	// spent. Zero when there was none. What came before Configured or
	// Consumed does not matter.
	GivenUp time.Time
}

// Next returns the window in which the secret is to rotate next: the first
// that nothing has consumed. It lies in the past when it was missed or its
// rotation failed. ok is false only for the zero Schedule.
//
// A rotation consumes the window in which it completes. Outside any window it
// leaves hours and calendars as they are and starts a count in days anew (AWS
// docs). A window that is open at configuration counts (assumed). A count in
// days that ran out before its rules came into force starts at configuration
// (assumed).
func (s Schedule) Next(h History) (w Window, ok bool) {
	if s.kind == everyDays {
		return s.nextInDays(h), true
	}
	// All windows have one length: open at t means started after t-length.
	bound := h.Configured.Add(-s.length)
	if h.Consumed.After(bound) {
		bound = h.Consumed
	}
	return s.after(bound, h.Configured)
}

// nextInDays is Next for a count in days.
func (s Schedule) nextInDays(h History) Window {
	count := time.Duration(s.every) * day
	if !h.Consumed.IsZero() {
		w := s.window(midnight(h.Consumed).Add(count))
		if w.End.After(h.Configured) {
			return w
		}
	}
	return s.window(midnight(h.Configured).Add(count))
}

// after returns the first window that opens later than t and in which a
// rotation can run. A count in days offers one every day, for a rotation that
// failed on its own day.
func (s Schedule) after(t, configured time.Time) (Window, bool) {
	switch s.kind {
	case everyDays:
		return s.window(midnight(t).Add(day)), true
	case everyHours:
		// In seconds: a Duration ends after 292 years.
		first, step := midnight(configured).Unix(), int64(s.every)*3600
		var n int64
		if t.Unix() >= first {
			n = (t.Unix()-first)/step + 1
		}
		return s.window(time.Unix(first+n*step, 0).UTC()), true
	case calendar:
		start, ok := s.cron.after(t.UTC())
		return s.window(start), ok
	}
	return Window{}, false
}

// window is the window that opens at start.
func (s Schedule) window(start time.Time) Window {
	return Window{start, start.Add(s.length)}
}

// NextRotationDate is what DescribeSecret shows: the last second of the Next
// window (AWS: recorded), which may lie in the past. ok is false for the zero
// Schedule.
func (s Schedule) NextRotationDate(h History) (date time.Time, ok bool) {
	w, ok := s.Next(h)
	if !ok {
		return time.Time{}, false
	}
	return w.End.Add(-time.Second), true
}

// Firing is a rotation to come.
type Firing struct {
	// At is when to start it. When At has passed it is due at once: the
	// server came up late in the window, or after it.
	At time.Time
	// Window is the window it belongs to, in which retries may go on.
	Window Window
}

// Due reports whether the rotation is to start now.
func (f Firing) Due(now time.Time) bool { return !now.Before(f.At) }

// Missed reports whether the window passed without its rotation. A missed
// rotation is made up for at once, and once, however many windows passed.
func (f Firing) Missed(now time.Time) bool { return !now.Before(f.Window.End) }

// Firing returns the next rotation to start, the same from every node and
// after every restart, so that its At can be stored and searched by. seed
// spreads secrets over the window: pass the ARN. ok is false for the zero
// Schedule.
//
// The rotation belongs to the Next window, or, when one was given up since
// that opened, to the first window after the failure (for counts in days: the
// same hours of the following day) while NextRotationDate stays. In a window
// that was open at configuration it starts after that, so that turning a
// schedule on is not itself a rotation.
func (s Schedule) Firing(h History, seed string) (f Firing, ok bool) {
	w, ok := s.Next(h)
	if ok && h.GivenUp.After(h.Configured) && !h.GivenUp.Before(w.Start) {
		w, ok = s.after(h.GivenUp, h.Configured)
	}
	if !ok {
		return Firing{}, false
	}
	rest := w
	if w.Contains(h.Configured) {
		rest.Start = h.Configured.UTC()
	}
	return Firing{FireAt(rest, seed), w}, true
}

// FireAt picks a moment in the first half of the window, in whole seconds from
// its start: the second half is for the rotation itself and its retries. The
// moment depends on the seed and the window's start only; over many seeds, and
// for one seed over many windows, moments are spread evenly.
func FireAt(w Window, seed string) time.Time {
	span := w.End.Sub(w.Start) / 2 / time.Second
	if span <= 0 {
		return w.Start
	}
	text := binary.BigEndian.AppendUint64([]byte(seed), uint64(w.Start.Unix()))
	sum := sha256.Sum256(text)
	offset := binary.BigEndian.Uint64(sum[:]) % uint64(span)
	return w.Start.Add(time.Duration(offset) * time.Second)
}

// Preview returns the first n windows of rules that come into force at after,
// a rotation completing in each; none for the zero Schedule.
func (s Schedule) Preview(n int, after time.Time) []Window {
	var windows []Window
	h := History{Configured: after}
	for range n {
		w, ok := s.Next(h)
		if !ok {
			break
		}
		windows = append(windows, w)
		h.Consumed = w.Start
	}
	return windows
}

// day is the length of a UTC day.
const day = 24 * time.Hour

// midnight is the beginning of t's UTC day.
func midnight(t time.Time) time.Time {
	year, month, date := t.UTC().Date()
	return time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
}
