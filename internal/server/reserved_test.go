package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// Nobody but the engine writes its reports: neither by the API, whatever the
// policies, nor as a function whose log goes there.
func TestReportsAreTheServersOwn(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	group := aws.String("/keyturn/rotation")
	if _, err := s.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "written by the server alone") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	_, err := s.Logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: aws.String("s")})
	refused("CreateLogStream", err)
	_, err = s.Logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: group, LogStreamName: aws.String("s"),
		LogEvents: []logtypes.InputLogEvent{{Message: aws.String("{}"), Timestamp: aws.Int64(time.Now().UnixMilli())}},
	})
	refused("PutLogEvents", err)
	_, err = s.Logs.DeleteLogStream(t.Context(), &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: group, LogStreamName: aws.String("s")})
	refused("DeleteLogStream", err)

	function := s.NewFunction(t, apitest.PythonCode(t, "forger", "def lambda_handler(event, context):\n    print('{\"status\":\"succeeded\"}')\n"))
	_, err = s.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &function, LoggingConfig: &lambdatypes.LoggingConfig{LogGroup: group},
	})
	if err == nil {
		err = lambda.NewFunctionUpdatedV2Waiter(s.Lambda).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &function}, time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &function}); err != nil {
		t.Fatal(err)
	}
	out, err := s.Logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: group})
	if err != nil || len(out.Events) != 0 {
		t.Errorf("a function wrote %d lines among the reports, %v", len(out.Events), err)
	}
}
