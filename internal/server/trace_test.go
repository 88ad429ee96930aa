package server_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	_ "modernc.org/sqlite"

	"github.com/keyturn/keyturn/internal/apitest"
)

const (
	json10 = "application/x-amz-json-1.0"
	json11 = "application/x-amz-json-1.1"
	form   = "application/x-www-form-urlencoded"
)

// Invariant 6: whatever is done with secrets, and wrongly done, none of their
// values is in a byte that the server writes or tells about itself.
func TestSecretsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.storeAndRead()
	v.askWrongly()
	v.invokeFunctions()
	v.assumeRole()
	rotated := v.rotateForReal()
	v.learn(rotated)
	v.absent("what the server tells", v.answers())
	v.absentBelow(v.Dir)
	v.Kill()
	v.absentBelow(v.Dir) // with the log of the database as it stands
	v.Restart()
	v.absent("what the server tells after a restart", v.answers())
	v.Stop()
	v.absentBelow(v.Dir)
	v.absent("stdout", []byte(v.Output()))
	v.absent("stderr", []byte(v.Log()))
}

// storeAndRead uses the operations on values as they are meant to be used.
func (v *victim) storeAndRead() {
	t, ctx := v.t, v.t.Context()
	text := ok[secretsmanager.CreateSecretOutput](t)(v.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("text"), SecretString: aws.String(`{"password":"` + v.new("a created text") + `"}`),
		AddReplicaRegions: []smtypes.ReplicaRegionType{{Region: aws.String("eu-west-1")}},
	})).ARN
	binary := ok[secretsmanager.CreateSecretOutput](t)(v.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("binary"), SecretBinary: []byte("\x00" + v.new("a created binary")),
	})).ARN
	put := ok[secretsmanager.PutSecretValueOutput](t)(v.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: text, SecretString: aws.String(v.new("a put text")),
	}))
	_, err := v.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: text, ClientRequestToken: put.VersionId, SecretString: aws.String(v.new("a text put with a used token")),
	})
	if err == nil {
		t.Error("a used token took another value")
	}
	ok[secretsmanager.UpdateSecretOutput](t)(v.Secrets.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{
		SecretId: binary, SecretBinary: []byte(v.new("an updated binary")), Description: &v.decoy,
	}))
	for _, id := range []*string{text, binary} {
		ok[secretsmanager.GetSecretValueOutput](t)(v.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: id}))
	}
	batch := ok[secretsmanager.BatchGetSecretValueOutput](t)(v.Secrets.BatchGetSecretValue(ctx, &secretsmanager.BatchGetSecretValueInput{
		SecretIdList: []string{*text, *binary, "missing"},
	}))
	if len(batch.SecretValues) != 2 || len(batch.Errors) != 1 {
		t.Errorf("the batch has %d values and %d errors", len(batch.SecretValues), len(batch.Errors))
	}
	random := ok[secretsmanager.GetRandomPasswordOutput](t)(v.Secrets.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{}))
	v.add("a random password", *random.RandomPassword)
	there := secretsmanager.NewFromConfig(apitest.ConfigFor(v.URL, "eu-west-1"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := there.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("text")})
		if err == nil && *out.SecretString == v.secrets["a put text"] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica does not have the value: %v", err)
		}
	}
	ok[secretsmanager.DeleteSecretOutput](t)(v.Secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: binary, RecoveryWindowInDays: aws.Int64(7)}))
}

// askWrongly puts values where they do not belong. What the trail keeps by
// its nature, names, tags and tokens, is left out: AWS records those too.
func (v *victim) askWrongly() {
	const token = `"ClientRequestToken":"11111111-2222-3333-4444-555555555555"`
	put := func(members string) string { return `{"SecretId":"text",` + token + `,` + members + `}` }
	bad := map[string]string{
		"an object as a text":         put(`"SecretString":{"password":"` + v.new("an object as a text") + `"}`),
		"a list as a text":            put(`"SecretString":["` + v.new("a list as a text") + `"]`),
		"a misspelt member":           put(`"SecretSting":"` + v.new("a misspelt member") + `"`),
		"a member's name":             put(`"` + v.new("a member's name") + `":"x"`),
		"a member in lower case":      put(`"secretString":"` + v.new("a member in lower case") + `"`),
		"a document cut short":        `{"SecretId":"text","SecretString":"` + v.new("a document cut short"),
		"no document":                 v.new("no document"),
		"a text that is too long":     put(`"SecretString":"` + v.new("a text that is too long") + strings.Repeat("x", 70000) + `"`),
		"no base64":                   put(`"SecretBinary":"!` + v.new("no base64") + `!"`),
		"two values":                  put(`"SecretString":"` + v.new("two values") + `","SecretBinary":"YQ=="`),
		"a rotation token":            put(`"SecretString":"x","RotationToken":"` + v.new("a rotation token") + ` with blanks, and long enough"`),
		"a foreign rotation token":    put(`"SecretString":"x","RotationToken":"` + v.new("a foreign rotation token") + `-----------"`),
		"a label too many":            put(`"SecretString":"` + v.new("a label too many") + `","VersionStages":[]`),
		"a secret that is not there":  `{"SecretId":"missing",` + token + `,"SecretString":"` + v.new("a secret that is not there") + `"}`,
		"a value without a token":     `{"SecretId":"text","SecretString":"` + v.new("a value without a token") + `"}`,
		"a value for a deleted one":   `{"SecretId":"binary",` + token + `,"SecretString":"` + v.new("a value for a deleted one") + `"}`,
		"a value, then something":     put(`"SecretString":"`+v.new("a value, then something")+`"`) + `{}`,
		"a value in a wrong encoding": put(`"SecretString":"` + v.new("a value in a wrong encoding") + "\xff" + `"`),
	}
	for what, body := range bad {
		status := v.send("secretsmanager", "secretsmanager.PutSecretValue", json11, "/", body, true)
		if tolerated := what == "a foreign rotation token" || what == "a value in a wrong encoding"; status < 400 && !tolerated {
			v.t.Errorf("%s: answered with %d", what, status)
		}
	}
	good := func(what string) string { return put(`"SecretString":"` + v.new(what) + `"`) }
	v.send("secretsmanager", "secretsmanager.DescribeSecret", json11, "/", good("a value for DescribeSecret"), true)
	v.send("secretsmanager", "secretsmanager.NoSuchOperation", json11, "/", good("a value for no operation"), true)
	v.send("secretsmanager", "", json11, "/", good("a value without a target"), true)
	v.send("secretsmanager", "secretsmanager.PutSecretValue", json10, "/", good("a value in another protocol"), true)
	v.send("secretsmanager", "secretsmanager.PutSecretValue", json11, "/", good("an unsigned value"), false)
	v.send("secretsmanager", "secretsmanager.PutSecretValue", json11, "/?SecretString="+v.new("a value in an unsigned query"), "{}", false)
	v.send("secretsmanager", "secretsmanager.PutSecretValue", json11, "/?SecretString="+v.new("a value in a query"), put(`"VersionStages":["A"]`), true)
	v.send("secretsmanager", "secretsmanager.PutSecretValue", json11, "/"+v.new("a value in a path"), "{}", true)
	v.send("sts", "", form, "/", "Action=GetCallerIdentity&Version=2011-06-15&SecretString="+v.new("a value in a form"), true)
	v.send("secretsmanager", "", form, "/", "Action=PutSecretValue&SecretString="+v.new("a value in a form of another service"), true)
	v.send("lambda", "", "application/json", "/2015-03-31/functions", `{"Environment":{"Variables":"`+v.new("variables that are none")+`"}}`, true)
	v.send("lambda", "", "application/json", "/2015-03-31/functions",
		`{"FunctionName":"f","Environment":{"Variables":{"AWS_REGION":"`+v.new("a reserved variable")+`"}}}`, true)
}

// invokeFunctions gives functions secrets in their environment and events.
func (v *victim) invokeFunctions() {
	t, ctx := v.t, v.t.Context()
	echo := v.function("echo", map[string]string{"PASSWORD": v.new("a function's variable")})
	event := `{"password":"` + v.new("an event") + `"}`
	out := ok[lambda.InvokeOutput](t)(v.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &echo, Payload: []byte(event)}))
	if string(out.Payload) != event && !strings.Contains(string(out.Payload), v.secrets["an event"]) {
		t.Errorf("the function did not get the event: %s", out.Payload)
	}
	later := ok[lambda.InvokeOutput](t)(v.Lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &echo, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(`{"password":"` + v.new("an event for later") + `"}`),
	}))
	if later.StatusCode != 202 {
		t.Errorf("the event was answered with %d", later.StatusCode)
	}
	v.send("lambda", "", "application/json", "/2015-03-31/functions/echo/invocations", v.new("an event that is no JSON"), true)
	v.send("lambda", "", "application/json", "/2015-03-31/functions/nobody/invocations", `{"password":"`+v.new("an event for nobody")+`"}`, true)
	ok[lambda.UpdateFunctionConfigurationOutput](t)(v.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &echo, Environment: &lambdatypes.Environment{Variables: map[string]string{"PASSWORD": v.new("a changed variable")}},
	}))
}

// assumeRole makes the credentials of a session.
func (v *victim) assumeRole() {
	t, ctx := v.t, v.t.Context()
	role := ok[iam.CreateRoleOutput](t)(v.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String("operator"), AssumeRolePolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + apitest.Account + `"},"Action":"sts:AssumeRole"}]}`),
	}))
	session := ok[sts.AssumeRoleOutput](t)(v.STS.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("me")}))
	v.add("a session's secret key", *session.Credentials.SecretAccessKey)
	v.add("a session token", *session.Credentials.SessionToken)
}

// rotateForReal rotates the password of a database user, after a test of the
// configuration.
func (v *victim) rotateForReal() string {
	t := v.t
	arn := v.create("app/rotated")
	function := v.function("rotate", nil)
	ok[secretsmanager.RotateSecretOutput](t)(v.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &arn, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	}))
	v.untilSettled(arn)
	for range 2 {
		shown, err := v.rotateAndWatch(arn)
		if err != nil {
			t.Fatal(err)
		}
		v.learn(arn)
		v.absent("what the watch shows", []byte(shown))
	}
	return arn
}

// untilSettled waits until AWSPENDING is nowhere.
func (v *victim) untilSettled(arn string) {
	v.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out := ok[secretsmanager.DescribeSecretOutput](v.t)(v.Secrets.DescribeSecret(v.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &arn}))
		if !strings.Contains(fmt.Sprint(out.VersionIdsToStages), "AWSPENDING") {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatal("the configuration test does not end")
		}
	}
}

// A function that fails and quotes the secret leaves it nowhere but in its
// own log group, where it printed it, as on AWS: not in events, reports, the
// server's log, or any other record.
func TestFailingFunctionsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	for i, tc := range []struct{ step, how string }{{"createSecret", "raise"}, {"setSecret", "raise"}, {"testSecret", "exit"}, {"setSecret", "misuse"}} {
		name := fmt.Sprintf("fails-%d", i)
		arn := v.create("app/" + name)
		function := v.function(name, map[string]string{"RAISE_IN": tc.step, "RAISE_HOW": tc.how})
		ok[secretsmanager.RotateSecretOutput](t)(v.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &arn, RotationLambdaARN: &function}))
		failure := "Error when executing lambda " + function + " during " + tc.step + " step"
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(string(v.answers()), failure); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not fail in %s:\n%s", name, tc.step, v.Log())
			}
		}
		v.learn(arn)
	}
	v.absent("what the server tells", v.answers())
	v.Stop()
	v.absent("stdout", []byte(v.Output()))
	v.absent("stderr", []byte(v.Log()))
	v.absentBelow(filepath.Join(v.Dir, "trail"))
	records, printed := v.records()
	v.absent("a record", records)
	if !strings.Contains(string(records), v.decoy) {
		t.Error("the decoy is in no record: the search shows nothing")
	}
	if !strings.Contains(string(printed), "no login with") {
		t.Error("the functions' log groups do not have what the functions printed: the test shows nothing")
	}
}

// records returns all rows of the stopped server's database, and apart from
// them those that functions' log groups hold.
func (v *victim) records() (records, printed []byte) {
	t, ctx := v.t, v.t.Context()
	db := must(sql.Open("sqlite", filepath.Join(v.Dir, "keyturn.db")))
	defer db.Close()
	var tables []string
	list := must(db.QueryContext(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table'"))
	for list.Next() {
		var name string
		if err := list.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if len(tables) < 15 {
		t.Errorf("the database has %d tables only", len(tables))
	}
	for _, table := range tables {
		query := "SELECT * FROM " + table
		if table == "log_entry" {
			query = `SELECT g.name, e.message FROM log_entry e JOIN log_group g ON g.id = e.group_id`
		}
		rows := must(db.QueryContext(ctx, query))
		columns := must(rows.Columns())
		for rows.Next() {
			values, dest := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				dest[i] = &values[i]
			}
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("%s: %s\n", table, values)
			if table == "log_entry" && strings.HasPrefix(values[0].(string), "/aws/lambda/") {
				printed = append(printed, text...)
			} else {
				records = append(records, text...)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return records, printed
}
