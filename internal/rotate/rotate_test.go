package rotate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// watched is a secret whose rotation is watched.
type watched struct {
	*apitest.Server
	t    *testing.T
	name string
	// clients are those of the watch.
	clients rotate.Clients
}

// newWatched makes a secret and configures its rotation with a function that
// does how in step.
func newWatched(t *testing.T, s *apitest.Server, name, step, how string) *watched {
	t.Helper()
	w := &watched{s, t, name, rotate.NewClients(s.Config)}
	_, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	function := s.NewFunction(t, apitest.StepFunction(t, name, step, how))
	_, err = s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &name, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w // while the configuration is still being tested
}

// watch rotates; meanwhile is told of each report, in order.
func (w *watched) watch(meanwhile func(rotate.Report)) (reports, logs []string, err error) {
	w.t.Helper()
	r, err := rotate.Start(w.t.Context(), w.clients, w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	err = r.Watch(ctx, func(l rotate.Line) {
		w.t.Log(l.Text())
		if l.Report == nil {
			logs = append(logs, l.Log)
			return
		}
		reports = append(reports, strings.TrimSpace(l.Report.Step+" "+string(l.Report.Status)))
		if l.Report.Token != r.Token || l.Report.SecretARN != r.SecretARN {
			w.t.Errorf("a report of another rotation: %+v", l.Report)
		}
		if meanwhile != nil {
			meanwhile(*l.Report)
		}
	})
	return reports, logs, err
}

// wantVerdict demands how a watch ended; "" stands for success.
func wantVerdict(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("got %v, want success", err)
		}
		return
	}
	if !errors.Is(err, rotate.ErrNotSucceeded) || err.Error() != "the rotation did not succeed: "+want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// without drops the attempts' starts and retries, of which there are as many
// as it takes.
func without(reports []string, drop ...string) []string {
	var kept []string
	for _, r := range reports {
		if !strings.Contains(strings.Join(drop, "|"), r) {
			kept = append(kept, r)
		}
	}
	return kept
}

var starts = []string{"started", "createSecret started", "setSecret started", "testSecret started", "finishSecret started"}

func TestWatch(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	t.Run("success", func(t *testing.T) {
		t.Parallel()
		w := newWatched(t, s, "good", "", "")
		for range 2 {
			reports, logs, err := w.watch(nil)
			wantVerdict(t, err, "")
			want := []string{"createSecret done", "setSecret done", "testSecret done", "finishSecret done", "succeeded"}
			if diff := cmp.Diff(want, without(reports, starts...)); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			for _, line := range []string{"doing createSecret", "doing finishSecret", "REPORT RequestId:"} {
				if !strings.Contains(strings.Join(logs, "\n"), line) {
					t.Errorf("%q is not among the function's lines: %q", line, logs)
				}
			}
		}
	})
	t.Run("failure", func(t *testing.T) {
		t.Parallel()
		w := newWatched(t, s, "bad", "setSecret", "raise")
		retries := 0
		reports, _, err := w.watch(func(rep rotate.Report) {
			if rep.Status == rotate.Retrying {
				retries++
				w.hurry()
			}
		})
		wantVerdict(t, err, "failed: Error when executing lambda arn:aws:lambda:us-east-1:123456789012:function:bad during setSecret step")
		if retries != 4 {
			t.Errorf("got %d retries, want 4", retries)
		}
		if got := without(reports, append(starts, "createSecret done", "retrying")...); len(got) != 6 || got[0] != "setSecret failed" || got[5] != "failed" {
			t.Errorf("got %v, want five failures and the verdict", got)
		}
	})
	t.Run("abandoned", func(t *testing.T) {
		t.Parallel()
		w := newWatched(t, s, "abandoned", "setSecret", "hang")
		_, _, err := w.watch(func(rep rotate.Report) {
			if rep.Step == "createSecret" && rep.Status == rotate.Done {
				w.put()
			}
		})
		wantVerdict(t, err, "abandoned")
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		w := newWatched(t, s, "cancelled", "setSecret", "hang")
		_, _, err := w.watch(func(rep rotate.Report) {
			if rep.Step == "createSecret" && rep.Status == rotate.Done {
				w.cancel()
			}
		})
		wantVerdict(t, err, "cancelled")
	})
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		w := newWatched(t, s, "given-up", "createSecret", "hang")
		r, err := rotate.Start(t.Context(), w.clients, w.name)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		err = r.Watch(ctx, func(rotate.Line) {})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "watching the rotation of "+r.SecretARN) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not configured", func(t *testing.T) {
		t.Parallel()
		if _, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("plain"), SecretString: aws.String("v")}); err != nil {
			t.Fatal(err)
		}
		_, err := rotate.Start(t.Context(), rotate.NewClients(s.Config), "plain")
		if invalid, ok := errors.AsType[*smtypes.InvalidRequestException](err); !ok || !strings.HasPrefix(err.Error(), "rotating plain: ") {
			t.Errorf("got %v (%v)", err, invalid)
		}
	})
}

// hurry makes the next attempt start at once.
func (w *watched) hurry() {
	w.t.Helper()
	_, err := w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.name})
	if _, ok := errors.AsType[*smtypes.InvalidRequestException](err); !ok {
		w.t.Errorf("got %v, want that the rotation is reattempted", err)
	}
}

func (w *watched) put() {
	w.t.Helper()
	_, err := w.Secrets.PutSecretValue(w.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &w.name, SecretString: aws.String("by hand")})
	if err != nil {
		w.t.Error(err)
	}
}

func (w *watched) cancel() {
	w.t.Helper()
	if _, err := w.Secrets.CancelRotateSecret(w.t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &w.name}); err != nil {
		w.t.Error(err)
	}
}

// Where no engine reports, as on AWS, the watch goes by CloudTrail. A client
// for the logs of another region finds no log group of the engine.
func TestWatchByCloudTrail(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	elsewhere := cloudwatchlogs.NewFromConfig(apitest.ConfigFor(s.URL, "eu-west-1"))
	for _, tc := range []struct {
		name, step, how string
		meanwhile       func(*watched)
		reports         []string
		verdict         string
	}{
		{"succeeds", "", "", nil, []string{"started", "succeeded"}, ""},
		{"fails", "testSecret", "raise", nil, []string{"started", "failed"},
			"failed: Error when executing lambda arn:aws:lambda:us-east-1:123456789012:function:fails during testSecret step"},
		{"foreign", "setSecret", "hang", (*watched).put, []string{"started", "abandoned"}, "abandoned"},
		{"stopped", "setSecret", "hang", (*watched).cancel, []string{"started", "cancelled"}, "cancelled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, s, tc.name, tc.step, tc.how)
			w.clients.Logs = elsewhere
			began := make(chan rotate.Report, 10)
			if tc.meanwhile != nil {
				go func() {
					<-began
					tc.meanwhile(w)
				}()
			}
			reports, logs, err := w.watch(func(rep rotate.Report) { began <- rep })
			wantVerdict(t, err, tc.verdict)
			if diff := cmp.Diff(tc.reports, reports); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			if len(logs) != 0 {
				t.Errorf("lines of the function from another region: %q", logs)
			}
		})
	}
}

func TestText(t *testing.T) {
	at := time.Date(2025, 3, 10, 8, 17, 48, 123e6, time.FixedZone("", 3600))
	for want, l := range map[string]rotate.Line{
		"07:17:48.123    | one\n                | two": {Time: at, Log: "one\ntwo"},
		"07:17:48.123  rotation     succeeded":         {Time: at, Report: &rotate.Report{Status: rotate.Succeeded}},
		"07:17:48.123  setSecret    failed in 1.5s (attempt 2): boom; next attempt at 2025-03-10T08:18:00Z": {Time: at, Report: &rotate.Report{
			Status: rotate.Failed, Step: "setSecret", Attempt: 2, DurationMS: 1500, Error: "boom", RetryAt: "2025-03-10T08:18:00Z",
		}},
		"07:17:48.123  rotation     failed: boom\n                  D11 The login is refused (likely)\n                  The password is another one.\n" +
			"                  remedy: Take the label off.\n                      aws one\n                      aws two\n                  risk: none": {
			Time: at, Report: &rotate.Report{Status: rotate.Failed, Error: "boom", Finding: &rotate.Finding{
				Code: "D11", Title: "The login is refused", Confidence: "likely", Cause: "The password is another one.",
				Remedies: []rotate.Remedy{{Text: "Take the label off.", Commands: []string{"aws one", "aws two"}, Risk: "none"}, {Text: "Something else."}},
			}},
		},
		"07:17:48.123  rotation     failed\n                  D20 Not invoked": {
			Time: at, Report: &rotate.Report{Status: rotate.Failed, Finding: &rotate.Finding{Code: "D20", Title: "Not invoked", Confidence: "certain"}},
		},
	} {
		if got := l.Text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
