package transform_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func TestMain(m *testing.M) {
	builtin.RunIfAsked()
	apitest.Main(m)
}

// samTemplate has a function of each way in which SAM templates make one: by
// AWS::Serverless::Function, and, as the CDK writes it, by an application
// whose ID depends on the partition.
const samTemplate = `
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Timeout: 7, Tags: {Team: db}}}
Mappings:
  Sar: {aws: {id: 'arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationMultiUser', version: 1.1.670}}
Parameters:
  Text: {Type: String, Default: one}
Resources:
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: echo
      Runtime: PYTHON
      Handler: index.handler
      InlineCode: !Sub "def handler(event, context):\n    return '${Text}'\n"
      AutoPublishAlias: live
      Policies:
        - AWSSecretsManagerRotationPolicy: {FunctionName: echo}
        - VPCAccessPolicy: {}
        - Statement: [{Effect: Allow, Action: 'kms:Decrypt', Resource: '*'}]
  Rotation:
    Type: AWS::Serverless::Application
    Properties:
      Location:
        ApplicationId: !FindInMap [Sar, !Ref 'AWS::Partition', id]
        SemanticVersion: !FindInMap [Sar, !Ref 'AWS::Partition', version]
      Parameters:
        endpoint: !Join ['', ['https://secretsmanager.', !Ref 'AWS::Region', '.', !Ref 'AWS::URLSuffix']]
        functionName: rotation
        excludeCharacters: " %+~` + "`" + `#$&*()|[]{}:;<>?!'/@\"\\"
        masterSecretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:master-AbCdEf'
Outputs:
  Alias: {Value: !Ref Echo.Alias}
  Function: {Value: !GetAtt Rotation.Outputs.RotationLambdaARN}
`

// settle waits until nothing is in progress.
func settle(t *testing.T, s *apitest.Server, stack *string, want types.StackStatus) types.Stack {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := s.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: stack})
		if err != nil {
			t.Fatal(err)
		}
		found := out.Stacks[0]
		if strings.HasSuffix(string(found.StackStatus), "IN_PROGRESS") && time.Now().Before(end) {
			continue
		}
		if found.StackStatus != want {
			var why []string
			events, _ := s.Stacks.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: stack})
			for _, e := range events.StackEvents {
				why = append(why, *e.LogicalResourceId+" "+string(e.ResourceStatus)+" "+aws.ToString(e.ResourceStatusReason))
			}
			t.Fatalf("got %s, want %s:\n%s", found.StackStatus, want, strings.Join(why, "\n"))
		}
		return found
	}
}

// Templates of SAM are deployed, updated and deleted.
func TestDeployServerless(t *testing.T) {
	runtime, python := apitest.Python(t)
	s := apitest.Start(t, apitest.Options{Interpreters: map[string]string{runtime: python}})
	body := strings.Replace(samTemplate, "PYTHON", runtime, 1)
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("sam"), TemplateBody: &body,
		Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand},
	}
	created, err := s.Stacks.CreateStack(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	stack := settle(t, s, created.StackId, types.StackStatusCreateComplete)
	outputs := map[string]string{}
	for _, o := range stack.Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	if !strings.HasSuffix(outputs["Alias"], ":function:echo:live") || !strings.HasSuffix(outputs["Function"], ":function:rotation") {
		t.Errorf("got the outputs %v", outputs)
	}
	if got := invoke(t, s, outputs["Alias"]); got != `"one"` {
		t.Errorf("got %s from the function, want one", got)
	}
	checkRotation(t, s)

	_, err = s.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{
		StackName: in.StackName, UsePreviousTemplate: aws.Bool(true), Capabilities: in.Capabilities,
		Parameters: []types.Parameter{{ParameterKey: aws.String("Text"), ParameterValue: aws.String("two")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, s, created.StackId, types.StackStatusUpdateComplete)
	if got := invoke(t, s, "echo"); got != `"two"` {
		t.Errorf("got %s from the updated function, want two", got)
	}
	if _, err := s.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: in.StackName}); err != nil {
		t.Fatal(err)
	}
	settle(t, s, created.StackId, types.StackStatusDeleteComplete)
	functions, err := s.Lambda.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	if err != nil || len(functions.Functions) != 0 {
		t.Errorf("left: %d functions, %v", len(functions.Functions), err)
	}
}

func invoke(t *testing.T, s *apitest.Server, function string) string {
	t.Helper()
	out, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &function})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Payload)
}

// checkRotation looks at the function and the role that the application made.
func checkRotation(t *testing.T, s *apitest.Server) {
	t.Helper()
	got, err := s.Lambda.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("rotation")})
	if err != nil {
		t.Fatal(err)
	}
	c := got.Configuration
	if *c.Handler != "rotator.postgres.alternating" || c.Runtime != "provided.al2023" || *c.Timeout != 30 || *c.MemorySize != 128 || c.VpcConfig != nil && len(c.VpcConfig.SubnetIds) > 0 {
		t.Errorf("got the function %s %s %d %d %v", *c.Handler, c.Runtime, *c.Timeout, *c.MemorySize, c.VpcConfig)
	}
	vars := c.Environment.Variables
	if vars["SECRETS_MANAGER_ENDPOINT"] != "https://secretsmanager.us-east-1.amazonaws.com" || !strings.Contains(vars["EXCLUDE_CHARACTERS"], "`#$") {
		t.Errorf("got the variables %v", vars)
	}
	if got.Tags["SecretsManagerLambda"] != "Rotation" || got.Tags["lambda:createdBy"] != "SAM" || got.Tags["aws:cloudformation:stack-name"] == "" {
		t.Errorf("got the tags %v", got.Tags)
	}
	role := (*c.Role)[strings.LastIndexByte(*c.Role, '/')+1:]
	policies, err := s.IAM.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: &role})
	if err != nil {
		t.Fatal(err)
	}
	// Policies 2, 4, 5 and 6 are of keys and of the superuser's other name.
	want := []string{"Policy0", "Policy1", "Policy3", "Policy7"}
	var names []string
	for _, name := range policies.PolicyNames {
		names = append(names, strings.TrimPrefix(name, "SecretsManagerRDSPostgreSQLRotationMultiUserRole"))
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("got the policies %v, want %v", names, want)
	}
	policy, err := s.Lambda.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: aws.String("rotation")})
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Statement []struct{ Principal map[string]string }
	}
	if json.Unmarshal([]byte(*policy.Policy), &document) != nil || len(document.Statement) != 1 || document.Statement[0].Principal["Service"] != "secretsmanager.amazonaws.com" {
		t.Errorf("got the policy %s", *policy.Policy)
	}
}
