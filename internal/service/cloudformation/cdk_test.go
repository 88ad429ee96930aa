package cloudformation_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// synthesized is a template as the CDK's default synthesizer makes them: a
// resource, the CDK's own, and a parameter that a rule alone refers to.
const synthesized = `{
 "Resources": {
  "Database9F2C1C9E": {
   "Type": "AWS::SecretsManager::Secret",
   "Properties": {"GenerateSecretString": {"GenerateStringKey": "password", "SecretStringTemplate": "{\"username\":\"admin\"}"}, "Name": "cdk/database"},
   "UpdateReplacePolicy": "Delete",
   "DeletionPolicy": "Delete",
   "Metadata": {"aws:cdk:path": "App/Database/Resource"}
  },
  "CDKMetadata": {
   "Type": "AWS::CDK::Metadata",
   "Properties": {"Analytics": "v2:deflate64:H4sIAAAAAAAA/zPSMzIw1jNQTCwv1k1OydbNyUzSqw4uSUzO1kksL9YPTk0uSi3RqfYLcQ5OLqnVqQYAaVf1NzUAAAA="},
   "Metadata": {"aws:cdk:path": "App/CDKMetadata/Default"},
   "Condition": "CDKMetadataAvailable"
  }
 },
 "Conditions": {
  "CDKMetadataAvailable": {"Fn::Or": [
   {"Fn::Or": [{"Fn::Equals": [{"Ref": "AWS::Region"}, "af-south-1"]}, {"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}]},
   {"Fn::Or": [{"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}, {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-west-2"]}]}
  ]}
 },
 "Outputs": {"Arn": {"Value": {"Ref": "Database9F2C1C9E"}}},
 "Parameters": {
  "BootstrapVersion": {
   "Type": "AWS::SSM::Parameter::Value<String>",
   "Default": "/cdk-bootstrap/hnb659fds/version",
   "Description": "Version of the CDK Bootstrap resources in this environment, automatically retrieved from SSM Parameter Store. [cdk:skip]"
  }
 },
 "Rules": {
  "CheckBootstrapVersion": {
   "Assertions": [{
    "Assert": {"Fn::Not": [{"Fn::Contains": [["1", "2", "3", "4", "5"], {"Ref": "BootstrapVersion"}]}]},
    "AssertDescription": "CDK bootstrap stack version 6 required. Please run 'cdk bootstrap' with a recent version of the CDK CLI."
   }]
  }
 }
}`

// The CDK deploys by a change set, and by one again for an update.
func TestSynthesizedTemplate(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	name := aws.String("cdk")
	set, err := s.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: name, ChangeSetName: aws.String("cdk-deploy-change-set"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(synthesized),
		Capabilities: []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityNamedIam, types.CapabilityCapabilityAutoExpand},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.Stacks.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: name, TemplateStage: types.TemplateStageOriginal})
	if err != nil || body.TemplateBody != nil {
		t.Errorf("got the template %v, %v of a stack with change sets alone, want none", body, err)
	}
	ready := cloudformation.NewChangeSetCreateCompleteWaiter(s.Stacks, func(o *cloudformation.ChangeSetCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	if err := ready.Wait(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: set.Id}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stacks.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.Id}); err != nil {
		t.Fatal(err)
	}
	made := cloudformation.NewStackCreateCompleteWaiter(s.Stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	out, err := made.WaitForOutput(ctx, &cloudformation.DescribeStacksInput{StackName: name}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	p := out.Stacks[0].Parameters
	if len(p) != 1 || *p[0].ParameterValue != "/cdk-bootstrap/hnb659fds/version" || p[0].ResolvedValue != nil {
		t.Errorf("got the parameters %+v", p)
	}
	_, err = s.Stacks.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: name, UsePreviousTemplate: aws.Bool(true)})
	refused(t, err, "ValidationError", "No updates are to be performed.")
	uses := `{"Parameters":{"V":{"Type":"AWS::SSM::Parameter::Value<String>","Default":"/v"}},"Resources":{"G":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":{"Ref":"V"}}}}}`
	_, err = s.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("uses"), TemplateBody: &uses})
	refused(t, err, "ValidationError", "Parameters of Systems Manager are not served here: unable to fetch parameters [/v] from parameter store for this account.")
}
