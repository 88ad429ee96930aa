package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// lease is the engine's default.
const lease = 30 * time.Second

// storedRun reads the secret and its run.
func (b *bubble) storedRun() (s *secret.Secret, run *secret.RotationRun) {
	b.t.Helper()
	err := b.Store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		s, run, err = b.load(tx)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return s, run
}

// takeOver claims the run for another node, as if the lease had run out.
func (b *bubble) takeOver() {
	b.t.Helper()
	b.update(func(tx *store.Tx) error {
		later := time.Now().Add(lease + time.Second)
		_, err := tx.ClaimRuns("other", later, later, later.Add(lease), 1)
		return err
	})
}

// A node that lost its claim during a step stores neither the step's success
// nor its failure, whichever step it is.
func TestLostClaimStoresNothing(t *testing.T) {
	for _, step := range secret.Steps {
		for _, failed := range []bool{false, true} {
			name := string(step) + map[bool]string{false: " done", true: " failed"}[failed]
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(b *bubble) {
					b.stepTime = 5 * time.Second
					b.fails = func(e event) bool { return failed && e.Step == step }
					b.start()
					b.rotate(days(30), true)
					for b.lastStep() != step {
						time.Sleep(time.Second)
					}
					time.Sleep(time.Second)
					b.takeOver()
					_, before := b.storedRun()
					time.Sleep(b.stepTime)
					s, after := b.storedRun()
					if after.Owner != "other" || after.Fence != before.Fence || after.Step != step || after.Attempt != 1 || after.State != secret.Running {
						t.Errorf("got %+v, want the run as the other node claimed it", after)
					}
					if !s.Rotation.LastRotatedAt.IsZero() || b.count("RotationFailed", "")+b.count("RotationSucceeded", "") != 0 {
						t.Error("the node that lost its claim ended the rotation")
					}
					if n := len(b.invocations()); b.lastStep() != step || n != slices.Index(secret.Steps[:], step)+1 {
						t.Errorf("the node that lost its claim went on: %d invocations", n)
					}
				})
			})
		}
	}
}

// lastStep is the step of the last invocation.
func (b *bubble) lastStep() secret.Step {
	if list := b.invocations(); len(list) > 0 {
		return list[len(list)-1].Step
	}
	return ""
}

// A node notices at its next renewal that it lost its claim, and stops
// waiting for the step.
func TestLostClaimEndsTheStep(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.stepTime = time.Hour
		b.start()
		b.rotate(days(30), true)
		time.Sleep(time.Minute)
		b.takeOver()
		lost := time.Now()
		time.Sleep(lease/3 + time.Second)
		if e := b.invocations()[0]; !e.cut || e.ended.Sub(lost) > lease/3 {
			t.Errorf("the step ended %v after the claim was lost (cut off: %v)", e.ended.Sub(lost), e.cut)
		}
	})
}

// A node that cannot reach the store gives its step up before its lease ends,
// when others may begin it.
func TestUnreachableStoreEndsTheStep(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.quiet, b.stepTime = true, time.Hour
		b.start()
		b.rotate(days(30), true)
		time.Sleep(time.Minute + time.Second) // between two renewals
		_, run := b.storedRun()
		if err := b.Store.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lease + time.Second)
		if e := b.invocations()[0]; !e.cut || e.ended.After(run.LeaseUntil) {
			t.Errorf("the step ended at %s, its lease at %s (cut off: %v)", stamp(e.ended), stamp(run.LeaseUntil), e.cut)
		}
		if b.logged.Load() > 60 {
			t.Errorf("%d errors logged in half a minute", b.logged.Load())
		}
	})
}

// A node that stops finishes its step, stores it, and hands the rotation
// over: another goes on at once, with the next step.
func TestStopFinishesTheStep(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.stepTime = 10 * time.Second
		b.start()
		token := b.rotate(days(30), true)
		time.Sleep(15 * time.Second) // in setSecret
		stopped := time.Now()
		b.stop()
		if took := time.Since(stopped); took > b.stepTime {
			t.Errorf("stopping took %v, longer than the step", took)
		}
		stop := b.run("other")
		time.Sleep(time.Minute)
		stop()
		var steps []string
		for _, e := range b.invocations() {
			steps = append(steps, string(e.Step)+" "+e.node)
		}
		if got, want := strings.Join(steps, ", "), "createSecret node, setSecret node, testSecret other, finishSecret other"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if e := b.invocations()[2]; e.ClientRequestToken != token || e.at.Sub(stopped) > b.stepTime {
			t.Errorf("the other node began %v after the stop, with token %s", e.at.Sub(stopped), e.ClientRequestToken)
		}
	})
}

// A step that is still at work when the grace ends stays claimed: another
// node waits for the end of the lease, the same one does not after a restart.
func TestCutOffStepStaysClaimed(t *testing.T) {
	for _, node := range []string{"other", "node"} {
		t.Run(node, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.stepTime, b.grace = time.Hour, 5*time.Second
				b.start()
				b.rotate(days(30), true)
				time.Sleep(time.Minute + time.Second)
				b.stop()
				_, run := b.storedRun()
				b.stepTime = time.Second
				began := time.Now()
				stop := b.run(node)
				time.Sleep(time.Minute)
				stop()
				second := b.invocations()[1]
				if second.Step != secret.CreateSecret {
					t.Errorf("went on with %s, want the step that was cut off", second.Step)
				}
				if early := second.at.Before(run.LeaseUntil); early != (node == "node") {
					t.Errorf("%s began the step %v after its start; the lease ended %v after it", node, second.at.Sub(began), run.LeaseUntil.Sub(began))
				}
				if got := b.count("RotationFailed", ""); got != 0 {
					t.Errorf("%d failures are recorded, want none", got)
				}
			})
		})
	}
}

// Two nodes share many rotations: each step of each runs once, on one node.
func TestTwoEnginesShareOneStore(t *testing.T) {
	inBubble(t, func(b *bubble) {
		const secrets = 30
		b.parallel = 4
		for range secrets {
			b.arn = b.create("many/" + uuid.NewString())
			b.rotate(days(30), true)
		}
		first, second := b.run("first"), b.run("second")
		time.Sleep(time.Hour)
		first()
		second()
		times, nodes := map[string]int{}, map[string]int{}
		for _, e := range b.invocations() {
			times[e.SecretId+" "+string(e.Step)]++
			nodes[e.node]++
		}
		if len(times) != secrets*len(secret.Steps) {
			t.Errorf("%d steps ran, want %d", len(times), secrets*len(secret.Steps))
		}
		for step, n := range times {
			if n != 1 {
				t.Errorf("%s ran %d times", step, n)
			}
		}
		if nodes["first"] == 0 || nodes["second"] == 0 {
			t.Errorf("the work was not shared: %v", nodes)
		}
		if got := b.count("RotationSucceeded", ""); got != secrets {
			t.Errorf("%d rotations succeeded, want %d", got, secrets)
		}
	})
}
