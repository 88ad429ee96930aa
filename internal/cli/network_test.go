package cli

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyturn/keyturn/internal/apitest"
)

// mason builds the network that the scripts look at.
type mason struct {
	*apitest.Server
	t                                      *testing.T
	vpc, subnet, own, database, endpointID string
}

// The network command against a server on which the scripts change a VPC.
func TestNetworkScripts(t *testing.T) {
	m := &mason{Server: apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), t: t}
	m.build()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/network",
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				"AWS_ENDPOINT_URL": m.URL, "AWS_REGION": apitest.Region, "AWS_ACCESS_KEY_ID": apitest.AccessKey,
				"AWS_SECRET_ACCESS_KEY": apitest.SecretKey, "AWS_EC2_METADATA_DISABLED": "true",
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"endpoint": command(m.endpoint), "deny": command(m.deny), "admit": command(m.admit), "nobody": m.nobody,
		},
	})
}

func (m *mason) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mason) group(name string) string {
	m.t.Helper()
	out, err := m.EC2.CreateSecurityGroup(m.t.Context(), &ec2.CreateSecurityGroupInput{VpcId: &m.vpc, GroupName: &name, Description: aws.String("test")})
	m.must(err)
	return *out.GroupId
}

// build makes a VPC with a function and a database, and a function outside.
func (m *mason) build() {
	m.t.Helper()
	ctx := m.t.Context()
	made, err := m.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	m.must(err)
	m.vpc = *made.Vpc.VpcId
	_, err = m.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &m.vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
	m.must(err)
	n, err := m.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &m.vpc, CidrBlock: aws.String("10.0.1.0/24")})
	m.must(err)
	m.subnet, m.own, m.database = *n.Subnet.SubnetId, m.group("function"), m.group("database")
	_, err = m.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("here"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"),
		MasterUsername: aws.String("postgres"), MasterUserPassword: aws.String("not-asked-for-1"), VpcSecurityGroupIds: []string{m.database},
		Tags: []rdstypes.Tag{{Key: aws.String("keyturn:endpoint"), Value: aws.String("127.0.0.1:5432")}},
	})
	m.must(err)
	m.NewFunction(m.t, apitest.StepFunction(m.t, "outside", "", ""))
	m.NewFunction(m.t, apitest.StepFunction(m.t, "rotate", "", ""))
	_, err = m.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{
		RoleName: aws.String("rotate-role"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"),
	})
	m.must(err)
	_, err = m.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: aws.String("rotate"), VpcConfig: &lambdatypes.VpcConfig{SubnetIds: []string{m.subnet}, SecurityGroupIds: []string{m.own}},
	})
	m.must(err)
}

// endpoint makes one that admits the VPC: SERVICE.
func (m *mason) endpoint(ctx context.Context, args []string) error {
	group := m.group("endpoint")
	if err := m.open(ctx, group, 443); err != nil {
		return err
	}
	out, err := m.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &m.vpc, VpcEndpointType: ec2types.VpcEndpointTypeInterface, ServiceName: aws.String("com.amazonaws." + apitest.Region + "." + args[0]),
		SubnetIds: []string{m.subnet}, SecurityGroupIds: []string{group}, PrivateDnsEnabled: aws.Bool(true),
	})
	if err == nil {
		m.endpointID = *out.VpcEndpoint.VpcEndpointId
	}
	return err
}

func (m *mason) open(ctx context.Context, group string, port int32) error {
	_, err := m.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}},
	}}})
	return err
}

// deny gives the endpoint a policy that admits reading alone.
func (m *mason) deny(ctx context.Context, _ []string) error {
	_, err := m.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &m.endpointID, PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"secretsmanager:Describe*","Resource":"*"}]}`)})
	return err
}

// admit lets the VPC in to the database: PORT.
func (m *mason) admit(ctx context.Context, args []string) error {
	port, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil {
		return err
	}
	return m.open(ctx, m.database, int32(port))
}

// nobody lets the script go on as a user without permissions.
func (m *mason) nobody(ts *testscript.TestScript, _ bool, _ []string) {
	c, err := m.NewUser(m.t, "nobody-"+strings.ToLower(m.subnet[len(m.subnet)-4:])).Credentials.Retrieve(m.t.Context())
	ts.Check(err)
	ts.Setenv("AWS_ACCESS_KEY_ID", c.AccessKeyID)
	ts.Setenv("AWS_SECRET_ACCESS_KEY", c.SecretAccessKey)
}
