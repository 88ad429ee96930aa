package doctor

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func action(d Diagnosis, kind ActionKind) *Action {
	for _, f := range d.Findings {
		for _, r := range f.Remedies {
			if r.Action != nil && r.Action.Kind == kind {
				return r.Action
			}
		}
	}
	return nil
}

// TestLabelOperations says when AWSPENDING may be taken away and when the
// pending version has to become the current one: by which password is live.
func TestLabelOperations(t *testing.T) {
	const own = "[ERROR] ZeroDivisionError: division by zero"
	tests := []struct {
		name            string
		e               *Evidence
		remove, promote bool
		live            string
	}{
		{"createSecret failed: the database is as it was", well(failedIn(stepCreate, 300*ms, own)), true, false, "AWSCURRENT"},
		{"setSecret failed somehow: not known", well(failedIn(stepSet, 300*ms, own)), false, false, ""},
		{"setSecret ran out of time after it logged in: not known", well(failedIn(stepSet, 30*time.Second, "[INFO] Successfully established SSL/TLS connection as user 'app'", timeLine)), false, false, ""},
		{"testSecret failed: setSecret had worked", well(failedIn(stepTest, 300*ms, own)), false, true, "AWSPENDING"},
		{"finishSecret failed: setSecret had worked", well(failedIn(stepFinish, 300*ms, own)), false, true, "AWSPENDING"},
		{"finishSecret failed with alternating users: both work", well(failedIn(stepFinish, 300*ms, own), function(func(f *Function) { f.Code.Strategy = "alternating" })), true, false, "AWSCURRENT, AWSPENDING"},
		{"finishSecret failed, strategy not known", well(failedIn(stepFinish, 300*ms, own), function(func(f *Function) { f.Code = nil }), func(e *Evidence) {
			for i := range e.Invocations {
				e.Invocations[i].Lines = nil
			}
		}), false, true, "AWSPENDING"},
		{"probe: current is live", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "", ""), probe("here", labelPending, "auth", "authentication")), true, false, "AWSCURRENT"},
		{"probe: pending is live", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPending, "", "")), false, true, "AWSPENDING"},
		{"probe: previous is live", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPending, "auth", "authentication"), probe("here", labelPrevious, "", "")), true, false, "AWSPREVIOUS"},
		{"probe: the network fails", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "tcp", "timeout"), probe("here", labelPending, "tcp", "timeout")), false, false, ""},
		{"probe contradicts the log", well(failedIn(stepFinish, 300*ms, own), probe("here", labelCurrent, "", ""), probe("here", labelPending, "auth", "authentication")), true, false, "AWSCURRENT"},
		{"the rotator was refused with the pending password", well(failedIn(stepSet, 300*ms, "[ERROR]\tt\tr\tsetSecret: "+unableLogin[20:]+": pending: authentication: no (28P01); current: authentication: no (28P01)"), byRotator("postgres.single")), true, false, ""},
		{"leftover of a configuration test", well(func(e *Evidence) {
			stuckOn(e, true)
			e.At = began.Add(30 * time.Hour)
			e.Values = []Value{{Label: labelPending, VersionID: versionT, SamePassword: []string{labelCurrent}}}
		}), true, false, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			d := Diagnose(tc.e)
			remove, promote := action(d, RemovePending), action(d, PromotePending)
			if (remove != nil) != tc.remove || (promote != nil) != tc.promote {
				t.Errorf("got remove %v, promote %v; want %v, %v\n%s", remove, promote, tc.remove, tc.promote, describe(d))
			}
			if d.Live != tc.live {
				t.Errorf("got live %q, want %q", d.Live, tc.live)
			}
			for _, a := range []*Action{remove, promote} {
				if a != nil && (a.Version != versionT || a.Secret != secretARN) {
					t.Errorf("got action on %s of %s, want %s of %s", a.Version, a.Secret, versionT, secretARN)
				}
			}
		})
	}
}

func TestSafeActions(t *testing.T) {
	tests := []struct {
		kind ActionKind
		e    *Evidence
		want Action
	}{
		{AddPermission, well(function(func(f *Function) { f.Policy = "" })), Action{Function: functionARN}},
		{RaiseTimeout, well(failedIn(stepCreate, 30*time.Second, "[INFO] createSecret: reading", timeLine)), Action{Function: functionARN, Seconds: 60}},
		{RaiseMemory, well(failedIn(stepCreate, 300*ms, "Runtime exited with error: signal: killed")), Action{Function: functionARN, MB: 256}},
		{FreeConcurrency, well(function(func(f *Function) { f.Reserved = new(int32(0)) })), Action{Function: functionARN}},
		{Rotate, well(secret(func(s *Secret) { s.NextRotationAt = began.AddDate(0, 0, -2) })), Action{}},
	}
	for _, tc := range tests {
		t.Run(string(tc.kind), func(t *testing.T) {
			d := Diagnose(tc.e)
			got := action(d, tc.kind)
			want := tc.want
			want.Kind, want.Secret, want.Rotates = tc.kind, secretARN, true
			if got == nil || *got != want {
				t.Errorf("got %+v, want %+v\n%s", got, want, describe(d))
			}
		})
	}
}

// TestCommandsAreShell runs every command of every case through a shell that
// only says what words it got.
func TestCommandsAreShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell on this system")
	}
	seen := map[string]bool{}
	script := `aws() { printf '%s\n' "$@" >/dev/null; }; jq() { :; }; keyturn() { :; }; cdk() { :; }` + "\n"
	for _, tc := range cases {
		for _, f := range Diagnose(tc.e).Findings {
			for _, r := range f.Remedies {
				for _, command := range r.Commands {
					if strings.ContainsAny(command, "\n\r") {
						t.Errorf("%s: more than one line: %q", f.Code, command)
					}
					if !seen[command] {
						seen[command] = true
						script += command + " || exit 1\n"
					}
				}
			}
		}
	}
	if len(seen) < 40 {
		t.Fatalf("got %d commands, want more", len(seen))
	}
	if out, err := exec.Command(sh, "-e", "-u", "-c", script).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("got %v: %s", err, out)
	}
}

// TestQuote has names that would be more than words.
func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell on this system")
	}
	for _, s := range []string{"", "a b", "it's", `"x"`, "$(id)", "`id`", "a;b", "-rf", `back\slash`, "ünï", "*", "~", "#x", "!x", "{a,b}", "a=b"} {
		out, err := exec.Command(sh, "-c", "printf %s "+quote(s)).Output()
		if strings.HasPrefix(s, "-") {
			out, err = exec.Command(sh, "-c", "printf %s -- 2>/dev/null; printf '|%s' "+quote(s)).Output()
			out = []byte(strings.TrimPrefix(string(out[strings.IndexByte(string(out), '|'):]), "|"))
		}
		if err != nil || string(out) != s {
			t.Errorf("%q: got %q, %v", s, out, err)
		}
	}
}

func TestVariableKeepsTheOthers(t *testing.T) {
	c := newCase(well())
	got := c.setVariable("PASSWORD_LENGTH", "32")
	for _, want := range []string{"get-function-configuration", "jq --arg v 32 '.Variables.PASSWORD_LENGTH = $v'", `--environment "$(`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want it to hold %s", got, want)
		}
	}
}

func TestUpgradePaths(t *testing.T) {
	tests := []struct {
		name  string
		stack *Stack
		want  string
	}{
		{"console", nil, "Rotation tab"},
		{"CDK", &Stack{Name: "rot", CDK: true}, "cdk deploy"},
		{"application", &Stack{Name: "serverlessrepo-rot", Application: "SecretsManagerRDSPostgreSQLRotationSingleUser", CreatedAt: began}, "create-cloud-formation-change-set"},
		{"old transform", &Stack{Name: "nested", RootName: "root", Transforms: []string{transform2020}}, "--stack-name root"},
		{"new transform", &Stack{Name: "nested", RootName: "root", Transforms: []string{transform2024}}, "its own template"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			d := Diagnose(well(function(func(f *Function) { f.Runtime = "python3.9" }), func(e *Evidence) { e.Stack = tc.stack }))
			b, err := json.Marshal(d)
			if err != nil || !strings.Contains(string(b), tc.want) || !slices.Contains(codes(d), "D51") {
				t.Errorf("got %v %s, want it to hold %s", err, b, tc.want)
			}
		})
	}
}
