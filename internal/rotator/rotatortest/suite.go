// Package rotatortest is the one contract suite of the built-in rotators. It
// rotates secrets of real servers through a whole Keyturn, whose execution
// environments run the test's own binary as the function.
package rotatortest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/cli"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

// asProgram is the variable with which a tests' binary is the keyturn program,
// so that servers to kill need not be built.
const asProgram = "KEYTURN_TEST_PROGRAM"

// Main runs a binary's tests, and the rotators as functions. Call it from
// TestMain.
func Main(m *testing.M) {
	environment.LaunchIfAsked()
	builtin.RunIfAsked()
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	apitest.Main(m)
}

// StartProcess runs a server as a process of this binary until the test ends.
func StartProcess(t testing.TB) *apitest.Process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return apitest.StartProcess(t, apitest.Options{Program: program, Environment: []string{asProgram + "=yes"}})
}

// Target is one fresh user of a server.
type Target struct {
	// Secret is the value of the user's secret.
	Secret map[string]any
	// Superuser is the value of the superuser's secret; the suite stores it
	// and names it in masterarn. Nil for none.
	Superuser map[string]any
	// Login logs in with a secret's value, without the code under test.
	Login func(ctx context.Context, secret map[string]any) error
	// Sensitive are the members of the value that must not be shown, and that
	// rotations change; nil for password. Changes are further members that
	// rotations change; nil for username.
	Sensitive, Changes []string
	// Others stores further secrets, by create, and names their ARNs in the
	// value before that is stored. Nil for none.
	Others func(value map[string]any, create func(name string, value map[string]any) (arn string))
	// Check demands more of a world in which a rotation has just succeeded.
	// Nil for nothing.
	Check func(t testing.TB, w *World)
	// Prepare is called once the secret is stored and before its rotation is
	// turned on, for functions whose variables name the secret. May be nil.
	Prepare func(t testing.TB, server *apitest.Server, function, arn string)
	// Grants lists what a user may do so that two users can be compared. Nil
	// where there is nothing to compare.
	Grants func(ctx context.Context, username string) (string, error)
}

// Suite is what the tests need to know of one rotator.
type Suite struct {
	// Rotator is its name, such as "postgres.single".
	Rotator string
	// New makes a fresh user on the server.
	New func(t testing.TB) *Target
	// Code is the function's package; nil for an empty one.
	Code []byte
	// Environment are further variables of the function.
	Environment map[string]string
	// Overlaps says that an old version logs in until the next rotation.
	Overlaps bool
	// Faults are ways in which a rotation fails.
	Faults []Fault
	// NoKills leaves the kills out, for further strategies of an engine to
	// which they would add nothing.
	NoKills bool
	// EveryStep kills in all four steps, in place of setSecret and testSecret.
	EveryStep bool
	// Kill ends the server with SIGKILL, and Revive starts it again on the
	// same data and address. Nil where there is no server to kill.
	Kill, Revive func(t testing.TB)
}

var names atomic.Int64

// Unique returns a name that no other test of the binary uses.
func Unique(prefix string) string { return fmt.Sprintf("%s_%d", prefix, names.Add(1)) }

// PEM returns an authority's certificate, for KEYTURN_CA_BUNDLE.
func PEM(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Run runs the whole suite.
func (s Suite) Run(t *testing.T) {
	t.Run(s.Rotator, func(t *testing.T) {
		t.Run("three rotations", s.threeRotations)
		for _, f := range s.Faults {
			if !f.Alone {
				t.Run(f.Name, func(t *testing.T) { s.fails(t, f) })
			}
		}
		t.Run("faults", s.faultsAlone)
		if s.NoKills {
			return
		}
		t.Run("killed function", s.killedFunction)
		t.Run("killed server", s.killedServer)
		if s.Kill != nil {
			t.Run("killed target", s.killedTarget)
		}
	})
}

// Function is the rotator as a function to create.
func (s Suite) Function(name string) apitest.Function {
	f := apitest.Function{
		Name: name, Runtime: "provided.al2023", Handler: builtin.Handler(s.Rotator), Environment: s.Environment,
		Code: s.Code,
	}
	if f.Code == nil {
		f.Code = emptyPackage
	}
	return f
}

// emptyPackage is a zip without entries: its end record alone.
var emptyPackage = append([]byte("PK\x05\x06"), make([]byte, 18)...)

// World is a secret of a target on a server, with rotation turned on.
type World struct {
	*apitest.Server
	*Target
	ARN string
	t   testing.TB
}

// NewWorld stores the target's secrets and turns rotation on by the function.
func NewWorld(t testing.TB, server *apitest.Server, target *Target, function string) *World {
	t.Helper()
	w := &World{Server: server, Target: target, t: t}
	value := maps.Clone(target.Secret)
	if target.Superuser != nil {
		value["masterarn"] = w.create(Unique("superuser"), target.Superuser)
	}
	if target.Others != nil {
		target.Others(value, w.create)
	}
	w.ARN = w.create(Unique("app/user"), value)
	if target.Prepare != nil {
		target.Prepare(t, server, function, w.ARN)
	}
	_, err := w.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &w.ARN, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		t.Fatalf("configuring rotation: %v", err)
	}
	w.Eventually("the configuration test ends", func() bool { return w.version("AWSPENDING") == "" })
	return w
}

func (w *World) create(name string, value map[string]any) string {
	w.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.Secrets.CreateSecret(w.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(string(text))})
	if err != nil {
		w.t.Fatalf("creating the secret %s: %v", name, err)
	}
	return *out.ARN
}

// Value returns the version with the label; nil if there is none.
func (w *World) Value(label string) map[string]any {
	w.t.Helper()
	out, err := w.Secrets.GetSecretValue(w.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.ARN, VersionStage: &label})
	if err != nil {
		return nil
	}
	value := map[string]any{}
	if err := json.Unmarshal([]byte(*out.SecretString), &value); err != nil {
		w.t.Fatalf("the value of %s is not a JSON object", label)
	}
	return value
}

// version returns the id of the version with the label, or "".
func (w *World) version(label string) string {
	w.t.Helper()
	out, err := w.Secrets.DescribeSecret(w.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &w.ARN})
	if err != nil {
		w.t.Fatal(err)
	}
	for id, labels := range out.VersionIdsToStages {
		for _, l := range labels {
			if l == label {
				return id
			}
		}
	}
	return ""
}

// Rotate rotates once and waits for the end, or for the first attempt that
// failed. The lines are all that the engine and the function said.
func (w *World) Rotate() (lines []string, err error) {
	w.t.Helper()
	r, err := rotate.Start(w.t.Context(), rotate.NewClients(w.Config), w.ARN)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	err = r.Watch(ctx, func(l rotate.Line) {
		lines = append(lines, l.Text())
		if l.Report != nil && l.Report.Status == rotate.Retrying {
			cancel()
		}
	})
	w.noSecretIn(lines)
	return lines, err
}

// noSecretIn demands that no line holds a password of the secret, nor a line
// of one.
func (w *World) noSecretIn(lines []string) {
	w.t.Helper()
	log := strings.Join(lines, "\n")
	for _, label := range []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} {
		value := w.Value(label)
		for _, member := range w.sensitive() {
			text, _ := value[member].(string)
			for part := range strings.Lines(text) {
				if part = strings.TrimSpace(part); part != "" && strings.Contains(log, part) {
					w.t.Errorf("the log holds the %s of %s", member, label)
				}
			}
		}
	}
}

func (t *Target) sensitive() []string {
	if t.Sensitive == nil {
		return []string{"password"}
	}
	return t.Sensitive
}

// kept are the members that a rotation does not change.
func (t *Target) kept(value map[string]any) map[string]any {
	changes := t.Changes
	if changes == nil {
		changes = []string{"username"}
	}
	rest := maps.Clone(value)
	for _, member := range slices.Concat(t.sensitive(), changes) {
		delete(rest, member)
	}
	return rest
}

// Eventually waits until something holds, for two minutes at most.
func (w *World) Eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("still waiting: %s", what)
		}
	}
}

// LogsIn demands that a version's value logs in.
func (w *World) LogsIn(what string, value map[string]any) {
	w.t.Helper()
	if err := w.Login(w.t.Context(), value); err != nil {
		w.t.Errorf("%s does not log in: %v", what, err)
	}
}

// refused demands that a version's value does not log in.
func (w *World) refused(what string, value map[string]any) {
	w.t.Helper()
	if w.Login(w.t.Context(), value) == nil {
		w.t.Errorf("%s still logs in", what)
	}
}

func (s Suite) threeRotations(t *testing.T) {
	server := apitest.Start(t, apitest.Options{})
	target := s.New(t)
	w := NewWorld(t, server, target, server.NewFunction(t, s.Function("rotate")))
	first := w.Value("AWSCURRENT")
	granted := s.grants(t, w, first)
	for n := range 3 {
		old, older := w.Value("AWSCURRENT"), w.Value("AWSPREVIOUS")
		lines, err := w.Rotate()
		if err != nil {
			t.Fatalf("rotation %d: %v\n%s", n+1, err, strings.Join(lines, "\n"))
		}
		fresh := w.Value("AWSCURRENT")
		w.LogsIn("the new version", fresh)
		if s.Overlaps {
			w.LogsIn("the version before", old)
		} else {
			w.refused("the version before", old)
		}
		if older != nil {
			w.refused("the version before that", older)
		}
		if diff := cmp.Diff(granted, s.grants(t, w, fresh)); diff != "" {
			t.Errorf("privileges after rotation %d (-want +got):\n%s", n+1, diff)
		}
		w.check()
		if diff := cmp.Diff(w.kept(first), w.kept(fresh)); diff != "" {
			t.Errorf("other members after rotation %d (-want +got):\n%s", n+1, diff)
		}
	}
}

func (s Suite) grants(t testing.TB, w *World, value map[string]any) string {
	t.Helper()
	if w.Grants == nil {
		return ""
	}
	user, _ := value["username"].(string)
	g, err := w.Grants(t.Context(), user)
	if err != nil {
		t.Fatalf("listing what %s may do: %v", user, err)
	}
	return g
}

// Converge waits until the rotation that is under way ends well, hurrying its
// retries, and starts one if there is none.
func (w *World) Converge() {
	w.t.Helper()
	token := w.version("AWSPENDING")
	if token == "" {
		out, err := w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.ARN})
		if err != nil {
			w.t.Fatal(err)
		}
		token = *out.VersionId
	}
	hurry := time.Now().Add(300 * time.Millisecond)
	w.Eventually("the rotation ends", func() bool {
		if w.version("AWSCURRENT") != token && time.Now().After(hurry) {
			hurry = time.Now().Add(2 * time.Second)
			// It answers that the rotation will be reattempted, and does so.
			_, _ = w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.ARN})
		}
		return w.version("AWSPENDING") == ""
	})
	if w.Value("AWSPREVIOUS") == nil {
		w.t.Error("the rotation ended without a new version")
	}
	w.LogsIn("AWSCURRENT in the end", w.Value("AWSCURRENT"))
	w.check()
}

func (w *World) check() {
	w.t.Helper()
	if w.Check != nil {
		w.Check(w.t, w)
	}
}
