package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

func TestDeletionPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(more string) *string {
		return aws.String(`{"Resources":{
			"Kept":{"Type":"AWS::Logs::LogGroup","DeletionPolicy":"Retain","Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/kept"}}},
			"Except":{"Type":"AWS::Logs::LogGroup","DeletionPolicy":"RetainExceptOnCreate","Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/except"}}},
			"Gone":{"Type":"AWS::Logs::LogGroup","DependsOn":["Kept","Except"],"Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/gone"}}}` + more + `}}`)
	}
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("d"), TemplateBody: body("")}, types.StackStatusCreateComplete)
	w.delete(*st.StackId)
	if diff := cmp.Diff([]string{"/d/except", "/d/kept"}, w.logGroups("/d/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	if !slices.Contains(w.events(*st.StackId), "Kept DELETE_SKIPPED") {
		t.Errorf("got\n%s", w.story(*st.StackId))
	}
	w.occupy()
	bad := `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"Gone","Properties":{"LogGroupName":"/taken"}}`
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("f"), TemplateBody: body(bad)}, types.StackStatusRollbackComplete)
	if diff := cmp.Diff([]string{"/f/kept"}, w.logGroups("/f/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("g"), TemplateBody: body(bad), RetainExceptOnCreate: aws.Bool(true)}, types.StackStatusRollbackComplete)
	if got := w.logGroups("/g/"); got != nil {
		t.Errorf("left over: %v", got)
	}
}

func TestRollbackFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	name := aws.String("rf")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A", "B"))}, types.StackStatusCreateComplete)
	body := strings.ReplaceAll(taken("A", "B"), `"RetentionInDays":7`, `"RetentionInDays":14`)
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: &body, DisableRollback: aws.Bool(true)}, types.StackStatusUpdateFailed)
	if _, err := w.Logs.DeleteLogGroup(t.Context(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String("/rf/A")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	st := w.demand("rf", types.StackStatusUpdateRollbackFailed)
	if want := "The following resource(s) failed to update: [A]. "; aws.ToString(st.StackStatusReason) != want {
		t.Errorf("got %q, want %q", aws.ToString(st.StackStatusReason), want)
	}
	_, err := w.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: name, TemplateBody: &body})
	refused(t, err, "ValidationError", "Stack:"+*st.StackId+" is in UPDATE_ROLLBACK_FAILED state and can not be updated.")
	if _, err := w.Stacks.ContinueUpdateRollback(t.Context(), &cloudformation.ContinueUpdateRollbackInput{StackName: name, ResourcesToSkip: []string{"A"}}); err != nil {
		t.Fatal(err)
	}
	w.demand("rf", types.StackStatusUpdateRollbackComplete)
	if got := w.retention("/rf/B"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}
	w.delete("rf")
}

func TestStackPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	name := aws.String("sp")
	policy := `{"Statement":[{"Effect":"Deny","Principal":"*","Action":["Update:Modify","Update:Delete"],"Resource":"LogicalResourceId/A"},
		{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`
	_, err := w.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A")), StackPolicyBody: aws.String("{}")})
	refused(t, err, "ValidationError", "Error validating stack policy: Missing required field Statement")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A", "B")), StackPolicyBody: &policy}, types.StackStatusCreateComplete)
	got, err := w.Stacks.GetStackPolicy(ctx, &cloudformation.GetStackPolicyInput{StackName: name})
	if err != nil || aws.ToString(got.StackPolicyBody) != policy {
		t.Errorf("got %v, %v", got, err)
	}
	for body, action := range map[string]string{groups(14, "A", "B"): "Update:Modify", groups(7, "B"): "Update:Delete"} {
		w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: &body}, types.StackStatusUpdateRollbackComplete)
		want := "A UPDATE_FAILED Action denied by stack policy: Statement [#1] does not allow [" + action + "] for resource [LogicalResourceId/A]"
		if story := w.story("sp"); !strings.Contains(story, want) {
			t.Errorf("got\n%s", story)
		}
	}
	if got := w.retention("/sp/A"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}
	// Another policy may stand in during one update.
	allow := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: aws.String(groups(14, "A", "B")), StackPolicyDuringUpdateBody: &allow}, types.StackStatusUpdateComplete)
	if _, err := w.Stacks.SetStackPolicy(ctx, &cloudformation.SetStackPolicyInput{StackName: name, StackPolicyBody: &allow}); err != nil {
		t.Fatal(err)
	}
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "B"))}, types.StackStatusUpdateComplete)
}

func TestTerminationProtection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("tp"), TemplateBody: aws.String(groups(7, "A")), EnableTerminationProtection: aws.Bool(true),
	}, types.StackStatusCreateComplete)
	_, err := w.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: st.StackName})
	refused(t, err, "ValidationError", "Stack ["+*st.StackId+"] cannot be deleted while TerminationProtection is enabled")
	if _, err := w.Stacks.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{
		StackName: st.StackName, EnableTerminationProtection: aws.Bool(false),
	}); err != nil {
		t.Fatal(err)
	}
	w.delete("tp")
}

// chain is a template of n log groups, each of which waits for the one
// before.
func chain(days, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("G%03d", i)
	}
	return groups(days, names...)
}

// reached waits until a stack has told of n things.
func (w *world) reached(id string, n int) {
	w.t.Helper()
	until := time.Now().Add(within)
	for len(w.events(id)) < n {
		if time.Now().After(until) {
			w.t.Fatalf("%s does not get on:\n%s", id, w.story(id))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestCancelUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("cu"), TemplateBody: aws.String(groups(7, "A"))}, types.StackStatusCreateComplete)
	_, err := w.Stacks.CancelUpdateStack(t.Context(), &cloudformation.CancelUpdateStackInput{StackName: st.StackName})
	refused(t, err, "ValidationError", "CancelUpdateStack cannot be called from current stack status")
	before := len(w.events("cu"))
	if _, err := w.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: aws.String(chain(14, 200))}); err != nil {
		t.Fatal(err)
	}
	w.reached("cu", before+5)
	_, err = w.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: st.StackName})
	refused(t, err, "ValidationError", "Stack [cu] cannot be deleted while in status UPDATE_IN_PROGRESS")
	if _, err := w.Stacks.CancelUpdateStack(t.Context(), &cloudformation.CancelUpdateStackInput{StackName: st.StackName}); err != nil {
		t.Fatal(err)
	}
	w.demand("cu", types.StackStatusUpdateRollbackComplete)
	if !slices.Contains(w.events("cu"), "cu UPDATE_ROLLBACK_IN_PROGRESS User Initiated") {
		t.Errorf("got\n%s", w.story("cu"))
	}
	if diff := cmp.Diff([]string{"/cu/A"}, w.logGroups("/cu/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
}

func TestDeletedWhileCreated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made, err := w.Stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("dc"), TemplateBody: aws.String(chain(7, 200))})
	if err != nil {
		t.Fatal(err)
	}
	w.reached("dc", 5)
	if _, err := w.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: made.StackId}); err != nil {
		t.Fatal(err)
	}
	w.demand(*made.StackId, types.StackStatusDeleteComplete)
	if got := w.logGroups("/dc/"); got != nil {
		t.Errorf("left over: %v", got)
	}
}

// A creation that becomes a deletion deletes with the power of who asked for
// that, and no more.
func TestDeletedByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	role, err := w.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("janitor"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	put := func(document *string) {
		t.Helper()
		if _, err := w.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("janitor"), PolicyName: aws.String("p"), PolicyDocument: document}); err != nil {
			t.Fatal(err)
		}
	}
	put(allow(`"cloudformation:*"`))
	cfg := w.NewUser(t, "ann")
	if _, err := w.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: allow(`"sts:AssumeRole"`)}); err != nil {
		t.Fatal(err)
	}
	session, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("s1")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*session.Credentials.AccessKeyId, *session.Credentials.SecretAccessKey, *session.Credentials.SessionToken)
	janitor := cloudformation.NewFromConfig(cfg)
	for _, tc := range []struct {
		name, actions string
		want          types.StackStatus
	}{
		{"weak", `"cloudformation:*"`, types.StackStatusDeleteFailed},
		{"able", `["cloudformation:*","logs:DeleteLogGroup"]`, types.StackStatusDeleteComplete},
	} {
		put(allow(tc.actions))
		made, err := w.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &tc.name, TemplateBody: aws.String(chain(7, 200))})
		if err != nil {
			t.Fatal(err)
		}
		w.reached(tc.name, 5)
		if _, err := janitor.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: made.StackId}); err != nil {
			t.Fatal(err)
		}
		w.demand(*made.StackId, tc.want)
		if tc.want == types.StackStatusDeleteFailed {
			if story := w.story(*made.StackId); !strings.Contains(story, "assumed-role/janitor/s1 is not authorized to perform: logs:DeleteLogGroup") {
				t.Errorf("got\n%s", story)
			}
		}
	}
}

func TestRequestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := &cloudformation.CreateStackInput{StackName: aws.String("rt"), TemplateBody: aws.String(groups(7, "A")), ClientRequestToken: aws.String("one")}
	st := w.create(in, types.StackStatusCreateComplete)
	again, err := w.Stacks.CreateStack(t.Context(), in)
	if err != nil || *again.StackId != *st.StackId {
		t.Errorf("got %v, %v", again, err)
	}
	up := &cloudformation.UpdateStackInput{StackName: aws.String("rt"), TemplateBody: aws.String(groups(14, "A")), ClientRequestToken: aws.String("one")}
	_, err = w.Stacks.UpdateStack(t.Context(), up)
	refused(t, err, "TokenAlreadyExistsException", "A client request token already exists: one")
	up.ClientRequestToken = aws.String("two")
	w.update(up, types.StackStatusUpdateComplete)
	w.update(up, types.StackStatusUpdateComplete)
	for _, e := range w.events("rt") {
		if strings.Count(w.story("rt"), "rt UPDATE_IN_PROGRESS") != 1 {
			t.Fatalf("the update ran twice: %s", e)
		}
	}
}

// trust lets a service assume a role.
func trust(service string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`)
}

func allow(actions string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`)
}

// An operation may do what its caller may, or its role, and no more.
func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := &world{apitest.Connect(w.URL, w.Dir, nil), t}
	cfg := w.NewUser(t, "ann")
	ann.Stacks = cloudformation.NewFromConfig(cfg)
	body := aws.String(groups(7, "A"))
	_, err := ann.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("p"), TemplateBody: body})
	refused(t, err, "AccessDenied", "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: cloudformation:CreateStack on resource: "+
		"arn:aws:cloudformation:us-east-1:123456789012:stack/p/* because no identity-based policy allows the cloudformation:CreateStack action")
	put := func(document *string) {
		t.Helper()
		if _, err := w.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: document}); err != nil {
			t.Fatal(err)
		}
	}
	put(allow(`"cloudformation:*"`))
	st := ann.create(&cloudformation.CreateStackInput{StackName: aws.String("p"), TemplateBody: body}, types.StackStatusRollbackComplete)
	if story := ann.story("p"); !strings.Contains(story, "is not authorized to perform: logs:CreateLogGroup") || !strings.Contains(story, "HandlerErrorCode: AccessDenied") {
		t.Errorf("got\n%s", story)
	}
	ann.delete(*st.StackId)

	role, err := w.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("deployer"), AssumeRolePolicyDocument: trust("lambda.amazonaws.com")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("deployer"), PolicyName: aws.String("p"), PolicyDocument: allow(`"logs:*"`)}); err != nil {
		t.Fatal(err)
	}
	in := &cloudformation.CreateStackInput{StackName: aws.String("p"), TemplateBody: body, RoleARN: role.Role.Arn}
	_, err = ann.Stacks.CreateStack(ctx, in)
	refused(t, err, "AccessDenied", "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: iam:PassRole on resource: "+*role.Role.Arn+
		" because no identity-based policy allows the iam:PassRole action")
	put(allow(`["cloudformation:*","iam:PassRole"]`))
	_, err = ann.Stacks.CreateStack(ctx, in)
	refused(t, err, "ValidationError", "Role "+*role.Role.Arn+" is invalid or cannot be assumed")
	if _, err := w.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("deployer"), PolicyDocument: trust("cloudformation.amazonaws.com")}); err != nil {
		t.Fatal(err)
	}
	ann.create(in, types.StackStatusCreateComplete)
	// The stack keeps its role, for which nobody needs iam:PassRole again.
	put(allow(`"cloudformation:*"`))
	ann.update(&cloudformation.UpdateStackInput{StackName: aws.String("p"), TemplateBody: aws.String(groups(14, "A"))}, types.StackStatusUpdateComplete)

	// What may not be deleted any more fails, and can be retained.
	if _, err := w.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("deployer"), PolicyName: aws.String("p"), PolicyDocument: allow(`"logs:Describe*"`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("p")}); err != nil {
		t.Fatal(err)
	}
	failed := ann.demand("p", types.StackStatusDeleteFailed)
	if want := "The following resource(s) failed to delete: [A]. "; aws.ToString(failed.StackStatusReason) != want {
		t.Errorf("got %q, want %q", aws.ToString(failed.StackStatusReason), want)
	}
	if _, err := ann.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("p"), RetainResources: []string{"A"}}); err != nil {
		t.Fatal(err)
	}
	ann.demand(*failed.StackId, types.StackStatusDeleteComplete)
	if got := w.logGroups("/p/"); !slices.Equal(got, []string{"/p/A"}) {
		t.Errorf("got %v", got)
	}
}
