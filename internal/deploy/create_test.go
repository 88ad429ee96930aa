package deploy_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/deploy"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// operator may make one function and rotate one secret, and cannot read it.
func operator(t *testing.T, s *apitest.Server, function, secret string) aws.Config {
	t.Helper()
	policy, err := examples.Policy("rotator-operator", examples.Names{
		Region: apitest.Region, Account: apitest.Account, Function: function, Role: deploy.RoleName(function), Secret: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.NewUser(t, "operator")
	_, err = s.IAM.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("operator"), PolicyName: aws.String("p"), PolicyDocument: &policy})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newSecret(t *testing.T, s *apitest.Server, name, value string) string {
	t.Helper()
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ARN
}

// password is the current one of a secret.
func password(t *testing.T, s *apitest.Server, secret string) string {
	t.Helper()
	out, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &secret})
	if err != nil {
		t.Fatal(err)
	}
	return apitest.PasswordIn(t, *out.SecretString)
}

// rotateNow rotates to the end, once the test of the configuration is over.
func rotateNow(t *testing.T, cfg aws.Config, secret string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := secretsmanager.NewFromConfig(cfg)
	for {
		out, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secret})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(out.VersionIdsToStages) // a map of strings
		if !strings.Contains(string(text), "AWSPENDING") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	r, err := rotate.Start(ctx, rotate.NewClients(cfg), secret)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	if err := r.Watch(ctx, func(l rotate.Line) { lines = append(lines, l.Text()) }); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
}

func bundle(t *testing.T, db *pgserver.Server) []byte {
	t.Helper()
	b, err := os.ReadFile(db.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// apply returns the changes as lines, without what differs from run to run.
func apply(t *testing.T, cfg aws.Config, s deploy.Spec) ([]string, error) {
	t.Helper()
	var did []string
	_, err := deploy.Apply(t.Context(), cfg, s, func(c deploy.Change) { did = append(did, c.String()) })
	return did, err
}

const functionARN = "arn:aws:lambda:" + apitest.Region + ":" + apitest.Account + ":function:rot"

// A user with the example's policy makes a function that rotates a real
// secret; made again, it changes what differs and nothing else.
func TestCreate(t *testing.T) {
	s, db := apitest.Start(t, apitest.Options{}), apitest.Database(t)
	user := apitest.NewUser(t, db)
	secret := newSecret(t, s, "app/db", user.Value(user.Password))
	cfg := operator(t, s, "rot", "app/db")
	spec := deploy.Spec{Name: "rot", Rotator: "postgres.single", Timeout: 30, Memory: 128, CABundle: bundle(t, db), Secrets: []string{"app/db"}}

	want := func(what string, lines ...string) {
		t.Helper()
		did, err := apply(t, cfg, spec)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(lines, did); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("first", "Role rot-role: created", "Role policy rot-role/rotation: created", "Function "+functionARN+": created",
		"Permission of Secrets Manager on rot: created", "Rotation of app/db: created (every 30 days)")
	rotateNow(t, cfg, secret)
	fresh := password(t, s, secret)
	if user.Login(t.Context(), fresh) != nil || user.Login(t.Context(), user.Password) == nil {
		t.Error("the new password does not log in, or the old one does")
	}
	same := []string{"Role rot-role: unchanged", "Role policy rot-role/rotation: unchanged", "Function " + functionARN + ": unchanged",
		"Permission of Secrets Manager on rot: unchanged", "Rotation of app/db: unchanged"}
	want("again", same...)

	spec.Timeout, spec.Environment, spec.Concurrency, spec.Every, spec.Window = 60, map[string]string{"PASSWORD_LENGTH": "40"}, aws.Int32(2), "rate(12 hours)", "2h"
	want("with other options", same[0], same[1], "Function "+functionARN+": updated (timeout, variable PASSWORD_LENGTH)",
		"Reserved concurrency of rot: updated (2)", same[3], "Rotation of app/db: updated (rate(12 hours))")
	rotateNow(t, cfg, secret)
	if n := len(password(t, s, secret)); n != 40 {
		t.Errorf("got a password of %d characters, want 40", n)
	}
	spec.CABundle, spec.Concurrency, spec.Keys = append(spec.CABundle, '\n'), nil, []string{"arn:aws:kms:us-east-1:123456789012:key/k"}
	want("with another bundle", same[0], "Role policy rot-role/rotation: updated", "Code of the function rot: updated", same[2],
		"Reserved concurrency of rot: updated (no limit of its own)", same[3], same[4])
}

// Alternating users need the superuser's secret, by name or ARN, and the role
// may read that and no other.
func TestCreateAlternating(t *testing.T) {
	s, db := apitest.Start(t, apitest.Options{}), apitest.Database(t)
	user := apitest.NewUser(t, db)
	master := map[string]any{"engine": "postgres", "host": db.Host, "port": db.Port, "dbname": "postgres", "username": pgserver.Superuser, "password": db.Password}
	text, err := json.Marshal(master)
	if err != nil {
		t.Fatal(err)
	}
	arn := newSecret(t, s, "superuser", string(text))
	secret := newSecret(t, s, "app/db", strings.Replace(user.Value(user.Password), "{", `{"masterarn":"`+arn+`",`, 1))
	spec := deploy.Spec{Name: "rot", Rotator: "postgres.alternating", Timeout: 30, Memory: 128, CABundle: bundle(t, db), Secrets: []string{secret}}
	if _, err := apply(t, s.Config, spec); err == nil || !strings.Contains(err.Error(), "--superuser-secret") {
		t.Errorf("without the superuser's secret: got %v", err)
	}
	spec.Superusers = []string{"superuser"}
	if _, err := apply(t, s.Config, spec); err != nil {
		t.Fatal(err)
	}
	rotateNow(t, s.Config, secret)
	out, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &secret})
	if err != nil || !strings.Contains(*out.SecretString, user.Name+"_clone") {
		t.Errorf("the other user is not the current one (%v)", err)
	}
}

// What is not ours is left alone, what is missing is found before anything is
// made, and a failure in the middle says where it stands.
func TestCreateRefuses(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	s.NewFunction(t, apitest.PythonRotation(t, "python"))
	if _, err := s.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("taken-role"), AssumeRolePolicyDocument: aws.String(apitest.TrustPolicy)}); err != nil {
		t.Fatal(err)
	}
	nobody := s.NewUser(t, "nobody")
	for _, c := range []struct {
		name string
		cfg  aws.Config
		spec deploy.Spec
		want string
	}{
		{"another function", s.Config, deploy.Spec{Name: "python"}, "exists and is no built-in rotator (runtime python3"},
		{"another role", s.Config, deploy.Spec{Name: "taken"}, "take that role as it is with --role arn:aws:iam::123456789012:role/taken-role"},
		{"a missing secret", s.Config, deploy.Spec{Name: "rot", Secrets: []string{"none"}}, "looking at the secret none"},
		{"no rights", nobody, deploy.Spec{Name: "rot"}, "looking at the function rot"},
		{"AWS", aws.Config{Region: "us-east-1"}, deploy.Spec{Name: "rot"}, "this is AWS, and functions there need a program of their own: make a package with `keyturn function package --rotator postgres.single"},
	} {
		c.spec.Rotator, c.spec.Timeout, c.spec.Memory = "postgres.single", 30, 128
		did, err := apply(t, c.cfg, c.spec)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(did) != 0 {
			t.Errorf("%s: got %v after %q, want %q after nothing", c.name, err, did, c.want)
		}
	}
}

// A role that is given is used as it is.
func TestCreateWithRole(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	role, err := s.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("mine"), AssumeRolePolicyDocument: aws.String(apitest.TrustPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	did, err := apply(t, s.Config, deploy.Spec{Name: "rot", Rotator: "postgres.single", Timeout: 30, Memory: 128, Role: *role.Role.Arn})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Function " + functionARN + ": created", "Permission of Secrets Manager on rot: created"}, did); diff != "" {
		t.Error(diff)
	}
	out, err := s.Lambda.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("rot")})
	if err != nil || *out.Configuration.Role != *role.Role.Arn {
		t.Errorf("got the role %v (%v)", out.Configuration.Role, err)
	}
}
