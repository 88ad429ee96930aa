package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

var (
	// errStopped ends a drive between two steps, errCut one in a step that
	// took longer than the grace.
	errStopped = errors.New("the server stops")
	errCut     = errors.New("the server stopped in the middle of a step")
	errLost    = errors.New("another node has taken the rotation over")
	// errTakenOver is returned by writes under an older fence.
	errTakenOver = fault.New(fault.Conflict, "The rotation has ended or another node has taken it over.")
)

// newToken returns a random version ID or RotationToken: a UUID, as AWS uses
// for both.
func newToken() string { return uuid.NewString() }

// driver carries one claimed run to its end.
type driver struct {
	*Engine
	id    string
	token string
	// fence is what this node's writes are made under.
	fence int64
	// attempt is the one being made, for reports.
	attempt int
	// secretARN is known after the first look at the secret.
	secretARN string
	// account and region own the secret.
	account, region string
	// function is the run's, testOnly its kind.
	function string
	testOnly bool
	// stopping is closed when the server stops.
	stopping <-chan struct{}
}

// drive runs step after step until the run ends, waits for a retry, is
// claimed elsewhere, or ctx ends. The claim holds until the given time, by this
// node's clock.
func (e *Engine) drive(ctx context.Context, run secret.RotationRun, held time.Time) {
	d := &driver{
		Engine: e, id: run.SecretID, token: run.Token, fence: run.Fence, attempt: run.Attempt,
		function: run.FunctionARN, testOnly: run.TestOnly, stopping: ctx.Done(),
	}
	traced, span := e.cfg.Tracer.Start(context.WithoutCancel(ctx), "rotation")
	defer func() { d.endSpan(span) }()
	work, cancel := context.WithCancelCause(traced)
	defer cancel(nil)
	// A step that runs when ctx ends gets its grace; a lost lease ends it.
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.cfg.Grace, func() { cancel(errCut) })
		context.AfterFunc(work, func() { timer.Stop() })
	})()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		d.renew(work, cancel, held)
	}()
	err := d.steps(ctx, work)
	lost := errors.Is(context.Cause(work), errLost)
	cancel(nil)
	<-renewed
	switch {
	case err == nil:
	case lost, fault.Is(err, fault.Conflict):
		d.noticeEnd()
	case errors.Is(err, errStopped):
		d.release()
	case errors.Is(err, errCut):
		// The function may still be at work: nobody else may repeat the step
		// before the lease ends. This node may after its restart.
		e.cfg.Logger.Warn("rotation cut off", "secret", d.secretARN, "token", d.token)
	default:
		e.cfg.Logger.Error("rotation interrupted", "secret", d.secretARN, "token", d.token, "error", err)
		if fault.Is(err, fault.Unavailable) {
			d.releaseLater(ctx)
		} // else the claim runs out, and some node repeats the step
	}
}

// releaseLater gives the claim back as soon as the store can be reached again,
// so that the step is repeated then, and not at the end of the lease. It tries
// for a lease at most: the claim is over then.
func (d *driver) releaseLater(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, d.cfg.Lease)
	defer cancel()
	for {
		select {
		case <-bounded.Done():
			return
		case <-time.After(releasePause):
		}
		err := d.cfg.Store.Update(bounded, func(tx *store.Tx) error {
			return tx.RenewLease(d.id, d.cfg.Node, d.fence, time.Time{})
		})
		if err == nil || fault.Is(err, fault.Conflict) {
			return
		}
	}
}

// releasePause is the time between two attempts to give a claim back while the
// store cannot be reached.
const releasePause = 500 * time.Millisecond

// steps runs until there is nothing more to do now.
func (d *driver) steps(ctx, work context.Context) error {
	if ctx.Err() != nil {
		return errStopped
	}
	plan, err := d.prepare(work)
	for err == nil && plan != nil {
		if ctx.Err() != nil {
			return errStopped
		}
		plan, err = d.step(work, plan)
	}
	return err
}

// renew extends the lease, which holds until the given time, until work ends.
// It ends work when the lease is lost, or has run out because the store could
// not be reached.
func (d *driver) renew(work context.Context, cancel context.CancelCauseFunc, held time.Time) {
	expiry := time.AfterFunc(time.Until(held), func() { cancel(errLost) })
	defer expiry.Stop()
	tick := time.NewTicker(d.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-work.Done():
			return
		case <-tick.C:
		}
		began, until := time.Now(), d.cfg.Store.Now().Add(d.cfg.Lease)
		err := d.cfg.Store.Update(work, func(tx *store.Tx) error {
			return tx.RenewLease(d.id, d.cfg.Node, d.fence, until)
		})
		switch {
		case err == nil:
			expiry.Reset(time.Until(began.Add(d.cfg.Lease)))
		case fault.Is(err, fault.Conflict):
			cancel(errLost)
			return
		}
	}
}

// release gives the claim back so that the run goes on without waiting for
// the lease to end.
func (d *driver) release() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.RenewLease(d.id, d.cfg.Node, d.fence, time.Time{})
	})
	if err != nil {
		d.cfg.Logger.Warn("giving a rotation back", "secret", d.secretARN, "error", err)
	}
}

// step makes one step of the run: it invokes the function and stores the
// outcome. next is nil when this drive is over.
func (d *driver) step(work context.Context, plan *stepPlan) (next *stepPlan, err error) {
	began := time.Now()
	failed := plan.refused
	if failed == nil {
		failed = d.tracedInvoke(work, plan)
	}
	if cause := context.Cause(work); cause != nil {
		return nil, cause // the step was cut off: neither done nor failed
	}
	if errors.Is(failed, errStopped) {
		return nil, errStopped // it had not begun
	}
	took := time.Since(began)
	if h, ok := errors.AsType[*hold](failed); ok {
		if held, err := d.postpone(work, h, took); held || err != nil {
			return nil, err
		}
		failed = functionFailed(heldType)
	}
	if failed != nil {
		return nil, d.fail(work, plan.step, failure{cause: failed}, took)
	}
	return d.succeed(work, plan.step, took)
}

// stepPlan is what a step needs, read with what the step begins from.
type stepPlan struct {
	step    secret.Step
	request invocation.Request
	// refused is why the function may not be invoked.
	refused error
}

// prepare records that an attempt starts and plans its first step.
func (d *driver) prepare(work context.Context) (plan *stepPlan, err error) {
	err = d.change(work, func(tx *store.Tx, s, _ *secret.Secret, run *secret.RotationRun) error {
		d.secretARN, d.account, d.region = s.ARN(), s.Account, s.Region
		if !s.Deleted() {
			if err := d.announce(tx, s, run); err != nil {
				return err
			}
		}
		plan, err = d.begin(tx, s, run)
		return err
	})
	if err == nil && plan == nil || fault.Is(err, fault.NotFound) {
		err = errTakenOver // aborted, or purged
	}
	return plan, err
}

// begin plans the run's step and reports that it starts. It returns nil when
// the run ends instead.
func (d *driver) begin(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) (*stepPlan, error) {
	if s.Deleted() {
		return nil, d.abort(tx, run)
	}
	plan, err := d.plan(tx, s, run)
	if err != nil {
		return nil, err
	}
	return plan, d.report(tx, report{Status: statusStarted, Step: run.Step})
}

// noticeEnd reports a run that a caller ended while this node drove it. A
// run that another node took over is that node's to report.
func (d *driver) noticeEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var run *secret.RotationRun
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		_, run, err = load(tx, d.id)
		return err
	})
	switch {
	case err != nil && !fault.Is(err, fault.NotFound):
		d.cfg.Logger.Error("looking at an ended rotation", "secret", d.secretARN, "error", err)
	case run != nil && run.Token == d.token && (run.State == secret.Abandoned || run.State == secret.Cancelled):
		d.cfg.Observe(endStatus[run.State])
		err := d.cfg.Store.Update(ctx, func(tx *store.Tx) error { return d.report(tx, report{Status: endStatus[run.State]}) })
		if err != nil {
			d.cfg.Logger.Warn("reporting an ended rotation", "secret", d.secretARN, "error", err)
		}
	case err == nil:
		d.cfg.Logger.Warn("rotation taken over by another node", "secret", d.secretARN, "token", d.token)
	}
}

// abort ends a run whose secret is scheduled for deletion. AWSPENDING stays,
// as after CancelRotateSecret.
func (d *driver) abort(tx *store.Tx, run *secret.RotationRun) error {
	run.Cancel(time.Now())
	return tx.SaveRun(run, d.fence)
}

// announce records RotationStarted once for each attempt.
func (d *driver) announce(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) error {
	d.attempt = run.Attempt
	if run.Announced >= run.Attempt {
		return nil
	}
	run.Announced = run.Attempt
	if err := tx.SaveRun(run, d.fence); err != nil {
		return err
	}
	return tx.Record(trail.SecretEvent(eventName(run, "Started"), s.ARN(), trail.RotationRequestID(s.ARN(), run.Token), ""))
}

// eventName is the name of a run's service event: configuration tests have
// their own.
func eventName(run *secret.RotationRun, what string) string {
	if run.TestOnly {
		return "TestRotation" + what
	}
	return "Rotation" + what
}

// plan builds the invocation of the run's step.
func (d *driver) plan(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) (*stepPlan, error) {
	token, err := d.cfg.Sealer.Open(TokenPurpose, run.RotationToken)
	if err != nil {
		return nil, fault.Wrap(err, "opening the rotation token of "+s.ARN())
	}
	payload, err := json.Marshal(struct {
		Step               secret.Step
		SecretId           string //nolint:revive,staticcheck // AWS's spelling
		ClientRequestToken string
		RotationToken      string
	}{run.Step, s.ARN(), run.Token, string(token)})
	if err != nil {
		return nil, err
	}
	refused := canInvoke(tx, s, run)
	if kind := fault.KindOf(refused); kind == fault.Internal || kind == fault.Unavailable {
		return nil, refused
	}
	return &stepPlan{
		step: run.Step, refused: refused,
		request: invocation.Request{
			Function: run.FunctionARN, Owner: s.OwningService, Account: s.Account, Region: s.Region, Payload: payload,
			// Who hears that the rotation has ended finds the logs of all steps.
			LogLater: run.Step != secret.FinishSecret && !run.TestOnly,
		},
	}, nil
}

// canInvoke checks that the run's function may be invoked for the secret: by
// the function's policy, or, for a secret of an AWS service, because the
// function is that service's own.
func canInvoke(tx *store.Tx, s *secret.Secret, run *secret.RotationRun) error {
	if s.OwningService == "" {
		return invocation.CanInvoke(tx, run.FunctionARN, s.ARN(), s.Account)
	}
	_, err := invocation.Owned(tx, run.FunctionARN, s.OwningService, s.Account)
	return err
}

// invoke calls the function and turns everything that is not success into an
// error whose text holds no secret: the function's own message stays in its
// log.
func (d *driver) invoke(work context.Context, plan *stepPlan) error {
	result, err := d.call(work, plan.step, plan.request)
	if err != nil {
		return err
	}
	if result.FunctionError != "" {
		if h := holdIn(result.Payload); h != nil && plan.step == secret.SetSecret {
			return h
		}
		return functionFailed(errorType(result.Payload))
	}
	return nil
}

func functionFailed(errorType string) error {
	return fault.New(fault.State, "the function returned an error: %s", errorType)
}

// typeName is what the name of an error's type looks like in the languages of
// functions.
var typeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:]*$`)

// maxTypeName bounds such a name, in bytes.
const maxTypeName = 100

// errorType returns the errorType of a function's error payload, if it is the
// name of a type. Anything else, and the errorMessage, may quote a secret and
// is left to the function's log.
func errorType(payload []byte) string {
	var e struct {
		ErrorType string `json:"errorType"`
	}
	if json.Unmarshal(payload, &e) != nil || len(e.ErrorType) > maxTypeName || !typeName.MatchString(e.ErrorType) {
		return "unknown error"
	}
	return e.ErrorType
}

// load returns a secret, with the version of its run, and the run, or nil
// when there is none.
func load(tx *store.Tx, id string) (*secret.Secret, *secret.RotationRun, error) {
	run, err := tx.Run(id)
	if fault.Is(err, fault.NotFound) {
		s, err := tx.SecretByID(id)
		return s, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := tx.SecretByID(id)
	return s, run, err
}

// ignoreNotFound passes over a secret that was purged meanwhile.
func ignoreNotFound(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func fenceOf(run *secret.RotationRun) int64 {
	if run == nil {
		return 0
	}
	return run.Fence
}

// message is the public text of an error.
func message(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Message != "" {
		return e.Message
	}
	return "internal error"
}
