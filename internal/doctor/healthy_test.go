package doctor

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// shapes are of secrets with which nothing is wrong, row by row those of the
// table of states.
var shapes = []struct {
	name   string
	change with
}{
	{"rotated yesterday", func(*Evidence) {}},
	{"pending on the current version", secret(func(s *Secret) { s.Labels[labelPending] = versionC })},
	{"just configured, never rotated", func(e *Evidence) {
		e.Secret.LastRotatedAt, e.Events = time.Time{}, nil
		delete(e.Secret.Labels, labelPrevious)
		e.Versions = e.Versions[:1]
	}},
	{"configuration test passed", func(e *Evidence) {
		e.Events = append(e.Events, event("TestRotationStarted", 0, versionT, ""), event("TestRotationSucceeded", 2*time.Second, versionT, ""))
		e.Invocations = append(e.Invocations, invocation(stepTest, time.Second, 300*ms, goodLines[stepTest]...))
	}},
	{"rotating right now", func(e *Evidence) {
		stuckOn(e, true)
		e.At = began.Add(5 * time.Second)
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""))
		e.Invocations = append(e.Invocations, invocation(stepCreate, time.Second, 300*ms, goodLines[stepCreate]...))
	}},
	{"rotating right now, no value yet", func(e *Evidence) {
		stuckOn(e, false)
		e.At = began.Add(time.Second)
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""))
	}},
	{"rotating right now, the trail is late", func(e *Evidence) {
		stuckOn(e, true)
		e.Secret.LastChangedAt = began
		e.At = began.Add(20 * time.Second)
	}},
	{"configuration test running", func(e *Evidence) {
		stuckOn(e, true)
		e.At = began.Add(2 * time.Second)
		e.Events = append(e.Events, event("TestRotationStarted", 0, versionT, ""))
	}},
	{"engine at work", func(e *Evidence) {
		byRotator("postgres.single")(e)
		stuckOn(e, true)
		e.At = began.Add(3 * time.Second)
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""))
		e.Reports = []Report{{At: began, Token: versionT, Status: "started"}, {At: began.Add(time.Second), Token: versionT, Status: "done", Step: stepCreate}}
	}},
	{"failed once and succeeded then", func(e *Evidence) {
		e.Events = append(e.Events, event("RotationStarted", 0, versionC, ""), event("RotationFailed", time.Second, versionC, "Error when executing lambda x during setSecret step"),
			event("RotationStarted", time.Minute, versionC, ""), event("RotationSucceeded", 2*time.Minute, versionC, ""))
		e.Secret.LastRotatedAt = began.Add(2 * time.Minute)
	}},
	{"engine failed once and succeeded then", func(e *Evidence) {
		byRotator("postgres.single")(e)
		e.Secret.LastRotatedAt = began.Add(2 * time.Minute)
		e.Reports = []Report{{At: began, Token: versionC, Status: "started"}, {At: began.Add(time.Second), Token: versionC, Status: "failed", Step: stepSet, Error: "x"},
			{At: began.Add(time.Second), Token: versionC, Status: "retrying"}, {At: began.Add(2 * time.Minute), Token: versionC, Status: "succeeded"}}
	}},
	{"scheduled far in the future", secret(func(s *Secret) { s.Rules, s.NextRotationAt = Rules{AfterDays: 1000}, began.AddDate(0, 0, 999) })},
	{"by cron, window open now", secret(func(s *Secret) {
		s.Rules, s.NextRotationAt = Rules{Expression: "cron(0 8 ? * TUE *)", AfterDays: 7}, began.Add(15*time.Hour)
	})},
	{"window just over", secret(func(s *Secret) { s.NextRotationAt = began.Add(-20 * time.Minute) })},
	{"custom labels", secret(func(s *Secret) { s.Labels["BLUE"], s.Labels["GREEN"] = versionC, versionP })},
	{"managed by RDS", func(e *Evidence) {
		e.Secret.OwningService, e.Secret.FunctionARN, e.Secret.Name = "rds", "", "rds!db-1"
		e.Function, e.Role = nil, nil
	}},
	{"with replicas", secret(func(s *Secret) { s.PrimaryRegion = "eu-west-1" })},
	{"a replica", secret(func(s *Secret) {
		s.PrimaryRegion, s.RotationEnabled, s.FunctionARN, s.NextRotationAt, s.LastRotatedAt = "us-east-1", nil, "", time.Time{}, time.Time{}
	})},
	{"plain, without rotation", func(e *Evidence) {
		e.Secret = Secret{ARN: secretARN, Name: "plain", Found: true, Labels: map[string]string{labelCurrent: versionC}}
		e.Function, e.Role, e.Events = nil, nil, nil
	}},
	{"switched off", secret(func(s *Secret) { s.RotationEnabled, s.NextRotationAt = new(false), time.Time{} })},
	{"function has retried its good end", func(e *Evidence) {
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""), event("RotationSucceeded", 9*time.Second, versionT, ""))
		e.Invocations = append(e.Invocations, invocation(stepCreate, time.Second, 300*ms, goodLines[stepCreate]...), invocation(stepSet, time.Second, 300*ms, goodLines[stepSet]...),
			invocation(stepFinish, time.Second, 300*ms, "[INFO] Secret version "+versionT+" already set as AWSCURRENT for secret "+secretARN+"."))
	}},
	{"logins work", func(e *Evidence) {
		probe("here", labelCurrent, "", "")(e)
		probe("here", labelPrevious, "auth", "authentication")(e)
	}},
	{"no way from here", probe("here", labelCurrent, "tcp", "timeout")},
	{"low reserve", function(func(f *Function) { f.Reserved = new(int32(1)) })},
	{"old stack that was updated", func(e *Evidence) {
		e.Stack = &Stack{Name: "rot", CreatedAt: cutTLS.AddDate(-1, 0, 0), UpdatedAt: began}
	}},
	{"customer's key", func(e *Evidence) {
		e.Secret.KeyID, e.Key = "key-1", &Key{ID: "key-1", Found: true, State: "Enabled", Spec: "SYMMETRIC_DEFAULT", Manager: "CUSTOMER"}
	}},
	{"function idle for weeks", function(func(f *Function) { f.State, f.StateReason = "Inactive", "idle" })},
	{"closed way, but it works", closed("database", "security-group-ingress")},
	{"simulation does not know the conditions", func(e *Evidence) {
		e.Role.Decisions = []Decision{{Action: "secretsmanager:GetSecretValue", Resource: secretARN, Decision: "implicitDeny"}, {Action: "logs:CreateLogStream", Resource: "*", Decision: "implicitDeny"}}
	}},
	{"nothing may be read", func(e *Evidence) {
		e.Function, e.Role, e.Events, e.Versions = nil, nil, nil, nil
		for _, a := range []string{"lambda:GetFunction", "cloudtrail:LookupEvents", "logs:FilterLogEvents", "secretsmanager:ListSecretVersionIds"} {
			e.Gaps = append(e.Gaps, Gap{Action: a, Error: "AccessDeniedException", Denied: true, Missing: "something"})
		}
	}},
	{"function of another secret fails", func(e *Evidence) {
		inv := invocation(stepSet, time.Second, 300*ms, "[ERROR] ValueError: Unable to log into database with previous, current, or pending secret of secret arn "+superARN)
		inv.Token = ""
		e.Invocations = append(e.Invocations, inv)
	}},
}

func TestHealthyShapes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			e := well(s.change)
			if d := Diagnose(e); len(d.Findings) != 0 {
				t.Errorf("got %v, want none\n%s", codes(d), describe(d))
			}
		})
	}
}

// TestHealthyPairs puts shapes together: what is well twice is well.
func TestHealthyPairs(t *testing.T) {
	alone := map[string]bool{"plain, without rotation": true, "managed by RDS": true, "nothing may be read": true, "a replica": true}
	n := 0
	for i, a := range shapes {
		for _, b := range shapes[i+1:] {
			// A shape without a function has none for another to change, and
			// two rotations at once there are not.
			if alone[a.name] || alone[b.name] || len(well(a.change).Events) > 2 && len(well(b.change).Events) > 2 {
				continue
			}
			e := well(a.change, b.change)
			if len(e.Events) > 2 && e.Events[len(e.Events)-1].Name == "RotationStarted" && e.At.Sub(began) > time.Minute {
				continue // it would have hung
			}
			if len(e.Secret.Labels) > 2 && e.Secret.Labels[labelPending] == versionT && (len(e.Invocations) > 0 && e.Events[len(e.Events)-1].Name != "RotationStarted" || !*e.Secret.RotationEnabled) {
				continue // the one says that it is over, the other that it runs
			}
			n++
			if d := Diagnose(e); len(d.Findings) != 0 {
				t.Errorf("%s and %s: got %v, want none\n%s", a.name, b.name, codes(d), describe(d))
			}
		}
	}
	if n < 100 {
		t.Errorf("got %d pairs, want 100 at least", n)
	}
}

func TestConsequenceNamesItsCause(t *testing.T) {
	d := Diagnose(well(failedIn(stepSet, 300*ms, "[ERROR]\tt\tr\tsetSecret: "+unableLogin[len("[ERROR] ValueError: "):]+": pending: authentication: no (28P01); current: authentication: no (28P01)"), byRotator("postgres.single")))
	if got, want := fmt.Sprint(codes(d)), "[D11 D48]"; got != want {
		t.Fatalf("got %s, want %s\n%s", got, want, describe(d))
	}
	if !strings.Contains(d.Findings[1].Cause, "This follows from D11") {
		t.Errorf("the consequence does not name its cause: %s", d.Findings[1].Cause)
	}
}
