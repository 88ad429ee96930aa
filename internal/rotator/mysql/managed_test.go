package mysql_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// TestManagedMariaDB lets RDS manage the password of a MariaDB's superuser
// and rotates alternating users by it.
func TestManagedMariaDB(t *testing.T) {
	db := startMariaDB(t)
	s := apitest.Start(t, apitest.Options{CABundle: []string{filepath.Join(db.dir, "ca.pem")}})
	ctx := t.Context()
	const first = "First-Password-1"
	db.exec(t, "CREATE USER boss@'%' IDENTIFIED BY '"+first+"'", "GRANT ALL ON *.* TO boss@'%' WITH GRANT OPTION",
		"CREATE USER app@'%' IDENTIFIED BY '"+first+"'")
	store := func(name string, value map[string]any) string {
		text, _ := json.Marshal(value)
		out, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(string(text))})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ARN
	}
	made, err := s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("main"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("mariadb"),
		MasterUsername: aws.String("boss"), ManageMasterUserPassword: aws.Bool(true), Tags: []types.Tag{
			{Key: aws.String("keyturn:endpoint"), Value: aws.String(fmt.Sprintf("127.0.0.1:%d", db.port))},
			{Key: aws.String("keyturn:initial-secret"), Value: aws.String(store("first", map[string]any{"username": "boss", "password": first}))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	master := *made.DBInstance.MasterUserSecret.SecretArn
	read := func(arn string) map[string]any {
		out, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		value := map[string]any{}
		_ = json.Unmarshal([]byte(*out.SecretString), &value)
		return value
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(90 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited too long for %s", what)
			}
		}
	}
	wait("the managed secret", func() bool {
		out, err := s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("main")})
		return err == nil && *out.DBInstances[0].MasterUserSecret.SecretStatus == "active"
	})
	if c, err := db.login(ctx, "boss", fmt.Sprint(read(master)["password"])); err != nil || read(master)["password"] == first {
		t.Fatalf("the managed password does not log in, or is the first one: %v", err)
	} else {
		c.Close()
	}

	f := rotatortest.Suite{Rotator: "mariadb.alternating", Environment: map[string]string{"KEYTURN_CA_BUNDLE": db.authority}}.Function("rot")
	function := s.NewFunction(t, f)
	_, err = s.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("rot-role"), PolicyName: aws.String("servers"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["rds:DescribeDBInstances"],"Resource":"*"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	app := store("app", map[string]any{"engine": "mariadb", "host": "127.0.0.1", "port": db.port, "username": "app", "password": first, "masterarn": master})
	if _, err := s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &app, RotationLambdaARN: &function}); err != nil {
		t.Fatal(err)
	}
	wait("the rotation of app", func() bool { return strings.HasSuffix(fmt.Sprint(read(app)["username"]), "_clone") })
	value := read(app)
	c, err := db.login(ctx, fmt.Sprint(value["username"]), fmt.Sprint(value["password"]))
	if err != nil {
		t.Fatalf("logging in after the rotation: %v", err)
	}
	c.Close()
}
