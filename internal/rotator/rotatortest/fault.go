package rotatortest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Fault is a way in which a rotation fails.
type Fault struct {
	Name string
	// Break makes rotations of the target fail and returns how to mend it.
	Break func(t testing.TB, target *Target) (mend func())
	// Change makes another secret of the target's, in place of Break; what
	// mends it is the target's own secret.
	Change func(secret map[string]any)
	// Environment are further variables of the function.
	Environment map[string]string
	// Timeout is the function's, in seconds; 0 for the suite's.
	Timeout int32
	// Step is the step that fails, Cause what its error must say.
	Step  string
	Cause rotator.Cause
	// Text is what the log must hold, beside the cause.
	Text string
	// Alone says that the fault is of the target alone, so that faults of
	// other targets can be tested at the same time.
	Alone bool
	// Lockout says that AWSCURRENT does not log in while it is broken, which
	// is then the fault itself.
	Lockout bool
}

// faultsAlone tests the faults that do not touch each other, side by side.
func (s Suite) faultsAlone(t *testing.T) {
	for _, f := range s.Faults {
		if f.Alone {
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				s.fails(t, f)
			})
		}
	}
}

// fails demands that a rotation fails as the fault says, leaves AWSCURRENT as
// it was, and succeeds once the fault is mended.
func (s Suite) fails(t *testing.T, f Fault) {
	server := apitest.Start(t, apitest.Options{})
	target := s.New(t)
	good := target.Secret
	if f.Change != nil {
		target.Secret = maps.Clone(good)
		f.Change(target.Secret)
	}
	w := NewWorld(t, server, target, server.NewFunction(t, s.faulty(f)))
	before := w.Value("AWSCURRENT")
	mend := func() { before = w.replace(good) }
	if f.Break != nil {
		mend = sync.OnceFunc(f.Break(t, target))
		defer mend() // other tests share the server
	}
	w.failsAs(f)
	if diff := cmp.Diff(before, w.Value("AWSCURRENT")); diff != "" {
		t.Error("AWSCURRENT changed")
	}
	if !f.Lockout {
		w.LogsIn("AWSCURRENT", before)
	}
	mend()
	w.LogsIn("AWSCURRENT after mending", before)
	w.Converge()
}

// faulty is the function under the fault.
func (s Suite) faulty(f Fault) apitest.Function {
	function := s.Function("rotate")
	function.Environment = maps.Clone(function.Environment)
	if function.Environment == nil {
		function.Environment = map[string]string{}
	}
	maps.Copy(function.Environment, f.Environment)
	if f.Timeout != 0 {
		function.Timeout = f.Timeout
	}
	return function
}

// failsAs rotates, and demands that it fails as the fault says.
func (w *World) failsAs(f Fault) {
	w.t.Helper()
	lines, err := w.Rotate()
	text := strings.Join(lines, "\n")
	if err == nil {
		w.t.Fatalf("the rotation succeeded\n%s", text)
	}
	if !slices.ContainsFunc(lines, f.isError) {
		w.t.Errorf("got %v\n%s\nwant an error of %s for the cause %q", err, text, f.Step, f.Cause)
	}
	if !strings.Contains(text, f.Text) {
		w.t.Errorf("got\n%s\nwant a line that holds %q", text, f.Text)
	}
}

// isError tells whether a line is the function's last word on the fault.
func (f *Fault) isError(line string) bool {
	return strings.Contains(line, "[ERROR]") && strings.Contains(line, "\t"+f.Step+": ") && strings.Contains(line, string(f.Cause)+": ")
}

// replace stores a value as an operator does who has found it wrong: the
// pending version, made from the wrong one, goes too. It returns the value
// with its masterarn.
func (w *World) replace(value map[string]any) map[string]any {
	w.t.Helper()
	value = maps.Clone(value)
	if arn, ok := w.Value("AWSCURRENT")["masterarn"]; ok {
		value["masterarn"] = arn
	}
	if id := w.version("AWSPENDING"); id != "" {
		_, err := w.Secrets.UpdateSecretVersionStage(w.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: &w.ARN, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &id,
		})
		if err != nil {
			w.t.Fatalf("removing AWSPENDING: %v", err)
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Secrets.PutSecretValue(w.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &w.ARN, SecretString: aws.String(string(text))}); err != nil {
		w.t.Fatalf("putting the value right: %v", err)
	}
	return w.Value("AWSCURRENT")
}
