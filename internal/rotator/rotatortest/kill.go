package rotatortest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

// steps are a rotation's, in their order.
var steps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

// killedIn are the steps in which something is killed: those that are the
// engine's own, unless the suite wants all. createSecret and finishSecret are
// the same code for every engine.
func (s Suite) killedIn() []string {
	if s.EveryStep {
		return steps
	}
	return []string{"setSecret", "testSecret"}
}

// during rotates and acts once, when the step begins.
func (w *World) during(step string, act func()) {
	w.t.Helper()
	r, err := rotate.Start(w.t.Context(), rotate.NewClients(w.Config), w.ARN)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer stop()
	acted := false
	_ = r.Watch(ctx, func(l rotate.Line) { // ends by the act
		if l.Report != nil && l.Report.Step == step && l.Report.Status == rotate.Started && !acted {
			acted = true
			act()
			stop()
		}
	})
	if !acted {
		w.t.Fatalf("the rotation did not get to %s", step)
	}
}

// someVersionLogsIn demands what an operator needs: a stored version that
// works.
func (w *World) someVersionLogsIn() {
	w.t.Helper()
	for _, label := range []string{"AWSCURRENT", "AWSPENDING"} {
		if value := w.Value(label); value != nil && w.Login(w.t.Context(), value) == nil {
			return
		}
	}
	w.t.Error("no stored version logs in")
}

func (s Suite) killedFunction(t *testing.T) {
	server := apitest.Start(t, apitest.Options{})
	function := server.NewFunction(t, s.Function("rotate"))
	for _, step := range s.killedIn() {
		t.Run(step, func(t *testing.T) {
			w := NewWorld(t, server, s.New(t), function)
			w.during(step, func() { killFunctions(builtin.Handler(s.Rotator)) })
			w.someVersionLogsIn()
			w.Converge()
		})
	}
}

// killFunctions kills the processes below this one that run a handler.
func killFunctions(handler string) {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environments {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte("_HANDLER="+handler+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && ours(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone by itself
		}
	}
}

func (s Suite) killedServer(t *testing.T) {
	p := StartProcess(t)
	function := p.NewFunction(t, s.Function("rotate"))
	for _, step := range s.killedIn() {
		t.Run(step, func(t *testing.T) {
			w := NewWorld(t, p.Server, s.New(t), function)
			w.during(step, p.Kill)
			p.Restart()
			w.someVersionLogsIn()
			w.Converge()
		})
	}
}

func (s Suite) killedTarget(t *testing.T) {
	server := apitest.Start(t, apitest.Options{})
	function := server.NewFunction(t, s.Function("rotate"))
	for _, step := range s.killedIn() {
		t.Run(step, func(t *testing.T) {
			w := NewWorld(t, server, s.New(t), function)
			w.during(step, func() { s.Kill(t) })
			s.Revive(t)
			w.someVersionLogsIn()
			w.Converge()
		})
	}
}

// ours tells whether a process descends from this one: other packages' tests
// run at the same time.
func ours(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if pid, err = strconv.Atoi(string(fields[1])); err != nil {
			return false
		}
	}
	return pid == os.Getpid()
}
