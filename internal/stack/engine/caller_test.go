package engine_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	_ "modernc.org/sqlite"

	"github.com/keyturn/keyturn/internal/apitest"
)

// An operation that a session began goes on as that session after a crash,
// with the policies that its role has by then.
func TestSessionAfterRestart(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	w := &world{p.Server, t}
	ctx := t.Context()
	role, err := w.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String("ops"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(actions string) {
		t.Helper()
		if _, err := w.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("ops"), PolicyName: aws.String("p"), PolicyDocument: allow(actions)}); err != nil {
			t.Fatal(err)
		}
	}
	put(`["cloudformation:*","logs:*"]`)
	cfg := w.NewUser(t, "ann")
	if _, err := w.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: allow(`"sts:AssumeRole"`)}); err != nil {
		t.Fatal(err)
	}
	session, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("deploy")})
	if err != nil {
		t.Fatal(err)
	}
	c := session.Credentials
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	made, err := cloudformation.NewFromConfig(cfg).CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("session"), TemplateBody: aws.String(chain(7, 150))})
	if err != nil {
		t.Fatal(err)
	}
	w.reached("session", 20)
	if got := tokens(t, p.Dir); got != 1 {
		t.Errorf("%d operations keep a session token while one runs, want 1", got)
	}
	p.Kill()
	p.Restart()
	w.demand(*made.StackId, types.StackStatusCreateComplete)
	if got := tokens(t, p.Dir); got != 0 {
		t.Errorf("%d operations keep a session token when none runs, want 0", got)
	}

	// What the role may no longer do, the operation may not either.
	made, err = cloudformation.NewFromConfig(cfg).CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("less"), TemplateBody: aws.String(chain(7, 150))})
	if err != nil {
		t.Fatal(err)
	}
	w.reached("less", 20)
	put(`["cloudformation:*","logs:D*"]`)
	w.demand(*made.StackId, types.StackStatusRollbackComplete)
	if !strings.Contains(w.story(*made.StackId), "is not authorized to perform: logs:CreateLogGroup") {
		t.Errorf("got\n%s", w.story(*made.StackId))
	}
	if got := w.logGroups("/less/"); got != nil {
		t.Errorf("left over: %v", got)
	}
	put(`["cloudformation:*","logs:*"]`)
	set, err := cloudformation.NewFromConfig(cfg).CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: aws.String("proposed"), ChangeSetName: aws.String("one"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(chain(7, 1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.described(*set.Id)
	if got := tokens(t, p.Dir); got != 0 {
		t.Errorf("%d operations keep a session token after a failure and a change set, want 0", got)
	}
}

// tokens counts the operations in a server's database that keep the session
// token of their caller.
func tokens(t *testing.T, dir string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "keyturn.db")+"?mode=ro")
	if err == nil {
		defer db.Close()
		err = db.QueryRowContext(t.Context(), `SELECT count(*) FROM stack_operation WHERE sealed IS NOT NULL`).Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A creation that takes longer than TimeoutInMinutes rolls back.
func TestTimeout(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	w := &world{p.Server, t}
	made, err := w.Stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String("late"), TemplateBody: aws.String(chain(7, 200)), TimeoutInMinutes: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.reached("late", 10)
	p.Stop()
	// A minute is long for a test: the operation was asked for a year ago.
	db, err := sql.Open("sqlite", filepath.Join(p.Dir, "keyturn.db"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := db.ExecContext(t.Context(), `UPDATE stack_operation SET body = replace(body, '"Deadline":"20', '"Deadline":"19') WHERE done = 0`)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("changed %d operations, %v", n, err)
	}
	p.Restart()
	w.demand(*made.StackId, types.StackStatusRollbackComplete)
	if want := "late ROLLBACK_IN_PROGRESS Stack creation time exceeded the specified timeout. Rollback requested by user."; !strings.Contains(w.story("late"), want) {
		t.Errorf("got\n%s", w.story("late"))
	}
	if got := w.logGroups("/late/"); got != nil {
		t.Errorf("left over: %v", got)
	}
}
