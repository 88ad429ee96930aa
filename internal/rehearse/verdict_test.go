package rehearse

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// newTrial is a trial of a fault that has not begun.
func newTrial(t *testing.T, name string, to target) *trial {
	t.Helper()
	plan, err := choose([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r := &rehearsal{results: map[string]*Result{}, target: to, server: &server{cmd: &exec.Cmd{Process: self}}}
	made := &trial{
		worker: &worker{rehearsal: r, name: "no-such-function"}, fault: plan[len(plan)-1], result: &Result{}, ctx: t.Context(),
		over: make(chan struct{}), began: time.Now(), canaries: map[string]string{}, hidden: map[string]string{},
	}
	made.start("token")
	return made
}

// A kill that met no process is no kill, and not tried again.
func TestKillWithoutProcess(t *testing.T) {
	tried := newTrial(t, "kill-before-put", nil)
	c := &call{step: createSecret, op: opPut, attempt: 1}
	if _, answered := tried.strike(t.Context(), c, true); answered {
		t.Error("the call was broken off, and nothing was killed")
	}
	if tried.meets(c) {
		t.Error("the fault is tried again")
	}
	tried.conclude()
	if r := tried.result; r.Outcome != Skipped || r.Note != "the function's process was not found" {
		t.Errorf("got %s (%s), want it skipped for the process", r.Outcome, r.Note)
	}
}

// What could not strike does not count as passed; what struck does.
func TestStrikeOnce(t *testing.T) {
	for want, err := range map[Outcome]error{Skipped: errors.New("the server refused it"), Passed: nil} {
		tried := newTrial(t, "repeat-setSecret", nil)
		if did := tried.strikeOnce(func() error { return err }); did != (err == nil) {
			t.Errorf("%v: got struck %v", err, did)
		}
		tried.conclude()
		if tried.result.Outcome != want {
			t.Errorf("%v: got %s, want %s", err, tried.result.Outcome, want)
		}
	}
}

// A database that cannot be looked at proves nothing: exit code 2 of a check
// says neither that the value logs in nor that it does not.
func TestBlind(t *testing.T) {
	for code, want := range map[string]Outcome{"2": Skipped, "0": Passed} {
		tried := newTrial(t, "none", &command{line: "exit " + code + " #"})
		if !tried.look().accepted(`{"password":"x"}`) {
			t.Errorf("exit %s: the value counts as refused", code)
		}
		tried.conclude()
		if r := tried.result; r.Outcome != want || want == Skipped && !strings.Contains(r.Note, "could not be checked") {
			t.Errorf("exit %s: got %s (%s), want %s", code, r.Outcome, r.Note, want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		outcomes []Outcome
		want     bool
	}{
		{[]Outcome{Passed}, true},
		{[]Outcome{Skipped}, false},
		{nil, false},
		{[]Outcome{Passed, Skipped, Skipped}, false},
		{[]Outcome{Passed, Skipped, Passed}, true},
		{[]Outcome{Passed, Failed, Passed}, false},
	} {
		r := &Report{}
		for _, o := range c.outcomes {
			r.Results = append(r.Results, Result{Outcome: o})
		}
		r.judge()
		if r.Passed != c.want {
			t.Errorf("%v: got passed %v, want %v", c.outcomes, r.Passed, c.want)
		}
		if nothing := strings.Contains(r.Summary(), "nothing was tried"); nothing != (!c.want && r.count(Failed) == 0) {
			t.Errorf("%v: got the summary %q", c.outcomes, r.Summary())
		}
	}
}

// A daemon that has ended by itself is not killed: its number may be another's
// by now.
func TestStopEnded(t *testing.T) {
	d, err := newDaemon(&workspace{dir: t.TempDir()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.start("true"); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	// A group that is alive takes the number's place.
	other := exec.CommandContext(context.Background(), "sleep", "60")
	other.SysProcAttr = d.cmd.SysProcAttr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	d.cmd.Process.Pid = other.Process.Pid
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- other.Wait() }()
	select {
	case err := <-gone:
		t.Errorf("another process was ended: %v", err)
	case <-time.After(200 * time.Millisecond):
		_ = other.Process.Kill()
		<-gone
	}
}

// A trial that takes too long is one that was not made; it ends no other.
func TestSettle(t *testing.T) {
	for name, stopped := range map[string]bool{"kill-in-test": false, "none": true} {
		tried := newTrial(t, name, nil)
		tried.hit(1)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 0, errTrialTime)
		tried.ctx = ctx
		if err := tried.settle(t.Context(), ctx.Err()); err != nil {
			t.Errorf("%s: got %v, want the rehearsal to go on", name, err)
		}
		cancel()
		tried.conclude()
		if r := tried.result; r.Outcome != Skipped || r.Note != errTrialTime.Error() || r.stopped != stopped {
			t.Errorf("%s: got %s (%s), stopped %v", name, r.Outcome, r.Note, r.stopped)
		}
	}
	tried := newTrial(t, "none", nil)
	broken := errors.New("the private server is gone")
	if err := tried.settle(t.Context(), broken); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v to end the rehearsal", err, broken)
	}
}

// Reports hold no secret of the function's variables, and nothing that steers
// a terminal; a function may log what is its own.
func TestReportIsClean(t *testing.T) {
	const key, dsn = "key-of-some-api", "postgres://app:other@db.test/app"
	tried := newTrial(t, "none", nil)
	tried.Function.Environment = map[string]string{"API_KEY": key, "DSN": dsn, "STAGE": "production"}
	tried.Shadow = &Shadow{Secret: value{"host": "db.test.example", "password": "live-password"}, Superuser: value{"note": "the old superuser"}}
	tried.hideVariables()
	tried.hideLive()
	const line = "connect " + dsn + " " + key + " live-password the old superuser production db.test.example \x1b]52;c;eA==\x07 \u009b31m \u202e"
	tried.searchText(line, "the function's log")
	if len(tried.found) != 0 {
		t.Errorf("got %v, want no finding: the function may log what is its own", tried.found)
	}
	tried.add(Finding{Code: FailsPlain, Happened: line, Evidence: []string{line}})
	tried.note("%s", line)
	tried.conclude()
	report := &Report{Results: []Result{*tried.result}}
	var text, asJSON strings.Builder
	report.WriteText(&text, false)
	if err := report.WriteJSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{text.String(), asJSON.String()} {
		for _, bad := range []string{key, dsn, "live-password", "old superuser", "\x1b", "\x07", "\u009b", "\u202e"} {
			if strings.Contains(got, bad) {
				t.Errorf("the report holds %q", bad)
			}
		}
		if !strings.Contains(got, "production") || !strings.Contains(got, "db.test.example") {
			t.Errorf("the report leaves out what is no secret: %s", got)
		}
	}
}

// An error of a download does not show the signed link.
func TestDownloadError(t *testing.T) {
	for _, location := range []string{"http://127.0.0.1:1/code.zip?X-Amz-Signature=abc", "http://127.0.0.1:1/%zz?X-Amz-Signature=abc", "bad\x7f://x?X-Amz-Signature=abc"} {
		_, err := download(t.Context(), aws.Config{}, location, new(int64(1)))
		if err == nil || strings.Contains(err.Error(), "X-Amz") {
			t.Errorf("got %v, want an error without the link", err)
		}
	}
}

// A function whose packages have more than what is allowed is not read whole.
func TestDownloadBound(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<10)) }))
	defer s.Close()
	room := int64(1500)
	if _, err := download(t.Context(), aws.Config{}, s.URL, &room); err != nil || room != 1500-1<<10 {
		t.Errorf("got room for %d more, %v", room, err)
	}
	if _, err := download(t.Context(), aws.Config{}, s.URL, &room); err == nil || !strings.Contains(err.Error(), "have more than") {
		t.Errorf("got %v, want it refused", err)
	}
}
