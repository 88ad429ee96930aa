package environment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// Pool runs functions. Its methods may be called from many goroutines. Run
// must be running, and is what ends the pool's processes.
type Pool struct {
	cfg          Config
	interpreters *interpreters
	// alive ends when everything is to be killed.
	alive   context.Context
	killAll context.CancelFunc

	preparing sync.Mutex // held while theHost is made
	announced sync.Once  // what the host can do
	hostErr   error      // why there will be none
	theHost   atomic.Pointer[host]

	// living counts the environments' goroutines.
	living sync.WaitGroup

	mu       sync.Mutex
	closing  bool
	all      map[*environment]*lease
	idle     map[deployment][]*environment // the last one was used last
	revision map[version]string            // the newest that was asked for
	running  map[string]int                // on-demand invocations by function ARN
	shared   map[string]int                // those without reservation, by account and region
	warm     map[version]*provision
	said     map[string]bool // log groups that know what the host lacks
}

// version is one version of a function, of whatever revision.
type version struct{ arn, number string }

func (s Spec) version() version { return version{s.FunctionARN, s.Version} }

// lease is what the pool knows of an environment.
type lease struct {
	idle  bool
	ready bool // its init has succeeded once
	// doomed environments end instead of becoming idle.
	doomed  bool
	since   time.Time // idle since
	expires time.Time // of its credentials
}

// charge is what an invocation counts against.
type charge struct {
	arn   string // on-demand invocations of this function, or ""
	scope string // functions without reservation, or ""
}

// New checks the configuration and returns a pool that runs nothing yet. It
// fails when the CA bundle cannot be used, or when the server's private
// folders lie where every function looks.
func New(cfg Config) (*Pool, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, fault.New(fault.Parameter, "Functions need a folder.")
	}
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fault.Wrap(err, "finding the functions' folder")
	}
	for _, private := range append([]string{cfg.Dir}, cfg.Private...) {
		for _, public := range systemFolders {
			if below(filepath.Clean(private), public) {
				return nil, fault.New(fault.Parameter, "%s lies in %s, which every function can read. Choose another folder.", private, public)
			}
		}
	}
	if _, err := readBundle(cfg.CABundle); err != nil {
		return nil, fault.Wrap(err, "preparing functions")
	}
	p := &Pool{
		cfg: cfg, interpreters: newInterpreters(cfg),
		all: map[*environment]*lease{}, idle: map[deployment][]*environment{}, revision: map[version]string{},
		running: map[string]int{}, shared: map[string]int{}, warm: map[version]*provision{}, said: map[string]bool{},
	}
	p.alive, p.killAll = context.WithCancel(context.Background())
	if short(cfg.Dir) {
		// Now, and not when Run has the time: without room there is no start.
		setAside(cfg.Dir)
		clearOld(cfg.Dir)
	}
	return p, nil
}

// host prepares the pool's folder, once. What keeps it from that, such as a
// full disk, may pass, so the next call tries again.
func (p *Pool) host() (*host, error) {
	if h := p.theHost.Load(); h != nil {
		return h, nil
	}
	p.preparing.Lock()
	defer p.preparing.Unlock()
	if h := p.theHost.Load(); h != nil || p.hostErr != nil {
		return h, p.hostErr
	}
	capability := probeHost(p.cfg)
	p.announced.Do(func() { p.cfg.Logger.Info(capability.String()) })
	if capability.unsafe && !p.cfg.AllowUnconfined {
		return nil, fault.New(fault.Parameter, "Functions cannot run here, because nothing would keep them from the server's files: %s.",
			strings.Join(capability.Missing, "; "))
	}
	h, err := newHost(p.cfg, capability)
	if err != nil {
		return nil, fault.Wrap(blameHost(err), "preparing the functions' folder")
	}
	p.theHost.Store(h)
	return h, nil
}

// Capability asks the host how functions are confined in this pool.
func (p *Pool) Capability() (HostCapability, error) {
	h, err := p.host()
	if err != nil {
		return HostCapability{}, err
	}
	return h.capability, nil
}

// CheckRuntime says whether functions of the runtime can run here: nil, or an
// error of kind Parameter that names what is missing. It may start the
// interpreter to see whether a function could.
func (p *Pool) CheckRuntime(ctx context.Context, runtime string) error {
	if _, err := served(runtime); err != nil {
		return err
	}
	h, err := p.host()
	if err != nil {
		return err
	}
	_, err = p.interpreters.find(ctx, h, runtime)
	return err
}

// served finds a runtime that Keyturn runs.
func served(id string) (function.Runtime, error) {
	rt, ok := function.LookupRuntime(id)
	if !ok {
		return rt, function.UnknownRuntime(id)
	}
	if !rt.Served {
		return rt, fault.New(fault.Parameter,
			"The runtime %s is not available here: Keyturn runs python3.7 to python3.14, nodejs18.x to nodejs24.x, provided.al2 and provided.al2023.", id)
	}
	return rt, nil
}

// Invoke hands an event to an idle environment of the spec, or starts one,
// and waits for the result. A function that fails, exits or times out is a
// Result. Errors are of kind Throttled with Lambda's Reason when a limit is
// reached, Parameter when the function cannot run on this host, Unavailable
// when the server stops, or internal. When ctx ends, Invoke returns its error
// and the function runs on, as on Lambda.
func (p *Pool) Invoke(ctx context.Context, spec Spec, limit Limit, event Event) (Result, error) {
	spec = spec.withDefaults()
	rt, err := served(spec.Runtime)
	if err != nil {
		return Result{}, err
	}
	h, err := p.host()
	if err != nil {
		return Result{}, err
	}
	inv := &invocation{event: event.withDefaults(spec), done: make(chan outcome, 1)}
	if err := p.assign(h, spec, rt, limit, inv); err != nil {
		return Result{}, err
	}
	select {
	case o := <-inv.done:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

func (ev Event) withDefaults(spec Spec) Event {
	if len(ev.Payload) == 0 {
		ev.Payload = []byte("{}")
	}
	ev.InvokedARN = orDefault(ev.InvokedARN, spec.FunctionARN)
	if ev.TraceHeader == "" {
		var id [20]byte
		rand.Read(id[:])
		ev.TraceHeader = fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0",
			time.Now().Unix(), hex.EncodeToString(id[:12]), hex.EncodeToString(id[12:]))
	}
	return ev
}

// ErrSwitchedOff is the cause of throttles that no waiting ends: the
// function's reserved concurrency is 0.
var ErrSwitchedOff = errors.New("the function's reserved concurrency is 0")

// throttled is the error of an invocation over a limit (AWS: recorded).
func throttled(reason string) *fault.Error {
	e := fault.New(fault.Throttled, "Rate Exceeded.")
	e.Reason = reason
	return e
}

const (
	reservedExceeded = "ReservedFunctionConcurrentInvocationLimitExceeded"
	accountExceeded  = "ConcurrentInvocationLimitExceeded"
)

// assign finds or makes the environment for an invocation, within the limits.
func (p *Pool) assign(h *host, spec Spec, rt function.Runtime, limit Limit, inv *invocation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return stopping().For(spec.FunctionARN)
	}
	if limit.Reserved == 0 {
		return throttled(reservedExceeded).For(spec.FunctionARN).Because(ErrSwitchedOff)
	}
	p.outdate(spec)
	if e := p.takeIdle(spec, true); e != nil {
		e.work <- inv
		return nil
	}
	if err := p.admit(spec, limit); err != nil {
		return err
	}
	e := p.takeIdle(spec, false)
	if e == nil && !p.makeRoom() {
		return throttled(accountExceeded).For(spec.FunctionARN)
	}
	inv.charge.arn = spec.FunctionARN
	p.running[spec.FunctionARN]++
	if limit.Reserved < 0 {
		inv.charge.scope = spec.scope()
		p.shared[spec.scope()]++
	}
	if e != nil {
		e.work <- inv
		return nil
	}
	p.begin(newEnvironment(p, h, spec, rt, false), inv)
	return nil
}

// admit checks the on-demand limits (AWS docs): a function with a reservation
// has it, less its provisioned environments; the others share the rest of the
// account's.
func (p *Pool) admit(spec Spec, limit Limit) error {
	if limit.Reserved >= 0 {
		if p.running[spec.FunctionARN] >= limit.Reserved-p.provisionedOf(spec.FunctionARN) {
			return throttled(reservedExceeded).For(spec.FunctionARN)
		}
		return nil
	}
	if limit.Unreserved >= 0 && p.shared[spec.scope()] >= limit.Unreserved {
		return throttled(accountExceeded).For(spec.FunctionARN)
	}
	return nil
}

// begin starts an environment's goroutine. The caller holds the lock.
func (p *Pool) begin(e *environment, first *invocation) {
	p.all[e] = &lease{}
	p.living.Add(1)
	go e.run(first)
}

// outdate retires the environments of other revisions of the version.
func (p *Pool) outdate(spec Spec) {
	if old, ok := p.revision[spec.version()]; ok && old == spec.RevisionID {
		return
	}
	p.revision[spec.version()] = spec.RevisionID
	for e := range p.all {
		if e.spec.version() == spec.version() && e.spec.RevisionID != spec.RevisionID {
			p.retire(e)
		}
	}
}

// takeIdle returns the environment of the spec that was used last, or nil.
// Those whose credentials end too soon are retired.
func (p *Pool) takeIdle(spec Spec, provisioned bool) *environment {
	list := p.idle[spec.deployment()]
	for i := len(list) - 1; i >= 0; i-- {
		e := list[i]
		if e.provisioned != provisioned {
			continue
		}
		if p.stale(e, time.Now()) {
			p.retire(e)
			continue
		}
		p.unlist(e)
		return e
	}
	return nil
}

// staleMargin is how much longer than one invocation credentials must live.
const staleMargin = time.Minute

func (p *Pool) stale(e *environment, now time.Time) bool {
	expires := p.all[e].expires
	return !expires.IsZero() && expires.Sub(now) < e.spec.Timeout+staleMargin
}

// unlist takes an environment out of the idle ones.
func (p *Pool) unlist(e *environment) {
	key := e.spec.deployment()
	list := p.idle[key]
	if i := slices.Index(list, e); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(p.idle, key)
	} else {
		p.idle[key] = list
	}
	p.all[e].idle = false
}

// makeRoom reports whether one more environment may start, after ending the
// one that was idle longest if need be.
func (p *Pool) makeRoom() bool {
	var oldest *environment
	staying := 0
	for e, l := range p.all {
		if !l.doomed {
			staying++
		}
		if l.idle && !e.provisioned && (oldest == nil || l.since.Before(p.all[oldest].since)) {
			oldest = e
		}
	}
	if staying < p.cfg.MaxEnvironments {
		return true
	}
	if oldest == nil {
		return false
	}
	p.retire(oldest)
	return true
}

// retire ends an idle environment now and a working one after its invocation.
func (p *Pool) retire(e *environment) {
	l := p.all[e]
	if l == nil || l.doomed {
		return
	}
	l.doomed = true
	if l.idle {
		p.unlist(e)
		close(e.retired)
	}
}

// free makes an environment idle; false means that it is to end.
func (p *Pool) free(e *environment) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.freeLocked(e)
}

func (p *Pool) freeLocked(e *environment) bool {
	l := p.all[e]
	l.ready, l.expires = true, e.credentials.Expires
	if l.doomed || p.closing {
		return false
	}
	l.idle, l.since = true, time.Now()
	p.idle[e.spec.deployment()] = append(p.idle[e.spec.deployment()], e)
	return true
}

// finish ends an invocation. The environment is idle again before the caller
// hears of it, so that the caller's next invocation finds it.
func (p *Pool) finish(e *environment, inv *invocation, o outcome) bool {
	p.mu.Lock()
	if arn := inv.charge.arn; arn != "" {
		if p.running[arn]--; p.running[arn] == 0 {
			delete(p.running, arn)
		}
	}
	if scope := inv.charge.scope; scope != "" {
		if p.shared[scope]--; p.shared[scope] == 0 {
			delete(p.shared, scope)
		}
	}
	keep := o.err == nil && p.freeLocked(e)
	p.mu.Unlock()
	inv.done <- o
	return keep
}

// discard takes an idle environment away whose process has ended; false means
// that work for it is on its way, or that it is to end anyhow.
func (p *Pool) discard(e *environment) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.all[e].idle {
		return false
	}
	p.unlist(e)
	return true
}

// remove forgets an environment that has ended.
func (p *Pool) remove(e *environment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all[e].idle {
		p.unlist(e)
	}
	delete(p.all, e)
	if e.provisioned {
		p.fill(e.spec.version())
	}
	p.living.Done()
}

// Retire ends the environments of a function, or of some of its versions:
// idle ones now, working ones after their invocation. Without versions it
// also ends the function's provisioned concurrency, as deleting it does.
func (p *Pool) Retire(functionARN string, versions ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(versions) == 0 {
		for v := range p.warm {
			if v.arn == functionARN {
				delete(p.warm, v)
			}
		}
	}
	for e := range p.all {
		if e.spec.FunctionARN == functionARN && (len(versions) == 0 || slices.Contains(versions, e.spec.Version)) {
			p.retire(e)
		}
	}
	for v := range p.revision {
		if v.arn == functionARN && (len(versions) == 0 || slices.Contains(versions, v.number)) {
			delete(p.revision, v)
		}
	}
}

// unsaid returns what the host lacks, once per log group.
func (p *Pool) unsaid(group string, h *host) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said[group] {
		return nil
	}
	p.said[group] = true
	return h.capability.Missing
}

// Run keeps the pool in order until ctx ends: it ends environments that were
// idle for long and keeps provisioned ones there. Then it lets running
// invocations finish for Config.Grace, kills the rest and returns when no
// process is left. Afterwards Invoke fails.
func (p *Pool) Run(ctx context.Context) error {
	var clearing sync.WaitGroup
	clearing.Go(func() { clearOld(p.cfg.Dir) })
	defer clearing.Wait()
	tick := time.NewTicker(max(min(p.cfg.IdleTimeout/4, 15*time.Second), time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.reap(now)
		case <-ctx.Done():
			p.drain()
			return nil
		}
	}
}

// reap ends what has been idle for long and refills what is to be warm.
func (p *Pool) reap(now time.Time) {
	p.mu.Lock()
	for e, l := range p.all {
		if l.idle && (p.stale(e, now) || !e.provisioned && now.Sub(l.since) >= p.cfg.IdleTimeout) {
			p.retire(e)
		}
	}
	for v := range p.warm {
		p.fill(v)
	}
	p.mu.Unlock()
	if h := p.theHost.Load(); h != nil {
		h.packages.sweep(now)
	}
}

// drain ends the pool.
func (p *Pool) drain() {
	p.mu.Lock()
	p.closing = true
	for e := range p.all {
		p.retire(e)
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.living.Wait()
	}()
	select {
	case <-done:
	case <-time.After(p.cfg.Grace):
		p.cfg.Logger.Warn("killing functions that are still running", "grace", p.cfg.Grace)
	}
	p.killAll()
	<-done
	p.preparing.Lock()
	p.hostErr = stopping()
	p.preparing.Unlock()
	h := p.theHost.Load()
	if h != nil && h.temporary != "" {
		removeTree(h.temporary)
	}
	if h != nil && h.hole != nil {
		if err := h.hole.Close(); err != nil {
			p.cfg.Logger.Warn("closing the place for lost packets", "error", err)
		}
	}
}
