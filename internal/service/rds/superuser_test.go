package rds_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// superuser makes a superuser whose password is to be managed.
func superuser(t *testing.T, db *pgserver.Server) apitest.User {
	t.Helper()
	u := apitest.NewUser(t, db)
	apitest.Exec(t, db, "ALTER USER "+u.Name+" SUPERUSER")
	return u
}

// alternating makes the built-in rotator of alternating users, which may ask
// RDS where servers are.
func alternating(t *testing.T, s *apitest.Server, name, ca string) string {
	t.Helper()
	f := rotatortest.Suite{Rotator: "postgres.alternating", Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, ca)}}.Function(name)
	function := s.NewFunction(t, f)
	_, err := s.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName: aws.String(name + "-role"), PolicyName: aws.String("servers"), PolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["rds:DescribeDBInstances","rds:DescribeDBClusters"],"Resource":"*"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	return function
}

// rotateTwice rotates a secret to the clone and back, and returns its value.
func rotateTwice(t *testing.T, s *apitest.Server, arn, function, user string) string {
	t.Helper()
	ctx := t.Context()
	// Rotation begins at once with its configuration.
	_, err := s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &arn, RotationLambdaARN: &function})
	if err != nil {
		t.Fatal(err)
	}
	before := current(t, s, arn)
	for _, want := range []string{user + "_clone", user} {
		after := waitForChange(t, s, arn, before)
		if got := member(t, after, "username"); got != want {
			t.Fatalf("user after the rotation: got %s, want %s", got, want)
		}
		before = after
		if want == user {
			break
		}
		r, err := rotate.Start(ctx, rotate.NewClients(s.Config), arn)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		if err := r.Watch(ctx, func(l rotate.Line) { lines = append(lines, l.Text()) }); err != nil {
			t.Fatalf("rotating: %v\n%s", err, strings.Join(lines, "\n"))
		}
	}
	return before
}

func member(t *testing.T, value, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(value), &m); err != nil {
		t.Fatal("the value is not a JSON object")
	}
	return fmt.Sprint(m[name])
}

// A superuser's managed secret holds no host: the alternating rotator finds
// the server by the secret's tag.
func TestManagedSuperuser(t *testing.T) {
	db := apitest.Database(t)
	s := apitest.Start(t, apitest.Options{CABundle: []string{db.CAFile}})
	master := register(t, s, "main", superuser(t, db))
	waitFor(t, s, "main", "active")
	u := apitest.NewUser(t, db)
	value := strings.Replace(u.Value(u.Password), "{", `{"masterarn":"`+*master.MasterUserSecret.SecretArn+`",`, 1)
	made, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("app"), SecretString: &value})
	if err != nil {
		t.Fatal(err)
	}
	last := rotateTwice(t, s, *made.ARN, alternating(t, s, "rot", db.CAFile), u.Name)
	if err := u.Login(t.Context(), apitest.PasswordIn(t, last)); err != nil {
		t.Errorf("logging in after the rotations: %v", err)
	}
}

// A secret may name a replica: it is rotated by the superuser of the
// replica's source, which RDS tells.
func TestManagedSuperuserOfAReplica(t *testing.T) {
	ctx := t.Context()
	db, err := pgserver.Start(ctx, pgserver.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	standby, err := db.Standby(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Close() })
	s := apitest.Start(t, apitest.Options{CABundle: []string{db.CAFile}})
	admin := superuser(t, db)
	main, err := s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("main"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"),
		MasterUsername: &admin.Name, ManageMasterUserPassword: aws.Bool(true),
		Tags: tags("keyturn:endpoint", fmt.Sprintf("127.0.0.1:%d", db.Port), "keyturn:initial-secret", initialSecret(t, s, "first", admin.Name, admin.Password)),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.RDS.CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: aws.String("localhost"), SourceDBInstanceIdentifier: aws.String("main"),
		Tags: tags("keyturn:endpoint", fmt.Sprintf("localhost:%d", standby.Port)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := instance(t, s, "main").ReadReplicaDBInstanceIdentifiers; len(got) != 1 || got[0] != "localhost" {
		t.Errorf("replicas of main: got %v, want localhost", got)
	}
	waitFor(t, s, "main", "active")
	u := apitest.NewUser(t, db)
	time.Sleep(200 * time.Millisecond) // the user reaches the standby
	value, _ := json.Marshal(map[string]any{
		"engine": "postgres", "host": "localhost", "port": standby.Port, "dbname": "postgres", "username": u.Name, "password": u.Password,
		"masterarn": *main.DBInstance.MasterUserSecret.SecretArn,
	})
	made, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("app"), SecretString: aws.String(string(value))})
	if err != nil {
		t.Fatal(err)
	}
	last := rotateTwice(t, s, *made.ARN, alternating(t, s, "rot", db.CAFile), u.Name)
	if err := u.Login(ctx, apitest.PasswordIn(t, last)); err != nil {
		t.Errorf("logging in at the source: %v", err)
	}
}

// A cluster's managed secret names the cluster, and a replica cannot have one.
func TestManagedCluster(t *testing.T) {
	db := apitest.Database(t)
	s := apitest.Start(t, apitest.Options{CABundle: []string{db.CAFile}})
	ctx := t.Context()
	u := apitest.NewUser(t, db)
	made, err := s.RDS.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: aws.String("c1"), Engine: aws.String("aurora-postgresql"), MasterUsername: &u.Name, ManageMasterUserPassword: aws.Bool(true),
		DatabaseName: aws.String("postgres"),
		Tags:         tags("keyturn:endpoint", fmt.Sprintf("%s:%d", db.Host, db.Port), "keyturn:initial-secret", initialSecret(t, s, "first", u.Name, u.Password)),
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.DBCluster.MasterUserSecret.SecretArn
	after := waitForChange(t, s, arn, current(t, s, arn))
	if err := u.Login(ctx, apitest.PasswordIn(t, after)); err != nil {
		t.Errorf("logging in with the cluster's password: %v", err)
	}
	d, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil || !strings.HasPrefix(*d.Name, "rds!cluster-") || *d.Tags[0].Key != "aws:rds:primaryDBClusterArn" || *d.Tags[0].Value != *made.DBCluster.DBClusterArn {
		t.Errorf("the cluster's secret: got %+v, %v", d, err)
	}
	_, err = s.RDS.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{
		DBClusterIdentifier: aws.String("c1"), RotateMasterUserPassword: aws.Bool(true), ApplyImmediately: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	waitForChange(t, s, arn, after)
	member := input("one")
	member.Engine, member.DBClusterIdentifier, member.MasterUsername, member.MasterUserPassword = aws.String("aurora-postgresql"), aws.String("c1"), nil, nil
	create(t, s, member)
	_, err = s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("one"), ManageMasterUserPassword: aws.Bool(true)})
	wantCode(t, "management at a member", err, "InvalidParameterCombination", "is managed where it is written")
	if _, err := s.RDS.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("one")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RDS.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: aws.String("c1"), SkipFinalSnapshot: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn}); err != nil || d.DeletedDate == nil {
		t.Errorf("after the cluster's deletion: got %+v, %v; want the secret scheduled for deletion", d, err)
	}
}
