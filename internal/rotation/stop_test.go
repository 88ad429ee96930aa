package rotation_test

import (
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

var allSteps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

// A server that gets SIGTERM in the middle of a step lets the step finish,
// stores that, and ends well; started again it goes on with the next step.
func TestTerminatedDuringStep(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"createSecret", "setSecret", "finishSecret"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRecorder(t)
			p := apitest.StartProcess(t, options(t))
			function := p.NewFunction(t, r.function("rotate", map[string]string{"SLOW_STEP": step, "SLOW_SECONDS": "2"}))
			w := plain(t, p.Server, "app")
			token := w.begin(function)
			w.eventually("the step runs", func() bool { return slices.Contains(r.steps(token), step+" (cut off)") })
			p.Stop()
			if want := allSteps[:slices.Index(allSteps, step)+1]; !slices.Equal(r.steps(token), want) {
				t.Errorf("when the server had ended: steps %v, want %v", r.steps(token), want)
			}
			p.Restart()
			w.eventually("the rotation completes", func() bool { return w.rotatedTo(token) })
			if got := r.steps(token); !slices.Equal(got, allSteps) {
				t.Errorf("got steps %v, want each once", got)
			}
			w.wantEvents("RotateSecret", "RotationStarted", "RotationSucceeded")
		})
	}
}
