package function_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

func TestAliasPick(t *testing.T) {
	a := &function.Alias{Version: "1", Weights: map[string]float64{"2": 0.25}}
	for random, want := range map[float64]string{0: "2", 0.2499: "2", 0.25: "1", 0.9999: "1"} {
		if got := a.Pick(random); got != want {
			t.Errorf("Pick(%v) = %s, want %s", random, got, want)
		}
	}
	if got := (&function.Alias{Version: "7"}).Pick(0); got != "7" {
		t.Errorf("without weights: got %s, want 7", got)
	}
}

func TestAliasCheck(t *testing.T) {
	for _, tc := range []struct {
		version string
		weights map[string]float64
		ok      bool
	}{
		{"1", nil, true},
		{"$LATEST", nil, true},
		{"1", map[string]float64{"2": 0.5}, true},
		{"1", map[string]float64{"1": 0.5}, false},
		{"$LATEST", map[string]float64{"2": 0.5}, false},
		{"1", map[string]float64{"2": 1.5}, false},
		{"1", map[string]float64{"2": 0.5, "3": 0.1}, false},
	} {
		a := &function.Alias{Version: tc.version, Weights: tc.weights}
		if err := a.Check(); (err == nil) != tc.ok || err != nil && !fault.Is(err, fault.Parameter) {
			t.Errorf("%s %v: got %v, want accepted: %t", tc.version, tc.weights, err, tc.ok)
		}
	}
}

func TestReserve(t *testing.T) {
	f := &function.Function{}
	pool := function.Pool{Limit: 1000, Reserved: 500}
	if err := f.CheckReserve(400, pool); err != nil {
		t.Errorf("leaving 100: got %v, want nil", err)
	}
	want := "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
	if err := f.CheckReserve(401, pool); text(err) != want {
		t.Errorf("leaving 99: got %v, want %q", err, want)
	}
	f.Reserved = new(int64(300))
	if err := f.CheckReserve(700, pool); err != nil {
		t.Errorf("its own 300 come back: got %v, want nil", err)
	}
	if err := f.CheckReserve(0, function.Pool{Limit: 10, Reserved: 10}); err != nil {
		t.Errorf("nothing: got %v, want nil", err)
	}
	f = &function.Function{Provisioned: map[string]function.Provisioned{"1": {Requested: 2}}}
	want = " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
	if err := f.CheckReserve(1, pool); text(err) != want {
		t.Errorf("below provisioned: got %v, want %q", err, want)
	}
	small := function.Pool{Limit: 10}
	if err := (&function.Function{}).CheckReserve(10, small); err != nil {
		t.Errorf("all of a small account: got %v, want nil", err)
	}
	if err := (&function.Function{}).CheckReserve(11, small); err == nil {
		t.Error("more than a small account has: got nil, want an error")
	}
}

func TestProvision(t *testing.T) {
	f := &function.Function{Provisioned: map[string]function.Provisioned{"live": {Requested: 5}}}
	pool := function.Pool{Limit: 1000, Reserved: 5}
	if err := f.CheckProvision("live", 900, pool); err != nil {
		t.Errorf("leaving 100: got %v, want nil", err)
	}
	want := "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
	if err := f.CheckProvision("1", 896, pool); text(err) != want {
		t.Errorf("leaving 99: got %v, want %q", err, want)
	}
	want = "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."
	if err := f.CheckProvision("live", 1001, pool); text(err) != want {
		t.Errorf("over all: got %v, want %q", err, want)
	}
	f.Reserved = new(int64(10))
	if err := f.CheckProvision("1", 5, pool); err != nil {
		t.Errorf("within the reservation: got %v, want nil", err)
	}
	want = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
	if err := f.CheckProvision("1", 6, pool); text(err) != want {
		t.Errorf("over the reservation: got %v, want %q", err, want)
	}
}

func TestPublish(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := &function.Function{NextVersion: 1, Config: function.Config{
		Version: function.Latest, Description: "d", CodeSHA256: "sum", Change: 3, RevisionID: "r", State: function.StateActive,
	}}
	v1, made, err := f.Publish(function.Publication{NewRevisionID: "n", Now: now, RevisionID: "r", CodeSHA256: "sum"}, nil)
	if err != nil || !made {
		t.Fatalf("first: got made %t, %v", made, err)
	}
	if v1.Version != "1" || v1.Description != "d" || v1.RevisionID != "n" || v1.State != function.StatePending || !v1.LastModified.Equal(now) || f.NextVersion != 2 {
		t.Errorf("first: got %+v, next %d", v1, f.NextVersion)
	}
	again, made, err := f.Publish(function.Publication{Description: new("other")}, v1)
	if err != nil || made || again != v1 || f.NextVersion != 2 {
		t.Errorf("unchanged: got %+v, %t, %v, want version 1", again, made, err)
	}
	f.Config.Change++
	v2, made, err := f.Publish(function.Publication{Description: new("other")}, v1)
	if err != nil || !made || v2.Version != "2" || v2.Description != "other" {
		t.Errorf("changed: got %+v, %t, %v, want version 2", v2, made, err)
	}
	if _, _, err := f.Publish(function.Publication{RevisionID: "old"}, v2); !fault.Is(err, fault.Precondition) {
		t.Errorf("stale revision: got %v", err)
	}
	if _, _, err := f.Publish(function.Publication{CodeSHA256: "old"}, v2); !fault.Is(err, fault.Parameter) {
		t.Errorf("other code: got %v", err)
	}
}

func TestStates(t *testing.T) {
	var c function.Config
	c.BeginCreation()
	if err := c.CheckInvocable(); !fault.Is(err, fault.Conflict) ||
		text(err) != "The operation cannot be performed at this time. The function is currently in the following state: Pending" {
		t.Errorf("pending: got %v", err)
	}
	if !c.Finish("", "", "r1") || c.State != function.StateActive || c.StateReason != "" || c.LastUpdate != function.UpdateSuccessful || c.RevisionID != "r1" {
		t.Errorf("created: got %+v", c)
	}
	if c.Finish("", "", "r2") || c.RevisionID != "r1" {
		t.Errorf("finishing twice changed %+v", c)
	}
	c.BeginUpdate()
	want := "The operation cannot be performed at this time. An update is in progress for resource: " + functionARN
	if err := c.CheckChangeable(functionARN); text(err) != want {
		t.Errorf("updating: got %v, want %q", err, want)
	}
	if err := c.CheckInvocable(); err != nil {
		t.Errorf("invoking during an update: got %v, want nil", err)
	}
	if !c.Finish("InvalidRuntime", "no such interpreter", "r3") || c.State != function.StateActive || c.LastUpdate != function.UpdateFailed || c.LastUpdateReason == "" {
		t.Errorf("failed update: got %+v", c)
	}
}

func TestCheckVariables(t *testing.T) {
	if err := function.CheckVariables(map[string]string{"PASSWORD_LENGTH": "32", "PATH": "/x"}); err != nil {
		t.Errorf("usual: got %v, want nil", err)
	}
	err := function.CheckVariables(map[string]string{"AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "y", "FINE": "z"})
	if !fault.Is(err, fault.Parameter) || !strings.HasSuffix(text(err), "Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION") {
		t.Errorf("reserved: got %v", err)
	}
	err = function.CheckVariables(map[string]string{"SECRET": strings.Repeat("x", 4096)})
	if !fault.Is(err, fault.Parameter) || !strings.Contains(text(err), "exceeded the 4KB limit") || strings.Contains(text(err), "xxx") {
		t.Errorf("too long: got %v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	good := function.Config{Handler: "h.h", TimeoutSeconds: 900, MemoryMB: 10240}
	if err := good.Check(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	bad := good
	bad.TimeoutSeconds = 901
	want := "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"
	if err := bad.Check(); !fault.Is(err, fault.Validation) || text(err) != want {
		t.Errorf("timeout: got %v, want %q", err, want)
	}
	bad = good
	bad.Layers = make([]function.Layer, 6)
	if err := bad.Check(); text(err) != "Cannot reference more than 5 layers." {
		t.Errorf("layers: got %v", err)
	}
}

func TestSame(t *testing.T) {
	a := function.Config{Version: "1", Runtime: "python3.12", RevisionID: "a", State: function.StateActive, Change: 1}
	b := function.Config{Version: "2", Runtime: "python3.12", RevisionID: "b", State: function.StatePending, Change: 2}
	if !a.Same(&b) {
		t.Error("same content: got false")
	}
	b.Runtime = "python3.13"
	if a.Same(&b) {
		t.Error("another runtime: got true")
	}
}

func TestEventNext(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var none function.AsyncConfig
	e := &function.Event{AcceptedAt: start}
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute} {
		due, ok := e.Next(function.FunctionFail, none, start)
		if !ok || due.Sub(start) != want {
			t.Errorf("function error %d: got %v, %t; want after %v", i+1, due, ok, want)
		}
	}
	if _, ok := e.Next(function.FunctionFail, none, start); ok {
		t.Error("third function error: got another attempt")
	}
	e = &function.Event{AcceptedAt: start}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		due, ok := e.Next(function.ServiceFail, none, start)
		if !ok || due.Sub(start) != want*time.Second {
			t.Errorf("throttle %d: got %v, %t; want after %v s", i+1, due, ok, int(want))
		}
	}
	if _, ok := e.Next(function.ServiceFail, none, start.Add(6*time.Hour)); ok {
		t.Error("too old: got another attempt")
	}
	short := function.AsyncConfig{MaximumRetryAttempts: new(int64(0)), MaximumEventAgeInSeconds: new(int64(60))}
	e = &function.Event{AcceptedAt: start}
	if _, ok := e.Next(function.FunctionFail, short, start); ok {
		t.Error("no retries: got another attempt")
	}
	if _, ok := e.Next(function.ServiceFail, short, start.Add(60*time.Second)); ok {
		t.Error("older than 60 s: got another attempt")
	}
}

func TestCheckTags(t *testing.T) {
	if err := function.CheckTags(map[string]string{"team": "db"}); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for _, tags := range []map[string]string{{"aws:x": ""}, {"": "x"}, {strings.Repeat("k", 129): ""}, {"k": strings.Repeat("v", 257)}} {
		if err := function.CheckTags(tags); !fault.Is(err, fault.Parameter) {
			t.Errorf("%v: got %v, want a parameter error", tags, err)
		}
	}
}
