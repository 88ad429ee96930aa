package gather

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/doctor"
)

// window is a span of time, both ends included.
type window struct{ from, to time.Time }

// The margins around a rotation's events. CloudTrail's times are whole
// seconds, and a function writes its last lines after its answer.
const (
	before = 10 * time.Second
	after  = time.Minute
	// longestStep is how long a function may take (AWS docs): how far before
	// a failure its rotation began if nothing tells.
	longestStep = 15 * time.Minute
)

// windows are the times of the last rotations that events tell of, oldest
// first. A rotation's events share a token; it goes on until now if none of
// them ends it.
func windows(events []doctor.Event, now time.Time) []window {
	type rotation struct {
		window
		began, ended bool
	}
	byToken := map[string]*rotation{}
	for _, v := range events {
		if v.Token == "" || v.Name == "CancelRotateSecret" || v.Name == "RotateSecret" && v.ErrorCode != "" {
			continue
		}
		r := byToken[v.Token]
		if r == nil {
			r = &rotation{window: window{v.At, v.At}}
			byToken[v.Token] = r
		}
		if v.At.Before(r.from) {
			r.from = v.At
		}
		if v.At.After(r.to) {
			r.to = v.At
		}
		switch v.Name {
		case "RotationStarted", "TestRotationStarted", "RotateSecret":
			r.began = true
		default:
			r.ended = true
		}
	}
	var all []window
	for _, r := range byToken {
		if !r.began {
			r.from = r.from.Add(-longestStep)
		}
		if !r.ended {
			r.to = now
		}
		all = append(all, window{r.from.Add(-before), r.to.Add(after)})
	}
	return newest(all)
}

// newest keeps the last rotations' windows and joins those that overlap.
func newest(all []window) []window {
	slices.SortFunc(all, func(a, b window) int { return a.from.Compare(b.from) })
	if len(all) > lastRotations {
		all = all[len(all)-lastRotations:]
	}
	var joined []window
	for _, w := range all {
		if n := len(joined); n > 0 && !w.from.After(joined[n-1].to) {
			if w.to.After(joined[n-1].to) {
				joined[n-1].to = w.to
			}
			continue
		}
		joined = append(joined, w)
	}
	return joined
}
