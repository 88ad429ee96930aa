package lambda_test

import (
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

// answering is a function that returns a number.
func answering(n int) string {
	return "def lambda_handler(event, context):\n    return " + strconv.Itoa(n) + "\n"
}

func (k *kit) update(name, source string) {
	k.t.Helper()
	_, err := k.UpdateFunctionCode(k.t.Context(), &sdk.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: zipOf(k.t, source)})
	check(k.t, err)
	k.waitUpdated(name)
}

// answer invokes a function and returns its answer and the version that gave
// it.
func (k *kit) answer(name string) (payload, version string) {
	k.t.Helper()
	out, err := k.Client.Invoke(k.t.Context(), &sdk.InvokeInput{FunctionName: &name})
	check(k.t, err)
	return string(out.Payload), aws.ToString(out.ExecutedVersion)
}

func TestVersions(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	in := k.input("f", answering(1))
	in.Publish = true
	created, err := k.CreateFunction(ctx, in)
	check(t, err)
	if *created.Version != "1" || *created.FunctionArn != functionARN("f")+":1" {
		t.Errorf("published on creation: got version %s, %s", *created.Version, *created.FunctionArn)
	}
	err = sdk.NewPublishedVersionActiveWaiter(k.Client, func(o *sdk.PublishedVersionActiveWaiterOptions) { o.MinDelay = pause }).
		Wait(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f"), Qualifier: aws.String("1")}, 5e9)
	check(t, err)
	k.waitActive("f")
	again, err := k.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: aws.String("f"), Description: aws.String("other")})
	if err != nil || *again.Version != "1" {
		t.Errorf("nothing changed: got version %s, %v, want 1", *again.Version, err)
	}
	k.update("f", answering(2))
	two, err := k.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: aws.String("f"), Description: aws.String("second")})
	if err != nil || *two.Version != "2" || *two.Description != "second" || two.State != types.StatePending {
		t.Errorf("changed: got %+v, %v, want version 2", two, err)
	}
	k.waitActive("f:2")
	k.update("f", answering(3))
	for name, want := range map[string][2]string{"f": {"3", "$LATEST"}, "f:1": {"1", "1"}, "f:2": {"2", "2"}, "f:$LATEST": {"3", "$LATEST"}} {
		if payload, version := k.answer(name); payload != want[0] || version != want[1] {
			t.Errorf("%s: got %s from version %s, want %v", name, payload, version, want)
		}
	}
	_, err = k.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: aws.String("f"), CodeSha256: aws.String("other")})
	latest, getErr := k.GetFunctionConfiguration(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
	check(t, getErr)
	wantError(t, err, "InvalidParameterValueException", 400, "CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ("+*latest.CodeSha256+
		"). Please try again with the CodeSHA256 in $LATEST.")

	var versions []string
	pages := sdk.NewListVersionsByFunctionPaginator(k.Client, &sdk.ListVersionsByFunctionInput{FunctionName: aws.String("f"), MaxItems: aws.Int32(2)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		check(t, err)
		for _, v := range p.Versions {
			versions = append(versions, *v.FunctionArn)
		}
	}
	if diff := cmp.Diff([]string{functionARN("f") + ":$LATEST", functionARN("f") + ":1", functionARN("f") + ":2"}, versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestAliases(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", answering(1)))
	one := k.publish("f")
	k.update("f", answering(2))
	two := k.publish("f")
	created, err := k.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: &one})
	check(t, err)
	if *created.AliasArn != functionARN("f")+":live" || *created.Description != "" || created.RoutingConfig != nil {
		t.Errorf("got %+v", created)
	}
	if payload, version := k.answer("f:live"); payload != "1" || version != one {
		t.Errorf("got %s from version %s, want 1", payload, version)
	}
	described, err := k.GetFunctionConfiguration(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: aws.String("f"), Qualifier: aws.String("live")})
	if err != nil || *described.Version != one || *described.FunctionArn != functionARN("f")+":live" {
		t.Errorf("got %+v, %v", described, err)
	}

	// All invocations but none to version 1: weights are obeyed.
	updated, err := k.UpdateAlias(ctx, &sdk.UpdateAliasInput{
		FunctionName: aws.String("f"), Name: aws.String("live"), RevisionId: created.RevisionId,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{two: 0.5}},
	})
	check(t, err)
	if updated.RoutingConfig.AdditionalVersionWeights[two] != 0.5 || *updated.RevisionId == *created.RevisionId {
		t.Errorf("got %+v", updated)
	}
	seen := map[string]int{}
	for range 60 {
		payload, version := k.answer("f:live")
		if payload != version {
			t.Errorf("got %s from version %s", payload, version)
		}
		seen[version]++
	}
	if seen[one] < 10 || seen[two] < 10 {
		t.Errorf("half and half: got %v", seen)
	}
	_, err = k.UpdateAlias(ctx, &sdk.UpdateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), RevisionId: created.RevisionId})
	wantError(t, err, "PreconditionFailedException", 412,
		"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
	_, err = k.UpdateAlias(ctx, &sdk.UpdateAliasInput{
		FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: &two, RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}},
	})
	check(t, err)
	if payload, version := k.answer("f:live"); payload != "2" || version != two {
		t.Errorf("got %s from version %s, want 2", payload, version)
	}

	create := func(name, version string) error {
		_, err := k.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: aws.String("f"), Name: &name, FunctionVersion: &version})
		return err
	}
	wantError(t, create("live", one), "ResourceConflictException", 409, "Alias already exists: "+functionARN("f")+":live")
	wantError(t, create("new", "9"), "ResourceNotFoundException", 404, "Function not found: "+functionARN("f")+":9")
	wantError(t, create("7", one), "ValidationException", 400,
		"1 validation error detected: Value '7' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)")
	_, err = k.GetAlias(ctx, &sdk.GetAliasInput{FunctionName: aws.String("f"), Name: aws.String("none")})
	wantError(t, err, "ResourceNotFoundException", 404, "Cannot find alias arn: "+functionARN("f")+":none")
	check(t, create("blue", one))
	list, err := k.ListAliases(ctx, &sdk.ListAliasesInput{FunctionName: aws.String("f"), MaxItems: aws.Int32(1)})
	if err != nil || len(list.Aliases) != 1 || *list.Aliases[0].Name != "blue" || list.NextMarker == nil {
		t.Fatalf("got %+v, %v", list, err)
	}
	list, err = k.ListAliases(ctx, &sdk.ListAliasesInput{FunctionName: aws.String("f"), Marker: list.NextMarker})
	if err != nil || len(list.Aliases) != 1 || *list.Aliases[0].Name != "live" || list.NextMarker != nil {
		t.Errorf("got %+v, %v", list, err)
	}
	list, err = k.ListAliases(ctx, &sdk.ListAliasesInput{FunctionName: aws.String("f"), FunctionVersion: &two})
	if err != nil || len(list.Aliases) != 1 || *list.Aliases[0].Name != "live" {
		t.Errorf("of version 2: got %+v, %v", list, err)
	}
}
