// Package rehearse runs a rotation function through faults before production
// does: in a private Keyturn server on a temporary folder, with a private
// database, it rotates real secrets while the function is killed, repeated,
// cut off, throttled and starved, and checks after each that a stored version
// still logs in, that every step kept its contract, that no secret got into a
// log, and that a repetition succeeds.
//
// It is a client: the server is this same program, run as keyturn serve, and
// everything is done through its AWS APIs. Between the function and Secrets
// Manager stands a gateway, which passes signed requests on as they are, and
// between the function and the database a wire; both know which step runs and
// can hold a call while something is done to the function.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what to rehearse, and with what.
type Options struct {
	// Program is the keyturn program to run as the private server.
	Program string
	// Environment are further variables of that process.
	Environment []string
	// Function is what is rehearsed.
	Function Function
	// Engine is the private database's: postgres, mysql, mariadb or redis.
	// Service is, in its place, a program that starts another service;
	// docs/rehearse.md says what it is asked. Shadow is, in their place, a live
	// database.
	Engine  string
	Service string
	Shadow  *Shadow
	// Strategy is single, alternating or superuser: the latter two give the
	// secret a masterarn. "" is single.
	Strategy string
	// Plain makes a private database that speaks no TLS.
	Plain bool
	// Only are names of faults, or patterns as kill-*; none means all.
	Only []string
	// Parallel is how many secrets are rotated at once; 0 for 3.
	Parallel int
	// Interpreters maps runtimes to their programs, as keyturn serve --runtime.
	Interpreters map[string]string
	// CABundle are files of authorities that the function trusts beside the
	// host's.
	CABundle []string
	// Progress gets a line for each thing that begins or ends. May be nil.
	Progress func(string)
}

// Function is a Lambda function's code and configuration.
type Function struct {
	// Name is how reports call it.
	Name, Runtime, Handler, Architecture string
	// Code is its package, Layers are those of its layers, as zips.
	Code   []byte
	Layers [][]byte
	// Timeout is in seconds and Memory in MiB; 0 for 15 and 256.
	Timeout, Memory int32
	// Environment are its variables.
	Environment map[string]string
}

// Strategies.
const (
	single      = "single"
	alternating = "alternating"
	superuser   = "superuser"
)

// Function timeouts in seconds: where none is configured, and for faults that
// wait for it to run out.
const (
	usualTimeout = 15
	shortTimeout = 5
)

const defaultParallel = 3

// hangers is how many secrets are rotated at once by faults that mostly wait.
const hangers = 3

// rehearsal is one run of a plan.
type rehearsal struct {
	Options
	space  *workspace
	server *server
	target target

	mu      sync.Mutex
	results map[string]*Result
	// canaries are the secrets of all trials.
	canaries []string
}

// Run rehearses the function and says how it went. The error tells that it
// could not be tried, not that it failed; the report beside it, if it is not
// nil, holds what was found until then. What was started has ended and what
// was made is gone when it returns, also when ctx is cancelled.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	plan, err := choose(o.Only)
	if err != nil {
		return nil, err
	}
	o.fill()
	r := &rehearsal{Options: o, results: map[string]*Result{}}
	report = &Report{
		Function: printable(o.Function.Name), Runtime: printable(o.Function.Runtime), Handler: printable(o.Function.Handler),
		Against: printable(o.against()), Strategy: printable(o.Strategy), StartedAt: time.Now().UTC(),
	}
	defer func() {
		// What is cleaned up is cleaned up whatever ended the run.
		err = errors.Join(err, r.close())
		if errors.Is(err, errTouched) && report != nil {
			report.Passed = false
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	err = r.perform(ctx, plan)
	for _, f := range plan {
		if result := r.results[f.Name]; result != nil {
			report.Results = append(report.Results, *result)
		}
	}
	report.TookMS, report.canaries = time.Since(report.StartedAt).Milliseconds(), r.canaries
	report.judge()
	report.Passed = report.Passed && err == nil
	return report, err
}

func (o *Options) fill() {
	if o.Strategy == "" {
		o.Strategy = single
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Function.Timeout <= 0 {
		o.Function.Timeout = usualTimeout
	}
	if o.Function.Memory <= 0 {
		o.Function.Memory = 256
	}
}

// against names what stands behind the secret.
func (o *Options) against() string {
	switch {
	case o.Shadow != nil:
		return "shadow users of a live " + o.Shadow.Engine
	case o.Service != "":
		return "the service of " + o.Service
	}
	return "a private " + o.Engine
}

// needsSuperuser tells whether secrets name a superuser's.
func (o *Options) needsSuperuser() bool { return o.Strategy == alternating || o.Strategy == superuser }

func (r *rehearsal) prepare(ctx context.Context) (err error) {
	if r.space, err = openWorkspace(); err != nil {
		return err
	}
	r.Progress("everything private is in " + r.space.dir)
	r.Progress("starting " + r.against())
	if r.target, err = newTarget(ctx, r.space, r.Options); err != nil {
		return err
	}
	bundle := r.CABundle
	if ca := r.target.authority(); ca != "" {
		bundle = append(slices.Clone(bundle), ca)
	}
	r.Progress("starting a private keyturn server")
	r.server, err = startServer(ctx, r.space, r.Options, bundle)
	return err
}

func (r *rehearsal) close() error {
	var err error
	if r.server != nil {
		err = r.server.stop()
	}
	if r.target != nil {
		err = errors.Join(err, r.target.close())
	}
	if r.space != nil {
		err = errors.Join(err, r.space.close())
	}
	return err
}

// perform runs the plan. Without faults comes first: where that fails the
// others would tell nothing.
func (r *rehearsal) perform(ctx context.Context, plan []*fault) error {
	first, err := r.newWorker(ctx, r.Function.Timeout)
	if err != nil {
		return err
	}
	defer first.close()
	if err := first.try(ctx, plan[0]); err != nil {
		return err
	}
	if broken := r.results[plan[0].Name]; broken.stopped {
		for _, f := range plan[1:] {
			r.put(f, &Result{Outcome: Skipped, Note: "the rotation without a fault does not succeed"})
		}
		return first.sweep(ctx)
	}
	usual, waiting := make(chan *fault, len(plan)), make(chan *fault, len(plan))
	for _, f := range plan[1:] {
		if f.act == actHang {
			waiting <- f
		} else {
			usual <- f
		}
	}
	close(usual)
	close(waiting)
	return r.crew(ctx, first, usual, waiting)
}

// crew works on the faults with several workers at once.
func (r *rehearsal) crew(ctx context.Context, first *worker, usual, waiting chan *fault) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	run := func(w *worker, timeout int32, faults chan *fault) {
		working.Go(func() {
			if err := r.work(ctx, w, timeout, faults); err != nil {
				cancel(err)
			}
		})
	}
	run(first, r.Function.Timeout, usual)
	for range min(r.Parallel, len(usual)) - 1 {
		run(nil, r.Function.Timeout, usual)
	}
	for range min(hangers, len(waiting)) {
		run(nil, min(shortTimeout, r.Function.Timeout), waiting)
	}
	working.Wait()
	return context.Cause(ctx)
}

// work takes faults until there are no more. A nil worker is made and closed.
func (r *rehearsal) work(ctx context.Context, w *worker, timeout int32, faults chan *fault) error {
	for f := range faults {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if w == nil {
			made, err := r.newWorker(ctx, timeout)
			if err != nil {
				return err
			}
			defer made.close()
			w = made
		}
		if err := w.try(ctx, f); err != nil {
			return err
		}
	}
	if w == nil {
		return nil
	}
	return w.sweep(ctx)
}

func (r *rehearsal) put(f *fault, result *Result) {
	result.Fault, result.Title = f.Name, f.Title
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[f.Name] = result
}

// keep remembers a trial's secrets.
func (r *rehearsal) keep(t *trial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secrets := range []map[string]string{t.canaries, t.hidden} {
		r.canaries = slices.AppendSeq(r.canaries, maps.Keys(secrets))
	}
}

// choose returns the faults that the patterns name; the rotation without any
// always comes first.
func choose(only []string) ([]*fault, error) {
	all := faults()
	if len(only) == 0 {
		return all, nil
	}
	chosen := all[:1:1]
	for _, pattern := range only {
		found := false
		for _, f := range all {
			match, err := path.Match(pattern, f.Name)
			if err != nil {
				return nil, fmt.Errorf("%q is no pattern: %w", pattern, err)
			}
			found = found || match
			if match && !slices.Contains(chosen, f) {
				chosen = append(chosen, f)
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no fault %q; there are: %s", pattern, strings.Join(Names(), ", "))
		}
	}
	return chosen, nil
}

// Names are the names of all faults, in the order in which they are tried.
func Names() []string {
	var names []string
	for _, f := range faults() {
		names = append(names, f.Name)
	}
	return names
}
