package engine_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/application"
)

// outer is a template with a rotation application in a stack of its own.
func outer(function, more string) *string {
	return aws.String(`{"Resources":{"App":{"Type":"AWS::CloudFormation::Stack","Properties":{
		"TemplateURL":"` + application.TemplateURL("SecretsManagerRDSPostgreSQLRotationSingleUser", "") + `",
		"Parameters":{"endpoint":"https://secretsmanager.us-east-1.amazonaws.com","functionName":"` + function + `"}}}` + more + `},
		"Outputs":{"Arn":{"Value":{"Fn::GetAtt":["App","Outputs.RotationLambdaARN"]}}}}`)
}

func TestNestedStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("out"), TemplateBody: outer("rotate-a", ""), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("db")}},
		Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}
	st := w.create(in, types.StackStatusCreateComplete)
	if want := "arn:aws:lambda:us-east-1:123456789012:function:rotate-a"; output(st, "Arn") != want {
		t.Errorf("got %s, want %s", output(st, "Arn"), want)
	}
	if _, err := w.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("rotate-a")}); err != nil {
		t.Error(err)
	}
	r, err := w.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: st.StackName, LogicalResourceId: aws.String("App")})
	if err != nil {
		t.Fatal(err)
	}
	inner := w.settled(*r.StackResourceDetail.PhysicalResourceId)
	if aws.ToString(inner.ParentId) != *st.StackId || aws.ToString(inner.RootId) != *st.StackId || !strings.HasPrefix(*inner.StackName, "out-App-") {
		t.Errorf("got the inner stack %+v", inner)
	}
	if len(inner.Tags) != 1 || *inner.Tags[0].Key != "team" {
		t.Errorf("got tags %v", inner.Tags)
	}

	// Nothing of the inner stack changes when nothing of it does.
	w.update(&cloudformation.UpdateStackInput{
		StackName: st.StackName, TemplateBody: outer("rotate-a", `,"G":{"Type":"AWS::Logs::LogGroup"}`), Capabilities: in.Capabilities,
	}, types.StackStatusUpdateComplete)
	if story := w.story(*inner.StackId); strings.Contains(story, "UPDATE_IN_PROGRESS") {
		t.Errorf("got\n%s", story)
	}
	// A failure beside it leads the inner stack back.
	w.occupy()
	bad := `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"App","Properties":{"LogGroupName":"/taken"}}`
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: outer("rotate-b", bad), Capabilities: in.Capabilities}, types.StackStatusUpdateRollbackComplete)
	if _, err := w.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("rotate-a")}); err != nil {
		t.Error(err)
	}
	if _, err := w.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("rotate-b")}); err == nil {
		t.Error("the function of the failed update is left over")
	}
	w.delete(*st.StackId)
	if got := w.settled(*inner.StackId).StackStatus; got != types.StackStatusDeleteComplete {
		t.Errorf("the inner stack is %s", got)
	}
	if fns, err := w.Lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{}); err != nil || len(fns.Functions) != 0 {
		t.Errorf("left over: %v, %v", fns, err)
	}
}

func TestNestedStackFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("x", 65) // longer than a function's name may be
	st := w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("out"), TemplateBody: outer(long, ""), Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}, types.StackStatusRollbackComplete)
	if !strings.Contains(w.story("out"), "App CREATE_FAILED") {
		t.Errorf("got\n%s", w.story("out"))
	}
	list, err := w.Stacks.ListStacks(t.Context(), &cloudformation.ListStacksInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.StackSummaries {
		if *s.StackId != *st.StackId && s.StackStatus != types.StackStatusDeleteComplete {
			t.Errorf("%s is left over: %s", *s.StackName, s.StackStatus)
		}
	}
}

// A rollback that is tried again takes up that of an inner stack, and leads
// that back to where it was before the outer stack's update.
func TestNestedRollbackContinued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	ctx := t.Context()
	ann := &world{apitest.Connect(w.URL, w.Dir, nil), t}
	ann.Stacks = cloudformation.NewFromConfig(w.NewUser(t, "ann"))
	permit := func(statement string) {
		t.Helper()
		document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + statement + `,"Resource":"*"}]}`
		if _, err := w.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
	}
	permit(`"Action":"*"`)
	name := aws.String("out")
	capabilities := []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand}
	ann.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: outer("rotate-a", ""), Capabilities: capabilities}, types.StackStatusCreateComplete)
	body := strings.Replace(*outer("rotate-a", `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"App","Properties":{"LogGroupName":"/taken"}}`), "us-east-1", "eu-west-1", 1)
	ann.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: &body, Capabilities: capabilities, DisableRollback: aws.Bool(true)}, types.StackStatusUpdateFailed)
	permit(`"NotAction":"lambda:UpdateFunctionConfiguration"`)
	if _, err := ann.Stacks.RollbackStack(ctx, &cloudformation.RollbackStackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	ann.demand(*name, types.StackStatusUpdateRollbackFailed)
	r, err := w.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: name, LogicalResourceId: aws.String("App")})
	if err != nil {
		t.Fatal(err)
	}
	inner := *r.StackResourceDetail.PhysicalResourceId
	w.demand(inner, types.StackStatusUpdateRollbackFailed)

	if _, err := ann.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	ann.demand(*name, types.StackStatusUpdateRollbackFailed)
	w.demand(inner, types.StackStatusUpdateRollbackFailed)
	if want := `"Embedded stack ` + inner + ` was not successfully rolled back: The following resource(s) failed to update: [`; !strings.Contains(ann.story(*name), want) {
		t.Errorf("want %s in\n%s", want, ann.story(*name))
	}

	permit(`"Action":"*"`)
	if _, err := ann.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	ann.demand(*name, types.StackStatusUpdateRollbackComplete)
	w.demand(inner, types.StackStatusUpdateComplete)
	f, err := w.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("rotate-a")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Environment.Variables["SECRETS_MANAGER_ENDPOINT"], "https://secretsmanager.us-east-1.amazonaws.com"; got != want {
		t.Errorf("got the endpoint %s, want %s", got, want)
	}
}

// A stop in the middle of an inner stack does not wait for it, and both go on
// after the restart.
func TestStoppedInNestedStack(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	w := &world{p.Server, t}
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("out"), TemplateBody: outer("rotate-a", ""), Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}
	for _, end := range []func(){p.Stop, p.Kill} {
		made, err := w.Stacks.CreateStack(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.reached("out", 3) // the inner stack has begun
		began := time.Now()
		end()
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("the server took %v to stop", took)
		}
		p.Restart()
		w.demand("out", types.StackStatusCreateComplete)
		fns, err := w.Lambda.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
		if err != nil || len(fns.Functions) != 1 {
			t.Errorf("got %v, %v; want one function", fns, err)
		}
		w.delete(*made.StackId)
	}
	list, err := w.Stacks.ListStacks(t.Context(), &cloudformation.ListStacksInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.StackSummaries {
		if s.StackStatus != types.StackStatusDeleteComplete {
			t.Errorf("%s is left over: %s", *s.StackName, s.StackStatus)
		}
	}
	if len(list.StackSummaries) != 4 {
		t.Errorf("got %d stacks, want two with one inside each", len(list.StackSummaries))
	}
}

// Tags that tell whose something is cannot be had from a template.
func TestReservedTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := strings.Replace(*outer("rotate-a", ""), `"Parameters":{"endpoint"`, `"Tags":[{"Key":"aws:cloudformation:stack-id","Value":"arn:x"}],"Parameters":{"endpoint"`, 1)
	w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("tags"), TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}, types.StackStatusRollbackComplete)
	const want = "aws: prefixed tag key names are not allowed for external use."
	if !strings.Contains(w.story("tags"), "App CREATE_FAILED "+want) {
		t.Errorf("got\n%s", w.story("tags"))
	}
	_, err := w.Stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String("tags2"), TemplateBody: aws.String(groups(7, "A")), Tags: []types.Tag{{Key: aws.String("aws:x"), Value: aws.String("y")}},
	})
	refused(t, err, "ValidationError", want)
}

// A dynamic reference in the parameters of an inner stack stays one there, and
// what it stands for reaches what uses the parameter alone.
func TestReferenceForNestedStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	const value, reference = "https://hidden.example.com", "{{resolve:secretsmanager:place:SecretString:url}}"
	if _, err := w.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("place"), SecretString: aws.String(`{"url":"` + value + `"}`)}); err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(*outer("rotate-a", ""), "https://secretsmanager.us-east-1.amazonaws.com", reference, 1)
	st := w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("out"), TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}, types.StackStatusCreateComplete)
	r, err := w.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: st.StackName, LogicalResourceId: aws.String("App")})
	if err != nil {
		t.Fatal(err)
	}
	inner := w.settled(*r.StackResourceDetail.PhysicalResourceId)
	if !slices.ContainsFunc(inner.Parameters, func(p types.Parameter) bool {
		return *p.ParameterKey == "endpoint" && *p.ParameterValue == reference
	}) {
		t.Errorf("got the parameters %+v", inner.Parameters)
	}
	fn, err := w.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("rotate-a")})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(slices.Collect(maps.Values(fn.Environment.Variables)), value) {
		t.Error("the reference was not resolved where the parameter is used")
	}
}
