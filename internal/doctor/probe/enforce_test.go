package probe_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor/probe"
)

// TestFromInsideTheNetwork tells a database that the function does not reach
// from one that does not answer: from here it does.
func TestFromInsideTheNetwork(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{EnforceVPC: true})
	_, e, db := newWorld(t, s)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made, err := s.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	must(err)
	vpc := made.Vpc.VpcId
	_, err = s.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
	must(err)
	subnet, err := s.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.1.0/24")})
	must(err)
	group, err := s.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: vpc, GroupName: aws.String("all"), Description: aws.String("test")})
	must(err)
	open := func(port int32) {
		_, err := s.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}},
		}}})
		must(err)
	}
	const https = 443
	open(https)
	_, err = s.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: vpc, VpcEndpointType: ec2types.VpcEndpointTypeInterface, ServiceName: aws.String("com.amazonaws." + apitest.Region + ".secretsmanager"),
		SubnetIds: []string{*subnet.Subnet.SubnetId}, SecurityGroupIds: []string{*group.GroupId},
	})
	must(err)
	_, err = s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("here"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"),
		MasterUsername: aws.String("postgres"), MasterUserPassword: aws.String("not-asked-for-1"), VpcSecurityGroupIds: []string{*group.GroupId},
		Tags: []rdstypes.Tag{{Key: aws.String("keyturn:endpoint"), Value: aws.String(address(t, db))}},
	})
	must(err)
	_, err = s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(e.Function.Name + "-role"), PolicyName: aws.String("network"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:*NetworkInterface*"],"Resource":"*"}]}`)})
	must(err)
	_, err = s.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &e.Function.Name, Timeout: aws.Int32(30),
		VpcConfig: &lambdatypes.VpcConfig{SubnetIds: []string{*subnet.Subnet.SubnetId}, SecurityGroupIds: []string{*group.GroupId}},
	})
	must(err)
	must(lambda.NewFunctionUpdatedV2Waiter(s.Lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &e.Function.Name}, time.Minute))

	probe.Run(ctx, s.Config, e, probe.Options{Here: true, InFunction: true})
	inside := byLabel(e, "function")["AWSCURRENT"]
	if len(inside.Stages) == 0 || inside.Stages[len(inside.Stages)-1].Name != "tcp" || inside.Stages[len(inside.Stages)-1].Cause != "timeout" {
		t.Errorf("behind a shut security group: got %+v, gaps %+v; want a timeout of TCP", inside, e.Gaps)
	}
	if p := byLabel(e, "here")["AWSCURRENT"]; !p.LogsIn {
		t.Errorf("from here: got %+v", p)
	}
	open(int32(db.Port))
	e.Probes = nil
	probe.Run(ctx, s.Config, e, probe.Options{InFunction: true})
	if p := byLabel(e, "function")["AWSCURRENT"]; !p.LogsIn {
		t.Errorf("once it is open: got %+v, gaps %+v", p, e.Gaps)
	}
}
