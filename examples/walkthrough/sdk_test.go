package walkthrough_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"
	apptypes "github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
)

const (
	wait    = 2 * time.Minute
	generic = "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRotationTemplate"
)

func must[T any](t *testing.T, doing string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
		return v
	}
}

// quickly keeps a waiter from waiting for half a minute between two looks.
func quickly(least, most *time.Duration) { *least, *most = 100*time.Millisecond, time.Second }

// deployApplication makes an application's stack by a change set and returns
// the function's ARN.
func deployApplication(t *testing.T, s *apitest.Server, id, stack string, parameters map[string]string) string {
	t.Helper()
	in := &serverlessapplicationrepository.CreateCloudFormationChangeSetInput{
		ApplicationId: &id, StackName: &stack, Capabilities: []string{"CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"},
	}
	for name, value := range parameters {
		in.ParameterOverrides = append(in.ParameterOverrides, apptypes.ParameterValue{Name: &name, Value: &value})
	}
	set := must[*serverlessapplicationrepository.CreateCloudFormationChangeSetOutput](t, "making the change set")(s.Apps.CreateCloudFormationChangeSet(t.Context(), in))
	execute(t, s, set.ChangeSetId, set.StackId)
	return output(t, s, set.StackId, "RotationLambdaARN")
}

// execute waits for a change set, executes it and waits for its stack.
func execute(t *testing.T, s *apitest.Server, set, stack *string) {
	t.Helper()
	described := &cloudformation.DescribeChangeSetInput{ChangeSetName: set}
	err := cloudformation.NewChangeSetCreateCompleteWaiter(s.Stacks, func(o *cloudformation.ChangeSetCreateCompleteWaiterOptions) {
		quickly(&o.MinDelay, &o.MaxDelay)
	}).Wait(t.Context(), described, wait)
	if err != nil {
		out, _ := s.Stacks.DescribeChangeSet(t.Context(), described)
		t.Fatalf("waiting for the change set: %v: %+v", err, out)
	}
	must[*cloudformation.ExecuteChangeSetOutput](t, "executing the change set")(s.Stacks.ExecuteChangeSet(t.Context(), &cloudformation.ExecuteChangeSetInput{ChangeSetName: set}))
	settled(t, s, stack, cfntypes.StackStatusCreateComplete, cfntypes.StackStatusUpdateComplete)
}

// settled waits until nothing is in progress and demands a status.
func settled(t *testing.T, s *apitest.Server, stack *string, want ...cfntypes.StackStatus) cfntypes.Stack {
	t.Helper()
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
		out := must[*cloudformation.DescribeStacksOutput](t, "describing the stack")(s.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: stack}))
		found := out.Stacks[0]
		if strings.HasSuffix(string(found.StackStatus), "IN_PROGRESS") && time.Now().Before(end) {
			continue
		}
		if !slices.Contains(want, found.StackStatus) {
			t.Fatalf("got the stack %s: %s, want %v\n%s", found.StackStatus, aws.ToString(found.StackStatusReason), want, events(t, s, stack))
		}
		return found
	}
}

// events are what happened to a stack, for failures.
func events(t *testing.T, s *apitest.Server, stack *string) string {
	out, err := s.Stacks.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: stack})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range out.StackEvents {
		b.WriteString(*e.LogicalResourceId + " " + string(e.ResourceStatus) + " " + aws.ToString(e.ResourceStatusReason) + "\n")
	}
	return b.String()
}

func output(t *testing.T, s *apitest.Server, stack *string, name string) string {
	t.Helper()
	out := must[*cloudformation.DescribeStacksOutput](t, "describing the stack")(s.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: stack}))
	for _, o := range out.Stacks[0].Outputs {
		if *o.OutputKey == name {
			return *o.OutputValue
		}
	}
	t.Fatalf("the stack has no output %s", name)
	return ""
}

// nothingLeft demands that a deleted stack has left nothing that was made for
// it.
func nothingLeft(t *testing.T, s *apitest.Server) {
	t.Helper()
	stacks := must[*cloudformation.DescribeStacksOutput](t, "describing stacks")(s.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{}))
	functions := must[*lambda.ListFunctionsOutput](t, "listing functions")(s.Lambda.ListFunctions(t.Context(), &lambda.ListFunctionsInput{}))
	roles := must[*iam.ListRolesOutput](t, "listing roles")(s.IAM.ListRoles(t.Context(), &iam.ListRolesInput{}))
	secrets := must[*secretsmanager.ListSecretsOutput](t, "listing secrets")(s.Secrets.ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)}))
	if n := len(stacks.Stacks) + len(functions.Functions) + len(roles.Roles) + len(secrets.SecretList); n > 0 {
		t.Errorf("left: %d stacks, %d functions, %d roles, %d secrets", len(stacks.Stacks), len(functions.Functions), len(roles.Roles), len(secrets.SecretList))
	}
}

// deleteStack deletes a stack and waits for its end. Once deleted, only its
// ARN finds it.
func deleteStack(t *testing.T, s *apitest.Server, stack *string) {
	t.Helper()
	out := must[*cloudformation.DescribeStacksOutput](t, "describing the stack")(s.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: stack}))
	stack = out.Stacks[0].StackId
	must[*cloudformation.DeleteStackOutput](t, "deleting the stack")(s.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: stack}))
	settled(t, s, stack, cfntypes.StackStatusDeleteComplete)
}

// rotate starts a rotation and waits for its end.
func rotate(t *testing.T, s *apitest.Server, in *secretsmanager.RotateSecretInput) {
	t.Helper()
	out := must[*secretsmanager.RotateSecretOutput](t, "rotating the secret")(s.Secrets.RotateSecret(t.Context(), in))
	awaitCurrent(t, s, *in.SecretId, *out.VersionId)
}

// awaitCurrent waits until a version is current and none is pending; "" waits
// for another version than that which the secret had at first.
func awaitCurrent(t *testing.T, s *apitest.Server, secret, version string) {
	t.Helper()
	var stages map[string][]string
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		out := must[*secretsmanager.DescribeSecretOutput](t, "describing the secret")(s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &secret}))
		stages = out.VersionIdsToStages
		pending := false
		for _, labels := range stages {
			pending = pending || slices.Contains(labels, "AWSPENDING")
		}
		current := version == "" && out.LastRotatedDate != nil || slices.Contains(stages[version], "AWSCURRENT")
		if current && !pending {
			return
		}
	}
	t.Fatalf("the rotation did not end: %v\n%s", stages, rotationLog(t, s))
}

// rotationLog is what all functions wrote.
func rotationLog(t *testing.T, s *apitest.Server) string {
	var b strings.Builder
	functions, err := s.Lambda.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	if err != nil {
		return err.Error()
	}
	for _, f := range functions.Functions {
		b.WriteString(functionLog(t, s, *f.FunctionName))
	}
	return b.String()
}

// functionLog is what a function wrote, "" while it has not run.
func functionLog(t *testing.T, s *apitest.Server, function string) string {
	var b strings.Builder
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(s.Logs, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/" + function)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			return ""
		}
		for _, e := range page.Events {
			b.WriteString(*e.Message)
		}
	}
	return b.String()
}

// value reads the secret.
func value(t *testing.T, s *apitest.Server, secret string) string {
	t.Helper()
	out := must[*secretsmanager.GetSecretValueOutput](t, "reading the secret")(s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &secret}))
	return *out.SecretString
}

// complete downloads the function's code, writes set_secret and test_secret
// as custom-function.sh does, and uploads it again.
func complete(t *testing.T, s *apitest.Server, function string, db *pgserver.Server, u apitest.User) {
	t.Helper()
	got := must[*lambda.GetFunctionOutput](t, "getting the function")(s.Lambda.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &function}))
	res := must[*http.Response](t, "downloading the code")(http.Get(*got.Code.Location))
	defer res.Body.Close()
	packed := must[[]byte](t, "downloading the code")(io.ReadAll(res.Body))
	z := must[*zip.Reader](t, "unpacking the code")(zip.NewReader(bytes.NewReader(packed), int64(len(packed))))
	f := must[io.ReadCloser](t, "unpacking the code")(z.File[0].Open())
	source := string(must[[]byte](t, "unpacking the code")(io.ReadAll(f)))
	steps := string(must[[]byte](t, "reading the steps")(os.ReadFile("postgres_steps.py")))
	from, to := strings.Index(source, "def set_secret"), strings.Index(source, "def finish_secret")
	source = source[:from] + source[to:] + strings.NewReplacer("@HOST@", db.Host, "@PORT@", strconv.Itoa(db.Port), "@NAME@", "postgres", "@USER@", u.Name).Replace(steps)
	must[*lambda.UpdateFunctionCodeOutput](t, "updating the code")(s.Lambda.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{
		FunctionName: &function, ZipFile: apitest.Zip(t, map[string][]byte{z.File[0].Name: []byte(source)}),
	}))
	updated(t, s, function)
}

func updated(t *testing.T, s *apitest.Server, function string) {
	t.Helper()
	err := lambda.NewFunctionUpdatedV2Waiter(s.Lambda).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &function}, wait)
	if err != nil {
		t.Fatalf("waiting for the function: %v", err)
	}
}

// TestCustomFunctionBySDK makes the calls of custom-function.sh.
func TestCustomFunctionBySDK(t *testing.T) {
	t.Parallel()
	db := apitest.Database(t)
	u := apitest.NewUser(t, db)
	s := start(t, db)
	ctx := t.Context()
	must[*secretsmanager.CreateSecretOutput](t, "creating the secret")(s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("MySecret"), SecretString: &u.Password}))
	vpc := must[*ec2.CreateVpcOutput](t, "creating the VPC")(s.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})).Vpc.VpcId
	must[*ec2.ModifyVpcAttributeOutput](t, "changing the VPC")(s.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}))
	subnet := must[*ec2.CreateSubnetOutput](t, "creating the subnet")(s.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.1.0/24")})).Subnet.SubnetId
	group := must[*ec2.CreateSecurityGroupOutput](t, "creating the group")(s.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: vpc, GroupName: aws.String("rotation"), Description: aws.String("Rotation functions"),
	})).GroupId
	function := deployApplication(t, s, generic, "MyLambdaCreationStack", map[string]string{
		"endpoint": "https://secretsmanager.us-east-1.amazonaws.com", "functionName": "MySecretRotation",
	})
	complete(t, s, "MySecretRotation", db, u)
	must[*lambda.UpdateFunctionConfigurationOutput](t, "putting the function into the VPC")(s.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &function, VpcConfig: &lambdatypes.VpcConfig{SubnetIds: []string{*subnet}, SecurityGroupIds: []string{*group}},
	}))
	updated(t, s, function)
	must[*ec2.CreateVpcEndpointOutput](t, "creating the endpoint")(s.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: vpc, VpcEndpointType: ec2types.VpcEndpointTypeInterface, ServiceName: aws.String("com.amazonaws.us-east-1.secretsmanager"),
		SubnetIds: []string{*subnet}, SecurityGroupIds: []string{*group},
	}))
	rotate(t, s, &secretsmanager.RotateSecretInput{
		SecretId: aws.String("MySecret"), RotationLambdaARN: &function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(7)},
	})
	if err := u.Login(ctx, value(t, s, "MySecret")); err != nil {
		t.Errorf("the secret's password does not log in: %v", err)
	}
	if err := u.Login(ctx, u.Password); err == nil {
		t.Error("the old password still logs in")
	}
}

// As it is, the template's function stops where the user has to go on, and
// says so.
func TestTemplateAsItIs(t *testing.T) {
	t.Parallel()
	db := apitest.Database(t)
	s := start(t, db)
	must[*secretsmanager.CreateSecretOutput](t, "creating the secret")(s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("first")}))
	function := deployApplication(t, s, generic, "stack", map[string]string{"endpoint": "https://secretsmanager.us-east-1.amazonaws.com", "functionName": "f"})
	must[*secretsmanager.RotateSecretOutput](t, "rotating the secret")(s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String("s"), RotationLambdaARN: &function}))
	for end := time.Now().Add(wait); !strings.Contains(functionLog(t, s, "f"), "NotImplementedError: setSecret is yours to write"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log does not say what to do:\n%s", functionLog(t, s, "f"))
		}
	}
	if got := value(t, s, "s"); got != "first" {
		t.Error("the secret's value was changed")
	}
	// The application again, with another name, updates the stack.
	again := deployApplication(t, s, generic, "stack", map[string]string{"endpoint": "https://secretsmanager.us-east-1.amazonaws.com", "functionName": "g"})
	if !strings.HasSuffix(again, ":function:g") {
		t.Errorf("got the function %s, want g", again)
	}
	deleteStack(t, s, aws.String("serverlessrepo-stack"))
}
