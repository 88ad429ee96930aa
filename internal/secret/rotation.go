package secret

import "time"

// Step is one of the four calls that a rotation makes to its function, in
// the order of Steps.
type Step string

// The steps, spelt as the event's Step member spells them (AWS docs).
const (
	CreateSecret Step = "createSecret"
	SetSecret    Step = "setSecret"
	TestSecret   Step = "testSecret"
	FinishSecret Step = "finishSecret"
)

// RotationState says what becomes of a RotationRun.
type RotationState string

// The states of a run. Only a Running one is claimed by an engine.
const (
	Running   RotationState = "running"   // steps are being run, or wait for their next attempt
	Succeeded RotationState = "succeeded" // all steps done, label moved
	Exhausted RotationState = "failed"    // attempts used up; waits for the next window or an operator
	Abandoned RotationState = "abandoned" // a foreign version came in between
	Cancelled RotationState = "cancelled" // CancelRotateSecret, or the secret went away
)

// RotationRun is the stored record of one rotation of one secret: enough to
// resume it on any node after a crash. A secret has at most one.
type RotationRun struct {
	SecretID string
	// Token is the ClientRequestToken: the ID of the pending version.
	Token string
	// TestOnly marks the configuration test of RotateImmediately=false:
	// only testSecret runs, against a temporary copy of the current value.
	TestOnly bool
	// Scheduled tells that the schedule, not a caller, started the run.
	Scheduled bool
	State     RotationState
	// Step is the step to run next, or being run.
	Step Step
	// Attempt counts tries of the whole rotation, from 1.
	Attempt int
	// Announced is the last attempt whose start has its event.
	Announced int
	// FunctionARN is the function as configured when the run started.
	FunctionARN string
	// RotationToken is sealed; the function gets it in every event and may
	// pass it to PutSecretValue.
	RotationToken []byte
	StartedAt     time.Time
	// WindowEnd is when a scheduled run stops retrying.
	WindowEnd time.Time
	// NotBefore is when the next attempt may start.
	NotBefore time.Time
	// Error is the last failure in the service's words, for
	// DescribeRotation and the doctor; never a secret.
	Error string
	// FailedStep is the step of the last failure.
	FailedStep Step
	// Finding is what the doctor found of the last failure: a finding of
	// package doctor in JSON, without what the function itself said; "" for
	// none. Never a secret.
	Finding string
	// FinishedAt is when the run left Running; zero before.
	FinishedAt time.Time
	// Owner and LeaseUntil hold the claim of one engine; Fence grows with
	// every claim, and a write under an older fence is refused.
	Owner      string
	LeaseUntil time.Time
	Fence      int64
}
