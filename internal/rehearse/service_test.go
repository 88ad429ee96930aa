package rehearse_test

import (
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rehearse"
)

// Any service can be rehearsed with, by a program that starts and checks it.
// What only a superuser could do is left out.
func TestService(t *testing.T) {
	t.Parallel()
	code, err := rehearse.Zip(filepath.Join("testdata", "service"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(filepath.Join("testdata", "service", "service.py"))
	if err != nil {
		t.Fatal(err)
	}
	runtime, python := apitest.Python(t)
	o := options(t, rehearse.Function{Name: "service", Runtime: runtime, Handler: "lambda_function.lambda_handler", Code: code})
	o.Engine, o.Service = "", python+" '"+program+"'"
	o.Only = []string{"kill-after-*", "database-down-*", "wrong-password-test", "punctuation-*"}
	report := run(t, o)
	if !report.Passed {
		t.Errorf("got the findings %v, want none", report.Codes())
	}
	for _, r := range report.Results {
		want := rehearse.Passed
		if r.Fault == "wrong-password-test" || r.Fault == "punctuation-current" {
			want = rehearse.Skipped
		}
		if r.Outcome != want {
			t.Errorf("%s: got %s (%s), want %s", r.Fault, r.Outcome, r.Note, want)
		}
	}
}

// A function is taken from a server with its layers, and nothing is changed.
func TestFetch(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	f := apitest.PythonRotation(t, "live")
	f.Environment = map[string]string{"PASSWORD_LENGTH": "40"}
	arn := s.NewFunction(t, f)
	layer := apitest.Zip(t, map[string][]byte{"python/extra.py": []byte("x = 1\n")})
	published, err := s.Lambda.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{
		LayerName: aws.String("extra"), Content: &lambdatypes.LayerVersionContentInput{ZipFile: layer},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &arn, Layers: []string{*published.LayerVersionArn},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := rehearse.Fetch(t.Context(), s.Config, arn)
	if err != nil {
		t.Fatal(err)
	}
	want := rehearse.Function{
		Name: "live", Runtime: f.Runtime, Handler: f.Handler, Code: f.Code, Layers: [][]byte{layer}, Timeout: 30, Memory: 128,
		Environment: f.Environment,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the function (-want +got):\n%s", diff)
	}
	if _, err := rehearse.Fetch(t.Context(), s.Config, "missing"); err == nil {
		t.Error("a function that does not exist was found")
	}
}
