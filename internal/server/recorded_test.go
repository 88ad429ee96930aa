package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// readSecret tells what comes of reading a secret.
const readSecret = `
import boto3
def lambda_handler(event, context):
    try:
        return boto3.client("secretsmanager").get_secret_value(SecretId=event["id"])["SecretString"]
    except Exception as e:
        return str(e)
`

// vpcFor makes a VPC with one subnet and an endpoint for Secrets Manager in
// it.
func vpcFor(t *testing.T, s *apitest.Server, policy *string) (subnet, group, endpoint string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vpc, err := s.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	must(err)
	id := vpc.Vpc.VpcId
	_, err = s.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: id, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
	must(err)
	n, err := s.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: id, CidrBlock: aws.String("10.0.1.0/24")})
	must(err)
	g, err := s.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: id, GroupName: aws.String("function"), Description: aws.String("d")})
	must(err)
	e, err := s.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: id, VpcEndpointType: ec2types.VpcEndpointTypeInterface, ServiceName: aws.String("com.amazonaws." + apitest.Region + ".secretsmanager"),
		SubnetIds: []string{*n.Subnet.SubnetId}, SecurityGroupIds: []string{*g.GroupId}, PolicyDocument: policy,
	})
	must(err)
	return *n.Subnet.SubnetId, *g.GroupId, *e.VpcEndpoint.VpcEndpointId
}

// The calls of a function in a VPC come through the endpoint that was made
// there: its policy decides, and conditions know it. Those of others do not.
func TestRecordedEndpoint(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	subnet, group, endpoint := vpcFor(t, s, nil)
	secret, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("in-vpc"), SecretString: aws.String("value")})
	must(err)
	_, err = s.Secrets.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{SecretId: secret.ARN, ResourcePolicy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*",
			"Condition":{"StringNotEquals":{"aws:SourceVpce":"` + endpoint + `"},"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:root"}}}]}`)})
	must(err)
	name := s.NewFunction(t, apitest.PythonCode(t, "reader", readSecret))
	_, err = s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("reader-role"), PolicyName: aws.String("more"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:GetSecretValue","ec2:*NetworkInterface*"],"Resource":"*"}]}`)})
	must(err)
	attach := func(subnets, groups []string) {
		t.Helper()
		_, err := s.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, VpcConfig: &lambdatypes.VpcConfig{SubnetIds: subnets, SecurityGroupIds: groups}})
		must(err)
		must(lambda.NewFunctionUpdatedV2Waiter(s.Lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute))
	}
	read := func() string {
		t.Helper()
		payload, err := json.Marshal(map[string]string{"id": *secret.ARN})
		must(err)
		out, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload})
		must(err)
		var answer string
		must(json.Unmarshal(out.Payload, &answer))
		return answer
	}
	if got := read(); !strings.Contains(got, "explicit deny in a resource-based policy") {
		t.Errorf("outside of the VPC: got %q", got)
	}
	attach([]string{subnet}, []string{group})
	if got := read(); got != "value" {
		t.Errorf("through the endpoint: got %q", got)
	}
	modify := func(in ec2.ModifyVpcEndpointInput) {
		t.Helper()
		in.VpcEndpointId = &endpoint
		_, err := s.EC2.ModifyVpcEndpoint(ctx, &in)
		must(err)
	}
	modify(ec2.ModifyVpcEndpointInput{PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"secretsmanager:DescribeSecret","Resource":"*"}]}`)})
	if got := read(); !strings.Contains(got, "because no VPC endpoint policy allows the secretsmanager:GetSecretValue action") {
		t.Errorf("against the endpoint's policy: got %q", got)
	}
	if _, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: secret.ARN}); err != nil {
		t.Errorf("past the endpoint: %v", err)
	}
	modify(ec2.ModifyVpcEndpointInput{ResetPolicy: aws.Bool(true)})
	if got := read(); got != "value" {
		t.Errorf("with the default policy: got %q", got)
	}
	modify(ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)})
	if got := read(); !strings.Contains(got, "explicit deny in a resource-based policy") {
		t.Errorf("without private DNS: got %q", got)
	}
}
