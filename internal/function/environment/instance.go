package environment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

const (
	// memoryInterval is how often a working environment's memory is measured.
	memoryInterval = 50 * time.Millisecond
	// leaveLimit is how long a runtime may take to end by itself after it
	// reported that its init failed.
	leaveLimit = time.Second
	// openLimit bounds what must happen before a process can start.
	openLimit = time.Minute
)

// environment is one execution environment. Its fields below the line belong
// to its goroutine alone.
type environment struct {
	pool        *Pool
	host        *host
	spec        Spec
	runtime     function.Runtime
	provisioned bool
	id, stream  string
	log         *logbook
	// calls come from the Runtime API, work from the pool; retired is closed
	// when an idle environment is to end.
	calls   chan *apiCall
	work    chan *invocation
	retired chan struct{}
	// process is the living process, nil between a reset and the next use.
	process atomic.Pointer[process]

	// ---- owned by run

	credentials Credentials
	place       placement
	interpreter interpreter
	api         *runtimeAPI
	state       runtimeState
	waiting     *apiCall    // the runtime's call for the next event
	current     *invocation // in flight
	ports       *allowed    // what holds the process, if ports do
	answer      answer
	peak        memoryUse
}

// invocation is an event on its way through an environment.
type invocation struct {
	event    Event
	deadline time.Time
	// done takes the outcome; its buffer lets the environment go on although
	// nobody waits any more.
	done   chan outcome
	charge charge
}

// outcome is what an invocation comes to.
type outcome struct {
	result Result
	err    error
}

func newEnvironment(p *Pool, h *host, spec Spec, rt function.Runtime, provisioned bool) *environment {
	var id [16]byte
	rand.Read(id[:])
	e := &environment{
		pool: p, host: h, spec: spec, runtime: rt, provisioned: provisioned,
		id:    hex.EncodeToString(id[:]),
		calls: make(chan *apiCall), work: make(chan *invocation, 1), retired: make(chan struct{}),
	}
	if n := len(spec.VPC.SubnetIDs); n > 1 {
		// An environment stands in one of the subnets, as on AWS.
		e.spec.VPC.SubnetIDs = []string{spec.VPC.SubnetIDs[int(id[0])%n]}
	}
	e.stream = spec.streamName(time.Now(), e.id)
	e.log = &logbook{write: func(entries []Entry) { p.cfg.Logs(spec, e.credentials, e.stream, entries) }}
	return e
}

func (e *environment) initialization() string {
	if e.provisioned {
		return "provisioned-concurrency"
	}
	return "on-demand"
}

// run is the environment's whole life. first is the invocation it was made
// for, or nil when it is to be kept warm.
func (e *environment) run(first *invocation) {
	defer e.pool.remove(e)
	defer e.close()
	if err := e.open(); err != nil {
		e.pool.failed(e, err)
		if first != nil {
			e.pool.finish(e, first, outcome{err: err})
		}
		return
	}
	took, failed := e.firstInit()
	if first == nil && failed != nil {
		e.pool.failed(e, failed.cause())
		return
	}
	if first == nil {
		took = 0 // no invocation waited for it
		if !e.pool.free(e) {
			return
		}
	}
	for inv := first; ; {
		if inv == nil {
			if inv = e.idle(); inv == nil {
				return
			}
		}
		o := e.serve(inv, took)
		took = 0
		if !e.pool.finish(e, inv, o) {
			return
		}
		inv = nil
	}
}

// open gets what must be there before the first process: the interpreter, the
// code, credentials, a folder, a port.
func (e *environment) open() error {
	ctx, cancel := context.WithTimeout(e.pool.alive, openLimit)
	defer cancel()
	err := e.admitsVPC()
	if err != nil {
		return err
	}
	if e.interpreter, err = e.pool.interpreters.find(ctx, e.host, e.spec.Runtime); err != nil {
		return err
	}
	if e.pool.cfg.Credentials != nil {
		if e.credentials, err = e.pool.cfg.Credentials(ctx, e.spec); err != nil {
			return fault.Wrap(err, "getting the execution role's credentials")
		}
	}
	if e.place.task, err = e.host.packages.acquire(ctx, []Package{e.spec.Code}); err != nil {
		return err
	}
	if len(e.spec.Layers) > 0 {
		if e.place.opt, err = e.host.packages.acquire(ctx, e.spec.Layers); err != nil {
			return err
		}
	}
	if e.place.bootstrap, err = e.standIn(); err != nil {
		return err
	}
	if e.host.capability.confinement.ownUser() {
		if e.place.userID, err = e.host.users.take(); err != nil {
			return fault.Wrap(err, "choosing a user")
		}
	}
	if e.place.scratch, err = e.host.newScratch(e.id, e.place.userID); err != nil {
		return fault.Wrap(err, "making a temporary folder")
	}
	e.place.program, e.place.ephemeralMB = e.interpreter.path, e.spec.EphemeralMB
	e.api, err = newRuntimeAPI(e.calls, e.admit)
	return fault.Wrap(err, "opening the Runtime API")
}

// admit says from which process a connection comes; nil for a stranger.
func (e *environment) admit(conn net.Conn) *process {
	p := e.process.Load()
	if p == nil || e.host.capability.Peers && !p.speaks(conn, e.place.userID) {
		return nil
	}
	return p
}

// close gives back what open got.
func (e *environment) close() {
	e.stop()
	if e.api != nil {
		e.api.close()
	}
	if e.place.scratch != "" {
		if err := removeTree(e.place.scratch); err != nil {
			e.pool.cfg.Logger.Warn("removing a function's temporary folder", "function", e.spec.FunctionARN, "err", err)
		}
	}
	if e.place.userID != 0 {
		e.host.users.give(e.place.userID)
	}
	for _, dir := range []string{e.place.task, e.place.opt} {
		if dir != "" {
			e.host.packages.release(dir)
		}
	}
}

// stop ends the process and everything it started, and waits for that.
func (e *environment) stop() {
	p := e.process.Load()
	if p == nil {
		return
	}
	e.measure(p)
	p.kill()
	<-p.exited
	e.gone()
}

// gone forgets a process that has ended.
func (e *environment) gone() {
	if p := e.process.Swap(nil); p != nil {
		e.peak.Peak = max(e.peak.Peak, p.status.MaxRSSKB)
	}
	e.waiting, e.state = nil, stateStarted
}

// measure brings the environment's highest memory up to date.
func (e *environment) measure(p *process) memoryUse {
	m := p.memory()
	e.peak.Own = max(e.peak.Own, m.Own)
	e.peak.Resident = max(e.peak.Resident, m.Resident)
	e.peak.Peak = max(e.peak.Peak, m.Peak)
	return m
}

// usedMB is the most memory the environment has used. Mapped files count only
// as far as the memory size goes: above it Lambda's kernel gives them up.
func (e *environment) usedMB() int {
	kilobytes := max(e.peak.Own, min(max(e.peak.Resident, e.peak.Peak), int64(e.spec.MemoryMB)<<10))
	return int((kilobytes + 1023) >> 10)
}

// end is why the environment stopped waiting for its runtime.
type end int

const (
	reached end = iota
	processEnded
	timeUp
	outOfMemory
	serverStopped
)

// await answers the runtime until the condition holds or something else ends
// the wait. There must be a process.
func (e *environment) await(until func() bool, deadline time.Time) end {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	p := e.process.Load()
	for !until() {
		select {
		case c := <-e.calls:
			e.handle(c)
		case <-p.exited:
			return processEnded
		case <-timer.C:
			return timeUp
		case <-tick.C:
			if e.measure(p).Own > int64(e.spec.MemoryMB)<<10 {
				return outOfMemory
			}
		case <-e.pool.alive.Done():
			return serverStopped
		}
	}
	return reached
}

// idle waits for work; nil when the environment is to end.
func (e *environment) idle() *invocation {
	for {
		var ended <-chan struct{}
		if p := e.process.Load(); p != nil {
			ended = p.exited
		}
		select {
		case inv := <-e.work:
			return inv
		case <-e.retired:
			return nil
		case <-e.pool.alive.Done():
			return nil
		case c := <-e.calls:
			e.handle(c)
		case <-ended:
			e.gone()
			if e.pool.discard(e) {
				return nil
			}
		}
	}
}
