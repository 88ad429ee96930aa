package secretsmanager

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/trail"
)

// rotateWith makes a RotateSecret request for "s".
func rotateWith(version, more string) string {
	return `{"SecretId":"s","ClientRequestToken":"` + tok(version) + `"` + more + `}`
}

const withFunction = `,"RotationLambdaARN":"` + function + `"`

func TestRotateSecret(t *testing.T) {
	b := newBench(t)
	address := b.create("s", "1")
	got := b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotationRules":{"AutomaticallyAfterDays":30}`))
	if members(got) != "ARN Name VersionId" || got["VersionId"] != tok("v2") {
		t.Errorf("got %v", got)
	}
	if want := function + " " + address + " " + account; len(b.invokable) != 1 || b.invokable[0] != want {
		t.Errorf("asked for %v, want %s", b.invokable, want)
	}
	if b.wakes != 1 {
		t.Errorf("the engine was woken %d times, want once", b.wakes)
	}
	if got, want := b.labels("s"), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The placeholder is empty: it shows, but cannot be read.
	b.refused("GetSecretValue", `{"SecretId":"s","VersionStage":"AWSPENDING"}`, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSPENDING")
	b.refused("GetSecretValue", `{"SecretId":"s","VersionId":"`+tok("v2")+`"}`, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: "+tok("v2"))
	b.refused("GetSecretValue", `{"SecretId":"s","VersionId":"`+tok("v2")+`","VersionStage":"AWSPENDING"}`, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for…")

	s, run := b.stored(home, "s"), b.run("s")
	want := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 31).Add(-time.Second)
	if !s.Rotation.NextDate.Equal(want) || !s.Rotation.DueAt.After(want.Add(-24*time.Hour)) || s.Rotation.DueAt.After(want) {
		t.Errorf("next %v, due %v, want the day of %v", s.Rotation.NextDate, s.Rotation.DueAt, want)
	}
	if run.Token != tok("v2") || run.State != secret.Running || run.Step != secret.CreateSecret || run.FunctionARN != function || run.TestOnly || run.Scheduled {
		t.Errorf("got run %+v", run)
	}
	token, err := b.Sealer.Open(rotation.TokenPurpose, run.RotationToken)
	if err != nil || len(token) < 36 {
		t.Errorf("the rotation token has %d characters (%v), want 36 or more", len(token), err)
	}

	// The same call again is the same rotation.
	fence, revision := run.Fence, s.Revision
	b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotationRules":{"AutomaticallyAfterDays":30}`))
	if s := b.stored(home, "s"); b.run("s").Fence != fence || s.Revision != revision {
		t.Error("a repeated call changed the rotation")
	}
	if got, want := strings.Join(b.events(home), " "), "CreateSecret RotateSecret RotateSecret"; got != want {
		t.Errorf("got events %s, want %s", got, want)
	}
}

func TestRotateSecretCannotInvoke(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	before := b.stored(home, "s")
	for _, cause := range []*fault.Error{fault.New(fault.Denied, "no"), fault.New(fault.NotFound, "none")} {
		b.cannot = cause
		for _, more := range []string{"", `,"RotateImmediately":false`} {
			b.refused("RotateSecret", rotateWith("v2", withFunction+more), "AccessDeniedException", invokeText)
		}
	}
	if got := b.ok("DescribeSecret", `{"SecretId":"s"}`); members(got) != describedMin {
		t.Errorf("got %v, want nothing of rotation", got)
	}
	if b.stored(home, "s").Revision != before.Revision || b.wakes != 0 {
		t.Error("something was stored")
	}
	last := b.recorded[len(b.recorded)-2] // the last one is DescribeSecret
	if last.Name != "RotateSecret" || last.ErrorCode != "AccessDenied" || len(b.events(home)) != 1 {
		t.Errorf("got event %+v, want the failure among the reads", last)
	}
}

// TestRotateSecretUnfinished refuses a second rotation and runs the first one
// again.
func TestRotateSecretUnfinished(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("RotateSecret", rotateWith("v2", withFunction))
	const text = "A previous rotation isn't complete. That rotation will be reattempted."
	b.refused("RotateSecret", rotateWith("v3", ""), "InvalidRequestException", text)
	if b.wakes != 2 {
		t.Errorf("the engine was woken %d times, want for the refusal too", b.wakes)
	}
	later := time.Now().Add(time.Hour)
	b.editRun("s", func(r *secret.RotationRun) {
		r.State, r.Attempt, r.FailedStep, r.NotBefore, r.FinishedAt = secret.Exhausted, 5, secret.SetSecret, later, later
	})
	b.refused("RotateSecret", rotateWith("v3", `,"RotationRules":{"AutomaticallyAfterDays":9}`), "InvalidRequestException", text)
	run := b.run("s")
	if run.State != secret.Running || run.Step != secret.CreateSecret || run.Attempt != 1 || run.Token != tok("v2") || run.NotBefore.After(time.Now()) || !run.WindowEnd.IsZero() {
		t.Errorf("got run %+v, want it to start over", run)
	}
	if got := b.stored(home, "s").Rotation.Rules.AutomaticallyAfterDays; got != 0 {
		t.Errorf("the refused call stored its rules: %d days", got)
	}
	// Removing the label clears the way.
	b.ok("UpdateSecretVersionStage", `{"SecretId":"s","VersionStage":"AWSPENDING","RemoveFromVersionId":"`+tok("v2")+`"}`)
	b.ok("RotateSecret", rotateWith("v3", ""))
	if got, want := b.labels("s"), "v1[AWSCURRENT] v3[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRotationTest copies the current value for the function to try.
func TestRotationTest(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotateImmediately":false,"RotationRules":{"ScheduleExpression":"cron(0 10 * * ? *)"}`))
	if got, want := b.labels("s"), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := b.ok("GetSecretValue", `{"SecretId":"s","VersionId":"`+tok("v2")+`"}`)["SecretString"]; got != "1" {
		t.Errorf("the copy reads %v, want the current value", got)
	}
	run := b.run("s")
	if !run.TestOnly || run.Step != secret.TestSecret || b.wakes != 1 {
		t.Errorf("got run %+v", run)
	}
	// Without a value there is nothing to copy.
	b.ok("CreateSecret", withToken(`"Name":"empty"`))
	b.ok("RotateSecret", `{"SecretId":"empty","RotateImmediately":false,"ClientRequestToken":"`+tok("v2")+`"`+withFunction+`}`)
	b.refused("GetSecretValue", `{"SecretId":"empty","VersionId":"`+tok("v2")+`"}`, "ResourceNotFoundException", "Secrets Manager…")
}

func TestRotationRules(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	rules := func() string {
		r := b.stored(home, "s").Rotation.Rules
		return strings.Join([]string{string(rune('0' + r.AutomaticallyAfterDays)), r.Expression, r.Duration}, "|")
	}
	for i, tc := range []struct{ rules, want string }{
		{`{"AutomaticallyAfterDays":7,"Duration":"3h"}`, "7||3h"},
		{`{}`, "7||3h"},
		{`{"Duration":"4h"}`, "7||4h"},
		{`{"ScheduleExpression":"rate(5 days)"}`, "0|rate(5 days)|"},
		{`null`, "0|rate(5 days)|"},
	} {
		version := "r" + string(rune('a'+i))
		b.ok("RotateSecret", rotateWith(version, withFunction+`,"RotationRules":`+tc.rules))
		if got := rules(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.rules, got, tc.want)
		}
		b.put("s", "p"+version, "x", "") // ends the rotation
	}
	if got := b.stored(home, "s").Rotation; got.NextDate.IsZero() || got.DueAt.IsZero() {
		t.Errorf("got no dates: %+v", got)
	}
	// A rotation on demand leaves the schedule where it stands; other rules
	// begin anew.
	was := time.UnixMilli(1e12).UTC()
	b.edit(home, "s", func(s *secret.Secret) { s.Rotation.ConfiguredAt = was })
	b.ok("RotateSecret", rotateWith("demand", ""))
	if got := b.stored(home, "s").Rotation.ConfiguredAt; !got.Equal(was) {
		t.Errorf("configured at %v after a rotation on demand, want %v", got, was)
	}
	b.put("s", "last", "x", "")
	b.ok("RotateSecret", rotateWith("other", `,"RotationRules":{"AutomaticallyAfterDays":3}`))
	if got := b.stored(home, "s").Rotation.ConfiguredAt; time.Since(got) > time.Minute {
		t.Errorf("configured at %v after new rules, want now", got)
	}
}

// TestFunctionPuts fills the placeholder as a rotation function does.
func TestFunctionPuts(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("RotateSecret", rotateWith("v2", withFunction))
	token, err := b.Sealer.Open(rotation.TokenPurpose, b.run("s").RotationToken)
	b.must(err)
	putAs := func(c caller, rotationToken string) object {
		return b.okAs(c, "PutSecretValue", rotateWith("v2", `,"SecretString":"2","VersionStages":["AWSPENDING"]`+rotationToken))
	}
	role := b.roleSession("rotator", "AROAX", `{"Effect":"Allow","Action":"secretsmanager:PutSecretValue","Resource":"*"}`)
	got := putAs(role, "")
	if strings.Join(texts(got["VersionStages"]), ",") != "AWSPENDING" {
		t.Errorf("got %v", got)
	}
	v := b.stored(home, "s").Version(tok("v2"))
	if v.WrittenBy != "arn:aws:iam::123456789012:role/rotator" || v.ByToken || !v.ByRotation(v.WrittenBy) {
		t.Errorf("written by %s, by token %v, want the role", v.WrittenBy, v.ByToken)
	}
	if run := b.run("s"); run.State != secret.Running {
		t.Errorf("the run is %s, want it to go on", run.State)
	}
	for name, rotationToken := range map[string]string{"right": string(token), "wrong": strings.Repeat("0", 36)} {
		b.put("s", "p"+name, "x", "") // ends the rotation
		b.ok("RotateSecret", rotateWith(name, ""))
		if name == "right" {
			token, err = b.Sealer.Open(rotation.TokenPurpose, b.run("s").RotationToken)
			b.must(err)
			rotationToken = string(token)
		}
		b.ok("PutSecretValue", `{"SecretId":"s","ClientRequestToken":"`+tok(name)+`","SecretString":"y","VersionStages":["AWSPENDING"],"RotationToken":"`+rotationToken+`"}`)
		if got := b.stored(home, "s").Version(tok(name)); got.ByToken != (name == "right") {
			t.Errorf("%s token: by token is %v", name, got.ByToken)
		}
	}
	if last := b.trail(home)[len(b.trail(home))-1]; last.Name != "PutSecretValue" || strings.Contains(string(last.JSON), "otationToken") {
		t.Errorf("got event %s, want it without the token", last.JSON)
	}
}

// TestAbandonment puts a value by hand while a rotation runs.
func TestAbandonment(t *testing.T) {
	for _, call := range []string{"PutSecretValue", "UpdateSecret"} {
		b := newBench(t)
		address := b.create("s", "1")
		b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotationRules":{"AutomaticallyAfterDays":2}`))
		b.edit(home, "s", func(s *secret.Secret) {
			s.Rotation.ConfiguredAt = s.Rotation.ConfiguredAt.AddDate(0, 0, -9)
			s.Rotation.NextDate, s.Rotation.DueAt = time.Time{}, time.Time{}
		})
		b.ok(call, rotateWith("v3", `,"SecretString":"3"`))
		if got, want := b.labels("s"), "v1[AWSPREVIOUS] v3[AWSCURRENT]"; got != want {
			t.Errorf("%s: got %s, want %s", call, got, want)
		}
		if run := b.run("s"); run.State != secret.Abandoned || run.RotationToken != nil {
			t.Errorf("%s: got run %+v", call, run)
		}
		want := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 3).Add(-time.Second)
		if got := b.stored(home, "s").Rotation.NextDate; !got.Equal(want) {
			t.Errorf("%s: next %v, want %v", call, got, want)
		}
		events := b.trail(home)
		abandoned := string(events[len(events)-2].JSON)
		for _, want := range []string{
			`"eventName":"RotationAbandoned"`, `"requestID":"` + trail.RotationRequestID(address, tok("v2")) + `"`,
			`"additionalEventData":{"SecretId":"` + address + `"}`, `"eventType":"AwsServiceEvent"`,
		} {
			if !strings.Contains(abandoned, want) {
				t.Errorf("%s: event %s lacks %s", call, abandoned, want)
			}
		}
	}
}

func TestCancelRotateSecret(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotationRules":{"AutomaticallyAfterDays":2}`))
	got := b.ok("CancelRotateSecret", `{"SecretId":"s"}`)
	if got["VersionId"] != tok("v2") {
		t.Errorf("got %v, want the partial version", got)
	}
	s, run := b.stored(home, "s"), b.run("s")
	if run.State != secret.Cancelled || s.Rotation.Enabled || !s.Rotation.DueAt.IsZero() || b.labels("s") != "v1[AWSCURRENT] v2[AWSPENDING]" {
		t.Errorf("got run %+v, rotation %+v, labels %s", run, s.Rotation, b.labels("s"))
	}
	wakes := b.wakes
	b.refused("RotateSecret", rotateWith("v3", ""), "InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted.")
	if b.run("s").State != secret.Cancelled || b.wakes != wakes {
		t.Error("a cancelled rotation runs again")
	}
	b.put("s", "v4", "x", "") // clears the label
	b.ok("RotateSecret", rotateWith("v5", ""))
	if s := b.stored(home, "s"); !s.Rotation.Enabled || s.Rotation.NextDate.IsZero() {
		t.Errorf("got %+v, want rotation on by the stored rules", s.Rotation)
	}
}

func TestDeletionStopsTheSchedule(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("RotateSecret", rotateWith("v2", withFunction+`,"RotationRules":{"AutomaticallyAfterDays":2}`))
	next := b.stored(home, "s").Rotation.NextDate
	b.ok("DeleteSecret", `{"SecretId":"s"}`)
	if s := b.stored(home, "s"); !s.Rotation.DueAt.IsZero() || !s.Rotation.Enabled {
		t.Errorf("got %+v, want rotation on but nothing due", s.Rotation)
	}
	b.ok("RestoreSecret", `{"SecretId":"s"}`)
	if s := b.stored(home, "s"); s.Rotation.DueAt.IsZero() || !s.Rotation.NextDate.Equal(next) {
		t.Errorf("got %+v, want the schedule again", s.Rotation)
	}
}
