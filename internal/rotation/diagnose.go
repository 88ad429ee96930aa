package rotation

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
)

// Case is a step that has just failed, as Config.Diagnose gets it. Nothing of
// the failure is stored yet: neither its event nor its report.
type Case struct {
	SecretARN, Account, Region string
	FunctionARN                string
	// Token is the rotation's, the ID of the pending version. It and Step are
	// empty for a scheduled rotation that could not even begin.
	Token   string
	Step    secret.Step
	Attempt int
	// TestOnly marks the test of a configuration.
	TestOnly bool
	// Error is the engine's own word on the failure, EventText the
	// errorMessage of the event that will be recorded. Neither has a word of
	// the function but the name of its error's type.
	Error, EventText string
	// Took is how long the step ran, and At when it failed.
	Took time.Duration
	At   time.Time
}

// Finding is what the doctor makes of a failure.
type Finding struct {
	// Code is the rule's name, such as D11.
	Code string
	// JSON is the finding for the run and the report, as package doctor has
	// it. It holds no secret, and no line of a function's log.
	JSON json.RawMessage
}

const (
	// diagnosisTime bounds a diagnosis. The failed step waits for it.
	diagnosisTime = 3 * time.Second
	// maxFinding bounds what is kept of a finding, in bytes; of a longer one
	// only the code is.
	maxFinding = 16 << 10
)

// diagnose asks the doctor about a failed step. Whatever goes wrong with that
// leaves the rotation as it is: the finding is empty then.
func (d *driver) diagnose(work context.Context, c Case) (found Finding) {
	if d.cfg.Diagnose == nil {
		return Finding{}
	}
	c.SecretARN, c.Account, c.Region, c.FunctionARN = d.secretARN, d.account, d.region, d.function
	c.Token, c.Attempt, c.TestOnly, c.At = d.token, d.attempt, d.testOnly, time.Now()
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	go func() {
		select {
		case <-d.stopping: // a server that stops does not wait for it
			cancel()
		case <-ctx.Done():
		}
	}()
	return d.ask(ctx, c, diagnosisTime)
}

// ask gives the doctor its time. A diagnosis that does not end in it is left
// behind, and whatever it says then is not heard.
func (e *Engine) ask(ctx context.Context, c Case, patience time.Duration) Finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	told := make(chan Finding, 1)
	go func() {
		defer cancel()
		told <- e.consult(ctx, c)
	}()
	select {
	case f := <-told:
		return f
	case <-ctx.Done():
	}
	select {
	case f := <-told: // it ended by saying something
		return f
	default:
		return Finding{}
	}
}

// consult calls the doctor. A panic is logged without its value, which may
// quote anything.
func (e *Engine) consult(ctx context.Context, c Case) (found Finding) {
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Logger.Error("diagnosing a rotation", "secret", c.SecretARN, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			found = Finding{}
		}
	}()
	f := e.cfg.Diagnose(ctx, c)
	if f == nil {
		return Finding{}
	}
	if len(f.JSON) > maxFinding || !json.Valid(f.JSON) {
		f = &Finding{Code: f.Code}
	}
	return *f
}

// refusal is why a scheduled rotation could not begin.
type refusal struct{ cause error }

// Error is the cause's.
func (r *refusal) Error() string { return r.cause.Error() }

// A refusal is diagnosed while other rotations wait to be started: it gets
// refusalTime, and the next one not before refusalPause.
const (
	refusalTime  = 300 * time.Millisecond
	refusalPause = 10 * time.Second
)

// diagnoseRefusal asks the doctor about a scheduled rotation that could not
// begin.
func (e *Engine) diagnoseRefusal(ctx context.Context, s *secret.Secret, cause error) Finding {
	if e.cfg.Diagnose == nil || time.Since(e.refused) < refusalPause {
		return Finding{}
	}
	defer func() { e.refused = time.Now() }()
	text := message(cause)
	return e.ask(ctx, Case{
		SecretARN: s.ARN(), Account: s.Account, Region: s.Region, FunctionARN: s.Rotation.FunctionARN,
		Error: text, EventText: text, At: time.Now(),
	}, refusalTime)
}
