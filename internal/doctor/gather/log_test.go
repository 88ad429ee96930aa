package gather

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/doctor"
)

// logged makes events of lines: a stream, a colon and the text, each 10 ms
// after the one before.
func logged(lines ...string) []logtypes.FilteredLogEvent {
	var events []logtypes.FilteredLogEvent
	for i, l := range lines {
		stream, text, _ := strings.Cut(l, ":")
		events = append(events, logtypes.FilteredLogEvent{LogStreamName: &stream, Timestamp: aws.Int64(int64(1000 + 10*i)), Message: aws.String(text + "\n")})
	}
	return events
}

// shape prints an invocation in a line.
func shape(inv doctor.Invocation) string {
	var texts []string
	for _, l := range inv.Lines {
		texts = append(texts, l.Text)
	}
	flags := ""
	if inv.Complete {
		flags += " complete"
	}
	if inv.TimedOut {
		flags += " timeout"
	}
	return fmt.Sprintf("%s %s at %d%s took %s init %s memory %d/%d: %s", inv.Stream, inv.RequestID, inv.StartedAt.UnixMilli(), flags,
		inv.Took, inv.Init, inv.MaxMemoryMB, inv.MemoryMB, strings.Join(texts, " | "))
}

func TestParseLog(t *testing.T) {
	const report = "\tDuration: 12.50 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 51 MB\t"
	for _, tc := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"two in a stream", []string{
			"s:INIT_START Runtime Version: python:3.9.v1\tRuntime Version ARN: arn:aws:lambda:x", "s:START RequestId: a Version: $LATEST", "s:one", "s:END RequestId: a",
			"s:REPORT RequestId: a" + report + "Init Duration: 400.25 ms\t", "s:START RequestId: b Version: $LATEST", "s:two", "s:END RequestId: b", "s:REPORT RequestId: b" + report,
		}, []string{
			"s a at 1010 complete took 12.5ms init 400.25ms memory 51/128: one", "s b at 1050 complete took 12.5ms init 0s memory 51/128: two",
		}},
		{"streams side by side", []string{
			"s:START RequestId: a Version: 1", "r:START RequestId: b Version: 1", "s:of a", "r:of b", "s:REPORT RequestId: a" + report,
		}, []string{
			"s a at 1000 complete took 12.5ms init 0s memory 51/128: of a", "r b at 1010 took 0s init 0s memory 0/0: of b",
		}},
		{"out of time, before 2025 and since", []string{
			"s:START RequestId: a Version: 1", "s:Found credentials in environment variables.",
			"s:2026-01-02T03:04:05.678Z a Task timed out after 30.03 seconds", "s:END RequestId: a", "s:REPORT RequestId: a" + report,
			"s:START RequestId: b Version: 1", "s:END RequestId: b", "s:REPORT RequestId: b" + report + "Status: timeout",
			"s:2026-01-02T03:04:05.678Z b Task timed out after 3.00 seconds",
		}, []string{
			"s a at 1000 complete timeout took 12.5ms init 0s memory 51/128: Found credentials in environment variables. | 2026-01-02T03:04:05.678Z a Task timed out after 30.03 seconds",
			"s b at 1050 complete timeout took 12.5ms init 0s memory 51/128: 2026-01-02T03:04:05.678Z b Task timed out after 3.00 seconds",
		}},
		{"a module that is missing", []string{
			"s:[ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named 'pg'", "s:INIT_REPORT Init Duration: 200.00 ms\tPhase: init\tStatus: error",
			"s:START RequestId: a Version: 1", "s:[ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named 'pg'", "s:REPORT RequestId: a" + report + "Status: error\tError Type: Runtime.ImportModuleError",
		}, []string{
			"s a at 1020 complete took 12.5ms init 0s memory 51/128: [ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named 'pg' | " +
				"INIT_REPORT Init Duration: 200.00 ms\tPhase: init\tStatus: error | [ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named 'pg'",
		}},
		{"an environment that never ran", []string{"s:RequestId: x Error: Runtime exited with error: exit status 1"}, []string{
			"s  at 1000 took 0s init 0s memory 0/0: RequestId: x Error: Runtime exited with error: exit status 1",
		}},
		{"the beginning is cut off", []string{"s:END RequestId: a", "s:REPORT RequestId: a" + report}, []string{"s a at 1000 complete took 12.5ms init 0s memory 51/128: "}},
		{"JSON", []string{
			`s:{"time":"t","type":"platform.initStart","record":{"phase":"init"}}`, `s:{"time":"t","type":"platform.start","record":{"requestId":"a","version":"1"}}`,
			`s:{"timestamp":"t","level":"INFO","message":"setSecret","requestId":"a"}`,
			`s:{"time":"t","type":"platform.runtimeDone","record":{"requestId":"a","status":"timeout","metrics":{"durationMs":3000.0}}}`,
			`s:{"time":"t","type":"platform.report","record":{"requestId":"a","metrics":{"durationMs":3000.0,"memorySizeMB":128,"maxMemoryUsedMB":60,"initDurationMs":250.5},"status":"timeout"}}`,
		}, []string{`s a at 1010 complete timeout took 3s init 250.5ms memory 60/128: {"timestamp":"t","level":"INFO","message":"setSecret","requestId":"a"}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, inv := range parseLog(logged(tc.lines...)) {
				got = append(got, shape(inv))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Long lines and many of them are cut.
func TestParseLogBounds(t *testing.T) {
	lines := []string{"s:START RequestId: a Version: 1", "s:" + strings.Repeat("é", maxLine)}
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("s:line %d", i))
	}
	got := parseLog(logged(lines...))[0].Lines
	if len(got) != firstLines+1+lastLines || got[firstLines].Text != "… 801 lines left out …" || got[len(got)-1].Text != "line 999" {
		t.Errorf("got %d lines, in the middle %q", len(got), got[firstLines].Text)
	}
	if n := len(got[0].Text); n > maxLine+len("…") || !strings.HasSuffix(got[0].Text, "é…") {
		t.Errorf("got a line of %d bytes", n)
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add("START RequestId: a Version: 1", "REPORT RequestId: a\tDuration: 1e9 ms", `{"type":"platform.report"}`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		all := parseLog(logged("s:"+a, "r:"+b, "s:"+c, "s:"+b))
		if len(all) > 4 {
			t.Errorf("got %d invocations of 4 lines", len(all))
		}
	})
}

func TestBlot(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`{"username":"app","password":"pä\"ss","port":1}`, `{"username":"app","password":"***","port":1}`},
		{`{'username': 'app', 'password': 'p"a\'ss', 'port': 1}`, `{'username': 'app', 'password': '***', 'port': 1}`},
		{`'SecretString': '{"password": "x"}', 'VersionId': 'v'`, `'SecretString': '***', 'VersionId': 'v'`},
		{`ALTER USER app WITH PASSWORD 'x''y'; SELECT 1`, `ALTER USER app WITH PASSWORD '***'; SELECT 1`},
		{`SET PASSWORD for app: ALTER USER app IDENTIFIED BY "x y"`, `SET PASSWORD for app: ALTER USER app IDENTIFIED BY "***"`},
		{`CREATE USER a IDENTIFIED WITH caching_sha2_password BY 'x'`, `CREATE USER a IDENTIFIED WITH caching_sha2_password BY '***'`},
		{`host=db user=app password=x,y port=1`, `host=db user=app password=***,y port=1`},
		{`connecting to postgresql://app:x%40y@db:5432/d`, `connecting to postgresql://app:***@db:5432/d`},
		{`"RotationToken": "abc", "Step": "createSecret"`, `"RotationToken": "***", "Step": "createSecret"`},
		{`body: "{\"password\": \"x\", \"user\": 1}"`, `body: "{\"password\": \"***\", \"user\": 1}"`},
		{`{"password":"cut off in the mid`, `{"password":"***"`},
		{`FATAL:  password authentication failed for user "app"`, `FATAL:  password authentication failed for user "app"`},
		{`setSecret: Unable to log into database with previous, current, or pending secret of secret arn x`, `setSecret: Unable to log into database with previous, current, or pending secret of secret arn x`},
		{`KeyError: 'password'`, `KeyError: 'password'`},
		{`https://secretsmanager.eu-west-1.amazonaws.com:443/x@y`, `https://secretsmanager.eu-west-1.amazonaws.com:443/x@y`},
	} {
		if got := blot(tc.text); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

func TestWindows(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	event := func(minute int, name, token string) doctor.Event {
		return doctor.Event{At: at(minute), Name: name, Token: token}
	}
	got := windows([]doctor.Event{
		event(0, "RotationStarted", "a"), event(5, "RotationFailed", "a"), event(9, "RotationFailed", "a"),
		event(60, "RotationFailed", "b"), // its beginning is not known
		event(200, "RotateSecret", "c"), event(200, "RotationStarted", "c"),
		{At: at(190), Name: "RotateSecret", ErrorCode: "AccessDeniedException", Token: "d"}, event(195, "CancelRotateSecret", "e"), event(196, "RotationFailed", ""),
	}, at(300))
	want := []window{
		{at(0).Add(-before), at(9).Add(after)}, {at(60).Add(-longestStep - before), at(60).Add(after)}, {at(200).Add(-before), at(300).Add(after)},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(window{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var many []doctor.Event
	for i := range 20 {
		many = append(many, event(i*60, "RotationStarted", fmt.Sprint(i)), event(i*60+1, "RotationSucceeded", fmt.Sprint(i)))
	}
	if got := windows(many, at(5000)); len(got) != lastRotations || !got[0].from.Equal(at(15*60).Add(-before)) {
		t.Errorf("got %v", got)
	}
	overlapping := []doctor.Event{event(0, "RotationStarted", "a"), event(10, "RotationFailed", "a"), event(3, "RotationStarted", "b"), event(4, "RotationSucceeded", "b")}
	if got := windows(overlapping, at(20)); len(got) != 1 || !got[0].to.Equal(at(10).Add(after)) {
		t.Errorf("got %v", got)
	}
}

// Calls to CloudTrail are two a second, those to others come in bursts.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, started := newRate(10), time.Now()
		for range 5 {
			if err := r.wait(t.Context(), "cloudtrail"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(started); took != 2*time.Second {
			t.Errorf("five lookups took %s, want 2s", took)
		}
		started = time.Now()
		for range 15 {
			if err := r.wait(t.Context(), "lambda"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(started); took != time.Second {
			t.Errorf("fifteen calls took %s, want 1s after a burst of five", took)
		}
		var none *rate
		if err := none.wait(t.Context(), "lambda"); err != nil || time.Since(started) != time.Second {
			t.Errorf("no rate: got %v", err)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add(`{"eventName":"RotationFailed","requestID":"Rotation-arn:aws:secretsmanager:r:1:secret:a-AbCdEf-01a202a1-76b5-79af-9393-1f1acc48b9fd"}`)
	f.Add(`{"eventName":"PutSecretValue","requestParameters":{"rotationToken":{}},"resources":[{"ARN":"x"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := parseEvent(trailtypes.Event{CloudTrailEvent: &text})
		if ok && v.Name == "" {
			t.Error("got an event without a name")
		}
		if _, err := json.Marshal(v); err != nil && v.At.Year() <= 9999 && v.At.Year() >= 0 {
			t.Error(err)
		}
	})
}

func TestParseEvent(t *testing.T) {
	const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf"
	const token = "01a202a1-76b5-79af-9393-1f1acc48b9fd"
	at := time.Date(2026, 3, 10, 8, 17, 48, 0, time.UTC)
	for _, tc := range []struct {
		name, record string
		want         doctor.Event
	}{
		{"service event", `{"eventTime":"2026-03-10T08:17:48Z","eventSource":"secretsmanager.amazonaws.com","eventName":"RotationFailed","eventID":"e",
			"userIdentity":{"accountId":"123456789012","invokedBy":"secretsmanager.amazonaws.com"},"errorMessage":"Error when executing lambda x during setSecret step",
			"requestParameters":null,"responseElements":null,"additionalEventData":{"SecretId":"` + secret + `"},"requestID":"Rotation-` + secret + `-` + token + `","eventType":"AwsServiceEvent"}`,
			doctor.Event{
				ID: "e", Name: "RotationFailed", Source: "secretsmanager.amazonaws.com", At: at, Invoker: "secretsmanager.amazonaws.com", Service: true,
				ErrorMessage: "Error when executing lambda x during setSecret step", SecretID: secret, Token: token,
			}},
		{"with serviceEventDetails", `{"eventTime":"2026-03-10T08:17:48Z","eventName":"RotationStarted","eventID":"e","serviceEventDetails":{"secretId":"` + secret + `"},"eventType":"AwsServiceEvent"}`,
			doctor.Event{ID: "e", Name: "RotationStarted", At: at, Service: true, SecretID: secret}},
		{"a label moved", `{"eventTime":"2026-03-10T08:17:48Z","eventName":"UpdateSecretVersionStage","eventID":"e","userIdentity":{"arn":"arn:aws:iam::123456789012:user/u"},
			"requestParameters":{"secretId":"app/db","versionStage":"AWSCURRENT","moveToVersionId":"` + token + `","removeFromVersionId":"old"},"responseElements":{"aRN":"` + secret + `"},"eventType":"AwsApiCall"}`,
			doctor.Event{
				ID: "e", Name: "UpdateSecretVersionStage", At: at, Principal: "arn:aws:iam::123456789012:user/u", SecretID: secret, Token: token,
				Label: "AWSCURRENT", From: "old", To: token,
			}},
		{"a hidden token", `{"eventTime":"2026-03-10T08:17:48Z","eventName":"PutSecretValue","eventID":"e","sourceIPAddress":"lambda.amazonaws.com",
			"requestParameters":{"secretId":"app/db","clientRequestToken":"` + token + `","rotationToken":"HIDDEN_DUE_TO_SECURITY_REASONS"},"eventType":"AwsApiCall"}`,
			doctor.Event{ID: "e", Name: "PutSecretValue", At: at, Invoker: "lambda.amazonaws.com", SecretID: "app/db", Token: token, HadRotationToken: true}},
	} {
		got, ok := parseEvent(trailtypes.Event{CloudTrailEvent: &tc.record})
		if diff := cmp.Diff(tc.want, got); diff != "" || !ok {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, ok, diff)
		}
	}
	if _, ok := parseEvent(trailtypes.Event{CloudTrailEvent: aws.String("nonsense")}); ok {
		t.Error("nonsense is an event")
	}
}
