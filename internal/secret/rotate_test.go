package secret

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
)

const (
	function = "arn:aws:lambda:us-east-1:123456789012:function:rotate"
	role     = "arn:aws:iam::123456789012:role/rotate"
	unended  = "A previous rotation isn't complete. That rotation will be reattempted."
)

func begin(t *testing.T, s *Secret, prev *RotationRun, st RotationStart) *RotationRun {
	t.Helper()
	if st.Token == "" {
		st.Token = "v2"
	}
	if st.Now.IsZero() {
		st.Now = start
	}
	st.FunctionARN, st.RotationToken = function, []byte("sealed token")
	run, err := s.BeginRotation(prev, st)
	if err != nil {
		t.Fatalf("BeginRotation: %v", err)
	}
	return run
}

// rotating returns a secret with one value and a rotation to v2 just begun.
func rotating(t *testing.T) (*Secret, *RotationRun) {
	t.Helper()
	s := newSecret()
	mustPut(t, s, "v1")
	s.ConfigureRotation(function, &schedule.Rules{AutomaticallyAfterDays: 1}, Dates{}, start)
	return s, begin(t, s, nil, RotationStart{})
}

func TestRotationSucceeds(t *testing.T) {
	s, run := rotating(t)
	if got, want := show(s), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want || s.Version("v2").HasValue {
		t.Fatalf("got %s, want %s with v2 empty", got, want)
	}
	work := map[Step]func(){
		CreateSecret: func() { mustPut(t, s, "v2", Pending) },
		FinishSecret: func() {
			if err := s.UpdateVersionStage(Current, "v1", "v2", start); err != nil {
				t.Fatal(err)
			}
		},
	}
	for i, step := range Steps {
		if run.Step != step {
			t.Fatalf("got step %s, want %s", run.Step, step)
		}
		if do := work[step]; do != nil {
			do()
		}
		done, err := s.Advance(run)
		if err != nil || done != (i == len(Steps)-1) {
			t.Fatalf("after %s: %v, %v", step, done, err)
		}
	}
	changed, end := s.ChangedAt, start.Add(time.Minute)
	dates := Dates{Next: start.Add(48 * time.Hour), Due: start.Add(24 * time.Hour)}
	s.CompleteRotation(run, dates, end)
	if got, want := show(s), "v1[AWSPREVIOUS] v2[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r := s.Rotation; !r.LastRotatedAt.Equal(end) || r.NextDate != dates.Next || r.DueAt != dates.Due {
		t.Errorf("got %+v", r)
	}
	if !s.ChangedAt.Equal(changed) {
		t.Error("completing moved ChangedAt")
	}
	if run.State != Succeeded || run.RotationToken != nil || !run.FinishedAt.Equal(end) || run.Fence != 1 {
		t.Errorf("got run %+v", run)
	}
}

func TestAdvanceChecksTheWork(t *testing.T) {
	s, run := rotating(t)
	const name = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf"
	_, err := s.Advance(run)
	wantFault(t, err, fault.State, "The createSecret step returned, but pending secret version v2 of secret "+name+" has no value")
	run.Step = FinishSecret
	_, err = s.Advance(run)
	wantFault(t, err, fault.State, "The finishSecret step returned, but secret version v2 of secret "+name+" does not have staging label AWSCURRENT")
	if run.Step != FinishSecret {
		t.Error("a failed check moved the step")
	}
	s.removeVersion("v2")
	run.Step = CreateSecret
	if _, err = s.Advance(run); !fault.Is(err, fault.State) {
		t.Errorf("pending version gone: got %v, want %s", err, fault.State)
	}
}

func TestBeginRotationRefused(t *testing.T) {
	s, run := rotating(t)
	before := s.Clone()
	_, err := s.BeginRotation(run, RotationStart{Token: "v3", Now: start})
	wantFault(t, err, fault.State, unended)
	again, err := s.BeginRotation(run, RotationStart{Token: "v2", Now: start})
	if again != run || err != nil {
		t.Errorf("same token: got %v, %v; want the same run", again, err)
	}
	if diff := cmp.Diff(before, s); diff != "" {
		t.Errorf("the secret changed (-before +after):\n%s", diff)
	}
	t.Run("token of a value", func(t *testing.T) {
		s := newSecret()
		mustPut(t, s, "v1")
		_, err := s.BeginRotation(nil, RotationStart{Token: "v1", Now: start})
		wantFault(t, err, fault.State, inUse)
	})
}

func TestBeginRotationTakesPendingFromCurrent(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1", Current, Pending)
	prev := &RotationRun{Token: "v1", State: Succeeded, Fence: 7}
	run := begin(t, s, prev, RotationStart{Scheduled: true, WindowEnd: start.Add(time.Hour)})
	if got, want := show(s), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := &RotationRun{
		SecretID: "1", Token: "v2", Scheduled: true, State: Running, Step: CreateSecret, Attempt: 1, FunctionARN: function,
		RotationToken: []byte("sealed token"), StartedAt: start, NotBefore: start, WindowEnd: start.Add(time.Hour), Fence: 8,
	}
	if diff := cmp.Diff(want, run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

func TestConfigurationTest(t *testing.T) {
	copied := &Version{Sealed: []byte("copy"), KeyARN: "key"}
	for _, tc := range []struct {
		name string
		end  func(*Secret, *RotationRun)
		want RotationState
	}{
		{"succeeds", func(s *Secret, r *RotationRun) {
			if done, err := s.Advance(r); !done || err != nil {
				t.Errorf("Advance = %v, %v", done, err)
			}
			s.CompleteRotation(r, Dates{Next: start}, start)
		}, Succeeded},
		{"fails", func(s *Secret, r *RotationRun) {
			if s.FailRotation(r, TestSecret, "no", 0, start) {
				t.Error("a configuration test is to be repeated")
			}
		}, Exhausted},
		{"is abandoned", func(s *Secret, r *RotationRun) {
			e := mustPut(t, s, "v9")
			if !s.AbandonRotation(r, e, start) {
				t.Error("not abandoned")
			}
		}, Abandoned},
		{"is cancelled", func(s *Secret, r *RotationRun) {
			if partial, err := s.CancelRotation(r, start); partial != "" || err != nil {
				t.Errorf("CancelRotation = %q, %v", partial, err)
			}
		}, Cancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSecret()
			mustPut(t, s, "v1")
			s.Versions[0].Binary = true
			s.ConfigureRotation(function, nil, Dates{}, start)
			run := begin(t, s, nil, RotationStart{Test: true, Copy: copied})
			v := s.Version("v2")
			if run.Step != TestSecret || !v.HasValue || !v.Binary || string(v.Sealed) != "copy" || v.KeyARN != "key" || !v.Has(Pending) {
				t.Errorf("got run %+v and version %+v", run, v)
			}
			if err := s.CheckNoRotation(); !fault.Is(err, fault.State) {
				t.Errorf("a rotation during the test: got %v, want %s", err, fault.State)
			}
			tc.end(s, run)
			if s.Version("v2") != nil || s.Holder(Pending) != nil {
				t.Errorf("the temporary version stayed: %+v", s.Versions)
			}
			if run.State != tc.want || !s.Rotation.LastRotatedAt.IsZero() || !s.Rotation.NextDate.IsZero() {
				t.Errorf("got state %s and rotation %+v", run.State, s.Rotation)
			}
			if s.Resume(run, time.Time{}, start) {
				t.Error("an ended test resumed")
			}
		})
	}
}

// Somebody may make the temporary version current; it must then stay.
func TestConfigurationTestKeepsLabelledVersion(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	run := begin(t, s, nil, RotationStart{Test: true, Copy: &Version{Sealed: []byte("copy")}})
	if err := s.UpdateVersionStage(Current, "v1", "v2", start); err != nil {
		t.Fatal(err)
	}
	s.CompleteRotation(run, Dates{}, start)
	if got, want := show(s), "v1[AWSPREVIOUS] v2[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestConfigurationTestWithoutValue(t *testing.T) {
	s := newSecret()
	begin(t, s, nil, RotationStart{Test: true})
	if v := s.Version("v2"); v == nil || v.HasValue {
		t.Errorf("got %+v, want an empty version", v)
	}
}

func TestFailRotation(t *testing.T) {
	s, run := rotating(t)
	mustPut(t, s, "v2", Pending)
	run.Step = SetSecret
	now := start
	for attempt := 1; attempt < MaxAttempts; attempt++ {
		low, high := Backoff(attempt)
		if !s.FailRotation(run, SetSecret, "text", 0.5, now) {
			t.Fatalf("no retry after attempt %d", attempt)
		}
		if want := now.Add((low + high) / 2); run.State != Running || run.Step != CreateSecret || run.Attempt != attempt+1 || !run.NotBefore.Equal(want) {
			t.Errorf("after attempt %d: %+v, want NotBefore %v", attempt, run, want)
		}
		now = run.NotBefore
	}
	if s.FailRotation(run, TestSecret, "last text", 0.5, now) || run.State != Exhausted || run.FailedStep != TestSecret || run.Error != "last text" {
		t.Errorf("after the last attempt: %+v", run)
	}
	if got, want := show(s), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !s.Resume(run, now.Add(time.Hour), now) {
		t.Fatal("the exhausted run did not resume")
	}
	if run.State != Running || run.Attempt != 1 || run.Step != CreateSecret || !run.WindowEnd.Equal(now.Add(time.Hour)) ||
		!run.FinishedAt.IsZero() || run.RotationToken == nil || run.Token != "v2" {
		t.Errorf("resumed: %+v", run)
	}
}

func TestFailRotationGivesUpEarly(t *testing.T) {
	s, run := rotating(t)
	run.WindowEnd = start.Add(10 * time.Second)
	if s.FailRotation(run, CreateSecret, "text", 0, start) || run.State != Exhausted {
		t.Errorf("past the window: %+v", run)
	}
	s, run = rotating(t)
	if err := s.UpdateVersionStage(Pending, "v2", "", start); err != nil {
		t.Fatal(err)
	}
	if s.FailRotation(run, SetSecret, "text", 0, start) || s.Resume(run, time.Time{}, start) {
		t.Errorf("without its label the run goes on: %+v", run)
	}
}

func TestBackoff(t *testing.T) {
	for attempt, want := range []time.Duration{30 * time.Second, 30 * time.Second, 90 * time.Second, 270 * time.Second, 810 * time.Second} {
		if low, high := Backoff(attempt); low != want/2 || high != want {
			t.Errorf("Backoff(%d) = %v, %v; want %v, %v", attempt, low, high, want/2, want)
		}
	}
	if _, high := Backoff(1 << 40); high <= 0 || high > 24*time.Hour {
		t.Errorf("Backoff overflows: %v", high)
	}
	var longest time.Duration
	for attempt := 1; attempt < MaxAttempts; attempt++ {
		_, high := Backoff(attempt)
		longest += high
	}
	if longest > 25*time.Minute {
		t.Errorf("the attempts take up to %v, which does not fit into half an hour", longest)
	}
}

func TestHold(t *testing.T) {
	began := time.Date(2025, 3, 10, 2, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name         string
		after, until time.Duration // since the beginning
		held         bool
		next         time.Duration
	}{
		{"at first", time.Second, time.Hour, true, 16 * time.Second},
		{"later", 16 * time.Minute, time.Hour, true, 18 * time.Minute},
		{"much later", 20 * time.Hour, 24 * time.Hour, true, 20*time.Hour + 5*time.Minute},
		{"near the end", 59 * time.Minute, time.Hour, true, time.Hour},
		{"by another clock over", time.Hour + 30*time.Second, time.Hour, true, time.Hour + 31*time.Second},
		{"over", time.Hour + time.Minute, time.Hour, false, 7 * time.Second},
	} {
		r := &RotationRun{State: Running, Step: SetSecret, Attempt: 3, StartedAt: began, NotBefore: began.Add(7 * time.Second), WindowEnd: began.Add(time.Minute)}
		want := *r
		want.NotBefore = began.Add(tc.next)
		if held := r.Hold(began.Add(tc.until), began.Add(tc.after)); held != tc.held {
			t.Errorf("%s: got %v, want %v", tc.name, held, tc.held)
		}
		if diff := cmp.Diff(&want, r); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestResumeHurriesARunningRun(t *testing.T) {
	s, run := rotating(t)
	s.FailRotation(run, CreateSecret, "text", 0, start)
	now := start.Add(time.Second)
	if !s.Resume(run, time.Time{}, now) || !run.NotBefore.Equal(now) || run.Attempt != 2 {
		t.Errorf("got %+v", run)
	}
}

func TestAbandonRotation(t *testing.T) {
	for _, tc := range []struct {
		name, id string
		prepare  func(*Secret, *RotationRun)
		stages   []string
		want     bool
		labels   string
	}{
		{"foreign value", "v3", nil, nil, true, "v1[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"foreign value after the label moved", "v3", func(s *Secret, _ *RotationRun) {
			mustPut(t, s, "v2", Pending)
			if err := s.UpdateVersionStage(Current, "v1", "v2", start); err != nil {
				t.Fatal(err)
			}
		}, nil, true, "v2[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"failed before", "v3", func(s *Secret, r *RotationRun) { r.Attempt = MaxAttempts; s.FailRotation(r, SetSecret, "x", 0, start) }, nil, true, "v1[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"custom label", "v3", nil, []string{"one"}, false, "v1[AWSCURRENT] v2[AWSPENDING] v3[one]"},
		{"own value", "v2", nil, []string{Pending}, false, "v1[AWSCURRENT] v2[AWSPENDING]"},
		{"own value made current", "v2", nil, nil, false, "v1[AWSPREVIOUS] v2[AWSCURRENT]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, run := rotating(t)
			if tc.prepare != nil {
				tc.prepare(s, run)
			}
			e := mustPut(t, s, tc.id, tc.stages...)
			if got := s.AbandonRotation(run, e, start); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if got := show(s); got != tc.labels {
				t.Errorf("got %s, want %s", got, tc.labels)
			}
			if tc.want && (run.State != Abandoned || run.RotationToken != nil || s.AbandonRotation(run, e, start)) {
				t.Errorf("got run %+v", run)
			}
		})
	}
}

func TestCancelRotation(t *testing.T) {
	_, err := newSecret().CancelRotation(nil, start)
	wantFault(t, err, fault.State, "You can't cancel rotation for a secret that does not have rotation configured.")

	s, run := rotating(t)
	s.Rotation.NextDate, s.Rotation.DueAt = start, start
	run.Owner, run.LeaseUntil, run.Fence = "node", start, 3
	partial, err := s.CancelRotation(run, start)
	if err != nil || partial != "v2" {
		t.Errorf("got %q, %v; want v2", partial, err)
	}
	if r := s.Rotation; r.Enabled || !r.Configured || r.FunctionARN != function || r.Rules.AutomaticallyAfterDays != 1 || !r.NextDate.IsZero() || !r.DueAt.IsZero() {
		t.Errorf("got rotation %+v", r)
	}
	if run.State != Cancelled || run.Owner != "" || run.Fence != 4 || run.Active() {
		t.Errorf("got run %+v", run)
	}
	if got, want := show(s), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := s.CancelRotation(run, start); err != nil || run.Fence != 4 {
		t.Errorf("cancelled twice: %v, run %+v", err, run)
	}
	if _, err := s.BeginRotation(run, RotationStart{Token: "v2", Now: start}); !fault.Is(err, fault.State) {
		t.Errorf("after cancel: got %v, want %s", err, fault.State)
	}
}

func TestRotationFunction(t *testing.T) {
	const bad = "Invalid rotation Lambda ARN. Ensure the ARN matches format arn:aws:lambda:<region>:<account>:function:<functionName>."
	s, stored, owned := newSecret(), newSecret(), newSecret()
	stored.Rotation.FunctionARN = function
	owned.OwningService = "rds"
	_, err := s.RotationFunction("")
	wantFault(t, err, fault.State, "No Lambda rotation function ARN is associated with this secret.")
	for _, given := range []string{
		"rotate", "arn:aws:lambda:eu-west-1:123456789012:function:rotate", "arn:aws:lambda:us-east-1:123456789012:layer:x",
		"arn:aws:lambda:us-east-1::function:x", "arn:aws:lambda:us-east-1:123456789012:function:", "arn:aws:iam:us-east-1:123456789012:function:x",
	} {
		_, err = s.RotationFunction(given)
		wantFault(t, err, fault.Parameter, bad)
	}
	_, err = owned.RotationFunction(function)
	wantFault(t, err, fault.State, "Rotation Lambda ARN is not supported for a service-managed secret.")
	for _, tc := range []struct {
		s           *Secret
		given, want string
	}{{s, function, function}, {s, function + ":live", function + ":live"}, {stored, "", function}, {stored, function + "2", function + "2"}, {owned, "", ""}} {
		if got, err := tc.s.RotationFunction(tc.given); got != tc.want || err != nil {
			t.Errorf("RotationFunction(%q) = %q, %v; want %q", tc.given, got, err, tc.want)
		}
	}
}

func TestConfigureRotation(t *testing.T) {
	s := newSecret()
	dates := Dates{Next: start.Add(2 * time.Hour), Due: start.Add(time.Hour)}
	s.ConfigureRotation(function, &schedule.Rules{Expression: "rate(4 hours)"}, dates, start)
	s.ConfigureRotation(function+"2", nil, dates, start.Add(time.Minute))
	want := Rotation{
		Configured: true, Enabled: true, FunctionARN: function + "2", Rules: schedule.Rules{Expression: "rate(4 hours)"},
		ConfiguredAt: start.Add(time.Minute), NextDate: dates.Next, DueAt: dates.Due,
	}
	if diff := cmp.Diff(want, s.Rotation); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !s.ChangedAt.Equal(start.Add(time.Minute)) {
		t.Errorf("ChangedAt = %v", s.ChangedAt)
	}
}

func TestByRotation(t *testing.T) {
	for _, tc := range []struct {
		v    Version
		role string
		want bool
	}{
		{Version{WrittenBy: role}, role, true},
		{Version{WrittenBy: role + "2"}, role, false},
		{Version{WrittenBy: role + "2", ByToken: true}, role, true},
		{Version{}, "", false},
		{Version{WrittenBy: role}, "", false},
	} {
		if got := tc.v.ByRotation(tc.role); got != tc.want {
			t.Errorf("%+v by %q: got %v, want %v", tc.v, tc.role, got, tc.want)
		}
	}
	wantFault(t, NotByRotation("v2", "SECRET", "LAMBDA"), fault.State,
		"Pending secret version v2 for Secret SECRET was not created by Lambda LAMBDA. Remove the AWSPENDING staging label and restart rotation")
	if got, want := StepFailed("LAMBDA", SetSecret), "Error when executing lambda LAMBDA during setSecret step"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if next, ok := FinishSecret.Next(); ok || next != "" {
		t.Errorf("a step follows finishSecret: %q", next)
	}
}
