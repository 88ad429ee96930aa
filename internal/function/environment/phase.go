package environment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// initFailure is why a runtime did not become ready.
type initFailure struct {
	why end
	// answer is the error that the runtime reported itself, if it did.
	answer *answer
	// status is how the process ended when it ended by itself.
	status exitStatus
	// entrypoint is why there is no program to start.
	entrypoint string
	// err is a failure of the server, not of the function.
	err error
}

// errorType is what the platform's lines call the failure.
func (f *initFailure) errorType() string {
	switch {
	case f.entrypoint != "":
		return "Runtime.InvalidEntrypoint"
	case f.answer != nil:
		return f.answer.kind()
	case f.why == timeUp:
		return ""
	}
	return "Runtime.ExitError"
}

func (f *initFailure) statusName() string {
	if f.why == timeUp {
		return "timeout"
	}
	return "error"
}

// cause is the failure as an error, for provisioned environments.
func (f *initFailure) cause() error {
	switch {
	case f.err != nil:
		return f.err
	case f.answer != nil:
		return errors.New(string(f.answer.payload))
	case f.entrypoint != "":
		return errors.New(f.entrypoint)
	case f.why == timeUp:
		return errors.New("the function's initialization timed out")
	}
	return errors.New("the function's runtime exited: " + f.status.String())
}

// kind is the error's type: what the runtime put into its header, else into
// its body.
func (a *answer) kind() string {
	var body struct {
		Type string `json:"errorType"`
	}
	if a.errorType == "" && json.Unmarshal(a.payload, &body) == nil {
		return body.Type
	}
	return a.errorType
}

// firstInit is the init phase of a new environment. A failure is not the end:
// Lambda repeats the init at the first invocation, under the function's own
// timeout, and answers that with the error.
func (e *environment) firstInit() (took time.Duration, failed *initFailure) {
	lines := append([]string{e.initStartLine()}, e.notices()...)
	e.log.platform(lines...)
	began := time.Now()
	failed = e.initialise(began.Add(initLimit))
	took = time.Since(began)
	if failed == nil {
		return took, nil
	}
	if failed.why != serverStopped && failed.err == nil {
		e.log.platform(e.initReportLine("init", failed.statusName(), failed.errorType(), took))
	}
	return 0, failed
}

// notices are lines about what is not as on Lambda here.
func (e *environment) notices() []string {
	var lines []string
	if e.interpreter.notice != "" {
		lines = append(lines, "KEYTURN "+e.interpreter.notice)
	}
	if found, _ := filepath.Glob(filepath.Join(orDefault(e.place.opt, e.host.empty), "extensions", "*")); len(found) > 0 {
		lines = append(lines, "KEYTURN The layers hold Lambda extensions, which do not run here.")
	}
	for _, missing := range e.pool.unsaid(e.spec.LogGroup, e.host) {
		lines = append(lines, "KEYTURN This host: "+missing)
	}
	return lines
}

// initialise starts a process and waits until its runtime is ready. When it
// fails there is no process afterwards.
func (e *environment) initialise(deadline time.Time) *initFailure {
	failure := e.start()
	if failure != nil {
		return failure
	}
	p := e.process.Load()
	failure = &initFailure{}
	failure.why = e.await(func() bool { return e.state == stateReady || e.state == stateInitError }, deadline)
	switch failure.why {
	case reached:
		if e.state == stateReady {
			return nil
		}
		failure.answer = new(e.answer)
		leave := time.Now().Add(leaveLimit)
		e.await(func() bool { return false }, leave)
		e.stop()
	case processEnded:
		failure.status = p.status
		e.gone()
		e.explainStart(failure)
	case outOfMemory:
		e.stop()
		failure.status = exitStatus{Lost: true}
	default:
		e.stop()
	}
	return failure
}

// explainStart tells a program that could not be executed from a launcher
// that could not prepare the environment.
func (e *environment) explainStart(f *initFailure) {
	err := f.status.startError()
	if err == nil {
		return
	}
	launch := err.(*launchError)
	if e.interpreter.path == "" {
		for _, program := range []string{e.place.task + "/bootstrap", e.place.opt + "/bootstrap", "/var/task/bootstrap", "/opt/bootstrap"} {
			if text, ok := launch.entrypoint(program); ok {
				f.entrypoint = text
				return
			}
		}
	}
	f.err = fault.Wrap(err, "starting "+e.spec.FunctionName)
}

// start starts the environment's process.
func (e *environment) start() *initFailure {
	plan, at, err := e.host.prepare(e.place)
	if err != nil {
		return &initFailure{err: err}
	}
	plan.Dir, plan.Env = at.task, e.variables(at)
	switch e.runtime.Family {
	case function.Python:
		plan.Args = append(plan.Args, "-u", at.runtime+"/bootstrap.py")
	case function.NodeJS:
		// Lambda gives the heap nine tenths of the memory (AWS: recorded).
		plan.Args = append(plan.Args, "--max-old-space-size="+strconv.Itoa(e.spec.MemoryMB*9/10), at.runtime+"/bootstrap.mjs")
	default:
		program, ok := e.bootstrap(at)
		if !ok {
			return &initFailure{entrypoint: "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"}
		}
		plan.Args = []string{program}
	}
	e.state, e.waiting, e.answer = stateStarted, nil, answer{}
	e.hold(&plan)
	p, err := start(e.host.capability.confinement, plan, e.log.output, e.guard(plan))
	if err != nil {
		return &initFailure{err: fault.Wrap(err, "starting a process")}
	}
	e.process.Store(p)
	return nil
}

// bootstrap finds the program of a provided runtime as the function sees it:
// in the code, else in a layer, else the one that stands in.
func (e *environment) bootstrap(at layout) (string, bool) {
	for _, dir := range []struct{ host, inside string }{{e.place.task, at.task}, {e.place.opt, at.opt}} {
		if hasBootstrap(dir.host) {
			return dir.inside + "/bootstrap", true
		}
	}
	if e.place.bootstrap != "" && e.host.capability.confinement.namespaces() {
		return insideBootstrap, true
	}
	return e.place.bootstrap, e.place.bootstrap != ""
}

func hasBootstrap(dir string) bool {
	if dir == "" {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, "bootstrap"))
	return err == nil && info.Mode().IsRegular()
}

// standIn returns the server's own executable for functions of a provided
// runtime that have no bootstrap and name a built-in rotator as their handler:
// the program is its own bootstrap.
func (e *environment) standIn() (string, error) {
	if e.runtime.Family != function.Provided || !strings.HasPrefix(e.spec.Handler, function.RotatorHandler) ||
		hasBootstrap(e.place.task) || hasBootstrap(e.place.opt) {
		return "", nil
	}
	path, err := os.Executable()
	return path, fault.Wrap(err, "looking for the server's own program")
}

// serve hands one event to the runtime and returns what came of it. took is
// the cold start's init before it, or 0.
func (e *environment) serve(inv *invocation, took time.Duration) outcome {
	e.log.begin()
	began := time.Now()
	inv.deadline = began.Add(e.spec.Timeout)
	r := report{requestID: inv.event.RequestID, init: took, memoryMB: e.spec.MemoryMB, status: "success"}
	if e.spec.TracingMode == "Active" {
		r.trace = inv.event.TraceHeader
	}
	id := inv.event.RequestID
	if e.outdatedPorts() {
		e.stop()
	}
	if e.process.Load() == nil {
		if failed := e.initialise(inv.deadline); failed != nil {
			return e.concludeInit(inv, r, failed, time.Since(began))
		}
	} else {
		e.process.Load().output.flush()
	}
	e.log.platform(e.startLine(id))
	ready := func() bool { return e.state == stateReady && !hungUp(e.waiting) }
	why := e.await(ready, inv.deadline)
	if why == reached {
		e.current, e.state, e.answer = inv, stateRunning, answer{}
		next := e.waiting
		e.waiting = nil
		next.reply <- apiReply{event: inv}
		why = e.await(func() bool { return e.state == stateReady }, inv.deadline)
	}
	r.duration = time.Since(began)
	return e.conclude(inv, r, why)
}

// conclude ends an invocation that reached the runtime.
func (e *environment) conclude(inv *invocation, r report, why end) outcome {
	p := e.process.Load()
	var status exitStatus
	answered := e.state == stateResponse || e.state == stateError || why == reached
	switch why {
	case reached:
		e.measure(p)
		p.output.flush()
	case processEnded:
		status = p.status
		e.gone()
	case outOfMemory:
		e.stop()
		status = exitStatus{Lost: true}
	default:
		e.stop()
	}
	e.current = nil
	result := answer{failed: true}
	switch why {
	case serverStopped:
		return outcome{err: stopping().For(e.spec.FunctionARN)}
	case timeUp:
		r.status, r.duration = "timeout", e.spec.Timeout
		result.payload = timedOut(r.requestID, e.spec.Timeout).payload()
	case processEnded, outOfMemory:
		r.status, r.errorType = "error", "Runtime.ExitError"
		f := exited(r.requestID, status)
		result.payload = f.payload()
		if !e.spec.json() {
			e.log.platform(f.Message + "\n" + f.Type)
		}
	}
	if answered {
		result = e.answer
	}
	return e.account(r, result)
}

// concludeInit ends an invocation whose runtime did not become ready.
func (e *environment) concludeInit(inv *invocation, r report, f *initFailure, took time.Duration) outcome {
	if f.why == serverStopped {
		return outcome{err: stopping().For(e.spec.FunctionARN)}
	}
	if f.err != nil {
		return outcome{err: f.err}
	}
	r.duration, r.status, r.errorType = took, f.statusName(), f.errorType()
	e.log.platform(e.initReportLine("invoke", r.status, r.errorType, took), e.startLine(r.requestID))
	result := answer{failed: true}
	switch {
	case f.answer != nil:
		result.payload = f.answer.payload
	case f.entrypoint != "":
		result.payload = failure{r.errorType, "RequestId: " + r.requestID + " Error: " + f.entrypoint}.payload()
	case f.why == timeUp:
		r.duration = e.spec.Timeout
		result.payload = timedOut(r.requestID, e.spec.Timeout).payload()
	default:
		gone := exited(r.requestID, f.status)
		result.payload = gone.payload()
		if !e.spec.json() {
			e.log.platform(gone.Message + "\n" + gone.Type)
		}
	}
	return e.account(r, result)
}

// account writes an invocation's last lines and makes its result.
func (e *environment) account(r report, a answer) outcome {
	r.usedMB = e.usedMB()
	lines := r.lines(e.spec.json())
	if r.status == "timeout" && !e.spec.json() {
		lines = append(lines, fmt.Sprintf("%s %s Task timed out after %.2f seconds\n",
			time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), r.requestID, e.spec.Timeout.Seconds()))
	}
	e.log.platform(lines...)
	result := Result{
		Payload: a.payload, ExecutedVersion: e.spec.Version, LogTail: e.log.end(),
		LogGroup: e.spec.LogGroup, LogStream: e.stream,
		Duration: r.duration, Init: r.init, MaxMemoryMB: r.usedMB,
	}
	if a.failed {
		result.FunctionError = "Unhandled"
	}
	return outcome{result: result}
}

// stopping is the error of an invocation that the server's own end cut short:
// no verdict on the function.
func stopping() *fault.Error {
	return fault.New(fault.Unavailable, "The server is stopping.")
}
