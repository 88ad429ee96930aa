//go:build linux

package environment

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
)

// counter tells processes and invocations apart.
const counter = `import os, time, uuid
me = uuid.uuid4().hex
n = 0
---
global n
n += 1
while event.get("until") and not os.path.exists(event["until"]):
    time.sleep(0.01)
time.sleep(event.get("sleep", 0))
return [me, n]`

type counted struct {
	process string
	n       int
}

func (k *kit) count(s Spec, payload string) counted {
	k.t.Helper()
	list := decode[[]any](k.t, []byte(k.value(s, payload)))
	return counted{list[0].(string), int(list[1].(float64))}
}

func (k *kit) environments() int {
	k.Pool.mu.Lock()
	defer k.Pool.mu.Unlock()
	return len(k.all)
}

func TestWarmReuse(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	first, second := k.count(s, "{}"), k.count(s, "{}")
	if first.process != second.process || second.n != 2 {
		t.Errorf("got %v then %v, want the same process", first, second)
	}
	// Another revision gets another environment, and the old one ends.
	s.RevisionID = "new"
	if third := k.count(s, "{}"); third.process == first.process || third.n != 1 {
		t.Errorf("got %v for the new revision, want another process", third)
	}
	eventually(t, "one environment is left", patience, func() bool { return k.environments() == 1 })
	k.Retire(s.FunctionARN)
	eventually(t, "no environment is left", patience, func() bool { return k.environments() == 0 })
}

// While a new revision starts, what runs finishes in the old code.
func TestRevisionWhileRunning(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	old := make(chan counted)
	go func() { old <- k.count(s, `{"sleep":1}`) }()
	eventually(t, "it runs", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	next := s
	next.RevisionID = "new"
	fresh := k.count(next, "{}")
	if got := <-old; got.process == fresh.process || got.n != 1 {
		t.Errorf("got %v from the old revision and %v from the new", got, fresh)
	}
	eventually(t, "the old environment ends", patience, func() bool { return k.environments() == 1 })
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := k.count(s, `{"sleep":1}`)
			mu.Lock()
			seen[c.process]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(seen) != 4 {
		t.Errorf("got %d environments for 4 invocations at once, want 4", len(seen))
	}
	if len(k.logs) != 4 {
		t.Errorf("got %d log streams, want 4", len(k.logs))
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	other := spec(t, py(counter), func(s *Spec) { s.FunctionARN += "-other" })
	invoke := func(s Spec, l Limit, payload string) error {
		_, err := k.Invoke(t.Context(), s, l, Event{RequestID: uuid.NewString(), Payload: []byte(payload)})
		return err
	}
	check := func(what string, err error, reason string) {
		t.Helper()
		e, ok := errors.AsType[*fault.Error](err)
		switch {
		case reason == "" && err != nil:
			t.Errorf("%s: got %v, want no error", what, err)
		case reason != "" && (!ok || e.Kind != fault.Throttled || e.Message != "Rate Exceeded." || e.Reason != reason):
			t.Errorf("%s: got %v (%+v), want %s", what, err, e, reason)
		}
	}
	check("reserved 0", invoke(s, Limit{0, -1}, "{}"), reservedExceeded)
	check("unreserved 0", invoke(s, Limit{-1, 0}, "{}"), accountExceeded)

	busy := make(chan error)
	go func() { busy <- invoke(s, Limit{1, -1}, `{"sleep":1}`) }()
	eventually(t, "it runs", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	check("second of one reserved", invoke(s, Limit{1, -1}, "{}"), reservedExceeded)
	check("second of two reserved", invoke(s, Limit{2, -1}, "{}"), "")
	check("another function, unreserved", invoke(other, Limit{-1, 1}, "{}"), "")
	check("the first one", <-busy, "")
	check("once it has ended", invoke(s, Limit{1, -1}, "{}"), "")

	go func() { busy <- invoke(s, Limit{-1, 1}, `{"sleep":1}`) }()
	eventually(t, "it runs", patience, func() bool {
		k.Pool.mu.Lock()
		defer k.Pool.mu.Unlock()
		return k.shared[s.scope()] == 1
	})
	check("the account's last place is taken", invoke(other, Limit{-1, 1}, "{}"), accountExceeded)
	check("a reservation is apart", invoke(other, Limit{1, 1}, "{}"), "")
	check("the first one", <-busy, "")
	k.Pool.mu.Lock()
	defer k.Pool.mu.Unlock()
	if len(k.running) != 0 || len(k.shared) != 0 {
		t.Errorf("still counted: %v, %v", k.running, k.shared)
	}
}

func TestMaxEnvironments(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.MaxEnvironments = 1 })
	a := spec(t, py(counter), nil)
	b := spec(t, py(counter), func(s *Spec) { s.FunctionARN += "-b" })
	k.value(a, "{}")
	k.value(b, "{}") // takes the place of the idle one
	done := make(chan struct{})
	go func() { defer close(done); k.value(b, `{"sleep":1}`) }()
	eventually(t, "it runs", patience, func() bool {
		k.Pool.mu.Lock()
		defer k.Pool.mu.Unlock()
		return k.running[b.FunctionARN] == 1
	})
	_, err := k.Invoke(t.Context(), a, free, Event{RequestID: "r"})
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Reason != accountExceeded {
		t.Errorf("got %v, want %s", err, accountExceeded)
	}
	<-done
}

func TestProvisioned(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(`import os
---
return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]`), func(s *Spec) { s.Version = "3" })
	if err := k.SetProvisioned(s, 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are warm", patience, func() bool { return k.Provisioned(s.FunctionARN, "3").Available == 2 })
	r := k.invoke(s, "{}")
	if string(r.Payload) != `"provisioned-concurrency"` || r.Init != 0 || r.ExecutedVersion != "3" {
		t.Errorf("got %s, init %v, version %s", r.Payload, r.Init, r.ExecutedVersion)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { k.invoke(s, "{}") })
	}
	wg.Wait()
	k.Pool.mu.Lock()
	var victim *environment
	for e := range k.all {
		victim = e
	}
	k.Pool.mu.Unlock()
	victim.process.Load().kill()
	eventually(t, "the lost one is replaced", patience, func() bool {
		k.Pool.mu.Lock()
		_, there := k.all[victim]
		k.Pool.mu.Unlock()
		return !there && k.Provisioned(s.FunctionARN, "3").Available == 2
	})
	if err := k.SetProvisioned(s, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "none is left", patience, func() bool { return k.environments() == 0 })
}

func TestProvisionedSpill(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), func(s *Spec) { s.Version = "1" })
	if err := k.SetProvisioned(s, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is warm", patience, func() bool { return k.Provisioned(s.FunctionARN, "1").Available == 1 })
	limit := Limit{Reserved: 1, Unreserved: -1}
	done := make(chan struct{})
	go func() { defer close(done); k.value(s, `{"sleep":1}`) }()
	eventually(t, "it is busy", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	_, err := k.Invoke(t.Context(), s, limit, Event{RequestID: "r"})
	if !fault.Is(err, fault.Throttled) {
		t.Errorf("got %v, want a throttle: the reservation of 1 is provisioned", err)
	}
	if _, err = k.Invoke(t.Context(), s, Limit{Reserved: 2, Unreserved: -1}, Event{RequestID: "r"}); err != nil {
		t.Errorf("got %v, want one on demand beside the provisioned one", err)
	}
	<-done
}

func TestProvisionedFails(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, files{"lambda_function.py": "import nothing_there\n"}, func(s *Spec) { s.Version = "1" })
	if err := k.SetProvisioned(s, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failure is known", patience, func() bool {
		st := k.Provisioned(s.FunctionARN, "1")
		return st.Requested == 1 && st.Available == 0 && st.Err != nil && strings.Contains(st.Err.Error(), "Runtime.ImportModuleError")
	})
	eventually(t, "it is not repeated at once", time.Second, func() bool { return k.environments() == 0 })
}

func TestIdleIsReaped(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
	k.value(spec(t, py(counter), nil), "{}")
	eventually(t, "the idle environment ends", patience, func() bool { return k.environments() == 0 })
	scratch, err := os.ReadDir(k.theHost.Load().scratch)
	if err != nil || len(scratch) != 0 {
		t.Errorf("left behind: %v, %v", scratch, err)
	}
}

func TestExpiringCredentialsAreReplaced(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	expires := time.Now().Add(staleMargin + time.Hour)
	k := newKit(t, func(c *Config) {
		c.Credentials = func(context.Context, Spec) (Credentials, error) {
			mu.Lock()
			defer mu.Unlock()
			return Credentials{AccessKeyID: "A", SecretAccessKey: "S", SessionToken: "T", Expires: expires}, nil
		}
	})
	s := spec(t, py(counter), nil) // its timeout is 20 s
	first := k.count(s, "{}")
	if again := k.count(s, "{}"); again.process != first.process {
		t.Fatalf("replaced too early")
	}
	k.Pool.mu.Lock()
	for _, l := range k.all {
		l.expires = time.Now().Add(staleMargin + 19*time.Second)
	}
	k.Pool.mu.Unlock()
	if again := k.count(s, "{}"); again.process == first.process {
		t.Error("the environment was used although its credentials end within an invocation")
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	result := make(chan error)
	go func() {
		r, err := k.Invoke(t.Context(), s, free, Event{RequestID: "r", Payload: []byte(`{"sleep":1}`)})
		if err == nil && r.FunctionError != "" {
			err = errors.New(string(r.Payload))
		}
		result <- err
	}()
	eventually(t, "it runs", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	k.stop()
	if err := <-result; err != nil {
		t.Errorf("the running invocation: %v", err)
	}
	if _, err := k.Invoke(t.Context(), s, free, Event{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after the stop: got %v, want unavailable", err)
	}
	if n := k.environments(); n != 0 {
		t.Errorf("%d environments outlive the pool", n)
	}
}

func TestDrainKillsAfterGrace(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.Grace = 300 * time.Millisecond })
	marker := uuid.NewString()
	s := spec(t, py(counter), func(s *Spec) { s.Env = map[string]string{"MARK": marker} })
	result := make(chan error)
	go func() {
		_, err := k.Invoke(t.Context(), s, free, Event{RequestID: "r", Payload: []byte(`{"sleep":19}`)})
		result <- err
	}()
	eventually(t, "it runs", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	began := time.Now()
	k.stop()
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if err := <-result; !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want unavailable: it is not the function's fault", err)
	}
	if left := processesWith(t, marker); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestInvokeLeavesWithItsContext(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	s := spec(t, py(counter), nil)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := k.Invoke(ctx, s, free, Event{RequestID: "r", Payload: []byte(`{"sleep":1}`)})
		result <- err
	}()
	eventually(t, "it runs", patience, func() bool { return strings.Contains(k.text(), "START RequestId") })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	eventually(t, "the function runs to its end", patience, func() bool { return strings.Contains(k.text(), "REPORT") })
	if c := k.count(s, "{}"); c.n != 2 {
		t.Errorf("got %v, want the second invocation of the same process", c)
	}
}

// A server that is killed leaves no process of its functions behind.
func TestKilledServerLeavesNothing(t *testing.T) {
	if dir := os.Getenv("KEYTURN_TEST_SERVE"); dir != "" {
		serveUntilKilled(t, dir)
		return
	}
	for _, way := range []confinement{rootNamespaces, separateUser} {
		t.Run(way.String(), func(t *testing.T) {
			marker := uuid.NewString()
			// What the killed server leaves behind must be seen by its
			// functions' users, and go with this test.
			dir, err := os.MkdirTemp("", "keyturn-killed-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeTree(dir) })
			if err := os.Chmod(dir, 0o711); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestKilledServerLeavesNothing$")
			cmd.Env = append(os.Environ(), "KEYTURN_TEST_SERVE="+marker, "KEYTURN_TEST_WAY="+way.String(), "TMPDIR="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			// The function itself, and a grandchild in a session of its own.
			eventually(t, "the function and its child run", patience, func() bool {
				all := strings.Join(processesWith(t, marker), "\n")
				return strings.Contains(all, "bootstrap.py\x00|") && strings.Contains(all, "sleep\x00300\x00|")
			})
			cmd.Process.Signal(syscall.SIGKILL)
			cmd.Wait()
			eventually(t, "all processes are gone", patience, func() bool { return len(processesWith(t, marker)) == 0 })
		})
	}
}

func serveUntilKilled(t *testing.T, marker string) {
	k := newKit(t, func(c *Config) {
		for _, way := range []confinement{rootNamespaces, separateUser} {
			if way.String() == os.Getenv("KEYTURN_TEST_WAY") {
				c.confinement = way
			}
		}
		c.Egress = newRules().egress()
	})
	// It hangs in a connection that its VPC drops.
	k.invoke(spec(t, py(`import socket, subprocess
---
subprocess.Popen(["sleep", "300"], start_new_session=True)
socket.socket().connect(("192.0.2.1", 5432))`), func(s *Spec) {
		inVPC(s)
		s.Env = map[string]string{"MARK": marker}
		s.Timeout = 5 * time.Minute
	}), "{}")
}
