package lambda_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	smithymiddleware "github.com/aws/smithy-go/middleware"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
)

func requestID(m smithymiddleware.Metadata) string {
	id, _ := awsmiddleware.GetRequestIDMetadata(m)
	return id
}

func TestInvoke(t *testing.T) {
	k := newKit(t).run()
	in := k.input("f", "import os\n"+echo+"    \n")
	in.Environment = &types.Environment{Variables: map[string]string{"COLOUR": "blue"}}
	in.Code.ZipFile = zipOf(t, `
import os
def lambda_handler(event, context):
    print("line one")
    if event.get("raise"):
        raise ValueError("boom")
    return {"event": event, "colour": os.environ["COLOUR"], "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "session": os.environ["AWS_SESSION_TOKEN"] != "", "url": os.environ["AWS_ENDPOINT_URL"],
            "client": context.client_context.custom if context.client_context else None}
`)
	k.create(in)
	out, err := k.Client.Invoke(t.Context(), &sdk.InvokeInput{
		FunctionName: aws.String("f"), Payload: []byte(`{"a":1}`), LogType: types.LogTypeTail,
		ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`))),
	})
	check(t, err)
	if out.StatusCode != 200 || out.FunctionError != nil || *out.ExecutedVersion != "$LATEST" {
		t.Errorf("got status %d, error %v, version %s", out.StatusCode, aws.ToString(out.FunctionError), *out.ExecutedVersion)
	}
	var answer struct {
		Event   map[string]int
		Colour  string
		ID      string
		ARN     string
		Session bool
		URL     string
		Client  map[string]string
	}
	check(t, json.Unmarshal(out.Payload, &answer))
	id := requestID(out.ResultMetadata)
	if answer.Event["a"] != 1 || answer.Colour != "blue" || answer.ID != id || answer.ARN != functionARN("f") || !answer.Session ||
		answer.URL != k.url || answer.Client["k"] != "v" {
		t.Errorf("got %s for request %s", out.Payload, id)
	}
	tail, err := base64.StdEncoding.DecodeString(*out.LogResult)
	check(t, err)
	for _, want := range []string{"START RequestId: " + id + " Version: $LATEST\n", "line one\n", "END RequestId: " + id + "\n", "REPORT RequestId: " + id + "\tDuration: "} {
		if !strings.Contains(string(tail), want) {
			t.Errorf("got log result %q, want %q in it", tail, want)
		}
		// The log is stored by the time of the answer.
		if log := k.log("/aws/lambda/f"); !strings.Contains(log, want) {
			t.Errorf("got log %q, want %q in it", log, want)
		}
	}

	failed, err := k.Client.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{"raise":true}`)})
	check(t, err)
	if failed.StatusCode != 200 || aws.ToString(failed.FunctionError) != "Unhandled" || failed.LogResult != nil ||
		!strings.HasPrefix(string(failed.Payload), `{"errorMessage":"boom","errorType":"ValueError","requestId":"`) &&
			!strings.HasPrefix(string(failed.Payload), `{"errorMessage": "boom", "errorType": "ValueError", "requestId": "`) {
		t.Errorf("got %d, %v, %s", failed.StatusCode, aws.ToString(failed.FunctionError), failed.Payload)
	}
}

func TestInvokeRefusals(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	invoke := func(in sdk.InvokeInput) error {
		if in.FunctionName == nil {
			in.FunctionName = aws.String("f")
		}
		_, err := k.Client.Invoke(t.Context(), &in)
		return err
	}
	wantError(t, invoke(sdk.InvokeInput{FunctionName: aws.String("none")}), "ResourceNotFoundException", 404, "Function not found: "+functionARN("none"))
	wantError(t, invoke(sdk.InvokeInput{Qualifier: aws.String("live")}), "ResourceNotFoundException", 404, "Function not found: "+functionARN("f")+":live")
	wantError(t, invoke(sdk.InvokeInput{Payload: []byte(`{"a":`)}), "InvalidRequestContentException", 400,
		"Could not parse request body into json: Could not parse payload into json: Unexpected end-of-input")
	wantError(t, invoke(sdk.InvokeInput{Payload: []byte("{\n  secret}")}), "InvalidRequestContentException", 400,
		"Could not parse request body into json: Could not parse payload into json: Unexpected character at line: 2, column: 3")
	wantError(t, invoke(sdk.InvokeInput{Payload: append(bytes.Repeat([]byte(" "), 6<<20), '1')}), "RequestTooLargeException", 413,
		"6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)")
	wantError(t, invoke(sdk.InvokeInput{InvocationType: types.InvocationTypeEvent, Payload: append(bytes.Repeat([]byte(" "), 1<<20), '1')}), "RequestTooLargeException", 413,
		"1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)")
	wantError(t, invoke(sdk.InvokeInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:999999999999:function:f")}), "AccessDeniedException", 403,
		"User: arn:aws:iam::123456789012:root is not authorized to perform: lambda:InvokeFunction on resource: "+
			"arn:aws:lambda:us-east-1:999999999999:function:f because no resource-based policy allows the lambda:InvokeFunction action")
	out, err := k.Client.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeDryRun})
	if err != nil || out.StatusCode != 204 || len(out.Payload) != 0 || out.ExecutedVersion != nil {
		t.Errorf("dry run: got %+v, %v", out, err)
	}
}

// TestInvokeHeaders sends what the SDK would not: no content type, and looks
// at the headers of the answer.
func TestInvokeHeaders(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+"/2015-03-31/functions/f/invocations", nil)
	check(t, err)
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	creds, err := k.cfg.Credentials.Retrieve(t.Context())
	check(t, err)
	check(t, v4.NewSigner().SignHTTP(context.Background(), creds, req, empty, "lambda", region, time.Now()))
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != 200 || string(body) != "{}" || resp.Header.Get("X-Amz-Executed-Version") != "$LATEST" ||
		resp.Header.Get("X-Amz-Function-Error") != "" || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("x-amzn-RequestId") == "" {
		t.Errorf("got %d, %s, %v", resp.StatusCode, body, resp.Header)
	}
}

func TestThrottle(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", "import time\ndef lambda_handler(event, context):\n    time.sleep(event)\n"))
	reserve := func(n int32) {
		t.Helper()
		_, err := k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(n)})
		check(t, err)
	}
	invoke := func(seconds string) error {
		_, err := k.Client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(seconds)})
		return err
	}
	throttled := func(err error) {
		t.Helper()
		wantError(t, err, "TooManyRequestsException", 429, "Rate Exceeded.")
		e, ok := errors.AsType[*types.TooManyRequestsException](err)
		if !ok || e.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded || aws.ToString(e.RetryAfterSeconds) == "" {
			t.Errorf("got %+v", e)
		}
	}
	reserve(0)
	throttled(invoke("0"))
	reserve(1)
	check(t, invoke("0"))
	var long sync.WaitGroup
	began := make(chan struct{})
	long.Go(func() {
		close(began)
		if err := invoke("2"); err != nil {
			t.Error(err)
		}
	})
	<-began
	time.Sleep(500 * time.Millisecond)
	throttled(invoke("0"))
	long.Wait()
	check(t, invoke("0"))
	_, err := k.DeleteFunctionConcurrency(ctx, &sdk.DeleteFunctionConcurrencyInput{FunctionName: aws.String("f")})
	check(t, err)
	got, err := k.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: aws.String("f")})
	if err != nil || got.ReservedConcurrentExecutions != nil {
		t.Errorf("got %v, %v after the reservation was deleted", got, err)
	}
}

// TestNewCode invokes old code, updates it, and finds the new one.
func TestNewCode(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", "def lambda_handler(event, context):\n    return 'old'\n"))
	answer := func(name string) string {
		t.Helper()
		out, err := k.Client.Invoke(ctx, &sdk.InvokeInput{FunctionName: &name})
		check(t, err)
		return string(out.Payload)
	}
	if got := answer("f"); got != `"old"` {
		t.Errorf("got %s, want old", got)
	}
	updated, err := k.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{
		FunctionName: aws.String("f"), ZipFile: zipOf(t, "def lambda_handler(event, context):\n    return 'dry'\n"), DryRun: true,
	})
	check(t, err)
	if got := answer("f"); got != `"old"` || updated.CodeSize == 0 {
		t.Errorf("after a dry run: got %s, want old", got)
	}
	_, err = k.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{
		FunctionName: aws.String("f"), ZipFile: zipOf(t, "def lambda_handler(event, context):\n    return 'new'\n"),
	})
	check(t, err)
	if got := answer("f"); got != `"new"` {
		t.Errorf("got %s, want new", got)
	}
	_, err = k.DeleteFunction(ctx, &sdk.DeleteFunctionInput{FunctionName: aws.String("f")})
	check(t, err)
	k.create(k.input("f", "def lambda_handler(event, context):\n    return 'again'\n"))
	if got := answer("f"); got != `"again"` {
		t.Errorf("made again: got %s", got)
	}
}

func TestLayers(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	publish := func(text string) *sdk.PublishLayerVersionOutput {
		t.Helper()
		out, err := k.PublishLayerVersion(ctx, &sdk.PublishLayerVersionInput{
			LayerName: aws.String("deps"), Description: aws.String("d"), CompatibleRuntimes: []types.Runtime{python},
			Content: &types.LayerVersionContentInput{ZipFile: layerZip(t, text)},
		})
		check(t, err)
		return out
	}
	one, two := publish("one"), publish("two")
	const arn = "arn:aws:lambda:us-east-1:123456789012:layer:deps"
	if *one.LayerArn != arn || *one.LayerVersionArn != arn+":1" || two.Version != 2 || *one.Content.Location != codeSite+*one.Content.CodeSha256 {
		t.Errorf("got %s, %s, version %d, %s", *one.LayerArn, *one.LayerVersionArn, two.Version, *one.Content.Location)
	}
	in := k.input("f", "import dep\ndef lambda_handler(event, context):\n    return dep.NAME\n")
	in.Layers = []string{arn + ":1"}
	created := k.create(in)
	if len(created.Layers) != 1 || *created.Layers[0].Arn != arn+":1" || created.Layers[0].CodeSize != one.Content.CodeSize {
		t.Errorf("got layers %+v", created.Layers)
	}
	answer := func() string {
		t.Helper()
		out, err := k.Client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f")})
		check(t, err)
		return string(out.Payload)
	}
	// The function keeps a layer that is deleted.
	_, err := k.DeleteLayerVersion(ctx, &sdk.DeleteLayerVersionInput{LayerName: aws.String("deps"), VersionNumber: aws.Int64(1)})
	check(t, err)
	if got := answer(); got != `"one"` {
		t.Errorf("got %s, want one", got)
	}
	_, err = k.GetLayerVersion(ctx, &sdk.GetLayerVersionInput{LayerName: aws.String("deps"), VersionNumber: aws.Int64(1)})
	wantError(t, err, "ResourceNotFoundException", 404, "The resource you requested does not exist.")
	_, err = k.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Layers: []string{arn + ":2"}})
	check(t, err)
	k.waitUpdated("f")
	if got := answer(); got != `"two"` {
		t.Errorf("got %s, want two", got)
	}
	_, err = k.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Layers: []string{arn + ":1"}})
	wantError(t, err, "InvalidParameterValueException", 400, "Layer version "+arn+":1 does not exist.")

	three := publish("three")
	versions, err := k.ListLayerVersions(ctx, &sdk.ListLayerVersionsInput{LayerName: aws.String("deps"), MaxItems: aws.Int32(1)})
	check(t, err)
	if len(versions.LayerVersions) != 1 || versions.LayerVersions[0].Version != three.Version || versions.NextMarker == nil {
		t.Fatalf("got %+v", versions)
	}
	versions, err = k.ListLayerVersions(ctx, &sdk.ListLayerVersionsInput{LayerName: aws.String(arn), Marker: versions.NextMarker})
	if err != nil || len(versions.LayerVersions) != 1 || versions.LayerVersions[0].Version != 2 || versions.NextMarker != nil {
		t.Errorf("got %+v, %v", versions, err)
	}
	layers, err := k.ListLayers(ctx, &sdk.ListLayersInput{CompatibleRuntime: python})
	if err != nil || len(layers.Layers) != 1 || *layers.Layers[0].LayerName != "deps" || layers.Layers[0].LatestMatchingVersion.Version != 3 {
		t.Errorf("got %+v, %v", layers, err)
	}
	layers, err = k.ListLayers(ctx, &sdk.ListLayersInput{CompatibleRuntime: types.RuntimeNodejs20x})
	if err != nil || len(layers.Layers) != 0 {
		t.Errorf("another runtime: got %+v, %v", layers, err)
	}
	byARN, err := k.GetLayerVersionByArn(ctx, &sdk.GetLayerVersionByArnInput{Arn: aws.String(arn + ":3")})
	if err != nil || byARN.Version != 3 || *byARN.Description != "d" {
		t.Errorf("got %+v, %v", byARN, err)
	}
}

// TestProvisioned keeps an environment ready and sees that an invocation
// finds it.
func TestProvisioned(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", "import os\ndef lambda_handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"))
	put := func(qualifier string, n int32) error {
		_, err := k.PutProvisionedConcurrencyConfig(ctx, &sdk.PutProvisionedConcurrencyConfigInput{
			FunctionName: aws.String("f"), Qualifier: &qualifier, ProvisionedConcurrentExecutions: &n,
		})
		return err
	}
	wantError(t, put("$LATEST", 1), "InvalidParameterValueException", 400, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
	wantError(t, put("live", 1), "ResourceNotFoundException", 404, "Cannot find alias arn: "+functionARN("f")+":live")
	one := k.publish("f")
	_, err := k.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: &one})
	check(t, err)
	get := func() (*sdk.GetProvisionedConcurrencyConfigOutput, error) {
		return k.GetProvisionedConcurrencyConfig(ctx, &sdk.GetProvisionedConcurrencyConfigInput{FunctionName: aws.String("f"), Qualifier: aws.String("live")})
	}
	_, err = get()
	wantError(t, err, "ProvisionedConcurrencyConfigNotFoundException", 404, "No Provisioned Concurrency Config found for this function")
	check(t, put("live", 1))
	wantError(t, put(one, 1), "ResourceConflictException", 409, "Version is pointed by a Provisioned Concurrency alias")
	_, err = k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(0)})
	wantError(t, err, "InvalidParameterValueException", 400, " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1].")
	for {
		got, err := get()
		check(t, err)
		if got.Status == types.ProvisionedConcurrencyStatusEnumReady {
			if *got.AvailableProvisionedConcurrentExecutions != 1 || *got.RequestedProvisionedConcurrentExecutions != 1 {
				t.Errorf("got %+v", got)
			}
			break
		}
		if got.Status == types.ProvisionedConcurrencyStatusEnumFailed {
			t.Fatalf("got %s", aws.ToString(got.StatusReason))
		}
		time.Sleep(pause)
	}
	out, err := k.Client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f:live")})
	if err != nil || string(out.Payload) != `"provisioned-concurrency"` || *out.ExecutedVersion != one {
		t.Errorf("got %s, %v", out.Payload, err)
	}
	list, err := k.ListProvisionedConcurrencyConfigs(ctx, &sdk.ListProvisionedConcurrencyConfigsInput{FunctionName: aws.String("f")})
	if err != nil || len(list.ProvisionedConcurrencyConfigs) != 1 || *list.ProvisionedConcurrencyConfigs[0].FunctionArn != functionARN("f")+":live" {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err = k.DeleteProvisionedConcurrencyConfig(ctx, &sdk.DeleteProvisionedConcurrencyConfigInput{FunctionName: aws.String("f"), Qualifier: aws.String("live")})
	check(t, err)
	for k.pool.Provisioned(functionARN("f"), one).Requested != 0 {
		time.Sleep(pause)
	}
}
