package rds_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// tags makes tags of keys and values in turn.
func tags(pairs ...string) []types.Tag {
	var list []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return list
}

// initialSecret stores credentials and returns the secret's ARN.
func initialSecret(t *testing.T, s *apitest.Server, name, user, password string) string {
	t.Helper()
	value, _ := json.Marshal(map[string]string{"username": user, "password": password})
	made, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(string(value))})
	if err != nil {
		t.Fatal(err)
	}
	return *made.ARN
}

// instance describes an instance.
func instance(t *testing.T, s *apitest.Server, id string) types.DBInstance {
	t.Helper()
	out, err := s.RDS.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.DBInstances[0]
}

// waitFor waits until a managed secret has a status.
func waitFor(t *testing.T, s *apitest.Server, id, status string) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		got := aws.ToString(instance(t, s, id).MasterUserSecret.SecretStatus)
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("status of the managed secret: got %s, want %s\n%s", got, status, helperLog(t, s))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// helperLog is what RDS's own functions wrote.
func helperLog(t *testing.T, s *apitest.Server) string {
	out, err := s.Logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/rds/managed-rotation")})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range out.Events {
		b.WriteString(aws.ToString(e.Message))
	}
	return b.String()
}

func current(t *testing.T, s *apitest.Server, arn string) string {
	t.Helper()
	out, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	return *out.SecretString
}

// register registers the test's PostgreSQL with a managed master secret of
// the user.
func register(t *testing.T, s *apitest.Server, id string, u apitest.User) types.DBInstance {
	t.Helper()
	db := apitest.Database(t)
	made, err := s.RDS.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &id, DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"), MasterUsername: &u.Name,
		DBName: aws.String("postgres"), ManageMasterUserPassword: aws.Bool(true),
		Tags: tags("keyturn:endpoint", fmt.Sprintf("%s:%d", db.Host, db.Port), "keyturn:initial-secret", initialSecret(t, s, id+"-first", u.Name, u.Password)),
	})
	if err != nil {
		t.Fatalf("registering %s: %v", id, err)
	}
	return *made.DBInstance
}

func TestManagedMasterPassword(t *testing.T) {
	s := apitest.Start(t, apitest.Options{CABundle: []string{apitest.Database(t).CAFile}})
	ctx := t.Context()
	u := apitest.NewUser(t, apitest.Database(t))
	made := register(t, s, "db1", u)
	if made.MasterUserSecret == nil || aws.ToString(made.MasterUserSecret.SecretStatus) != "creating" {
		t.Fatalf("managed secret of a new registration: got %+v, want one that is being created", made.MasterUserSecret)
	}
	waitFor(t, s, "db1", "active")
	arn := *made.MasterUserSecret.SecretArn

	var value map[string]string
	if err := json.Unmarshal([]byte(current(t, s, arn)), &value); err != nil || len(value) != 2 || value["username"] != u.Name {
		t.Fatalf("the managed secret holds members %d, of user %q; want username and password of %q", len(value), value["username"], u.Name)
	}
	if value["password"] == u.Password {
		t.Error("the initial password is still the managed one")
	}
	if err := u.Login(ctx, value["password"]); err != nil {
		t.Errorf("logging in with the managed password: %v", err)
	}
	if err := u.Login(ctx, u.Password); err == nil {
		t.Error("the initial password still logs in")
	}

	d, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*d.Name, "rds!db-") || aws.ToString(d.OwningService) != "rds" || !aws.ToBool(d.RotationEnabled) ||
		d.RotationLambdaARN != nil || aws.ToInt64(d.RotationRules.AutomaticallyAfterDays) != 7 || d.NextRotationDate == nil {
		t.Errorf("described: got %s of %s, rotation %v by %v after %v days", *d.Name, aws.ToString(d.OwningService),
			aws.ToBool(d.RotationEnabled), aws.ToString(d.RotationLambdaARN), aws.ToInt64(d.RotationRules.AutomaticallyAfterDays))
	}
	owner := map[string]string{}
	for _, tag := range d.Tags {
		owner[*tag.Key] = *tag.Value
	}
	if owner["aws:rds:primaryDBInstanceArn"] != *made.DBInstanceArn || owner["aws:secretsmanager:owningService"] != "rds" {
		t.Errorf("tags of the managed secret: got %v", owner)
	}

	// On demand, by either service.
	_, err = s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{
		DBInstanceIdentifier: aws.String("db1"), RotateMasterUserPassword: aws.Bool(true), ApplyImmediately: aws.Bool(true),
	})
	if err != nil {
		t.Fatalf("RotateMasterUserPassword: %v", err)
	}
	second := waitForChange(t, s, arn, current(t, s, arn))
	waitFor(t, s, "db1", "active")
	_, err = s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &arn, RotationRules: &smtypes.RotationRulesType{ScheduleExpression: aws.String("rate(10 days)")},
	})
	if err != nil {
		t.Fatalf("RotateSecret: %v", err)
	}
	third := waitForChange(t, s, arn, second)
	if err := u.Login(ctx, apitest.PasswordIn(t, third)); err != nil {
		t.Errorf("logging in after RotateSecret: %v", err)
	}
	d, err = s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil || aws.ToString(d.RotationRules.ScheduleExpression) != "rate(10 days)" {
		t.Errorf("schedule: got %+v, %v, want rate(10 days)", d.RotationRules, err)
	}
	checkProtected(t, s, arn)
	checkHelperHidden(t, s)
	checkRelease(t, s, u, arn, third)
}

// waitForChange waits until a secret has another value.
func waitForChange(t *testing.T, s *apitest.Server, arn, before string) string {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		d, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		pending := false
		for _, labels := range d.VersionIdsToStages {
			pending = pending || len(labels) == 1 && labels[0] == "AWSPENDING" || len(labels) == 2
		}
		if now := current(t, s, arn); now != before && !pending {
			return now
		}
		if time.Now().After(deadline) {
			t.Fatalf("the secret keeps its value\n%s", helperLog(t, s))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// checkProtected tries what users may not do with a managed secret.
func checkProtected(t *testing.T, s *apitest.Server, arn string) {
	t.Helper()
	ctx := t.Context()
	const managed = "InvalidRequestException: This secret is managed by an AWS service, and you must use that service to update it."
	_, put := s.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &arn, SecretString: aws.String("x")})
	_, update := s.Secrets.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: &arn, Description: aws.String("x")})
	_, remove := s.Secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &arn})
	_, force := s.Secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &arn, ForceDeleteWithoutRecovery: aws.Bool(true)})
	_, tag := s.Secrets.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: &arn, Tags: []smtypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	for name, err := range map[string]error{"PutSecretValue": put, "UpdateSecret": update, "DeleteSecret": remove, "force": force, "TagResource": tag} {
		if err == nil || !strings.Contains(err.Error(), managed) {
			t.Errorf("%s: got %v, want %s", name, err, managed)
		}
	}
	_, err := s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &arn, RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:123456789012:function:mine"),
	})
	if want := "Rotation Lambda ARN is not supported for a service-managed secret."; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("RotateSecret with a function: got %v, want %s", err, want)
	}
}

// checkHelperHidden tries to reach RDS's own function and its role.
func checkHelperHidden(t *testing.T, s *apitest.Server) {
	t.Helper()
	ctx := t.Context()
	list, err := s.Lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	if err != nil || len(list.Functions) != 0 {
		t.Errorf("ListFunctions: got %d functions, %v; want none", len(list.Functions), err)
	}
	const owned = "arn:aws:lambda:us-east-1:123456789012:function:rds@postgres"
	for _, name := range []string{"rds@postgres", owned} {
		if _, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name}); err == nil {
			t.Errorf("Invoke %s: got no error", name)
		}
		if _, err := s.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name}); err == nil {
			t.Errorf("GetFunction %s: got no error", name)
		}
	}
	mine := initialSecret(t, s, "mine", "a", "b")
	_, err = s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &mine, RotationLambdaARN: aws.String(owned)})
	if err == nil {
		t.Error("RotateSecret of a user's secret with RDS's function: got no error")
	}
	role, err := s.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("AWSServiceRoleForRDS")})
	if err != nil {
		t.Fatal(err)
	}
	f := apitest.StepFunction(t, "thief", "", "")
	_, err = s.Lambda.CreateFunction(ctx, f.Input(*role.Role.Arn))
	if want := "The role defined for the function cannot be assumed by Lambda."; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a user's function under RDS's role: got %v, want %s", err, want)
	}
	_, err = s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: role.Role.RoleName, PolicyName: aws.String("more"), PolicyDocument: aws.String(apitest.TrustPolicy),
	})
	if want := "UnmodifiableEntity: Cannot perform the operation on the protected role 'AWSServiceRoleForRDS'"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("PutRolePolicy: got %v, want %s", err, want)
	}
}

// checkRelease deletes the registration and restores its secret.
func checkRelease(t *testing.T, s *apitest.Server, u apitest.User, arn, value string) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.RDS.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("db1"), SkipFinalSnapshot: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	d, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil || d.DeletedDate == nil || d.OwningService != nil {
		t.Fatalf("after the registration's deletion: got %+v, %v; want the secret scheduled for deletion and nobody's", d, err)
	}
	if _, err := s.Secrets.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: &arn}); err != nil {
		t.Fatal(err)
	}
	if got := current(t, s, arn); got != value {
		t.Error("the restored secret has another value")
	}
	if err := u.Login(ctx, apitest.PasswordIn(t, value)); err != nil {
		t.Errorf("logging in with the restored secret: %v", err)
	}
	if _, err := s.Secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &arn}); err != nil {
		t.Errorf("deleting the restored secret: %v", err)
	}
}

// A wrong initial password shows at once, and management can be turned off
// and on again with the right one, under a key of the user's.
func TestImpairedAndModified(t *testing.T) {
	db := apitest.Database(t)
	s := apitest.Start(t, apitest.Options{CABundle: []string{db.CAFile}})
	ctx := t.Context()
	u := apitest.NewUser(t, db)
	right := u.Password
	u.Password = "wrong-Password-1"
	made := register(t, s, "db1", u)
	waitFor(t, s, "db1", "impaired")
	wrong := *made.MasterUserSecret.SecretArn
	off, err := s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("db1"), ManageMasterUserPassword: aws.Bool(false)})
	if err != nil || off.DBInstance.MasterUserSecret != nil {
		t.Fatalf("turning management off: got %+v, %v", off, err)
	}
	if d, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &wrong}); err != nil || d.DeletedDate == nil {
		t.Errorf("the secret of before: got %+v, %v; want it scheduled for deletion", d, err)
	}
	key, err := s.KMS.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.RDS.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{
		ResourceName: made.DBInstanceArn, Tags: tags("keyturn:initial-secret", initialSecret(t, s, "right", u.Name, right)),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{
		DBInstanceIdentifier: aws.String("db1"), ManageMasterUserPassword: aws.Bool(true), MasterUserSecretKmsKeyId: aws.String("none"),
	})
	wantCode(t, "an unknown key", err, "KMSKeyNotAccessibleFault", "The specified KMS key [none] does not exist")
	on, err := s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{
		DBInstanceIdentifier: aws.String("db1"), ManageMasterUserPassword: aws.Bool(true), MasterUserSecretKmsKeyId: key.KeyMetadata.KeyId,
	})
	if err != nil || aws.ToString(on.DBInstance.MasterUserSecret.KmsKeyId) != *key.KeyMetadata.Arn {
		t.Fatalf("turning management on: got %+v, %v", on, err)
	}
	waitFor(t, s, "db1", "active")
	if err := u.Login(ctx, apitest.PasswordIn(t, current(t, s, *on.DBInstance.MasterUserSecret.SecretArn))); err != nil {
		t.Errorf("logging in with the managed password: %v", err)
	}
}

// readServers asks, as AWS's templates in Python do, where servers are.
const readServers = `
import boto3
def lambda_handler(event, context):
    rds = boto3.client("rds")
    instance = rds.describe_db_instances(DBInstanceIdentifier=event["instance"])["DBInstances"][0]
    replica = rds.describe_db_instances(DBInstanceIdentifier="copy")["DBInstances"][0]
    cluster = rds.describe_db_clusters(DBClusterIdentifier=event["cluster"])["DBClusters"][0]
    return [
        instance["Endpoint"]["Address"], instance["Endpoint"]["Port"], instance["Engine"], replica["ReadReplicaSourceDBInstanceIdentifier"],
        cluster["Endpoint"], cluster["ReaderEndpoint"], cluster["Port"], cluster["Engine"],
        [[m["DBInstanceIdentifier"], m["IsClusterWriter"]] for m in cluster["DBClusterMembers"]],
    ]
`

// TestPython shows that functions in Python reach the service and find the
// members that AWS's templates read.
func TestPython(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	ctx := t.Context()
	main := create(t, s, input("main"))
	_, err := s.RDS.CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: aws.String("copy"), SourceDBInstanceIdentifier: main.DBInstanceArn, Tags: tags("keyturn:endpoint", "copy.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := s.RDS.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: aws.String("c1"), Engine: aws.String("aurora-mysql"), MasterUsername: aws.String("admin"),
		Tags: tags("keyturn:endpoint", "rw.example.com", "keyturn:reader-endpoint", "ro.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	member := input("one")
	member.Engine, member.DBClusterIdentifier, member.MasterUsername, member.MasterUserPassword = aws.String("aurora-mysql"), aws.String("c1"), nil, nil
	create(t, s, member)
	function := s.NewFunction(t, apitest.PythonCode(t, "reader", readServers))
	_, err = s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("reader-role"), PolicyName: aws.String("servers"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"rds:Describe*","Resource":"*"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(map[string]string{"instance": *main.DBInstanceArn, "cluster": *cluster.DBCluster.DBClusterArn})
	out, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	const want = `["main.example.com", 6432, "postgres", "main", "rw.example.com", "ro.example.com", 3306, "aurora-mysql", [["one", true]]]`
	if string(out.Payload) != want {
		t.Errorf("got %s, want %s", out.Payload, want)
	}
}
