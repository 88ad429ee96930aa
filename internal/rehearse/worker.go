package rehearse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// worker is one instance of the function, with a gateway and a wire of its
// own. It tries one fault at a time, each on a secret of its own.
type worker struct {
	*rehearsal
	name, arn string
	gateway   *gateway
	wire      *wire // nil where the service cannot be led over one
	trials    []*trial
}

func (r *rehearsal) newWorker(ctx context.Context, timeout int32) (_ *worker, err error) {
	w := &worker{rehearsal: r, name: "rehearsed-" + strings.ToLower(rand.Text()[:8])}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.gateway, err = newGateway(r.server.url); err != nil {
		return nil, err
	}
	if to := r.target.address(); to != "" {
		if w.wire, err = newWire(to); err != nil {
			return nil, err
		}
	}
	w.arn, err = r.server.makeFunction(ctx, w.name, &r.Function, timeout, w.gateway.url)
	return w, err
}

func (w *worker) close() {
	if w.gateway != nil {
		w.gateway.close()
	}
	if w.wire != nil {
		w.wire.close()
	}
}

// skip says why a fault cannot be tried here; "" if it can.
func (w *worker) skip(f *fault) string {
	switch {
	case f.onWire() && w.wire == nil:
		return "nothing can stand between the function and this service"
	case w.target.live() && f.disturbs():
		return "it would disturb others who use the live database"
	}
	return ""
}

// try tries one fault.
func (w *worker) try(ctx context.Context, f *fault) error {
	result := &Result{Outcome: Skipped, Note: w.skip(f)}
	w.put(f, result)
	if result.Note != "" {
		w.Progress(f.Name + ": skipped: " + result.Note)
		return nil
	}
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, w.trialTime(), errTrialTime)
	defer cancel()
	t := &trial{worker: w, fault: f, result: result, ctx: ctx, over: make(chan struct{}), began: time.Now(), canaries: map[string]string{}, hidden: map[string]string{}}
	t.start("") // calls may come that an earlier trial has left behind
	for _, former := range w.trials {
		t.former = append(t.former, former.arn)
	}
	w.trials = append(w.trials, t)
	w.gateway.trial.Store(t)
	if w.wire != nil {
		w.wire.trial.Store(t)
	}
	err := w.target.guard(ctx)
	if err == nil {
		err = t.run(ctx)
	} else if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	t.end()
	w.gateway.trial.Store(nil)
	if w.wire != nil {
		w.wire.trial.Store(nil)
		w.wire.conns.breakAll()
	}
	result.TookMS = time.Since(t.began).Milliseconds()
	if !errors.Is(err, errTouched) {
		touched := w.target.guard(context.WithoutCancel(ctx)) // also after a failure
		err = errors.Join(touched, t.settle(whole, err))
	}
	if err != nil {
		t.mu.Lock()
		t.unable = "the rehearsal was broken off"
		t.mu.Unlock()
	}
	t.conclude()
	w.keep(t)
	if err != nil {
		return fmt.Errorf("rehearsing %s: %w", f.Name, err)
	}
	w.Progress(fmt.Sprintf("%s: %s", f.Name, result.Outcome))
	return nil
}

// settle makes what ended a trial a part of its result. What ends the whole
// rehearsal is returned.
func (t *trial) settle(whole context.Context, err error) error {
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch late := t.ctx.Err() != nil && whole.Err() == nil; {
	case errors.Is(err, errCannot):
		t.unable, err = errCannot.Error(), nil
	case late:
		t.unable, err = errTrialTime.Error(), nil
		t.result.stopped = t.fault.at == never
	}
	return err
}

// errTrialTime ends a trial that takes too long, and no other.
var errTrialTime = errors.New("it did not end in time")

// trialTime bounds one trial, whose function may need its whole timeout for
// each step.
func (r *rehearsal) trialTime() time.Duration {
	return 3*time.Minute + time.Duration(len(steps()))*time.Duration(r.Function.Timeout)*time.Second
}

// store makes a secret of a value and returns its ARN.
func (w *worker) store(ctx context.Context, kind string, v value) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	out, err := w.server.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String(kind + "/" + strings.ToLower(rand.Text())), SecretString: aws.String(string(text)),
	})
	if err != nil {
		return "", fmt.Errorf("storing a secret in the private server: %w", err)
	}
	return *out.ARN, nil
}

// logLines are what the function wrote since the worker began.
func (w *worker) logLines(ctx context.Context) ([]string, error) {
	var lines []string
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(w.server.logs, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String("/aws/lambda/" + w.name),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, missing := errors.AsType[*logtypes.ResourceNotFoundException](err); missing {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the function's log: %w", err)
		}
		for _, e := range page.Events {
			lines = append(lines, strings.TrimRight(aws.ToString(e.Message), "\r\n"))
		}
	}
	return lines, nil
}

// sweep searches the function's whole log for the secrets of all trials. It
// comes last, because logs may be written after the steps have ended.
func (w *worker) sweep(ctx context.Context) error {
	lines, err := w.logLines(ctx)
	if err != nil {
		return err
	}
	for _, t := range w.trials {
		t.searchLog(lines)
		t.conclude()
	}
	return nil
}
