package invocation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// messages returns what a function has logged so far.
func messages(t *testing.T, s *apitest.Server, function string) string {
	t.Helper()
	var b strings.Builder
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(s.Logs, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/" + function)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			return "" // the group is made with the first entry
		}
		for _, e := range page.Events {
			b.WriteString(*e.Message)
		}
	}
	return b.String()
}

func waitFor(t *testing.T, s *apitest.Server, function, text string) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := messages(t, s, function)
		if strings.Contains(got, text) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %q, got log:\n%s", text, got)
		}
	}
}

// TestEventSurvivesKill kills the server while an accepted event runs: after
// the restart it is run again, under the same request ID, and is done.
func TestEventSurvivesKill(t *testing.T) {
	for _, backend := range []string{"sqlite", "postgres"} {
		t.Run(backend, func(t *testing.T) {
			o := apitest.Options{Interpreters: apitest.Interpreters(t)}
			if backend == "postgres" {
				o.StoreURL = apitest.StoreURL(t)
			}
			p := apitest.StartProcess(t, o)
			arn := p.NewFunction(t, apitest.PythonCode(t, "slow", `
import time
def lambda_handler(event, context):
    print("began", event["n"], flush=True)
    time.sleep(event["seconds"])
    print("ended", event["n"], flush=True)
`))
			out, err := p.Lambda.Invoke(t.Context(), &lambda.InvokeInput{
				FunctionName: &arn, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"n": 1, "seconds": 2}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			id, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
			waitFor(t, p.Server, "slow", "began 1")
			p.Kill()
			p.Restart()
			got := waitFor(t, p.Server, "slow", "ended 1")
			if n := strings.Count(got, "START RequestId: "+id); n != 2 {
				t.Errorf("got %d starts of request %s, want the one before the kill and one after:\n%s", n, id, got)
			}
			// Once done it is not run again.
			p.Stop()
			p.Restart()
			time.Sleep(time.Second)
			if n := strings.Count(messages(t, p.Server, "slow"), "START RequestId: "); n != 2 {
				t.Errorf("got %d starts after another restart, want 2", n)
			}
		})
	}
}

// TestPendingSurvivesKill kills the server right after functions were
// accepted: after the restart all of them become Active.
func TestPendingSurvivesKill(t *testing.T) {
	p := apitest.StartProcess(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	f := apitest.PythonCode(t, "f0", "def lambda_handler(event, context):\n    return 1\n")
	first := p.NewFunction(t, f)
	role, err := p.Lambda.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &first})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"f1", "f2", "f3"}
	for _, name := range names {
		_, err := p.Lambda.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
			FunctionName: &name, Role: role.Role, Runtime: types.Runtime(f.Runtime), Handler: &f.Handler, Code: &types.FunctionCode{ZipFile: f.Code},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	p.Restart()
	for _, name := range names {
		err := lambda.NewFunctionActiveV2Waiter(p.Lambda).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, 10*time.Second)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out, err := p.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name})
		if err != nil || string(out.Payload) != "1" {
			t.Errorf("%s: got %v, %v", name, out, err)
		}
	}
}
