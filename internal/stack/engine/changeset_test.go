package engine_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

// changeSet makes a change set and waits until it is worked out.
func (w *world) changeSet(in *cloudformation.CreateChangeSetInput) *cloudformation.DescribeChangeSetOutput {
	w.t.Helper()
	made, err := w.Stacks.CreateChangeSet(w.t.Context(), in)
	if err != nil {
		w.t.Fatalf("creating the change set %s: %v", *in.ChangeSetName, err)
	}
	return w.described(*made.Id)
}

func (w *world) described(id string) *cloudformation.DescribeChangeSetOutput {
	w.t.Helper()
	until := time.Now().Add(within)
	for {
		out, err := w.Stacks.DescribeChangeSet(w.t.Context(), &cloudformation.DescribeChangeSetInput{ChangeSetName: &id, IncludePropertyValues: aws.Bool(true)})
		if err != nil {
			w.t.Fatal(err)
		}
		if out.Status != types.ChangeSetStatusCreatePending && out.Status != types.ChangeSetStatusCreateInProgress {
			return out
		}
		if time.Now().After(until) {
			w.t.Fatalf("the change set is still %s", out.Status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) execute(id string, want types.StackStatus) types.Stack {
	w.t.Helper()
	out := w.described(id)
	if _, err := w.Stacks.ExecuteChangeSet(w.t.Context(), &cloudformation.ExecuteChangeSetInput{ChangeSetName: &id}); err != nil {
		w.t.Fatal(err)
	}
	return w.demand(*out.StackId, want)
}

// summary is the changes as LOGICAL ACTION REPLACEMENT.
func summary(out *cloudformation.DescribeChangeSetOutput) []string {
	var list []string
	for _, c := range out.Changes {
		list = append(list, strings.TrimSpace(*c.ResourceChange.LogicalResourceId+" "+string(c.ResourceChange.Action)+" "+string(c.ResourceChange.Replacement)))
	}
	return list
}

func TestChangeSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	name := aws.String("cs")
	set := w.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: name, ChangeSetName: aws.String("first"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(groups(7, "A", "B")), Description: aws.String("to begin with"),
	})
	if set.Status != types.ChangeSetStatusCreateComplete || set.ExecutionStatus != types.ExecutionStatusAvailable {
		t.Fatalf("got %s %s %s", set.Status, set.ExecutionStatus, aws.ToString(set.StatusReason))
	}
	if diff := cmp.Diff([]string{"A Add", "B Add"}, summary(set)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if want := `{"Properties":{"LogGroupName":"/cs/A","RetentionInDays":7}}`; aws.ToString(set.Changes[0].ResourceChange.AfterContext) != want {
		t.Errorf("got the context %s, want %s", aws.ToString(set.Changes[0].ResourceChange.AfterContext), want)
	}
	if diff := cmp.Diff([]string{"cs REVIEW_IN_PROGRESS User Initiated"}, w.events("cs")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := w.logGroups("/cs/"); got != nil {
		t.Errorf("a change set made %v", got)
	}
	_, err := w.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("u"), TemplateBody: aws.String(groups(7, "A"))})
	refused(t, err, "ValidationError", "Stack [cs] does not exist")
	_, err = w.Stacks.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: name})
	refused(t, err, "ValidationError", "GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
	w.execute(*set.ChangeSetId, types.StackStatusCreateComplete)
	if got := w.described(*set.ChangeSetId).ExecutionStatus; got != types.ExecutionStatusExecuteComplete {
		t.Errorf("got %s", got)
	}
	_, err = w.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: name, ChangeSetName: aws.String("again"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(groups(7, "A")),
	})
	refused(t, err, "ValidationError", "Stack [cs] already exists and cannot be created again with the changeSet [again].")

	none := w.changeSet(&cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("none"), TemplateBody: aws.String(groups(7, "A", "B"))})
	if got := aws.ToString(none.StatusReason); none.Status != types.ChangeSetStatusFailed || none.ExecutionStatus != types.ExecutionStatusUnavailable ||
		got != "The submitted information didn't contain changes. Submit different information to create a change set." {
		t.Errorf("got %s %s %q", none.Status, none.ExecutionStatus, got)
	}
	_, err = w.Stacks.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: none.ChangeSetId})
	refused(t, err, "InvalidChangeSetStatus", "ChangeSet ["+*none.ChangeSetId+"] cannot be executed in its current status of [FAILED]")

	body := strings.NewReplacer(`/${AWS::StackName}/B`, `/${AWS::StackName}/B2`, `"RetentionInDays":7`, `"RetentionInDays":14`).Replace(groups(7, "A", "B", "C"))
	second := w.changeSet(&cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("second"), TemplateBody: &body})
	if diff := cmp.Diff([]string{"A Modify False", "B Modify True", "C Add"}, summary(second)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	list, err := w.Stacks.ListChangeSets(ctx, &cloudformation.ListChangeSetsInput{StackName: name})
	if err != nil || len(list.Summaries) != 3 {
		t.Errorf("got %v, %v; want three change sets", list, err)
	}
	_, err = w.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("second"), TemplateBody: &body})
	refused(t, err, "AlreadyExistsException", "ChangeSet [second] already exists")
	w.execute(*second.ChangeSetId, types.StackStatusUpdateComplete)
	if diff := cmp.Diff([]string{"/cs/A", "/cs/B2", "/cs/C"}, w.logGroups("/cs/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	_, err = w.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: none.ChangeSetId})
	refused(t, err, "ChangeSetNotFound", "ChangeSet ["+*none.ChangeSetId+"] does not exist")
	_, err = w.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: aws.String("second")})
	refused(t, err, "ValidationError", "StackName must be specified if ChangeSetName is not specified as an ARN.")
	_, err = w.Stacks.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: second.ChangeSetId})
	refused(t, err, "InvalidChangeSetStatus", "ChangeSet ["+*second.ChangeSetId+"] cannot be executed in its current execution status of [EXECUTE_COMPLETE]")
	if _, err := w.Stacks.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: second.ChangeSetId}); err != nil {
		t.Error(err)
	}
	w.delete("cs")
}

// A transform that fails shows in the change set; a stack that is only under
// review is deleted with nothing.
func TestChangeSetTransformFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := w.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: aws.String("sam"), ChangeSetName: aws.String("c"), ChangeSetType: types.ChangeSetTypeCreate,
		TemplateBody: aws.String(`{"Transform":"AWS::Serverless-2016-10-31","Resources":{"F":{"Type":"AWS::Serverless::Function","Properties":{"Runtime":"python3.12"}}}}`),
	})
	if set.Status != types.ChangeSetStatusFailed || !strings.HasPrefix(*set.StatusReason, "Transform AWS::Serverless-2016-10-31 failed with: Invalid Serverless Application Specification document.") {
		t.Errorf("got %s %s", set.Status, aws.ToString(set.StatusReason))
	}
	w.delete(*set.StackId)
}

// The AWS CLI's own command for templates works.
func TestDeployByCLI(t *testing.T) {
	t.Parallel()
	cli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed; TestChangeSets makes the same calls")
	}
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "template.json")
	deploy := func(body string, args ...string) (string, error) {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(cli, append([]string{"cloudformation", "deploy", "--template-file", file, "--stack-name", "cli"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+w.URL, "AWS_ACCESS_KEY_ID="+apitest.AccessKey, "AWS_SECRET_ACCESS_KEY="+apitest.SecretKey,
			"AWS_DEFAULT_REGION="+apitest.Region, "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := deploy(groups(7, "A")); err != nil || !strings.Contains(out, "Successfully created/updated stack - cli") {
		t.Fatalf("deploying: %v\n%s", err, out)
	}
	if out, err := deploy(groups(7, "A"), "--no-fail-on-empty-changeset"); err != nil || !strings.Contains(out, "No changes to deploy. Stack cli is up to date") {
		t.Errorf("deploying what is there: %v\n%s", err, out)
	}
	if got := w.settled("cli").StackStatus; got != types.StackStatusCreateComplete {
		t.Errorf("got %s", got)
	}
	if !slices.Equal(w.logGroups("/cli/"), []string{"/cli/A"}) {
		t.Errorf("got %v", w.logGroups("/cli/"))
	}
}
