package lambda_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/store"
)

// send invokes a function asynchronously and returns the request ID.
func (k *kit) send(name, payload string) string {
	k.t.Helper()
	out, err := k.Client.Invoke(k.t.Context(), &sdk.InvokeInput{FunctionName: &name, InvocationType: types.InvocationTypeEvent, Payload: []byte(payload)})
	check(k.t, err)
	if out.StatusCode != 202 || len(out.Payload) != 0 || out.ExecutedVersion != nil {
		k.t.Errorf("got %d, %q, version %v", out.StatusCode, out.Payload, aws.ToString(out.ExecutedVersion))
	}
	return requestID(out.ResultMetadata)
}

// waiting returns when the next event is due, or a claim ends; ok is false
// when there is none.
func (k *kit) waiting() (due time.Time, ok bool) {
	k.t.Helper()
	check(k.t, k.store.View(k.t.Context(), func(tx *store.Tx) (err error) {
		due, err = tx.NextFunctionEvent()
		return err
	}))
	return due, !due.IsZero()
}

// until waits for something that the server does by itself.
func (k *kit) until(what string, done func() bool) {
	k.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			k.t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(pause)
	}
}

// hasten makes the event that waits due now.
func (k *kit) hasten() {
	k.t.Helper()
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error {
		now := time.Now()
		events, err := tx.ClaimFunctionEvents("hasten", now.Add(24*time.Hour), now, 10)
		for _, e := range events {
			e.Owner, e.DueAt = "", now
			if err == nil {
				err = tx.SaveFunctionEvent(e)
			}
		}
		return err
	}))
}

func (k *kit) logged(text string) int {
	if !k.hasGroup("/aws/lambda/f") {
		return 0
	}
	return strings.Count(k.log("/aws/lambda/f"), text)
}

func (k *kit) hasGroup(name string) bool {
	return k.store.View(k.t.Context(), func(tx *store.Tx) error { _, err := tx.LogGroup(account, region, name); return err }) == nil
}

func TestEvent(t *testing.T) {
	k := newKit(t)
	stop := k.goRun(k.invoker.Run)
	k.create(k.input("f", echo))
	stop()
	// Nothing runs: the event waits, sealed.
	const canary = "canary-event-payload"
	id := k.send("f", `"`+canary+`"`)
	if _, ok := k.waiting(); !ok {
		t.Fatal("the event is not stored")
	}
	if k.hasGroup("/aws/lambda/f") {
		t.Error("the function ran before the queue did")
	}
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error {
		events, err := tx.ClaimFunctionEvents("look", time.Now(), time.Now(), 10)
		for _, e := range events {
			if strings.Contains(string(e.Payload), canary) {
				t.Error("the event is stored in the clear")
			}
		}
		return err
	}))
	k.run()
	k.until("the event to be done", func() bool { _, ok := k.waiting(); return !ok })
	if k.logged("START RequestId: "+id) != 1 || k.logged("got "+canary) != 1 {
		t.Errorf("got log %q for request %s", k.log("/aws/lambda/f"), id)
	}
}

// TestEventRetries lets a function fail: it is tried again after one minute
// and after two, under the same request ID, and then given up.
func TestEventRetries(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", "def lambda_handler(event, context):\n    raise ValueError('boom')\n"))
	id := k.send("f", "{}")
	for attempt, wait := range []time.Duration{time.Minute, 2 * time.Minute} {
		k.until("an attempt", func() bool { return k.logged("END RequestId: "+id) == attempt+1 })
		var due time.Time
		k.until("its outcome", func() bool {
			due, _ = k.waiting()
			return time.Until(due) > 50*time.Second
		})
		if left := time.Until(due); left > wait || left < wait-10*time.Second {
			t.Errorf("attempt %d: tried again in %v, want %v", attempt+1, left, wait)
		}
		k.hasten()
	}
	k.until("the last attempt", func() bool { return k.logged("END RequestId: "+id) == 3 })
	k.until("the event to be given up", func() bool { _, ok := k.waiting(); return !ok })
	if k.logged("START RequestId: "+id) != 3 {
		t.Errorf("got %d attempts, want 3", k.logged("START RequestId: "+id))
	}
}

func TestEventRetriesConfigured(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", "def lambda_handler(event, context):\n    raise ValueError('boom')\n"))
	_, err := k.PutFunctionEventInvokeConfig(t.Context(), &sdk.PutFunctionEventInvokeConfigInput{FunctionName: aws.String("f"), MaximumRetryAttempts: aws.Int32(0)})
	check(t, err)
	id := k.send("f", "{}")
	k.until("the event to be given up", func() bool { _, ok := k.waiting(); return !ok })
	if k.logged("START RequestId: "+id) != 1 {
		t.Errorf("got %d attempts, want 1", k.logged("START RequestId: "+id))
	}
}

// TestEventThrottled holds an event back until its function may run.
func TestEventThrottled(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	_, err := k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(0)})
	check(t, err)
	id := k.send("f", "{}")
	time.Sleep(1500 * time.Millisecond)
	if _, ok := k.waiting(); !ok || k.hasGroup("/aws/lambda/f") {
		t.Error("the throttled event is gone, or ran")
	}
	_, err = k.DeleteFunctionConcurrency(ctx, &sdk.DeleteFunctionConcurrencyInput{FunctionName: aws.String("f")})
	check(t, err)
	k.until("the event to run", func() bool { return k.logged("START RequestId: "+id) == 1 })
	k.until("the event to be done", func() bool { _, ok := k.waiting(); return !ok })
}

// TestEventFunctionDeleted sees a waiting event go with its function.
func TestEventFunctionDeleted(t *testing.T) {
	k := newKit(t)
	stop := k.goRun(k.invoker.Run)
	k.create(k.input("f", echo))
	stop()
	k.send("f", "{}")
	_, err := k.DeleteFunction(t.Context(), &sdk.DeleteFunctionInput{FunctionName: aws.String("f")})
	check(t, err)
	if _, ok := k.waiting(); ok {
		t.Error("the event is still there")
	}
}
