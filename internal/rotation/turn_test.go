package rotation

import (
	"testing"

	"github.com/keyturn/keyturn/internal/secret"
)

// Who waits longest goes first among equals, and a rotation that is further
// on before others; what ends calls one of those that wait.
func TestTurns(t *testing.T) {
	all := turns{queues: map[string]*queue{}}
	const function = "f"
	running, try := all.enter(function, secret.CreateSecret)
	if !try {
		t.Fatal("the first must not try")
	}
	waiting := map[string]*turn{}
	refuse := func(name string, step secret.Step) {
		m, try := all.enter(function, step)
		if try && m.refused() {
			t.Fatalf("%s tries again though nothing has ended", name)
		}
		waiting[name] = m
	}
	refuse("create", secret.CreateSecret)
	refuse("create later", secret.CreateSecret)
	refuse("finish", secret.FinishSecret)
	refuse("set", secret.SetSecret)
	if !waiting["finish"].take(false) || waiting["create"].take(false) || !waiting["create later"].take(true) {
		t.Error("a step tries by itself out of turn, or not at all")
	}
	for _, name := range []string{"finish", "create later"} {
		if waiting[name].refused() {
			t.Errorf("%s tries again though nothing has ended", name)
		}
	}
	for _, want := range []string{"finish", "set", "create", "create later"} {
		running.ended()
		for name, m := range waiting {
			if called := len(m.called) > 0; called != (name == want) {
				t.Errorf("called %s: %t, when it is the turn of %s", name, called, want)
			}
		}
		<-waiting[want].called
	}
	for _, m := range waiting {
		m.leave()
	}
	running.leave()
	if len(all.queues) != 0 {
		t.Error("a queue is left that nobody uses")
	}
}

// A call is not lost with the step that got it, nor an end that came while a
// step tried.
func TestTurnsLoseNoCall(t *testing.T) {
	all := turns{queues: map[string]*queue{}}
	running, _ := all.enter("f", secret.CreateSecret)
	first, _ := all.enter("f", secret.CreateSecret)
	running.ended()
	if !first.refused() {
		t.Error("a step waits though an invocation has ended while it tried")
	}
	if first.refused() {
		t.Error("a step tries again and again")
	}
	second, try := all.enter("f", secret.CreateSecret)
	if try {
		t.Error("a step goes before one that waits")
	}
	running.ended()
	first.leave() // it was called, and is stopped instead
	if len(second.called) != 1 {
		t.Error("the call is lost")
	}
}
