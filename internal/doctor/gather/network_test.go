package gather_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/network"
)

// vpc is a VPC with one subnet, in which the function and a database stand.
type vpc struct {
	id, subnet, functionGroup, databaseGroup string
}

func (k *kit) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) group(vpcID, name string) string {
	k.t.Helper()
	out, err := k.EC2.CreateSecurityGroup(k.t.Context(), &ec2.CreateSecurityGroupInput{VpcId: &vpcID, GroupName: &name, Description: aws.String("test")})
	k.must(err)
	return *out.GroupId
}

// newVPC makes the network and registers a database in it, which admits
// nobody.
func (k *kit) newVPC() vpc {
	k.t.Helper()
	ctx := k.t.Context()
	made, err := k.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	k.must(err)
	v := vpc{id: *made.Vpc.VpcId}
	_, err = k.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &v.id, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
	k.must(err)
	n, err := k.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &v.id, CidrBlock: aws.String("10.0.1.0/24")})
	k.must(err)
	v.subnet, v.functionGroup, v.databaseGroup = *n.Subnet.SubnetId, k.group(v.id, "function"), k.group(v.id, "database")
	_, err = k.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("here"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"),
		MasterUsername: aws.String("postgres"), MasterUserPassword: aws.String("not-asked-for-1"), VpcSecurityGroupIds: []string{v.databaseGroup},
		Tags: []rdstypes.Tag{{Key: aws.String("keyturn:endpoint"), Value: aws.String("127.0.0.1:5432")}},
	})
	k.must(err)
	return v
}

// stackTemplate makes a rotation function that raises, in a VPC.
const stackTemplate = `{"Resources": {
"Role": {"Type": "AWS::IAM::Role", "Properties": {
  "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]},
  "ManagedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"],
  "Policies": [{"PolicyName": "rotation", "PolicyDocument": {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "kms:Decrypt"], "Resource": "*"}]}}]}},
"Function": {"Type": "AWS::Lambda::Function", "Properties": {
  "FunctionName": "rotate-postgres", "Runtime": %q, "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]},
  "Code": {"ZipFile": "def handler(event, context):\n    raise ValueError(event['Step'] + ' is not for me')\n"},
  "Environment": {"Variables": {"SUPERUSER_SECRET_ARN": %q}},
  "VpcConfig": {"SubnetIds": [%q], "SecurityGroupIds": [%q]}}},
"Permission": {"Type": "AWS::Lambda::Permission", "Properties": {
  "FunctionName": {"Ref": "Function"}, "Action": "lambda:InvokeFunction", "Principal": "secretsmanager.amazonaws.com"}}},
"Outputs": {"Function": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}}}}`

// stack makes the function and returns its ARN.
func (k *kit) stack(v vpc, superuser string) string {
	k.t.Helper()
	ctx := k.t.Context()
	runtime, _ := apitest.Python(k.t)
	_, err := k.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: aws.String("rotation"), TemplateBody: aws.String(fmt.Sprintf(stackTemplate, runtime, superuser, v.subnet, v.functionGroup)),
		Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityIam},
	})
	k.must(err)
	waiter := cloudformation.NewStackCreateCompleteWaiter(k.Stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	out, err := waiter.WaitForOutput(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("rotation")}, time.Minute)
	k.must(err)
	function := *out.Stacks[0].Outputs[0].OutputValue
	k.must(lambda.NewFunctionActiveV2Waiter(k.Lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &function}, time.Minute))
	return function
}

// encrypted makes a secret under a key of its own, and has it rotated by the
// function.
func (k *kit) encrypted(name, function string) (secret, key string) {
	k.t.Helper()
	made, err := k.KMS.CreateKey(k.t.Context(), &kms.CreateKeyInput{})
	k.must(err)
	k.secretWith(&secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(canary), KmsKeyId: made.KeyMetadata.KeyId})
	_, err = k.Secrets.RotateSecret(k.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &name, RotationLambdaARN: &function})
	k.must(err)
	out, err := k.Secrets.DescribeSecret(k.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
	k.must(err)
	return *out.ARN, *made.KeyMetadata.Arn
}

func (k *kit) secretWith(in *secretsmanager.CreateSecretInput) string {
	k.t.Helper()
	out, err := k.Secrets.CreateSecret(k.t.Context(), in)
	k.must(err)
	return *out.ARN
}

// A user with the printed policy sees everything that root does; one who may
// only describe the secret sees less, without a failure.
func TestPolicyIsEnough(t *testing.T) {
	k := newKit(t)
	superuser := k.secretWith(&secretsmanager.CreateSecretInput{Name: aws.String("superuser"), SecretString: aws.String(canary)})
	v := k.newVPC()
	secret, key := k.encrypted("app/db", k.stack(v, superuser))
	k.reported(secret, `$.status = "failed" && $.step = "createSecret"`)
	cfg := k.user("doctor", gather.Policy("aws", apitest.Account, apitest.Region, secret))
	e := k.gather(cfg, secret)
	if len(e.Gaps) > 0 {
		t.Errorf("got gaps %+v", e.Gaps)
	}
	if e.Key == nil || !e.Key.Found || e.Key.ID != key || e.Key.State != "Enabled" || e.Key.Spec != "SYMMETRIC_DEFAULT" || !strings.Contains(e.Key.Policy, "kms:*") {
		t.Errorf("got the key %+v", e.Key)
	}
	if s := e.Superuser; s == nil || !s.Found || s.ARN != superuser || !strings.HasPrefix(s.From, "variable ") {
		t.Errorf("got the superuser %+v", s)
	}
	if s := e.Stack; s == nil || s.Name != "rotation" || s.RootName != "rotation" || s.Status != "CREATE_COMPLETE" || s.CreatedAt.IsZero() {
		t.Errorf("got the stack %+v", s)
	}
	wantDecisions(t, e, map[string]string{
		"secretsmanager:PutSecretValue " + secret: "implicitDeny", "secretsmanager:GetSecretValue " + superuser: "allowed",
		"kms:Decrypt " + key: "allowed", "kms:GenerateDataKey " + key: "implicitDeny", "ec2:CreateNetworkInterface *": "allowed",
	})
	k.withoutSimulation(e)
	k.narrowed(e)
	wantPaths(t, e)
	if e.Network.VPCID != v.id || e.Network.Enforced {
		t.Errorf("got the network %s, enforced %v", e.Network.VPCID, e.Network.Enforced)
	}
	k.little(secret)
	k.nothing()
}

func wantDecisions(t *testing.T, e *doctor.Evidence, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, d := range e.Role.Decisions {
		got[d.Action+" "+d.Resource] = d.Decision
	}
	for question, answer := range want {
		if got[question] != answer {
			t.Errorf("%s: got %q, want %q of %v", question, got[question], answer, got)
		}
	}
}

// narrowed gathers with the policy that names the function, its log, role and
// stack, and the keys and secrets that are known: nothing is missing, and no
// other function is open.
func (k *kit) narrowed(all *doctor.Evidence) {
	k.t.Helper()
	policy := gather.PolicyFor(all)
	for _, wide := range []string{"function:*", "log-group:*", "role/*", "secret:*", "key/*"} {
		if strings.Contains(policy, wide) {
			k.t.Errorf("the narrow policy has %s", wide)
		}
	}
	if e := k.gather(k.user("narrow", policy), all.Secret.ARN); len(e.Gaps) > 0 || e.Stack == nil || e.Superuser == nil || len(e.Invocations) == 0 {
		k.t.Errorf("got gaps %+v", e.Gaps)
	}
}

// withoutSimulation gathers as a user who may read the role's policies and not
// simulate them: the answers are the same.
func (k *kit) withoutSimulation(all *doctor.Evidence) {
	k.t.Helper()
	policy := strings.ReplaceAll(gather.Policy("aws", apitest.Account, apitest.Region, all.Secret.ARN), "iam:SimulatePrincipalPolicy", "iam:GetRole")
	e := k.gather(k.user("reader", policy), all.Secret.ARN)
	if len(e.Gaps) != 1 || e.Gaps[0].Action != "iam:SimulatePrincipalPolicy" {
		k.t.Errorf("got the gaps %+v", e.Gaps)
	}
	short := func(list []doctor.Decision) (texts []string) {
		for _, d := range list {
			texts = append(texts, d.Action+" "+d.Resource+" "+d.Decision)
		}
		slices.Sort(texts)
		return texts
	}
	if diff := cmp.Diff(short(all.Role.Decisions), short(e.Role.Decisions)); diff != "" {
		k.t.Errorf("decisions (-simulated +evaluated):\n%s", diff)
	}
}

func wantPaths(t *testing.T, e *doctor.Evidence) {
	t.Helper()
	if e.Network == nil {
		t.Fatal("got no network")
	}
	got := map[string]network.Verdict{}
	for _, p := range e.Network.Paths {
		got[p.To+" "+p.Database] = p.Report.Verdict
		if r := p.Report.Refusal(); r == nil || r.Fix == "" {
			t.Errorf("got the way to %s %+v, want a refusal that can be mended", p.To, p.Report)
		}
	}
	if len(got) != 3 || got["secretsmanager "] != network.NoRoute {
		t.Errorf("got the ways %v", got)
	}
	i := slices.IndexFunc(e.Network.Paths, func(p doctor.Path) bool { return p.To == "database" })
	if i < 0 {
		t.Fatalf("no way to a database among %v", got)
	}
	if p := e.Network.Paths[i]; p.Host != "127.0.0.1" || p.Port != 5432 || !strings.HasPrefix(p.Database, "instance here (postgres") ||
		p.Report.Verdict != network.Dropped || p.Report.Refusal().Stage != network.StageGroupIn {
		t.Errorf("got the way %+v", p)
	}
}

// little gathers with a single permission.
func (k *kit) little(secret string) {
	k.t.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"secretsmanager:DescribeSecret","Resource":%q}}`, secret)
	e := k.gather(k.user("little", policy), secret)
	if !e.Secret.Found || e.Secret.Name != "app/db" || e.Function != nil || len(e.Events) > 0 {
		k.t.Errorf("got the evidence %+v", e)
	}
	for _, want := range []string{
		"cloudtrail:LookupEvents", "kms:DescribeKey", "lambda:GetAccountSettings", "lambda:GetFunction", "lambda:GetFunctionConfiguration",
		"logs:FilterLogEvents", "secretsmanager:GetResourcePolicy", "secretsmanager:ListSecretVersionIds", "secretsmanager:ListSecrets",
	} {
		i := slices.IndexFunc(e.Gaps, func(g doctor.Gap) bool { return g.Action == want })
		if i < 0 {
			k.t.Errorf("no gap for %s among %+v", want, e.Gaps)
			continue
		}
		if g := e.Gaps[i]; !g.Denied || g.Missing == "" || !strings.Contains(g.Error, "is not authorized to perform: "+want) {
			k.t.Errorf("got the gap %+v", g)
		}
	}
}

// nothing gathers without any permission, and on what does not exist.
func (k *kit) nothing() {
	k.t.Helper()
	e := k.gather(k.NewUser(k.t, "nobody"), "app/db")
	if e.Secret.Found || len(e.Gaps) != 1 || !e.Gaps[0].Denied || e.Account != apitest.Account {
		k.t.Errorf("got the evidence %+v", e)
	}
	e = k.gather(k.Config, "missing")
	if e.Secret.Found || e.Secret.Name != "missing" || len(e.Gaps) != 1 || e.Gaps[0].Denied || !strings.HasPrefix(e.Gaps[0].Error, "ResourceNotFoundException: ") {
		b, _ := json.Marshal(e)
		k.t.Errorf("got the evidence %s", b)
	}
}
