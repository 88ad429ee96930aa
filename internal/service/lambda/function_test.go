package lambda_test

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/store"
)

var ignoreUnexported = cmpopts.IgnoreUnexported(
	types.FunctionConfiguration{}, types.TracingConfigResponse{}, types.EphemeralStorage{}, types.SnapStartResponse{}, types.LoggingConfig{},
	types.RuntimeVersionConfig{}, types.EnvironmentResponse{}, types.VpcConfigResponse{}, types.Layer{}, types.DeadLetterConfig{},
	sdk.CreateFunctionOutput{}, middleware.Metadata{})

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func TestCreateFunctionAnswer(t *testing.T) {
	k := newKit(t)
	in := k.input("f", echo)
	in.Timeout = nil
	before := time.Now()
	out, err := k.CreateFunction(t.Context(), in)
	check(t, err)
	sum := sha256.Sum256(in.Code.ZipFile)
	modified, err := time.Parse("2006-01-02T15:04:05.000+0000", *out.LastModified)
	if err != nil || modified.Before(before.Truncate(time.Millisecond)) || !uuidText.MatchString(*out.RevisionId) {
		t.Errorf("got LastModified %s and RevisionId %s", *out.LastModified, *out.RevisionId)
	}
	out.LastModified, out.RevisionId = nil, nil
	runtime := aws.ToString(out.RuntimeVersionConfig.RuntimeVersionArn)
	if !regexp.MustCompile(`^arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}$`).MatchString(runtime) {
		t.Errorf("got RuntimeVersionArn %s", runtime)
	}
	out.RuntimeVersionConfig = nil
	want := &sdk.CreateFunctionOutput{
		FunctionName: aws.String("f"), FunctionArn: aws.String(functionARN("f")), Runtime: python, Role: aws.String(roleARN),
		Handler: aws.String(handler), CodeSize: int64(len(in.Code.ZipFile)), Description: aws.String(""), Timeout: aws.Int32(3),
		MemorySize: aws.Int32(128), CodeSha256: aws.String(base64.StdEncoding.EncodeToString(sum[:])), Version: aws.String("$LATEST"),
		TracingConfig: &types.TracingConfigResponse{Mode: types.TracingModePassThrough}, State: types.StatePending,
		StateReason: aws.String("The function is being created."), StateReasonCode: types.StateReasonCodeCreating,
		PackageType: types.PackageTypeZip, Architectures: []types.Architecture{types.ArchitectureX8664},
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(512)},
		SnapStart:        &types.SnapStartResponse{ApplyOn: types.SnapStartApplyOnNone, OptimizationStatus: types.SnapStartOptimizationStatusOff},
		LoggingConfig:    &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/f")},
	}
	if diff := cmp.Diff(want, out, ignoreUnexported, cmpopts.IgnoreFields(sdk.CreateFunctionOutput{}, "ResultMetadata")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// Templates of rotation applications name their code by bucket and key, which
// is no S3.
func TestCodeOfApplication(t *testing.T) {
	k := newKit(t).run()
	generic, _ := application.Lookup("SecretsManagerRotationTemplate")
	builtin, _ := application.Lookup("SecretsManagerRDSMySQLRotationSingleUser")
	at := func(a *application.Application) *string { return aws.String(a.Name + "/0.zip") }
	in := k.input("f", echo)
	in.Code = &types.FunctionCode{S3Bucket: aws.String(application.Bucket), S3Key: at(generic)}
	made, err := k.CreateFunction(t.Context(), in)
	check(t, err)
	sum := func(a *application.Application) string {
		s := sha256.Sum256(a.Code())
		return base64.StdEncoding.EncodeToString(s[:])
	}
	if *made.CodeSha256 != sum(generic) {
		t.Errorf("got the code %s, want %s", *made.CodeSha256, sum(generic))
	}
	k.waitActive("f")
	updated, err := k.UpdateFunctionCode(t.Context(), &sdk.UpdateFunctionCodeInput{FunctionName: in.FunctionName, S3Bucket: aws.String(application.Bucket), S3Key: at(builtin)})
	check(t, err)
	if *updated.CodeSha256 != sum(builtin) {
		t.Errorf("got the code %s, want %s", *updated.CodeSha256, sum(builtin))
	}
}

func TestCreateFunctionRefusals(t *testing.T) {
	k := newKit(t)
	k.newRole("other", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	_, err := k.CreateFunction(t.Context(), k.input("taken", echo))
	check(t, err)
	long := strings.Repeat("n", 65)
	const notAssumed = "The role defined for the function cannot be assumed by Lambda."
	for _, tc := range []struct {
		name    string
		change  func(*sdk.CreateFunctionInput)
		code    string
		status  int
		message string
	}{
		{"name taken", func(in *sdk.CreateFunctionInput) { in.FunctionName = aws.String("taken") },
			"ResourceConflictException", 409, "Function already exist: taken"},
		{"name too long", func(in *sdk.CreateFunctionInput) { in.FunctionName = &long }, "ValidationException", 400,
			"1 validation error detected: Value '" + long + "' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"no such role", func(in *sdk.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::" + account + ":role/none") },
			"InvalidParameterValueException", 400, notAssumed},
		{"role of another service", func(in *sdk.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::" + account + ":role/other") },
			"InvalidParameterValueException", 400, notAssumed},
		{"role of another account", func(in *sdk.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::999999999999:role/execution") },
			"AccessDeniedException", 403, "Cross-account pass role is not allowed."},
		{"not a zip", func(in *sdk.CreateFunctionInput) { in.Code.ZipFile = []byte("no zip") }, "InvalidParameterValueException", 400,
			"Could not unzip uploaded file. Please check your file, then try to upload again."},
		{"S3", func(in *sdk.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: aws.String("bucket"), S3Key: aws.String("key")}
		}, "InvalidParameterValueException", 400, "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist. " +
			"There is no S3 here: send the package itself as ZipFile."},
		{"image", func(in *sdk.CreateFunctionInput) { in.PackageType = types.PackageTypeImage }, "InvalidParameterValueException", 400,
			"Functions from container images cannot run here. Use PackageType Zip."},
		{"timeout", func(in *sdk.CreateFunctionInput) { in.Timeout = aws.Int32(901) }, "ValidationException", 400,
			"1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"},
		{"reserved variables", func(in *sdk.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"AWS_REGION": "x"}}
		}, "InvalidParameterValueException", 400, "Lambda was unable to configure your environment variables because the environment variables you have provided " +
			"contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION"},
		{"layer that is not there", func(in *sdk.CreateFunctionInput) {
			in.Layers = []string{"arn:aws:lambda:us-east-1:123456789012:layer:none:1"}
		}, "InvalidParameterValueException", 400, "Layer version arn:aws:lambda:us-east-1:123456789012:layer:none:1 does not exist."},
		{"layer of another account", func(in *sdk.CreateFunctionInput) {
			in.Layers = []string{"arn:aws:lambda:us-east-1:999999999999:layer:none:1"}
		}, "AccessDeniedException", 403, "User: arn:aws:iam::123456789012:root is not authorized to perform: lambda:GetLayerVersion on resource: " +
			"arn:aws:lambda:us-east-1:999999999999:layer:none:1 because no resource-based policy allows the lambda:GetLayerVersion action"},
		{"six layers", func(in *sdk.CreateFunctionInput) {
			for range 6 {
				in.Layers = append(in.Layers, "arn:aws:lambda:us-east-1:123456789012:layer:none:1")
			}
		}, "InvalidParameterValueException", 400, "Cannot reference more than 5 layers."},
		{"too many tags", func(in *sdk.CreateFunctionInput) {
			in.Tags = map[string]string{}
			for i := range 51 {
				in.Tags[strings.Repeat("t", i+1)] = ""
			}
		}, "InvalidParameterValueException", 400, "Number of tags exceeds resource tag limit."},
		{"no handler", func(in *sdk.CreateFunctionInput) { in.Handler = nil }, "InvalidParameterValueException", 400,
			"Runtime and Handler are mandatory parameters for functions created with deployment packages."},
		{"a version as name", func(in *sdk.CreateFunctionInput) { in.FunctionName = aws.String("f:1") }, "InvalidParameterValueException", 400,
			"This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. " +
				"Please specify either a function name or an unqualified function ARN."},
		{"another account", func(in *sdk.CreateFunctionInput) {
			in.FunctionName = aws.String("arn:aws:lambda:us-east-1:999999999999:function:f")
		}, "AccessDeniedException", 403, "User: arn:aws:iam::123456789012:root is not authorized to perform: lambda:CreateFunction on resource: " +
			"arn:aws:lambda:us-east-1:999999999999:function:f because no resource-based policy allows the lambda:CreateFunction action"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := k.input("f", echo)
			tc.change(in)
			_, err := k.CreateFunction(t.Context(), in)
			wantError(t, err, tc.code, tc.status, tc.message)
		})
	}
	_, err = k.CreateFunction(t.Context(), func() *sdk.CreateFunctionInput { in := k.input("f", echo); in.Runtime = "python9"; return in }())
	if err == nil || !strings.Contains(err.Error(), "Value python9 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, ") {
		t.Errorf("unknown runtime: got %v", err)
	}
	list, err := k.ListFunctions(t.Context(), &sdk.ListFunctionsInput{})
	if err != nil || len(list.Functions) != 1 {
		t.Errorf("got %d functions and %v, want the first alone", len(list.Functions), err)
	}
}

func TestStates(t *testing.T) {
	k := newKit(t) // nothing runs yet, so the function stays Pending
	ctx := t.Context()
	created, err := k.CreateFunction(ctx, k.input("f", echo))
	check(t, err)
	const pending = "The operation cannot be performed at this time. The function is currently in the following state: Pending"
	_, err = k.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f")})
	wantError(t, err, "ResourceConflictException", 409, pending)
	_, err = k.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Description: aws.String("d")})
	wantError(t, err, "ResourceConflictException", 409, pending)
	_, err = k.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: aws.String("f")})
	wantError(t, err, "ResourceConflictException", 409, pending)

	stop := k.goRun(k.invoker.Run)
	k.waitActive("f")
	got, err := k.GetFunctionConfiguration(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
	check(t, err)
	if got.State != types.StateActive || got.LastUpdateStatus != types.LastUpdateStatusSuccessful || got.StateReason != nil || *got.RevisionId == *created.RevisionId {
		t.Errorf("got %s, %s, %v and revision %s after %s", got.State, got.LastUpdateStatus, got.StateReason, *got.RevisionId, *created.RevisionId)
	}
	stop()

	updated, err := k.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Description: aws.String("d"), RevisionId: got.RevisionId})
	check(t, err)
	if updated.LastUpdateStatus != types.LastUpdateStatusInProgress || updated.State != types.StateActive || *updated.RevisionId == *got.RevisionId {
		t.Errorf("got %s, %s and revision %s", updated.LastUpdateStatus, updated.State, *updated.RevisionId)
	}
	_, err = k.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: zipOf(t, "x = 1")})
	wantError(t, err, "ResourceConflictException", 409, "The operation cannot be performed at this time. An update is in progress for resource: "+functionARN("f"))
	k.run()
	k.waitUpdated("f")
	_, err = k.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), RevisionId: got.RevisionId})
	wantError(t, err, "PreconditionFailedException", 412,
		"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
}

// TestRoleGone makes a function Failed whose role is taken away before it is
// Active.
func TestRoleGone(t *testing.T) {
	k := newKit(t)
	_, err := k.CreateFunction(t.Context(), k.input("f", echo))
	check(t, err)
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteRole(account, "execution") }))
	k.run()
	for {
		got, err := k.GetFunctionConfiguration(t.Context(), &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
		check(t, err)
		if got.State == types.StatePending {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if got.State != types.StateFailed || got.StateReasonCode != types.StateReasonCodeInsufficientRolePermissions ||
			*got.StateReason != "The role defined for the function cannot be assumed by Lambda." {
			t.Errorf("got %s, %s, %s", got.State, got.StateReasonCode, aws.ToString(got.StateReason))
		}
		return
	}
}

func TestUpdateConfiguration(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	in := k.input("f", echo)
	net := k.newNetwork()
	in.Environment = &types.Environment{Variables: map[string]string{"COLOUR": "blue"}}
	in.Description = aws.String("first")
	k.create(in)
	update := func(in sdk.UpdateFunctionConfigurationInput) {
		t.Helper()
		in.FunctionName = aws.String("f")
		_, err := k.UpdateFunctionConfiguration(ctx, &in)
		check(t, err)
		k.waitUpdated("f")
	}
	get := func() *sdk.GetFunctionConfigurationOutput {
		t.Helper()
		out, err := k.GetFunctionConfiguration(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
		check(t, err)
		return out
	}
	update(sdk.UpdateFunctionConfigurationInput{MemorySize: aws.Int32(256), VpcConfig: &types.VpcConfig{SubnetIds: net.subnets[:1], SecurityGroupIds: net.groups[:1]}})
	got := get()
	if *got.MemorySize != 256 || *got.Description != "first" || got.Environment.Variables["COLOUR"] != "blue" || got.VpcConfig.SubnetIds[0] != net.subnets[0] || *got.VpcConfig.VpcId != net.vpc {
		t.Errorf("got memory %d, description %q, environment %v, VPC %v", *got.MemorySize, *got.Description, got.Environment, got.VpcConfig)
	}
	update(sdk.UpdateFunctionConfigurationInput{
		Environment: &types.Environment{Variables: map[string]string{"SHAPE": "round"}}, VpcConfig: &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}},
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatJson, LogGroup: aws.String("/own/group")},
	})
	got = get()
	if diff := cmp.Diff(map[string]string{"SHAPE": "round"}, got.Environment.Variables); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got.VpcConfig == nil || len(got.VpcConfig.SubnetIds) != 0 || aws.ToString(got.VpcConfig.VpcId) != "" {
		t.Errorf("detached: got %+v", got.VpcConfig)
	}
	if *got.LoggingConfig.LogGroup != "/own/group" || got.LoggingConfig.ApplicationLogLevel != types.ApplicationLogLevelInfo {
		t.Errorf("got logging %+v", got.LoggingConfig)
	}
	update(sdk.UpdateFunctionConfigurationInput{Environment: &types.Environment{Variables: map[string]string{}}})
	if got = get(); got.Environment != nil {
		t.Errorf("got environment %v after it was emptied", got.Environment)
	}
}

// TestVariablesSealed looks for a variable's value in everything that the
// store holds.
func TestVariablesSealed(t *testing.T) {
	k := newKit(t).run()
	in := k.input("f", echo)
	const canary = "canary-variable-value"
	in.Environment = &types.Environment{Variables: map[string]string{"PASSWORD": canary}}
	k.create(in)
	check(t, k.store.View(t.Context(), func(tx *store.Tx) error {
		f, err := tx.Function(account, region, "f")
		if err == nil && (len(f.Config.Environment) == 0 || strings.Contains(string(f.Config.Environment), canary)) {
			t.Errorf("got environment %q in the store", f.Config.Environment)
		}
		events, _, err2 := tx.Events(store.EventQuery{Account: account, Region: region, Limit: 50})
		if len(events) == 0 {
			t.Error("got no events")
		}
		for _, e := range events {
			if strings.Contains(string(e.JSON), canary) {
				t.Errorf("event %s holds the variable", e.Name)
			}
			if e.Name != "CreateFunction20150331" {
				t.Errorf("got event %s", e.Name)
			}
		}
		if err == nil {
			err = err2
		}
		return err
	}))
}

func TestGetFunction(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	in := k.input("f", echo)
	in.Tags = map[string]string{"team": "db"}
	created := k.create(in)
	_, err := k.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(5)})
	check(t, err)
	for _, name := range []string{"f", functionARN("f"), account + ":function:f", "function:f"} {
		got, err := k.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: &name})
		check(t, err)
		if *got.Configuration.FunctionArn != functionARN("f") || *got.Code.Location != codeSite+*created.CodeSha256 || *got.Code.RepositoryType != "S3" ||
			got.Tags["team"] != "db" || *got.Concurrency.ReservedConcurrentExecutions != 5 {
			t.Errorf("%s: got %v, %v, %v, %v", name, *got.Configuration.FunctionArn, *got.Code.Location, got.Tags, got.Concurrency)
		}
	}
	got, err := k.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("f"), Qualifier: aws.String("$LATEST")})
	if err != nil || *got.Configuration.FunctionArn != functionARN("f")+":$LATEST" {
		t.Errorf("qualified: got %v, %v", got, err)
	}
	get := func(name string, qualifier *string) error {
		_, err := k.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: &name, Qualifier: qualifier})
		return err
	}
	wantError(t, get("none", nil), "ResourceNotFoundException", 404, "Function not found: "+functionARN("none"))
	wantError(t, get("f", aws.String("7")), "ResourceNotFoundException", 404, "Function not found: "+functionARN("f")+":7")
	wantError(t, get("f:1", aws.String("2")), "InvalidParameterValueException", 400, "The derived qualifier from the function name does not match the specified qualifier.")
	wantError(t, get("arn:aws:lambda:eu-west-1:123456789012:function:f", nil), "ResourceNotFoundException", 404,
		"Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
}

func TestListFunctions(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	for _, name := range []string{"c", "a", "b"} {
		k.create(k.input(name, echo))
	}
	for _, v := range []string{"x = 1", "x = 2"} {
		_, err := k.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{FunctionName: aws.String("b"), ZipFile: zipOf(t, v), Publish: true})
		check(t, err)
		k.waitUpdated("b")
	}
	list := func(version types.FunctionVersion) (arns []string) {
		pages := sdk.NewListFunctionsPaginator(k.Client, &sdk.ListFunctionsInput{MaxItems: aws.Int32(2), FunctionVersion: version})
		for pages.HasMorePages() {
			p, err := pages.NextPage(ctx)
			check(t, err)
			if len(p.Functions) > 2 {
				t.Errorf("got a page of %d", len(p.Functions))
			}
			for _, f := range p.Functions {
				arns = append(arns, strings.TrimPrefix(*f.FunctionArn, functionARN("")))
				if f.State != "" || f.LastUpdateStatus != "" || f.RuntimeVersionConfig != nil {
					t.Errorf("%s: lists do not show the state", *f.FunctionArn)
				}
			}
		}
		return arns
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, list("")); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a:$LATEST", "b:$LATEST", "b:1", "b:2", "c:$LATEST"}, list(types.FunctionVersionAll)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	_, err := k.ListFunctions(ctx, &sdk.ListFunctionsInput{Marker: aws.String("???")})
	wantError(t, err, "InvalidParameterValueException", 400, "The provided marker is invalid.")
}

func TestDeleteFunction(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	one := k.publish("f")
	_, err := k.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: &one})
	check(t, err)
	remove := func(qualifier *string) error {
		_, err := k.DeleteFunction(ctx, &sdk.DeleteFunctionInput{FunctionName: aws.String("f"), Qualifier: qualifier})
		return err
	}
	wantError(t, remove(aws.String("$LATEST")), "InvalidParameterValueException", 400, "$LATEST version cannot be deleted without deleting the function.")
	wantError(t, remove(aws.String("live")), "InvalidParameterValueException", 400, "Deletion of aliases is not currently supported.")
	wantError(t, remove(&one), "ResourceConflictException", 409, "Version 1 of function f cannot be deleted: the alias live points to it.")
	_, err = k.DeleteAlias(ctx, &sdk.DeleteAliasInput{FunctionName: aws.String("f"), Name: aws.String("live")})
	check(t, err)
	check(t, remove(&one))
	wantError(t, remove(&one), "ResourceNotFoundException", 404, "Function not found: "+functionARN("f")+":1")
	check(t, remove(nil))
	wantError(t, remove(nil), "ResourceNotFoundException", 404, "Function not found: "+functionARN("f"))
	settings, err := k.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{})
	check(t, err)
	if settings.AccountUsage.FunctionCount != 0 || settings.AccountUsage.TotalCodeSize != 0 {
		t.Errorf("got %d functions of %d bytes left", settings.AccountUsage.FunctionCount, settings.AccountUsage.TotalCodeSize)
	}
}
