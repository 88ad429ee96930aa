package secret

import (
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
)

// MaxAttempts bounds the tries of one rotation before it waits for the next
// window or an operator. AWS repeats a failed rotation "several times"
// (AWS docs); the number and the spacing are ours.
const MaxAttempts = 5

// Steps are the steps of a rotation in their order.
var Steps = [...]Step{CreateSecret, SetSecret, TestSecret, FinishSecret}

// Next returns the step after s; ok is false after the last one.
func (s Step) Next() (next Step, ok bool) {
	for i := range len(Steps) - 1 {
		if Steps[i] == s {
			return Steps[i+1], true
		}
	}
	return "", false
}

// Dates are what package schedule makes of the rotation rules.
type Dates struct {
	// Next is what DescribeSecret shows as NextRotationDate.
	Next time.Time
	// Due is when the next scheduled rotation starts; zero for never.
	Due time.Time
	// WindowEnd ends the window in which it starts.
	WindowEnd time.Time
}

// Unfinished returns the version that AWSPENDING marks as a rotation in
// progress: one that is not current. nil when there is none.
func (s *Secret) Unfinished() *Version {
	if v := s.Holder(Pending); v != nil && !v.Has(Current) {
		return v
	}
	return nil
}

// CheckNoRotation refuses a second rotation while one is unfinished, with
// fault.State (AWS: reported). The caller then makes the unfinished one run
// again with Resume, as the text promises.
func (s *Secret) CheckNoRotation() error {
	if s.Unfinished() != nil {
		return fault.New(fault.State, "A previous rotation isn't complete. That rotation will be reattempted.")
	}
	return nil
}

// RotationFunction returns the function that a RotateSecret call is to use:
// the given one, else the stored one. A secret that an AWS service owns is
// rotated by that service's own function, which it stored.
//
// Errors: fault.State when there is no function (AWS: recorded) or a managed
// secret gets one (text assumed), fault.Parameter for an ARN that is not a
// function's in the secret's region (AWS: reported).
func (s *Secret) RotationFunction(given string) (string, error) {
	switch {
	case s.OwningService != "" && given != "":
		return "", fault.New(fault.State, "Rotation Lambda ARN is not supported for a service-managed secret.")
	case s.OwningService != "":
		return s.Rotation.FunctionARN, nil
	case given == "" && s.Rotation.FunctionARN == "":
		return "", fault.New(fault.State, "No Lambda rotation function ARN is associated with this secret.")
	case given == "":
		return s.Rotation.FunctionARN, nil
	}
	a, ok := arn.Parse(given)
	if !ok || a.Service != "lambda" || a.Region != s.Region || a.Account == "" || !isFunction(a.Resource) {
		return "", fault.New(fault.Parameter, "Invalid rotation Lambda ARN. Ensure the ARN matches format arn:aws:lambda:<region>:<account>:function:<functionName>.")
	}
	return given, nil
}

func isFunction(resource string) bool {
	const kind = "function:"
	return len(resource) > len(kind) && resource[:len(kind)] == kind
}

// ConfigureRotation turns rotation on with the function. nil rules keep the
// stored ones, as AWS keeps members that a call leaves out (AWS: recorded).
func (s *Secret) ConfigureRotation(function string, rules *schedule.Rules, dates Dates, now time.Time) {
	r := &s.Rotation
	r.Configured, r.Enabled = true, true
	r.FunctionARN = function
	if rules != nil {
		r.Rules = *rules
	}
	r.ConfiguredAt = milliseconds(now)
	r.NextDate, r.DueAt = dates.Next, dates.Due
	s.touch(now)
}

// RotationStart is what BeginRotation needs to know.
type RotationStart struct {
	// Token becomes the pending version's ID.
	Token string
	// FunctionARN is the effective function.
	FunctionARN string
	// RotationToken is the sealed token for the function's events.
	RotationToken []byte
	// Scheduled tells that the schedule starts the run; WindowEnd is then
	// when it stops retrying. A caller's run has no window.
	Scheduled bool
	WindowEnd time.Time
	// Test asks for the configuration test of RotateImmediately=false.
	// Copy is then the current value sealed for version Token, or nil when
	// the secret has no value; only its Sealed and KeyARN are read.
	Test bool
	Copy *Version
	Now  time.Time
}

// BeginRotation makes the pending version, empty or, for a configuration
// test, a copy of the current one, and the run that the engine works on. prev
// is the secret's last run, or nil. A repeated call with the token of prev
// gives prev itself and changes nothing (assumed).
//
// Errors: fault.State for an unfinished rotation (AWS: reported) and for a
// token that names a version which no rotation made (assumed; fault.Exists is
// not among RotateSecret's errors), fault.Limit. After an error s is
// unchanged.
func (s *Secret) BeginRotation(prev *RotationRun, start RotationStart) (*RotationRun, error) {
	if prev != nil && prev.Token == start.Token && prev.State != Cancelled && prev.State != Abandoned {
		return prev, nil
	}
	if err := s.CheckNoRotation(); err != nil {
		return nil, err
	}
	if s.Version(start.Token) != nil {
		return nil, fault.New(fault.State, "%s", s.tokenInUse(start.Token).Message)
	}
	if err := s.checkVersionLimit(start.Now); err != nil {
		return nil, err
	}
	err := s.change(start.Now, func() {
		s.Versions = append(s.Versions, s.pendingVersion(start))
		s.attach(Pending, start.Token)
	})
	if err != nil {
		return nil, err
	}
	run := &RotationRun{
		SecretID:      s.ID,
		Token:         start.Token,
		TestOnly:      start.Test,
		Scheduled:     start.Scheduled,
		State:         Running,
		Step:          firstStep(start.Test),
		Attempt:       1,
		FunctionARN:   start.FunctionARN,
		RotationToken: start.RotationToken,
		StartedAt:     start.Now,
		WindowEnd:     start.WindowEnd,
		NotBefore:     start.Now,
	}
	if prev != nil {
		// An engine that still believes in the run before must not write
		// over this one.
		run.Fence = prev.Fence + 1
	}
	return run, nil
}

func (s *Secret) pendingVersion(start RotationStart) Version {
	v := Version{ID: start.Token, CreatedAt: milliseconds(start.Now)}
	current := s.Holder(Current)
	if start.Test && start.Copy != nil && current != nil {
		v.HasValue, v.Binary, v.WrittenBy = true, current.Binary, current.WrittenBy
		v.Sealed, v.KeyARN = start.Copy.Sealed, start.Copy.KeyARN
	}
	return v
}

func firstStep(test bool) Step {
	if test {
		return TestSecret
	}
	return CreateSecret
}

// Active reports whether the run is not over: it is running, or waits for the
// next window.
func (r *RotationRun) Active() bool { return r.State == Running || r.State == Exhausted }

// Advance takes over that the function returned from r.Step without an error.
// It checks what the service can see of the step's work and moves to the next
// step; done reports that there is none and CompleteRotation is due. An error
// (fault.State, our text) means that the step has failed after all.
func (s *Secret) Advance(r *RotationRun) (done bool, err error) {
	v := s.Version(r.Token)
	switch {
	case r.TestOnly:
		return true, nil
	case r.Step == CreateSecret && (v == nil || !v.HasValue):
		return false, fault.New(fault.State, "The createSecret step returned, but pending secret version %s of secret %s has no value", r.Token, s.ARN())
	case r.Step == FinishSecret && (v == nil || !v.Has(Current)):
		return false, fault.New(fault.State, "The finishSecret step returned, but secret version %s of secret %s does not have staging label AWSCURRENT", r.Token, s.ARN())
	}
	next, ok := r.Step.Next()
	if ok {
		r.Step = next
	}
	return !ok, nil
}

// CompleteRotation ends a run whose steps are all done: the service takes
// AWSPENDING off the new version, sets LastRotatedDate and the next dates
// (AWS: recorded). LastChangedDate stays, as on AWS. After a configuration
// test it removes the temporary version instead and leaves the dates alone.
func (s *Secret) CompleteRotation(r *RotationRun, dates Dates, now time.Time) {
	if r.TestOnly {
		s.endTest(r)
	} else {
		if v := s.Holder(Pending); v != nil && v.ID == r.Token {
			s.detach(Pending)
		}
		s.Rotation.LastRotatedAt = milliseconds(now)
		s.Rotation.NextDate, s.Rotation.DueAt = dates.Next, dates.Due
	}
	r.Error, r.FailedStep, r.Finding = "", "", ""
	r.leave(Succeeded, now)
}

// FailRotation records the failure of a step, with a text that holds no
// secret, and reports whether the whole rotation is to be tried again, at
// r.NotBefore. jitter is uniform in [0, 1). There is no further try after
// MaxAttempts, past the window's end, or when the pending version lost its
// label; AWSPENDING stays where it is. A configuration test is tried once and
// its temporary version is removed.
func (s *Secret) FailRotation(r *RotationRun, step Step, text string, jitter float64, now time.Time) (retry bool) {
	r.Error, r.FailedStep, r.Finding = text, step, ""
	if r.TestOnly {
		s.endTest(r)
		r.leave(Exhausted, now)
		return false
	}
	low, high := Backoff(r.Attempt)
	at := now.Add(low + time.Duration(jitter*float64(high-low)))
	late := !r.WindowEnd.IsZero() && at.After(r.WindowEnd)
	if r.Attempt >= MaxAttempts || late || !s.labelled(r) {
		r.leave(Exhausted, now)
		return false
	}
	r.Attempt++
	r.Step = CreateSecret
	r.NotBefore = at
	return true
}

// holdSlack is how long after its end a hold is still taken for one: the
// clocks of function and service differ, and the answer takes its time.
const holdSlack = time.Minute

// Hold postpones the run because its function waits for readers of an old
// version, until the given time at the latest. The step, to be repeated at
// r.NotBefore, and the attempt stay; the window does not count, as the hold
// may be longer. It reports whether the hold still lasts, and changes nothing
// if not.
func (r *RotationRun) Hold(until, now time.Time) bool {
	if !until.After(now.Add(-holdSlack)) {
		return false
	}
	r.NotBefore = now.Add(holdWait(now.Sub(r.StartedAt)))
	if r.NotBefore.After(until) {
		r.NotBefore = until
	}
	if soon := now.Add(time.Second); r.NotBefore.Before(soon) {
		r.NotBefore = soon
	}
	return true
}

// holdWait is how long a held run waits for the next look, after the time that
// it has been under way: a quarter minute at first, five minutes at most.
func holdWait(underWay time.Duration) time.Duration {
	return min(max(underWay/8, 15*time.Second), 5*time.Minute)
}

// endTest removes the temporary version of a configuration test; one that got
// another label meanwhile only loses AWSPENDING.
func (s *Secret) endTest(r *RotationRun) {
	v := s.Version(r.Token)
	if v == nil {
		return
	}
	v.Labels = without(v.Labels, Pending)
	if len(v.Labels) == 0 {
		s.removeVersion(v.ID)
	}
}

// labelled reports whether the run's version still takes part in a rotation.
func (s *Secret) labelled(r *RotationRun) bool {
	v := s.Version(r.Token)
	return v != nil && (v.Has(Pending) || v.Has(Current))
}

// Backoff returns the bounds of the wait after the attempt that failed, from
// 1: a quarter minute to half a minute, then three times as much after every
// further attempt. A rotation that starts in the first half of the shortest
// window, one hour, has all its attempts in that window if they fail quickly.
func Backoff(attempt int) (low, high time.Duration) {
	high = 30 * time.Second
	for range min(attempt, MaxAttempts) - 1 {
		high *= 3
	}
	return high / 2, high
}

// Resume makes an exhausted run run again from its first step, with the same
// token, for a new window or an operator's call; windowEnd is zero for the
// latter. A run that still runs is only hurried: its next attempt may start
// at once. It reports whether there is anything to run.
func (s *Secret) Resume(r *RotationRun, windowEnd, now time.Time) bool {
	if !r.Active() || r.TestOnly && r.State != Running || !s.labelled(r) {
		return false
	}
	if r.State == Exhausted {
		r.State, r.Step, r.Attempt, r.Announced = Running, CreateSecret, 1, 0
		r.WindowEnd, r.FinishedAt = windowEnd, time.Time{}
	}
	r.NotBefore = now
	return true
}

// AbandonRotation ends the run when a Put made another version than the run's
// own current, and reports whether it did (AWS docs). AWSPENDING is gone by
// then; the temporary version of a configuration test goes too.
func (s *Secret) AbandonRotation(r *RotationRun, e Effect, now time.Time) bool {
	if !r.Active() || e.Current == "" || e.Current == r.Token {
		return false
	}
	if r.TestOnly {
		s.endTest(r)
	}
	r.leave(Abandoned, now)
	return true
}

// CancelRotation turns rotation off and ends the run, if any; r may be nil.
// It returns the ID of the partial version, or "". Function, rules and labels
// stay (AWS docs); the temporary version of a configuration test goes. The
// error is fault.State when rotation was never configured; AWS's text is not
// known.
func (s *Secret) CancelRotation(r *RotationRun, now time.Time) (partial string, err error) {
	if !s.Rotation.Configured {
		return "", fault.New(fault.State, "You can't cancel rotation for a secret that does not have rotation configured.")
	}
	if r != nil && r.Active() {
		if r.TestOnly {
			s.endTest(r)
		}
		r.leave(Cancelled, now)
	}
	if v := s.Unfinished(); v != nil {
		partial = v.ID
	}
	s.Rotation.Enabled = false
	s.Rotation.NextDate, s.Rotation.DueAt = time.Time{}, time.Time{}
	s.touch(now)
	return partial, nil
}

// Cancel ends the run of a secret that is going away: labels stay.
func (r *RotationRun) Cancel(now time.Time) { r.leave(Cancelled, now) }

// leave ends the run, or lays it aside. The rotation token is void from now
// on, unless the run may resume, and the fence shuts out an engine that is
// still in a step.
func (r *RotationRun) leave(state RotationState, now time.Time) {
	r.State = state
	r.FinishedAt = now
	if state != Exhausted {
		r.RotationToken = nil
	}
	r.Owner, r.LeaseUntil = "", time.Time{}
	r.Fence++
}

// ByRotation reports whether the version's value was written by the rotation
// function: with the run's RotationToken, or under the function's own
// execution role (AWS: reported).
func (v *Version) ByRotation(executionRole string) bool {
	return v.ByToken || executionRole != "" && v.WrittenBy == executionRole
}

// NotByRotation is the failure of a rotation whose pending version somebody
// else wrote (AWS: reported).
func NotByRotation(versionID, secretARN, functionARN string) *fault.Error {
	return fault.New(fault.State, "Pending secret version %s for Secret %s was not created by Lambda %s. "+
		"Remove the AWSPENDING staging label and restart rotation", versionID, secretARN, functionARN)
}

// StepFailed is the text of RotationFailed for a step whose invocation failed
// (AWS: recorded).
func StepFailed(functionARN string, step Step) string {
	return "Error when executing lambda " + functionARN + " during " + string(step) + " step"
}
