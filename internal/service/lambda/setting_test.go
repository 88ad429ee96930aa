package lambda_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

func TestTags(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	arn := aws.String(functionARN("f"))
	list := func() map[string]string {
		t.Helper()
		out, err := k.ListTags(ctx, &sdk.ListTagsInput{Resource: arn})
		check(t, err)
		return out.Tags
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	_, err := k.TagResource(ctx, &sdk.TagResourceInput{Resource: arn, Tags: map[string]string{"a": "1", "b": "2", "c": "3"}})
	check(t, err)
	_, err = k.UntagResource(ctx, &sdk.UntagResourceInput{Resource: arn, TagKeys: []string{"a", "c", "x"}})
	check(t, err)
	if diff := cmp.Diff(map[string]string{"b": "2"}, list()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	_, err = k.ListTags(ctx, &sdk.ListTagsInput{Resource: aws.String(functionARN("f") + ":1")})
	wantError(t, err, "InvalidParameterValueException", 400, "Tags on function aliases and versions are not supported. Please specify a function ARN.")
}

func TestAccountSettings(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	in := k.input("f", echo)
	k.create(in)
	_, err := k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(10)})
	check(t, err)
	got, err := k.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{})
	check(t, err)
	if l := got.AccountLimit; l.TotalCodeSize != 80530636800 || l.CodeSizeUnzipped != 262144000 || l.CodeSizeZipped != 52428800 ||
		l.ConcurrentExecutions != 200 || *l.UnreservedConcurrentExecutions != 190 {
		t.Errorf("got limits %+v", l)
	}
	if u := got.AccountUsage; u.FunctionCount != 1 || u.TotalCodeSize != int64(len(in.Code.ZipFile)) {
		t.Errorf("got usage %+v", u)
	}
	_, err = k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(101)})
	wantError(t, err, "InvalidParameterValueException", 400,
		"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].")
}

func TestEventInvokeConfig(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	get := func() (*sdk.GetFunctionEventInvokeConfigOutput, error) {
		return k.GetFunctionEventInvokeConfig(ctx, &sdk.GetFunctionEventInvokeConfigInput{FunctionName: aws.String("f")})
	}
	_, err := get()
	const none = "doesn't have an EventInvokeConfig"
	wantError(t, err, "ResourceNotFoundException", 404, "The function "+functionARN("f")+":$LATEST "+none)
	_, err = k.PutFunctionEventInvokeConfig(ctx, &sdk.PutFunctionEventInvokeConfigInput{FunctionName: aws.String("f")})
	wantError(t, err, "InvalidParameterValueException", 400, "You must specify at least one of error handling or destination setting.")
	_, err = k.PutFunctionEventInvokeConfig(ctx, &sdk.PutFunctionEventInvokeConfigInput{FunctionName: aws.String("f"), MaximumRetryAttempts: aws.Int32(1)})
	check(t, err)
	_, err = k.UpdateFunctionEventInvokeConfig(ctx, &sdk.UpdateFunctionEventInvokeConfigInput{FunctionName: aws.String("f"), MaximumEventAgeInSeconds: aws.Int32(60)})
	check(t, err)
	got, err := get()
	check(t, err)
	if *got.FunctionArn != functionARN("f")+":$LATEST" || *got.MaximumRetryAttempts != 1 || *got.MaximumEventAgeInSeconds != 60 || got.LastModified == nil {
		t.Errorf("got %+v", got)
	}
	_, err = k.DeleteFunctionEventInvokeConfig(ctx, &sdk.DeleteFunctionEventInvokeConfigInput{FunctionName: aws.String("f")})
	check(t, err)
	_, err = get()
	wantError(t, err, "ResourceNotFoundException", 404, "The function "+functionARN("f")+":$LATEST "+none)
}

func TestReadOnlySettings(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	runtime, err := k.GetRuntimeManagementConfig(ctx, &sdk.GetRuntimeManagementConfigInput{FunctionName: aws.String("f")})
	if err != nil || runtime.UpdateRuntimeOn != types.UpdateRuntimeOnAuto || *runtime.FunctionArn != functionARN("f")+":$LATEST" {
		t.Errorf("got %+v, %v", runtime, err)
	}
	_, err = k.PutRuntimeManagementConfig(ctx, &sdk.PutRuntimeManagementConfigInput{FunctionName: aws.String("f"), UpdateRuntimeOn: types.UpdateRuntimeOnFunctionUpdate})
	check(t, err)
	runtime, err = k.GetRuntimeManagementConfig(ctx, &sdk.GetRuntimeManagementConfigInput{FunctionName: aws.String("f")})
	if err != nil || runtime.UpdateRuntimeOn != types.UpdateRuntimeOnFunctionUpdate {
		t.Errorf("got %+v, %v", runtime, err)
	}
	signing, err := k.GetFunctionCodeSigningConfig(ctx, &sdk.GetFunctionCodeSigningConfigInput{FunctionName: aws.String("f")})
	if err != nil || aws.ToString(signing.CodeSigningConfigArn) != "" || *signing.FunctionName != "f" {
		t.Errorf("got %+v, %v", signing, err)
	}
	recursion, err := k.GetFunctionRecursionConfig(ctx, &sdk.GetFunctionRecursionConfigInput{FunctionName: aws.String("f")})
	if err != nil || recursion.RecursiveLoop != types.RecursiveLoopTerminate {
		t.Errorf("got %+v, %v", recursion, err)
	}
	_, err = k.GetFunctionRecursionConfig(ctx, &sdk.GetFunctionRecursionConfigInput{FunctionName: aws.String("none")})
	wantError(t, err, "ResourceNotFoundException", 404, "Function not found: "+functionARN("none"))
}
