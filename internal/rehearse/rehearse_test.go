package rehearse_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rehearse"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// options are those of every rehearsal here: the test's own binary is the
// private server.
func options(t *testing.T, f rehearse.Function) rehearse.Options {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return rehearse.Options{
		Program: program, Environment: []string{"KEYTURN_TEST_PROGRAM=yes"}, Function: f, Engine: "postgres",
		Interpreters: apitest.Interpreters(t), Parallel: 2, Progress: func(line string) { t.Log(line) },
	}
}

// run rehearses and demands that reports can be written.
func run(t *testing.T, o rehearse.Options) *rehearse.Report {
	t.Helper()
	report, err := rehearse.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if t.Failed() || !report.Passed {
		var text strings.Builder
		report.WriteText(&text, false)
		t.Log(text.String())
	}
	return report
}

// passes demands that nothing is found, and that every fault found an
// occasion.
func passes(t *testing.T, report *rehearse.Report) {
	t.Helper()
	if !report.Passed {
		t.Errorf("got the findings %v, want none", report.Codes())
	}
	for _, r := range report.Results {
		if r.Outcome != rehearse.Passed {
			t.Errorf("%s: got %s (%s), want passed\n%s", r.Fault, r.Outcome, r.Note, strings.Join(r.Course, "\n"))
		}
	}
}

func TestBuiltInRotators(t *testing.T) {
	for _, c := range []struct {
		rotator, engine, strategy string
		only                      []string
	}{
		{"postgres.single", "postgres", "single", nil},
		{"postgres.alternating", "postgres", "alternating", []string{"repeat-setSecret", "kill-*", "database-drop-set", "wrong-*", "foreign-*", "punct*"}},
		{"mariadb.single", "mariadb", "single", []string{"kill-*", "database-drop-set", "wrong-*", "punct*"}},
		{"redis.single", "redis", "single", []string{"kill-*", "foreign-put-*", "punct*"}},
	} {
		t.Run(c.rotator, func(t *testing.T) {
			t.Parallel()
			o := options(t, rehearse.BuiltIn(c.rotator))
			o.Engine, o.Strategy, o.Only = c.engine, c.strategy, c.only
			passes(t, run(t, o))
		})
	}
}

func TestExamples(t *testing.T) {
	python := apitest.PythonRotation(t, "python")
	node := apitest.NodeRotation(t, "node")
	for _, c := range []struct {
		function apitest.Function
		only     []string
	}{
		{python, []string{"repeat-*", "kill-*", "throttle-*", "fail-after-*", "database-d*", "wrong-*", "foreign-*", "punct*"}}, // the rest mostly waits
		{node, []string{"repeat-*", "kill-after-*", "database-drop-set", "foreign-put-*", "punct*"}},
	} {
		t.Run(c.function.Name, func(t *testing.T) {
			t.Parallel()
			o := options(t, rehearse.Function{Name: c.function.Name, Runtime: c.function.Runtime, Handler: c.function.Handler, Code: c.function.Code})
			o.Only = c.only
			passes(t, run(t, o))
		})
	}
}

// wrong is a function that is wrong in one way.
func wrong(t *testing.T, bug string) rehearse.Function {
	t.Helper()
	good, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join("testdata", "wrong.py"))
	if err != nil {
		t.Fatal(err)
	}
	runtime, _ := apitest.Python(t)
	f := rehearse.Function{
		Name: bug, Runtime: runtime, Handler: "lambda_function.lambda_handler", Environment: map[string]string{"BUG": bug},
		Code: apitest.Zip(t, map[string][]byte{"lambda_function.py": source, "good.py": good}),
	}
	if bug == "breaks-on-punctuation" {
		f.Environment["EXCLUDE_CHARACTERS"] = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
	}
	return f
}

// common are the faults that every wrong function is tried with.
var common = []string{"repeat-createSecret", "kill-after-put", "database-down-set", "foreign-put-finish"}

// Each wrong function is found, for its reason and no other.
func TestWrongFunctions(t *testing.T) {
	for _, c := range []struct {
		bug  string
		want rehearse.Code
		only []string
	}{
		{"", "", nil},
		{"not-idempotent", rehearse.NotIdempotent, nil},
		{"set-before-store", rehearse.SetBeforeStore, []string{"kill-before-put"}},
		{"set-in-create", rehearse.SetInCreate, nil},
		{"logs-secret", rehearse.LogsSecret, []string{"kill-after-set"}},
		{"no-rotation-token", rehearse.NoRotationToken, nil},
		{"promotes-untested", rehearse.PromotesUntested, []string{"database-down-test", "wrong-password-test"}},
		{"promotes-early", rehearse.PromotesUntested, nil},
		{"swallows-errors", rehearse.SwallowsErrors, []string{"database-drop-set", "throttle-setSecret"}},
		{"sets-nothing", rehearse.SetsNothing, nil},
		{"does-not-promote", rehearse.DoesNotPromote, nil},
		{"stores-nothing", rehearse.StoresNothing, nil},
		{"wrong-version", rehearse.WrongVersion, nil},
		{"changes-pending", rehearse.ChangesPending, nil},
		{"sets-by-current-only", rehearse.NotIdempotent, []string{"repeat-setSecret", "kill-after-set"}},
		{"logs-event", rehearse.LogsSecret, nil},
		{"ignores-labels", rehearse.IgnoresLabels, []string{"foreign-put-set"}},
		{"breaks-on-punctuation", rehearse.Punctuation, []string{"punctuation-current"}},
	} {
		t.Run(c.bug, func(t *testing.T) {
			t.Parallel()
			o := options(t, wrong(t, c.bug))
			o.Only = slices.Concat(common, c.only)
			report := run(t, o)
			var want []rehearse.Code
			if c.want != "" {
				want = append(want, c.want)
			}
			if diff := cmp.Diff(want, report.Codes()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			noSecret(t, report)
		})
	}
}

// noSecret demands that no report holds what looks like a password made here.
func noSecret(t *testing.T, report *rehearse.Report) {
	t.Helper()
	if len(report.Canaries()) == 0 {
		t.Error("there are no secrets to look for")
	}
	var text, jsonText, junit, html bytes.Buffer
	report.WriteText(&text, true)
	for _, err := range []error{report.WriteJSON(&jsonText), report.WriteJUnit(&junit), report.WriteHTML(&html)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var back rehearse.Report
	if err := json.Unmarshal(jsonText.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report.Codes(), back.Codes()); diff != "" {
		t.Errorf("the JSON report (-want +got):\n%s", diff)
	}
	for name, b := range map[string][]byte{"text": text.Bytes(), "JSON": jsonText.Bytes(), "JUnit": junit.Bytes(), "HTML": html.Bytes()} {
		for _, secret := range append(report.Canaries(), "First-", "Spoiled-") {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("the %s report holds a secret", name)
			}
		}
		if len(report.Codes()) > 0 && !bytes.Contains(b, []byte(report.Codes()[0])) {
			t.Errorf("the %s report does not name %s", name, report.Codes()[0])
		}
	}
}

func TestUnknownFault(t *testing.T) {
	_, err := rehearse.Run(t.Context(), rehearse.Options{Only: []string{"no-such-fault"}})
	if err == nil || !strings.Contains(err.Error(), "there are: none, repeat-createSecret") {
		t.Errorf("got %v, want the list of faults", err)
	}
}
