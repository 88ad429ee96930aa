package gather

import (
	"context"
	"sync"
	"time"
)

// trailRate is how many LookupEvents AWS admits a second, per account and
// region (AWS docs).
const trailRate = 2

// defaultRate is how many calls a second are made to any other service: well
// below what AWS admits, as the account's programs need their share.
const defaultRate = 10

// burst is how many calls a service gets at once before the rate counts.
const burst = 5

// rate spaces the calls to each service; a nil rate does not.
type rate struct {
	perSecond float64
	mu        sync.Mutex
	// free is when the next call of a service may be made, were there no
	// burst.
	free map[string]time.Time
}

func newRate(perSecond float64) *rate {
	return &rate{perSecond: perSecond, free: map[string]time.Time{}}
}

// wait returns when the service's next call may be made, or when ctx ends.
func (r *rate) wait(ctx context.Context, service string) error {
	if r == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.reserve(service, time.Now())):
		return nil
	}
}

// reserve takes the next place and returns how long it is until then.
func (r *rate) reserve(service string, now time.Time) time.Duration {
	perSecond, ahead := r.perSecond, burst
	if service == "cloudtrail" {
		perSecond, ahead = min(trailRate, r.perSecond), 1
	}
	interval := time.Duration(float64(time.Second) / perSecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.free[service]
	if earliest := now.Add(-time.Duration(ahead-1) * interval); at.Before(earliest) {
		at = earliest
	}
	r.free[service] = at.Add(interval)
	return max(at.Sub(now), 0)
}
