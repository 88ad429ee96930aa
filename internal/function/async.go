package function

import "time"

// The defaults of asynchronous invocation (AWS docs).
const (
	DefaultEventAge     = 6 * time.Hour
	DefaultEventRetries = 2
)

// The waits before events are tried again (AWS docs): after an error of the
// function, 1 and then 2 minutes; after a throttle or an error of the
// service, 1 second that doubles up to 5 minutes.
const (
	errorWait       = time.Minute
	throttleWait    = time.Second
	maxThrottleWait = 5 * time.Minute
)

// Event is an asynchronous invocation that waits for its turn.
type Event struct {
	// RequestID is the invocation's, the same at every attempt.
	RequestID string
	// FunctionID is the function's; Qualifier what the caller named.
	FunctionID, Qualifier string
	Account, Region, Name string
	// Payload is sealed.
	Payload     []byte
	TraceHeader string
	AcceptedAt  time.Time
	// DueAt is when it is tried next, or, while it runs, when its claim ends.
	DueAt time.Time
	// Owner is the node that claimed it, or "".
	Owner string
	// Fence grows with every claim; what was written under an older one is
	// refused.
	Fence int64
	// Errors and Throttles count attempts that ended so.
	Errors, Throttles int64
}

// Outcome is how one attempt of an Event ended.
type Outcome string

// The outcomes.
const (
	Done         Outcome = "done"
	FunctionFail Outcome = "function error"
	ServiceFail  Outcome = "not run" // throttled, or the service failed
)

// Next counts a failed attempt and says when the next one is due; ok is
// false when the event is to be given up, by its age or its number of
// attempts (AWS docs). cfg is the EventInvokeConfig that applies.
func (e *Event) Next(o Outcome, cfg AsyncConfig, now time.Time) (due time.Time, ok bool) {
	age, retries := DefaultEventAge, int64(DefaultEventRetries)
	if cfg.MaximumEventAgeInSeconds != nil {
		age = time.Duration(*cfg.MaximumEventAgeInSeconds) * time.Second
	}
	if cfg.MaximumRetryAttempts != nil {
		retries = *cfg.MaximumRetryAttempts
	}
	switch o {
	case FunctionFail:
		e.Errors++
		if e.Errors > retries {
			return time.Time{}, false
		}
		due = now.Add(errorWait << min(e.Errors-1, 1))
	case ServiceFail:
		due = now.Add(min(throttleWait<<min(e.Throttles, 30), maxThrottleWait))
		e.Throttles++
	}
	return due, due.Sub(e.AcceptedAt) <= age
}

// AsyncOf returns the EventInvokeConfig of a qualifier; "" is $LATEST.
func (f *Function) AsyncOf(qualifier string) AsyncConfig {
	if qualifier == "" {
		qualifier = Latest
	}
	return f.Async[qualifier]
}
