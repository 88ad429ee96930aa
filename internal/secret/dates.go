package secret

import (
	"time"

	"github.com/keyturn/keyturn/internal/schedule"
)

// PlanDates computes the rotation dates from the rules and from what has
// happened: the last rotation or hand-put value consumes its window, and the
// run, if it was given up, moves the next start but not the date shown. run
// may be nil. Both dates are zero while rotation is off, on demand only, or
// the secret is scheduled for deletion. The rules must be ones that
// schedule.Parse accepts; stored ones are.
func (s *Secret) PlanDates(run *RotationRun) (Dates, error) {
	r := &s.Rotation
	if !r.Enabled || s.Deleted() {
		return Dates{}, nil
	}
	plan, err := schedule.Parse(r.Rules)
	if err != nil || plan.IsZero() {
		return Dates{}, err
	}
	h := schedule.History{Configured: r.ConfiguredAt, Consumed: r.LastRotatedAt}
	if r.ValueChangedAt.After(h.Consumed) {
		h.Consumed = r.ValueChangedAt
	}
	if run != nil && run.State == Exhausted && !run.TestOnly {
		h.GivenUp = run.FinishedAt
	}
	shown, ok := plan.NextRotationDate(h)
	firing, found := plan.Firing(h, s.ARN())
	if !ok || !found {
		return Dates{}, nil
	}
	return Dates{Next: shown, Due: firing.At, WindowEnd: firing.Window.End}, nil
}

// Plan stores what PlanDates computes in the secret.
func (s *Secret) Plan(run *RotationRun) error {
	d, err := s.PlanDates(run)
	if err == nil {
		s.Rotation.NextDate, s.Rotation.DueAt = d.Next, d.Due
	}
	return err
}

// lateWindow is how long a rotation that missed its window may be retried.
const lateWindow = time.Hour

// RetryUntil returns when a scheduled rotation that starts now stops being
// retried: the end of its window, or an hour from now when that is over.
func (d Dates) RetryUntil(now time.Time) time.Time {
	if d.WindowEnd.After(now) {
		return d.WindowEnd
	}
	return now.Add(lateWindow)
}
