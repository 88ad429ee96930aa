package walkthrough_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// database is a server whose users' passwords are rotated.
type database struct {
	// engine is how rotation types begin.
	engine string
	// secret are the members that say where the server is.
	secret map[string]any
	// superuser and its password.
	superuser, password string
	// add makes a user; login logs in as one.
	add   func(t *testing.T, user, password string)
	login func(user, password string) error
}

func postgresDatabase(db *pgserver.Server) database {
	return database{
		engine: "PostgreSQL", superuser: pgserver.Superuser, password: db.Password,
		secret: map[string]any{"engine": "postgres", "host": db.Host, "port": db.Port, "dbname": "postgres", "ssl": true},
		add: func(t *testing.T, user, password string) {
			apitest.Exec(t, db, fmt.Sprintf("CREATE USER %s PASSWORD '%s'", user, password))
		},
		login: func(user, password string) error {
			conn, err := pgx.Connect(context.Background(), db.URL(user, password, "postgres"))
			if err != nil {
				return err
			}
			return conn.Close(context.Background())
		},
	}
}

// mariaDatabase starts a MariaDB without TLS.
func mariaDatabase(t *testing.T) database {
	t.Helper()
	const password = "Root-Password-1"
	dir, port := t.TempDir(), rotatortest.FreePort(t)
	owner := "root"
	if os.Geteuid() != 0 {
		owner = os.Getenv("USER")
	}
	data := filepath.Join(dir, "data")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--user="+owner)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("making a MariaDB: %v\n%s", err, out)
	}
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		program = "/usr/sbin/mariadbd"
	}
	socket := filepath.Join(dir, "socket")
	admin, err := sql.Open("mysql", "root@unix("+socket+")/")
	if err != nil {
		t.Fatal(err)
	}
	daemon := rotatortest.Daemon{
		Command: func() *exec.Cmd {
			return exec.Command(program, "--no-defaults", "--datadir="+data, "--port="+strconv.Itoa(port), "--bind-address=127.0.0.1", "--skip-log-bin",
				"--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"), "--skip-name-resolve", "--user="+owner, "--skip-ssl")
		},
		Ready: admin.PingContext,
	}
	daemon.Start(t)
	t.Cleanup(func() { _ = admin.Close() })
	exec := func(t *testing.T, statement string) {
		t.Helper()
		if _, err := admin.Exec(statement); err != nil {
			t.Fatalf("%s: %v", strings.Fields(statement)[0], err)
		}
	}
	exec(t, "CREATE USER IF NOT EXISTS root@127.0.0.1 IDENTIFIED BY '"+password+"'")
	exec(t, "ALTER USER root@127.0.0.1 IDENTIFIED BY '"+password+"'")
	exec(t, "GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION")
	exec(t, "CREATE DATABASE app")
	return database{
		engine: "MariaDB", superuser: "root", password: password,
		secret: map[string]any{"engine": "mariadb", "host": "127.0.0.1", "port": port, "dbname": "app", "ssl": false},
		add: func(t *testing.T, user, password string) {
			exec(t, fmt.Sprintf("CREATE USER %s IDENTIFIED BY '%s'", user, password))
			exec(t, "GRANT SELECT ON app.* TO "+user)
		},
		login: func(user, password string) error {
			db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(127.0.0.1:%d)/app", user, password, port))
			if err != nil {
				return err
			}
			defer db.Close()
			return db.Ping()
		},
	}
}

// text is a secret's value.
func (d database) text(t *testing.T, user, password string, more map[string]any) string {
	t.Helper()
	all := map[string]any{"username": user, "password": password}
	for _, members := range []map[string]any{d.secret, more} {
		for name, v := range members {
			all[name] = v
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hosted is a template with a secret and a schedule of a hosted function.
const hosted = `{
  "Transform": "TRANSFORM",
  "Parameters": {"Value": {"Type": "String", "NoEcho": true}, "Master": {"Type": "String", "Default": ""}},
  "Resources": {
    "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": {"Ref": "Value"}}},
    "Schedule": {"Type": "AWS::SecretsManager::RotationSchedule", "Properties": {
      "SecretId": {"Ref": "Secret"}, "RotationRules": {"AutomaticallyAfterDays": 7},
      "HostedRotationLambda": {"RotationType": "TYPE"MORE}}}
  },
  "Outputs": {"Secret": {"Value": {"Ref": "Secret"}}}
}`

// TestHostedRotation deploys templates with HostedRotationLambda and rotates
// real databases by them: two engines, both strategies, both transforms.
func TestHostedRotation(t *testing.T) {
	postgres, maria := postgresDatabase(apitest.Database(t)), mariaDatabase(t)
	s := start(t, apitest.Database(t))
	for i, c := range []struct {
		db                  database
		strategy, transform string
	}{
		{postgres, "SingleUser", "AWS::SecretsManager-2020-07-23"},
		{postgres, "MultiUser", "AWS::SecretsManager-2024-09-16"},
		{maria, "SingleUser", "AWS::SecretsManager-2024-09-16"},
		{maria, "MultiUser", "AWS::SecretsManager-2020-07-23"},
	} {
		t.Run(c.db.engine+c.strategy, func(t *testing.T) {
			user := fmt.Sprintf("hosted_%d", i)
			c.db.add(t, user, "First-Password-1")
			d := deployment{t: t, s: s, db: c.db, stack: fmt.Sprintf("hosted-%d", i), transform: c.transform, strategy: c.strategy}
			d.run(user)
		})
	}
	nothingLeft(t, s)
}

// deployment is one stack with a hosted function.
type deployment struct {
	t                          *testing.T
	s                          *apitest.Server
	db                         database
	stack, transform, strategy string
}

// run deploys the stack, rotates twice and deletes it.
func (d deployment) run(user string) {
	t := d.t
	more, members, master := "", map[string]any(nil), ""
	if d.strategy == "MultiUser" {
		made := must[*secretsmanager.CreateSecretOutput](t, "creating the superuser's secret")(d.s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
			Name: aws.String(d.stack + "-master"), SecretString: aws.String(d.db.text(t, d.db.superuser, d.db.password, nil)),
		}))
		master, members = *made.ARN, map[string]any{"masterarn": *made.ARN}
		more = `, "MasterSecretArn": {"Ref": "Master"}`
		defer func() {
			must[*secretsmanager.DeleteSecretOutput](t, "deleting the superuser's secret")(d.s.Secrets.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{
				SecretId: made.ARN, ForceDeleteWithoutRecovery: aws.Bool(true),
			}))
		}()
	}
	created := must[*cloudformation.CreateStackOutput](t, "creating the stack")(d.s.Stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName:    &d.stack,
		TemplateBody: aws.String(strings.NewReplacer("TRANSFORM", d.transform, "TYPE", d.db.engine+d.strategy, "MORE", more).Replace(hosted)),
		Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityIam, cfntypes.CapabilityCapabilityAutoExpand},
		Parameters: []cfntypes.Parameter{
			{ParameterKey: aws.String("Value"), ParameterValue: aws.String(d.db.text(t, user, "First-Password-1", members))},
			{ParameterKey: aws.String("Master"), ParameterValue: &master},
		},
	}))
	settled(t, d.s, created.StackId, cfntypes.StackStatusCreateComplete)
	secret := output(t, d.s, created.StackId, "Secret")
	awaitCurrent(t, d.s, secret, "") // rotation starts with the schedule
	first := d.check(secret)
	rotate(t, d.s, &secretsmanager.RotateSecretInput{SecretId: &secret})
	second := d.check(secret)
	if first.Password == second.Password {
		t.Error("the second rotation left the password as it was")
	}
	if alternates := first.Username != second.Username; alternates != (d.strategy == "MultiUser") {
		t.Errorf("got the users %s and %s", first.Username, second.Username)
	}
	deleteStack(t, d.s, created.StackId)
}

type login struct{ Username, Password string }

// check demands that the secret's value logs in and is not the first one.
func (d deployment) check(secret string) (l login) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(value(d.t, d.s, secret)), &l); err != nil {
		d.t.Fatal("the value is not a JSON object")
	}
	if err := d.db.login(l.Username, l.Password); err != nil {
		d.t.Errorf("the secret's password does not log in: %v", err)
	}
	if l.Password == "First-Password-1" {
		d.t.Error("the password was not changed")
	}
	return l
}
