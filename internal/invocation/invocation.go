// Package invocation invokes functions: it finds the function, version or
// alias that is meant, checks what Lambda checks, and runs the event in an
// execution environment, at once or later from a durable queue.
//
// It also does what functions need around their invocations: sessions of
// execution roles, logs that are stored before the caller hears of the
// result, versions that become Active, and environments that are kept warm.
package invocation

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/tracing"
)

// Config is what an Invoker works with. Store, Guard, Sealer, Keys, Credentials
// and Principal are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Sealer seals what may hold secrets and is stored: environment variables
	// and waiting events.
	Sealer *key.Sealer
	// Keys seals the environment variables of functions that have a KMS key.
	Keys *key.Ring
	// Credentials makes a session of an execution role with what is given.
	Credentials func(ctx context.Context, role *iam.Role, session string, d time.Duration, given *iam.Session) (environment.Credentials, error)
	// Principal returns who calls with the credentials of a session. An error
	// of another kind than fault.Internal and fault.Unavailable says that they
	// are no one's any more.
	Principal func(ctx context.Context, accessKeyID, token string) (iam.Principal, error)
	// Node names this server among those of one store, the same after every
	// start: what it ran when it was stopped is run again at once.
	Node string
	// Concurrency is the limit of an account in a region; 1000 if zero.
	Concurrency int
	// Parallel bounds the waiting events that this node runs at once; 32 if
	// zero.
	Parallel int
	// Lease is how long a claim on a waiting event holds without renewal; 20
	// seconds if zero. The events of a node that dies are taken over within it.
	Lease time.Duration
	// Grace is how long a waiting event that runs may go on after Run was told
	// to stop; 30 seconds if zero. Then it is left for the next start.
	Grace time.Duration
	// Observe is told of every invocation once it has ended, with "ok",
	// "error" for a function's own failure, "throttled" or "failed".
	Observe func(outcome string, took time.Duration)
	Logger  *slog.Logger
	// Tracer makes a span of every invocation; nil for none.
	Tracer *tracing.Tracer
}

// defaultConcurrency is AWS's limit of an account (AWS docs).
const defaultConcurrency = 1000

// Invoker invokes functions. Use New, and Use before anything is invoked.
type Invoker struct {
	cfg  Config
	pool *environment.Pool
	logs logbook
	// These tell Run of work.
	wakeEvents, wakeVersions, wakeProvisioned chan struct{}
	// slots holds a place for each waiting event that may run at once.
	slots chan struct{}
}

// New returns an Invoker that does nothing by itself until Run.
func New(cfg Config) *Invoker {
	setDefault(&cfg.Concurrency, defaultConcurrency)
	setDefault(&cfg.Parallel, 32)
	setDefault(&cfg.Lease, 20*time.Second)
	setDefault(&cfg.Grace, 30*time.Second)
	setDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Observe == nil {
		cfg.Observe = func(string, time.Duration) {}
	}
	return &Invoker{
		cfg: cfg, logs: logbook{
			store: cfg.Store, logger: cfg.Logger, pending: map[stream][]pendingEntry{},
			permit: permit{guard: cfg.Guard, principal: cfg.Principal},
		},
		wakeEvents: make(chan struct{}, 1), wakeVersions: make(chan struct{}, 1), wakeProvisioned: make(chan struct{}, 1),
		slots: make(chan struct{}, cfg.Parallel),
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Use sets the pool in which functions run. The pool needs the Invoker's
// Credentials and Logs.
func (i *Invoker) Use(p *environment.Pool) { i.pool = p }

// Run works off waiting events, finishes the creation and update of
// functions, keeps provisioned environments and stores logs, until ctx ends.
// It then takes on nothing new and waits for the events that run. The pool
// has to run longer.
func (i *Invoker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{i.runEvents, i.runVersions, i.runProvisioned, i.logs.run} {
		g.Go(func() error { return part(ctx) })
	}
	return g.Wait()
}

// Request is one invocation.
type Request struct {
	// Function is a name or an ARN, with or without a qualifier.
	Function string
	// Qualifier is a version or an alias, or "".
	Qualifier string
	// Owner is the AWS service whose own function is meant, by its ARN; ""
	// for functions of users. Nothing that comes from a client sets it.
	Owner string
	// Account and Region are where a name is looked up; an ARN must agree
	// with the region.
	Account, Region string
	// Payload is the event as JSON; none stands for {}.
	Payload []byte
	// RequestID is a UUID; "" makes a new one.
	RequestID string
	// ClientContext is JSON; TraceHeader the caller's. Both may be "".
	ClientContext, TraceHeader string
	// Ended, if set, is called once when the execution environment is free
	// again, before the log is stored; not if the event did not run.
	Ended func()
	// LogLater lets the log of an event that the function does not fail be
	// stored a little after the answer: with what comes next, and for sure
	// when the server stops.
	LogLater bool
}

// Result is how an invocation ended. A function that failed has a Result with
// FunctionError set, not an error.
type Result = environment.Result

// Invoke runs an event and waits for the result; the function's log is stored
// by then, unless it may be later. The checks come in Lambda's order: the function exists
// (fault.NotFound) and is active (fault.Conflict), the event is not too large
// (function.PayloadTooLarge) and JSON (function.InvalidPayload), the
// concurrency is free (fault.Throttled with a Reason). When ctx ends, Invoke
// returns its error and the function runs on.
func (i *Invoker) Invoke(ctx context.Context, r Request) (Result, error) {
	t, err := i.find(ctx, r)
	if err != nil {
		return Result{}, err
	}
	if err := checkPayload(r.Payload, MaxSyncPayload, "RequestResponse"); err != nil {
		return Result{}, err
	}
	return i.run(ctx, t, r)
}

// Check does what Invoke checks before it takes the event in, for dry runs.
func (i *Invoker) Check(ctx context.Context, r Request) error {
	_, err := i.find(ctx, r)
	if err != nil {
		return err
	}
	return checkPayload(r.Payload, MaxSyncPayload, "RequestResponse")
}

// flushLimit bounds the wait for the store to take the log of an invocation.
const flushLimit = 10 * time.Second

// run hands the event to the pool. A package that was replaced between the
// look at the function and its start is found at the second look.
func (i *Invoker) run(ctx context.Context, t *target, r Request) (Result, error) {
	if r.RequestID == "" {
		r.RequestID = uuid.NewString()
	}
	event := environment.Event{
		RequestID: r.RequestID, Payload: r.Payload, InvokedARN: t.invokedARN,
		TraceHeader: r.TraceHeader, ClientContext: r.ClientContext,
	}
	ctx, span := i.span(ctx, t, &event)
	defer span.End()
	began := time.Now()
	result, err := i.pool.Invoke(ctx, t.spec, t.limit, event)
	if errors.Is(err, errCodeGone) {
		if t, err = i.find(ctx, r); err == nil {
			result, err = i.pool.Invoke(ctx, t.spec, t.limit, event)
		}
	}
	i.cfg.Observe(outcome(result, err), time.Since(began))
	endSpan(span, result, err)
	if fault.Is(err, fault.Throttled) {
		return result, err // nothing ran and wrote
	}
	if r.Ended != nil {
		r.Ended()
	}
	if r.LogLater && err == nil && result.FunctionError == "" && i.logs.running.Load() {
		return result, nil
	}
	i.FlushLogs(ctx)
	return result, err
}

func outcome(r Result, err error) string {
	switch {
	case fault.Is(err, fault.Throttled):
		return "throttled"
	case err != nil:
		return "failed"
	case r.FunctionError != "":
		return "error"
	}
	return "ok"
}

// target is what a request comes down to.
type target struct {
	function *function.Function
	config   *function.Config
	// invokedARN is the function as the caller named it.
	invokedARN string
	spec       environment.Spec
	limit      environment.Limit
}

// find resolves a request in one snapshot and checks that the version can be
// invoked.
func (i *Invoker) find(ctx context.Context, r Request) (*target, error) {
	var t *target
	var box VariableBox
	random := rand.Float64()
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) error {
		ref, f, c, err := lookup(tx, r, random)
		if err != nil {
			return err
		}
		if err := c.CheckInvocable(); err != nil {
			return err
		}
		claimed, err := tx.ClaimedConcurrency(f.Account, f.Region)
		if err != nil {
			return err
		}
		t = &target{function: f, config: c, invokedARN: ref.ARN(), limit: i.limit(f, claimed)}
		box, err = i.BoxVariables(tx, f, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.spec, err = i.spec(ctx, t.function, t.config, box)
	return t, err
}

// lookup finds what a request names.
func lookup(tx *store.Tx, r Request, random float64) (ref function.Ref, f *function.Function, c *function.Config, err error) {
	if r.Owner != "" {
		f, err = Owned(tx, r.Function, r.Owner, r.Account)
		if err != nil {
			return ref, nil, nil, err
		}
		return function.Ref{Region: f.Region, Account: f.Account, Name: f.Name}, f, &f.Config, nil
	}
	if ref, err = function.Resolve(r.Function, r.Qualifier, r.Region, r.Account); err != nil {
		return ref, nil, nil, err
	}
	f, c, err = Lookup(tx, ref, random)
	return ref, f, c, err
}

// limit is the concurrency that one invocation of f counts against.
func (i *Invoker) limit(f *function.Function, claimed int64) environment.Limit {
	reserved := -1
	if f.Reserved != nil {
		reserved = int(*f.Reserved)
	}
	pool := function.Pool{Limit: int64(i.cfg.Concurrency), Reserved: claimed}
	return environment.Limit{Reserved: reserved, Unreserved: int(pool.Unreserved())}
}
