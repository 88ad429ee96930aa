package cloudformation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/apitest"
)

// serverless is a template of SAM without a package.
const serverless = `Transform: AWS::Serverless-2016-10-31
Parameters:
  Note: {Type: String, Default: first}
Resources:
  Rotator:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.11
      Handler: index.handler
      Description: !Ref Note
      InlineCode: "def handler(event, context): return 1"
      Policies: [AWSSecretsManagerRotationPolicy: {FunctionName: rotator}]
Outputs:
  Arn: {Value: !GetAtt Rotator.Arn}
`

// sam makes the calls that "sam deploy" makes, in its order.
type sam struct {
	*apitest.Server
	*testing.T
	name *string
}

// changeSet asks for a change set, and returns it once it is worked out.
func (s *sam) changeSet(parameters []types.Parameter) *cloudformation.DescribeChangeSetOutput {
	s.Helper()
	ctx, kind := s.Context(), types.ChangeSetTypeCreate
	if _, err := s.Stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: s.name}); err == nil {
		kind = types.ChangeSetTypeUpdate
		summary, err := s.Stacks.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: s.name})
		if err != nil || len(summary.Parameters) != 1 || *summary.Parameters[0].ParameterKey != "Note" {
			s.Fatalf("got the summary %+v, %v", summary, err)
		}
	} else {
		refused(s.T, err, "ValidationError", "Stack with id "+*s.name+" does not exist")
	}
	made, err := s.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		ChangeSetName: aws.String(fmt.Sprint("samcli-deploy", time.Now().UnixNano())), StackName: s.name, TemplateBody: aws.String(serverless), ChangeSetType: kind,
		Parameters: parameters, Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Description: aws.String("Created by SAM CLI"), Tags: []types.Tag{},
	})
	if err != nil {
		s.Fatal(err)
	}
	for {
		set, err := s.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id, StackName: s.name})
		if err != nil {
			s.Fatal(err)
		}
		if set.Status != types.ChangeSetStatusCreatePending && set.Status != types.ChangeSetStatusCreateInProgress {
			return set
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// execute executes a change set and follows the events from the one before.
func (s *sam) execute(set *cloudformation.DescribeChangeSetOutput, want types.StackStatus) {
	s.Helper()
	ctx := s.Context()
	before, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: s.name})
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.Stacks.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId, StackName: s.name, DisableRollback: aws.Bool(false)}); err != nil {
		s.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		events, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: s.name})
		if err != nil {
			s.Fatal(err)
		}
		last := events.StackEvents[0]
		if *last.PhysicalResourceId == *last.StackId && last.Timestamp.After(*before.StackEvents[0].Timestamp) && !strings.HasSuffix(string(last.ResourceStatus), "_IN_PROGRESS") {
			if string(last.ResourceStatus) != string(want) {
				s.Fatalf("got %s, want %s", last.ResourceStatus, want)
			}
			return
		}
		if time.Now().After(until) {
			s.Fatalf("still %s", last.ResourceStatus)
		}
	}
}

// "sam deploy" creates and updates a stack without a package, and sees when
// there is nothing to do; CAPABILITY_IAM is enough for a change set.
func TestSAMDeploySequence(t *testing.T) {
	t.Parallel()
	s := &sam{apitest.Start(t, apitest.Options{}), t, aws.String("sam")}
	set := s.changeSet(nil)
	if len(set.Changes) != 2 { // the function and its role
		t.Errorf("got the changes %+v", set.Changes)
	}
	s.execute(set, types.StackStatusCreateComplete)
	set = s.changeSet([]types.Parameter{{ParameterKey: aws.String("Note"), ParameterValue: aws.String("second")}})
	s.execute(set, types.StackStatusUpdateComplete)
	functions, err := s.Lambda.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	if err != nil || len(functions.Functions) != 1 || *functions.Functions[0].Description != "second" {
		t.Errorf("got the functions %+v, %v", functions, err)
	}
	set = s.changeSet([]types.Parameter{{ParameterKey: aws.String("Note"), UsePreviousValue: aws.Bool(true)}})
	if set.Status != types.ChangeSetStatusFailed || !strings.HasPrefix(aws.ToString(set.StatusReason), "The submitted information didn't contain changes.") {
		t.Errorf("got %s (%s), want no changes", set.Status, aws.ToString(set.StatusReason))
	}
}
