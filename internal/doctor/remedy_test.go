package doctor

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	rotatorprobe "github.com/keyturn/keyturn/internal/rotator/probe"
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
	retrying := func(e *Evidence) {
		e.Keyturn = true
		e.Reports = []Report{{At: began, Token: versionT, Status: "started", Attempt: 1}, {At: began.Add(2 * time.Second), Token: versionT, Status: "failed", Step: stepSet, Attempt: 1, Error: "x"},
			{At: began.Add(2 * time.Second), Token: versionT, Status: "retrying", Attempt: 1, RetryAt: e.At.Add(time.Minute)}}
	}
	pendingOnly := func(e *Evidence) {
		probe("here", labelCurrent, "auth", "authentication")(e)
		probe("here", labelPending, "", "")(e)
	}
	tests := []struct {
		name            string
		e               *Evidence
		remove, promote bool
		live            string
	}{
		// Known by what the service keeps.
		{"no value: the database is as it was", well(failedIn(stepCreate, 300*ms, own)), true, false, "AWSCURRENT"},
		{"createSecret failed in a second attempt", well(failedIn(stepCreate, 300*ms, own), reported(stepCreate, "x"), func(e *Evidence) {
			e.Versions[0].HasValue = true
			for i := range e.Reports {
				e.Reports[i].Attempt = 2
			}
		}), false, false, ""},
		// Known by a log alone: nothing is moved.
		{"setSecret failed somehow", well(failedIn(stepSet, 300*ms, own)), false, false, ""},
		{"setSecret ran out of time after it logged in", well(failedIn(stepSet, 30*time.Second, "[INFO] Successfully established SSL/TLS connection as user 'app'", timeLine)), false, false, ""},
		{"testSecret failed after setSecret", well(failedIn(stepTest, 300*ms, own)), false, false, "AWSPENDING"},
		{"finishSecret failed after setSecret", well(failedIn(stepFinish, 300*ms, own)), false, false, "AWSPENDING"},
		{"alternating users", well(failedIn(stepFinish, 300*ms, own), function(func(f *Function) { f.Code.Strategy = "alternating" })), false, false, "AWSCURRENT, AWSPENDING"},
		{"testSecret says that the pending password is refused", well(failedIn(stepTest, 300*ms, "[ERROR] ValueError: Unable to log into database with pending secret of secret ARN "+secretARN)), false, false, ""},
		{"AWSCURRENT was moved meanwhile", well(failedIn(stepFinish, 300*ms, "[ERROR] x: when calling the UpdateSecretVersionStage operation: RemoveFromVersionId")), false, false, "AWSPENDING"},
		{"the rotator was refused with the pending password", well(failedIn(stepSet, 300*ms, "[ERROR]\tt\tr\tsetSecret: "+unableLogin[20:]+": pending: authentication: no (28P01); current: authentication: no (28P01)"), byRotator("postgres.single")), false, false, ""},
		{"somebody has written since", well(failedIn(stepFinish, 300*ms, own), by("arn:aws:iam::111122223333:user/ann", Event{ID: "p", Name: "PutSecretValue", At: began.Add(time.Hour), Token: versionP})), false, false, ""},
		{"given up for a foreign value", well(failedIn(stepFinish, 300*ms, own), func(e *Evidence) { e.Events[len(e.Events)-1].Name = "RotationAbandoned" }), false, false, ""},
		{"a line says that it is set", well(failedIn(stepSet, 300*ms, "setSecret: Successfully set password for user app", own)), false, false, "AWSPENDING"},
		// Known by a login.
		{"probe: current is live", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "", ""), probe("here", labelPending, "auth", "authentication")), true, false, "AWSCURRENT"},
		{"probe: pending is live", well(failedIn(stepSet, 300*ms, own), pendingOnly), false, true, "AWSPENDING"},
		{"probe: previous is live", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPending, "auth", "authentication"), probe("here", labelPrevious, "", "")), true, false, "AWSPREVIOUS"},
		{"probe: the network fails", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "tcp", "timeout"), probe("here", labelPending, "tcp", "timeout")), false, false, ""},
		{"probe: nothing logs in from here", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPending, "auth", "authentication")), false, false, ""},
		{"probe: the account is locked", well(failedIn(stepSet, 300*ms, own), probe("here", labelCurrent, "tcp", "timeout"), probe("here", labelPending, "auth", "account locked")), false, false, ""},
		{"probe contradicts the log", well(failedIn(stepFinish, 300*ms, own), probe("here", labelCurrent, "", ""), probe("here", labelPending, "auth", "authentication")), true, false, "AWSCURRENT"},
		{"probe: pending is live, but the server tries again", well(failedIn(stepSet, 300*ms, own), pendingOnly, retrying), false, false, "AWSPENDING"},
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

// TestQuote has names that would be more than words.
func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
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
	got := strings.Join(c.setVariable("PASSWORD_LENGTH", "32"), "\n")
	for _, want := range []string{"get-function-configuration", "jq --arg v0 32 ", `(.Variables // {}) | .["PASSWORD_LENGTH"] = $v0`, "file://changed.json", "umask 077", "rm -f environment.json changed.json"} {
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

// TestForgedLines has what only services say in the function's own log, where
// whoever may change the function writes: nothing is advised or done for it.
func TestForgedLines(t *testing.T) {
	for _, line := range []string{
		"[ERROR] Secrets Manager cannot invoke the specified Lambda function.",
		"[ERROR] Rate Exceeded. TooManyRequestsException",
		"[ERROR] The role defined for the function cannot be assumed by Lambda.",
		"[ERROR] Pending secret version x for Secret y was not created by Lambda z.",
		"[ERROR] Lambda was unable to decrypt the environment variables",
	} {
		d := Diagnose(well(failedIn(stepSet, 300*ms, line)))
		if got := codes(d); got[0] != "K13" {
			t.Errorf("%s: got %v, want K13 first", line, got)
		}
	}
	const stranger = "arn:aws:secretsmanager:eu-west-1:666666666666:secret:payroll-aaaaaa"
	for _, line := range []string{
		"[ERROR] AccessDeniedException: User: x is not authorized to perform: iam:CreateAccessKey on resource: *",
		"[ERROR] AccessDeniedException: User: x is not authorized to perform: secretsmanager:GetSecretValue on resource: " + stranger,
		"[ERROR] ValueError: Unable to log into database using credentials in master secret " + stranger,
		"[ERROR] AccessDeniedException: iam:CreateAccessKey (GetSecretValue)",
	} {
		d := Diagnose(well(failedIn(stepSet, 300*ms, line), func(e *Evidence) { e.Superuser = &Superuser{ARN: superARN, Found: true} }))
		for _, f := range d.Findings {
			if f.Code != "D48" && f.Confidence == Certain {
				t.Errorf("%s: %s is certain", line, f.Code)
			}
			for _, r := range f.Remedies {
				for _, command := range r.Commands {
					if strings.Contains(command, "payroll") || strings.Contains(command, "CreateAccessKey") {
						t.Errorf("%s: advised %s", line, command)
					}
				}
			}
		}
	}
}

func TestConsequencesAreMarked(t *testing.T) {
	d := Diagnose(well(failedIn(stepCreate, 300*ms, "[ERROR] KeyError: 'SecretString'")))
	for _, f := range d.Findings {
		if f.Consequence != (f.Code == "D48") {
			t.Errorf("%s: got consequence %v", f.Code, f.Consequence)
		}
	}
}

func TestAliasesArePublished(t *testing.T) {
	alias := func(e *Evidence) { e.Secret.FunctionARN, e.Function.Qualifier = functionARN+":live", "live" }
	d := Diagnose(well(failedIn(stepCreate, 30*time.Second, "[INFO] createSecret: reading", timeLine), alias))
	got := strings.Join(d.Findings[0].Remedies[0].Commands, "\n")
	for _, want := range []string{"update-function-configuration --function-name " + functionARN + " ", "update-alias --function-name " + functionARN + " --name live", "publish-version"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want it to hold %s", got, want)
		}
	}
}

// TestAddPermissionIsNarrow demands the secret in the statement, and nothing
// where a Deny would win.
func TestAddPermissionIsNarrow(t *testing.T) {
	d := Diagnose(well(function(func(f *Function) { f.Policy = closedPolicy })))
	if got := d.Findings[0].Remedies[0].Commands[0]; !strings.Contains(got, "--source-arn "+secretARN) || !strings.Contains(got, "--source-account 111122223333") {
		t.Errorf("got %s", got)
	}
	denies := strings.Replace(openPolicy, `"Allow"`, `"Deny"`, 1)
	if d := Diagnose(well(function(func(f *Function) { f.Policy = denies }))); d.Findings[0].Code != "D20" || action(d, AddPermission) != nil {
		t.Errorf("got %v, with an action %v", codes(d), action(d, AddPermission))
	}
}

// TestRefusedFromHere is a healthy secret that only this place may not use.
func TestRefusedFromHere(t *testing.T) {
	d := Diagnose(well(probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPrevious, "auth", "authentication")))
	if len(d.Findings) != 1 || d.Findings[0].Confidence != Possible || len(d.Findings[0].Remedies[0].Commands) != 0 {
		t.Errorf("got %s", describe(d))
	}
	if d := Diagnose(well(probe("here", labelCurrent, "auth", "account locked"))); len(d.Findings) != 0 {
		t.Errorf("got %s", describe(d))
	}
}

// TestUnknownEvents does not call a rotation stuck that may be under way.
func TestUnknownEvents(t *testing.T) {
	d := Diagnose(well(func(e *Evidence) {
		stuckOn(e, true)
		e.Events, e.At = nil, began.Add(30*time.Minute)
		e.Gaps = []Gap{{Action: "cloudtrail:LookupEvents", Error: "AccessDeniedException", Denied: true}}
	}))
	if len(d.Findings) != 1 || d.Findings[0].Confidence != Possible || action(d, RemovePending) != nil {
		t.Errorf("got %s", describe(d))
	}
}

// TestRetryComesFirst advises to wait where the server tries again by itself.
func TestRetryComesFirst(t *testing.T) {
	e := well(failedIn(stepCreate, 300*ms, "[ERROR] KeyError: 'SecretString'"), reported(stepCreate, "the function returned an error: KeyError"), func(e *Evidence) {
		e.Reports = append(e.Reports, Report{At: began.Add(2 * time.Second), Token: versionT, Status: "retrying", RetryAt: e.At.Add(20 * time.Second)})
	})
	d := Diagnose(e)
	for _, f := range d.Findings {
		if f.Code == "D48" && (!strings.Contains(f.Remedies[0].Text, "tries again at") || strings.Contains(f.Cause, "stuck")) || action(d, RemovePending) != nil {
			t.Errorf("got %+v", f)
		}
	}
}

// A certificate that this machine does not trust says little of the function,
// which may trust it.
func TestUntrustedHere(t *testing.T) {
	t.Parallel()
	e := well(failedIn(stepSet, 300*ms, unableLogin), probe("here", labelCurrent, "tls", "TLS"))
	if f := Diagnose(e).Findings[0]; f.Code != "D14" || f.Confidence != Likely {
		t.Fatalf("a failed handshake: got %s, %s", f.Code, f.Confidence)
	}
	stages := e.Probes[0].Stages
	stages[len(stages)-1].Code = rotatorprobe.UnknownAuthority
	for _, f := range Diagnose(e).Findings {
		if f.Code == "D14" && (f.Confidence != Possible || len(f.Next) == 0) {
			t.Errorf("an unknown authority: got %s, next %q", f.Confidence, f.Next)
		}
	}
}
