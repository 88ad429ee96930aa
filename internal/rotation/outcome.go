package rotation

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// succeed stores that a step is done and plans the next one. After the last
// one the rotation is complete: labels, dates and the event change in the same
// transaction. What the service can see of the step's work is checked first; a
// step that returned without it has failed.
func (d *driver) succeed(work context.Context, step secret.Step, took time.Duration) (next *stepPlan, err error) {
	var done bool
	var unmet *failure
	err = d.change(work, func(tx *store.Tx, s, after *secret.Secret, run *secret.RotationRun) error {
		next, unmet = nil, nil
		var err error
		if done, err = after.Advance(run); err != nil {
			unmet = &failure{cause: err}
		} else if step == secret.CreateSecret {
			if unmet, err = checkWriter(tx, after, run); err != nil {
				return err
			}
		}
		if unmet != nil {
			return nil // stored as a failure below
		}
		if done {
			if err := complete(after, run); err != nil {
				return err
			}
			if err := tx.Record(trail.SecretEvent(eventName(run, "Succeeded"), s.ARN(), trail.RotationRequestID(s.ARN(), run.Token), "")); err != nil {
				return err
			}
		}
		if err := d.save(tx, s, after, run); err != nil {
			return err
		}
		reports := []report{{Status: statusDone, Step: step, DurationMS: took.Milliseconds()}}
		if done {
			reports = append(reports, report{Status: endStatus[secret.Succeeded]})
		}
		if err := d.report(tx, reports...); err != nil || done {
			return err
		}
		next, err = d.begin(tx, after, run)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case unmet != nil:
		return nil, d.fail(work, step, *unmet, took)
	case done:
		d.cfg.Observe(endStatus[secret.Succeeded])
	case next == nil:
		return nil, errTakenOver // aborted
	}
	return next, nil
}

// complete ends a run whose steps are all done and plans the next rotation.
func complete(s *secret.Secret, run *secret.RotationRun) error {
	now := time.Now()
	s.CompleteRotation(run, secret.Dates{}, now)
	return s.Plan(run)
}

// checkWriter refuses a pending value that somebody other than the function
// put: neither its execution role nor the RotationToken vouches for it. The
// role of a function in another account does not (AWS docs).
func checkWriter(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) (*failure, error) {
	v := s.Version(run.Token)
	if v == nil || v.Has(secret.Current) {
		return nil, nil
	}
	role, err := functionRole(tx, s, run)
	if err != nil || v.ByRotation(role) {
		return nil, err
	}
	refused := secret.NotByRotation(run.Token, s.ARN(), run.FunctionARN)
	return &failure{cause: refused, text: refused.Message}, nil
}

// functionRole returns the execution role of the run's function; "" if the
// function is gone or of another account.
func functionRole(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) (string, error) {
	if s.OwningService != "" {
		f, err := invocation.Owned(tx, run.FunctionARN, s.OwningService, s.Account)
		if err != nil {
			return "", ignoreDenied(err)
		}
		return f.Config.Role, nil
	}
	ref, ok := function.ParseRef(run.FunctionARN)
	if !ok || ref.Account != s.Account {
		return "", nil
	}
	// A random number of nearly 1 picks an alias's main version.
	_, version, err := invocation.Lookup(tx, ref, 1)
	if err != nil {
		return "", ignoreNotFound(err)
	}
	return version.Role, nil
}

// ignoreDenied passes over a service's function that is gone.
func ignoreDenied(err error) error {
	if fault.Is(err, fault.Denied) {
		return nil
	}
	return err
}

// failure is why a step failed.
type failure struct {
	cause error
	// text is the event's errorMessage where it is not the usual one.
	text string
}

// fail stores that a step failed. The whole rotation is tried again later,
// or waits for its next window.
func (d *driver) fail(work context.Context, step secret.Step, why failure, took time.Duration) error {
	var retry bool
	spread := jitter()
	text := cmp.Or(why.text, secret.StepFailed(d.function, step))
	found := d.diagnose(work, Case{Step: step, Error: message(why.cause), EventText: text, Took: took})
	err := d.change(work, func(tx *store.Tx, s, after *secret.Secret, run *secret.RotationRun) error {
		retry = after.FailRotation(run, step, message(why.cause), spread, time.Now())
		run.Finding = string(found.JSON)
		next := report{Status: statusRetrying, Error: text, RetryAt: rfc3339(run.NotBefore), Finding: found.JSON}
		if !retry {
			next = report{Status: endStatus[secret.Exhausted], Error: text, Finding: found.JSON}
			if err := after.Plan(run); err != nil {
				return err
			}
		}
		event := trail.SecretEvent(eventName(run, "Failed"), s.ARN(), trail.RotationRequestID(s.ARN(), run.Token), text)
		if err := tx.Record(event.Diagnosed(found.Code)); err != nil {
			return err
		}
		if err := d.save(tx, s, after, run); err != nil {
			return err
		}
		return d.report(tx, report{Status: statusFailed, Step: step, DurationMS: took.Milliseconds(), Error: message(why.cause)}, next)
	})
	if err != nil {
		return err
	}
	d.cfg.Logger.Warn("rotation failed", "secret", d.secretARN, "step", step, "attempt", d.attempt, "cause", why.cause, "finding", found.Code, "retry", retry)
	outcome := "retried"
	if !retry {
		outcome = endStatus[secret.Exhausted]
	}
	d.cfg.Observe(outcome)
	return nil
}

// change loads secret and run, and calls fn unless the run is no longer
// ours: then it has ended or another node has it, and nothing is stored.
func (d *driver) change(work context.Context, fn func(tx *store.Tx, s, after *secret.Secret, run *secret.RotationRun) error) error {
	return d.cfg.Store.Update(work, func(tx *store.Tx) error {
		s, run, err := load(tx, d.id)
		if err != nil {
			return err
		}
		if run == nil || run.Token != d.token || run.Fence != d.fence || run.State != secret.Running {
			return errTakenOver
		}
		return fn(tx, s, s.Clone(), run)
	})
}

// save stores the secret, if it changed, and the run. A run that goes on
// keeps this node's fence; one that waits for a retry is free to be claimed.
func (d *driver) save(tx *store.Tx, s, after *secret.Secret, run *secret.RotationRun) error {
	if err := tx.SaveSecret(s, after); err != nil {
		return err
	}
	if run.NotBefore.After(time.Now()) {
		run.Owner, run.LeaseUntil = "", time.Time{}
	}
	return tx.SaveRun(run, d.fence)
}

// The statuses of reports; package rotate reads them.
const (
	statusStarted  = "started"
	statusDone     = "done"
	statusFailed   = "failed"
	statusRetrying = "retrying"
	statusHeld     = "held"
)

// reportGroup is the log group of the engine's reports.
const reportGroup = "/keyturn/rotation"

// endStatus says how an ended run is reported and counted.
var endStatus = map[secret.RotationState]string{
	secret.Succeeded: "succeeded", secret.Exhausted: "failed", secret.Abandoned: "abandoned", secret.Cancelled: "cancelled",
}

// report is a line on the run's progress.
type report struct {
	SecretARN  string      `json:"secretArn"`
	Token      string      `json:"token"`
	Status     string      `json:"status"`
	Step       secret.Step `json:"step,omitempty"`
	Attempt    int         `json:"attempt,omitempty"`
	DurationMS int64       `json:"durationMs,omitempty"`
	Error      string      `json:"error,omitempty"`
	RetryAt    string      `json:"retryAt,omitempty"`
	// HeldUntil and Readers are of a hold.
	HeldUntil string   `json:"heldUntil,omitempty"`
	Readers   []string `json:"readers,omitempty"`
	// Finding is the doctor's, on the line that says what comes of a failure.
	Finding json.RawMessage `json:"finding,omitempty"`
}

// rfc3339 is a time in reports; the zero time is left out.
func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// report writes lines into the engine's log group, where whoever waits for
// the rotation reads them, with what they tell of: a line never says what is
// not stored.
func (d *driver) report(tx *store.Tx, lines ...report) error {
	now := time.Now()
	entries := make([]loggroup.Entry, len(lines))
	for i, line := range lines {
		line.SecretARN, line.Token, line.Attempt = d.secretARN, d.token, d.attempt
		b, err := json.Marshal(line)
		if err != nil {
			return fault.Wrap(err, "encoding a rotation report")
		}
		entries[i] = loggroup.Entry{Time: now, IngestedAt: now, Message: string(b)}
	}
	return tx.AppendLogEntries(d.account, d.region, reportGroup, d.token, entries)
}
