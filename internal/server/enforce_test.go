package server_test

import (
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// testVPC is a VPC with a private subnet, that of the function, and a public
// one with a NAT gateway; an endpoint for Secrets Manager stands in the
// private one.
type testVPC struct {
	*apitest.Server
	t                            *testing.T
	id, private, public          string
	functionGroup, endpointGroup string
	endpoint, privateRoutes, acl string
}

func (v *testVPC) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func newTestVPC(t *testing.T, s *apitest.Server) *testVPC {
	t.Helper()
	ctx, v := t.Context(), &testVPC{Server: s, t: t}
	made, err := s.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	v.must(err)
	v.id = *made.Vpc.VpcId
	_, err = s.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &v.id, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
	v.must(err)
	subnet := func(cidr string) string {
		out, err := s.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &v.id, CidrBlock: &cidr})
		v.must(err)
		return *out.Subnet.SubnetId
	}
	group := func(name string) string {
		out, err := s.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v.id, GroupName: &name, Description: aws.String("test")})
		v.must(err)
		return *out.GroupId
	}
	v.private, v.public = subnet("10.0.1.0/24"), subnet("10.0.2.0/24")
	v.functionGroup, v.endpointGroup = group("function"), group("endpoint")
	v.https(true)
	e, err := s.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &v.id, VpcEndpointType: ec2types.VpcEndpointTypeInterface, ServiceName: aws.String("com.amazonaws." + apitest.Region + ".secretsmanager"),
		SubnetIds: []string{v.private}, SecurityGroupIds: []string{v.endpointGroup},
	})
	v.must(err)
	v.endpoint = *e.VpcEndpoint.VpcEndpointId
	v.routes()
	acls, err := s.EC2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{v.id}}}})
	v.must(err)
	v.acl = *acls.NetworkAcls[0].NetworkAclId
	return v
}

// routes leads the public subnet to the internet; the private one has a route
// table of its own.
func (v *testVPC) routes() {
	v.t.Helper()
	ctx := v.t.Context()
	igw, err := v.EC2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	v.must(err)
	_, err = v.EC2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: igw.InternetGateway.InternetGatewayId, VpcId: &v.id})
	v.must(err)
	table := func(subnet string) *string {
		out, err := v.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &v.id})
		v.must(err)
		_, err = v.EC2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: out.RouteTable.RouteTableId, SubnetId: &subnet})
		v.must(err)
		return out.RouteTable.RouteTableId
	}
	public := table(v.public)
	_, err = v.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: public, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: igw.InternetGateway.InternetGatewayId})
	v.must(err)
	v.privateRoutes = *table(v.private)
}

// nat gives the private subnet a way to the internet.
func (v *testVPC) nat() {
	v.t.Helper()
	out, err := v.EC2.CreateNatGateway(v.t.Context(), &ec2.CreateNatGatewayInput{SubnetId: &v.public, AllocationId: aws.String("eipalloc-0123456789abcdef0")})
	v.must(err)
	_, err = v.EC2.CreateRoute(v.t.Context(), &ec2.CreateRouteInput{
		RouteTableId: &v.privateRoutes, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: out.NatGateway.NatGatewayId,
	})
	v.must(err)
}

func permission(port int32, cidr string) []ec2types.IpPermission {
	if port == 0 {
		return []ec2types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []ec2types.IpRange{{CidrIp: &cidr}}}}
	}
	return []ec2types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: &cidr}}}}
}

// https opens or shuts the endpoint's security group.
func (v *testVPC) https(open bool) {
	v.t.Helper()
	if open {
		_, err := v.EC2.AuthorizeSecurityGroupIngress(v.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &v.endpointGroup, IpPermissions: permission(443, "10.0.0.0/16")})
		v.must(err)
		return
	}
	_, err := v.EC2.RevokeSecurityGroupIngress(v.t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &v.endpointGroup, IpPermissions: permission(443, "10.0.0.0/16")})
	v.must(err)
}

// egress opens or shuts the function's security group.
func (v *testVPC) egress(open bool, port int32, cidr string) {
	v.t.Helper()
	if open {
		_, err := v.EC2.AuthorizeSecurityGroupEgress(v.t.Context(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &v.functionGroup, IpPermissions: permission(port, cidr)})
		v.must(err)
		return
	}
	_, err := v.EC2.RevokeSecurityGroupEgress(v.t.Context(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &v.functionGroup, IpPermissions: permission(port, cidr)})
	v.must(err)
}

// privateDNS has the service's name stand for the endpoint or not.
func (v *testVPC) privateDNS(on bool) {
	v.t.Helper()
	_, err := v.EC2.ModifyVpcEndpoint(v.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: &v.endpoint, PrivateDnsEnabled: &on})
	v.must(err)
}

// deny adds or removes a network ACL entry that denies answers to the
// function.
func (v *testVPC) deny(on bool) {
	v.t.Helper()
	if on {
		_, err := v.EC2.CreateNetworkAclEntry(v.t.Context(), &ec2.CreateNetworkAclEntryInput{
			NetworkAclId: &v.acl, RuleNumber: aws.Int32(50), Protocol: aws.String("6"), RuleAction: ec2types.RuleActionDeny, Egress: aws.Bool(false),
			CidrBlock: aws.String("127.0.0.0/8"), PortRange: &ec2types.PortRange{From: aws.Int32(1024), To: aws.Int32(65535)},
		})
		v.must(err)
		return
	}
	_, err := v.EC2.DeleteNetworkAclEntry(v.t.Context(), &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &v.acl, RuleNumber: aws.Int32(50), Egress: aws.Bool(false)})
	v.must(err)
}

// database registers a database at a port of this host, in the private subnet
// with a security group of its own, which it returns.
func (v *testVPC) database(port int32) string {
	v.t.Helper()
	ctx := v.t.Context()
	g, err := v.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v.id, GroupName: aws.String("database"), Description: aws.String("test")})
	v.must(err)
	_, err = v.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("here"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"),
		MasterUsername: aws.String("postgres"), MasterUserPassword: aws.String("not-asked-for-1"), VpcSecurityGroupIds: []string{*g.GroupId},
		Tags: []rdstypes.Tag{{Key: aws.String("keyturn:endpoint"), Value: aws.String("localhost:" + strconv.Itoa(int(port)))}},
	})
	v.must(err)
	return *g.GroupId
}

// newFunction makes a function in the private subnet.
func (v *testVPC) newFunction(f apitest.Function) string {
	v.t.Helper()
	ctx := v.t.Context()
	name := v.NewFunction(v.t, f)
	_, err := v.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(f.Name + "-role"), PolicyName: aws.String("network"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:*NetworkInterface*","rds:*"],"Resource":"*"}]}`)})
	v.must(err)
	_, err = v.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, VpcConfig: &lambdatypes.VpcConfig{SubnetIds: []string{v.private}, SecurityGroupIds: []string{v.functionGroup}},
	})
	v.must(err)
	v.must(lambda.NewFunctionUpdatedV2Waiter(v.Lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute))
	return name
}

// reaching tells what a function reaches: Secrets Manager, RDS, an address
// outside of the VPC, the VPC's name servers.
const reaching = `
import boto3, botocore.config, os, socket
def client(name):
    return boto3.client(name, config=botocore.config.Config(connect_timeout=0.7, retries={"total_max_attempts": 1}))
def attempt(f):
    try:
        f()
        return "yes"
    except Exception as e:
        return "hangs" if "imeout" in type(e).__name__ else type(e).__name__
def outside(at):
    with socket.create_connection((at[0], at[1]), 0.7): pass
def rds():
    try:
        client("rds").describe_db_instances()
    except Exception as e:
        if "imeout" in type(e).__name__: raise
def lambda_handler(event, context):
    return " ".join([attempt(lambda: client("secretsmanager").get_random_password()), attempt(rds), attempt(lambda: outside(event["at"]))])
`

// With --enforce-vpc what a function reaches follows the records, at once.
func TestEnforceVPC(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t), EnforceVPC: true})
	v := newTestVPC(t, s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := int32(l.Addr().(*net.TCPAddr).Port)
	payload, err := json.Marshal(map[string]any{"at": []any{"127.0.0.1", port}})
	databaseGroup := v.database(port)
	ingress := func(group string) {
		_, err := s.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &databaseGroup, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &group}},
		}}})
		v.must(err)
	}
	unregister := func() {
		_, err := s.RDS.DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("here"), SkipFinalSnapshot: aws.Bool(true)})
		v.must(err)
	}
	v.must(err)
	name := v.newFunction(apitest.PythonCode(t, "reach", reaching))
	steps := []struct {
		name   string
		change func()
		want   string // Secrets Manager, RDS, outside
	}{
		{"an endpoint and no way out", func() {}, "yes hangs hangs"},
		{"the endpoint's security group is shut", func() { v.https(false) }, "hangs hangs hangs"},
		{"it is open again", func() { v.https(true) }, "yes hangs hangs"},
		{"the database's security group lets others in", func() { ingress(v.endpointGroup) }, "yes hangs hangs"},
		{"it lets the function in", func() { ingress(v.functionGroup) }, "yes hangs yes"},
		{"the database is not registered", unregister, "yes hangs hangs"},
		{"private DNS is off", func() { v.privateDNS(false) }, "hangs hangs hangs"},
		{"a NAT gateway", v.nat, "yes yes yes"},
		{"private DNS is on", func() { v.privateDNS(true) }, "yes yes yes"},
		{"the function's security group is shut", func() { v.egress(false, 0, "0.0.0.0/0") }, "hangs hangs hangs"},
		{"it lets one port out", func() { v.egress(true, port, "127.0.0.1/32") }, "hangs hangs yes"},
		{"it lets HTTPS out", func() { v.egress(true, 443, "0.0.0.0/0") }, "yes yes yes"},
		{"the network ACL denies answers from outside", func() { v.deny(true) }, "yes yes hangs"},
		{"it does not", func() { v.deny(false) }, "yes yes yes"},
	}
	for _, step := range steps {
		step.change()
		out, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: payload})
		v.must(err)
		if got, want := string(out.Payload), strconv.Quote(step.want); got != want {
			t.Errorf("%s: got %s, want %s", step.name, got, want)
		}
	}
	_, err = s.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, VpcConfig: &lambdatypes.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}},
	})
	v.must(err)
	v.must(lambda.NewFunctionUpdatedV2Waiter(s.Lambda).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute))
	v.https(false)
	out, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: payload})
	v.must(err)
	if got := string(out.Payload); got != `"yes yes yes"` {
		t.Errorf("taken out of the VPC: got %s", got)
	}
}

// passing tells what comes of the ways around the door of a service.
const passing = `
import boto3, botocore.config, botocore.exceptions, os
def client(name, **more):
    return boto3.client(name, config=botocore.config.Config(connect_timeout=0.7, retries={"total_max_attempts": 1}), **more)
def attempt(f):
    try:
        f()
        return "yes"
    except botocore.exceptions.ClientError as e:
        return e.response["Error"]["Code"]
    except Exception as e:
        return "hangs" if "imeout" in type(e).__name__ else type(e).__name__
def lambda_handler(event, context):
    here = os.environ["AWS_ENDPOINT_URL"]
    def chained():
        c = client("sts").assume_role(RoleArn=event["role"], RoleSessionName="chained")["Credentials"]
        client("secretsmanager", aws_access_key_id=c["AccessKeyId"], aws_secret_access_key=c["SecretAccessKey"],
            aws_session_token=c["SessionToken"]).get_secret_value(SecretId=event["id"])
    return [
        attempt(lambda: client("kms").list_keys()), attempt(lambda: client("iam").list_users()), attempt(lambda: client("kms", endpoint_url=here).list_keys()),
        attempt(lambda: client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL_KMS"]).get_random_password()),
        attempt(lambda: client("secretsmanager", endpoint_url=event["outer"]).get_random_password()), attempt(chained),
    ]
`

// The way to one service is none to another, the clients' address none to
// any, and a role that a function assumes calls from its VPC as well.
func TestEnforceDoors(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t), EnforceVPC: true})
	v, ctx := newTestVPC(t, s), t.Context()
	v.nat()
	secret, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("in-vpc"), SecretString: aws.String("value")})
	v.must(err)
	_, err = s.Secrets.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{SecretId: secret.ARN, ResourcePolicy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*",
			"Condition":{"StringNotEquals":{"aws:SourceVpce":"` + v.endpoint + `"},"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:root"}}}]}`)})
	v.must(err)
	role, err := s.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("next"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}}`)})
	v.must(err)
	put := func(role, actions string) {
		_, err := s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("doors"), PolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + actions + `","Resource":"*"}}`)})
		v.must(err)
	}
	put("next", "secretsmanager:GetSecretValue")
	name := v.newFunction(apitest.PythonCode(t, "pass", passing))
	put("pass-role", "sts:AssumeRole")
	payload, err := json.Marshal(map[string]string{"outer": s.URL, "role": *role.Role.Arn, "id": *secret.ARN})
	v.must(err)
	out, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload})
	v.must(err)
	const want = `["yes", "AccessDenied", "InvalidSignatureException", "InvalidSignatureException", "hangs", "yes"]`
	if got := string(out.Payload); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// rotate starts a rotation and waits until it has succeeded or a step has
// timed out; it returns what the function has logged since.
func (v *testVPC) rotate(secret, function string, done func(log string) bool) string {
	v.t.Helper()
	ctx, began := v.t.Context(), time.Now()
	_, err := v.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &secret, RotationLambdaARN: &function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	v.must(err)
	name := function[strings.LastIndexByte(function, ':')+1:]
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var log strings.Builder
		out, err := v.Logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/" + name), StartTime: aws.Int64(began.UnixMilli())})
		if err == nil {
			for _, e := range out.Events {
				log.WriteString(*e.Message)
			}
		}
		if done(log.String()) {
			return log.String()
		}
		if time.Now().After(end) {
			v.t.Fatalf("the rotation came to nothing; the log:\n%s", &log)
		}
	}
}

// The failures of AWS's guide to a rotation that fails in a VPC, on a real
// database: without the rule for HTTPS the function's log ends after the line
// about credentials, and its time runs out. With it the rotation succeeds.
func TestEnforceRotation(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t), EnforceVPC: true, CABundle: []string{apitest.Database(t).CAFile}})
	v := newTestVPC(t, s)
	v.nat()
	db := apitest.Database(t)
	user := apitest.NewUser(t, db)
	v.egress(false, 0, "0.0.0.0/0")
	v.egress(true, int32(db.Port), "127.0.0.1/32")
	v.egress(true, 443, "0.0.0.0/0")
	v.https(false)
	secret, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("db"), SecretString: aws.String(user.Value(user.Password))})
	v.must(err)
	f := apitest.PythonRotation(t, "rotate")
	f.Timeout = 4
	function := v.newFunction(f)
	timedOut := func(log string) bool { return strings.Contains(log, "Task timed out after 4.00 seconds") }
	log := v.rotate(*secret.ARN, function, timedOut)
	if before, after, found := strings.Cut(log, "Found credentials in environment variables."); !found || strings.Contains(before+after, "createSecret:") || strings.Contains(after, "[ERROR]") {
		t.Errorf("the log does not end after the line about credentials:\n%s", log)
	}
	v.https(true)
	_, err = s.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &function, Timeout: aws.Int32(30)})
	v.must(err)
	succeeded := func(string) bool {
		out, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: secret.ARN})
		v.must(err)
		return out.LastRotatedDate != nil
	}
	v.wait(succeeded)
	current, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: secret.ARN})
	v.must(err)
	password := apitest.PasswordIn(t, *current.SecretString)
	if password == user.Password {
		t.Error("the password is the old one")
	}
	if err := user.Login(t.Context(), password); err != nil {
		t.Errorf("the new password does not log in: %v", err)
	}
}

func (v *testVPC) wait(done func(string) bool) {
	v.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(""); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			v.t.Fatal("the rotation did not succeed")
		}
	}
}
