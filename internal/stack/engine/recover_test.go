package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/google/go-cmp/cmp"
)

// fail updates a stack without rollback and demands that it fails.
func (w *world) fail(name, body string) {
	w.t.Helper()
	w.update(&cloudformation.UpdateStackInput{StackName: &name, TemplateBody: &body, DisableRollback: aws.Bool(true)}, types.StackStatusUpdateFailed)
}

// A rollback that is tried again changes back what it could not change
// before.
func TestRollbackRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	name := aws.String("rr")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A", "B"))}, types.StackStatusCreateComplete)
	w.fail(*name, strings.ReplaceAll(taken("A", "B"), `"RetentionInDays":7`, `"RetentionInDays":14`))
	if _, err := w.Logs.DeleteLogGroup(t.Context(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String("/rr/A")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	w.demand(*name, types.StackStatusUpdateRollbackFailed)
	if _, err := w.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/rr/A")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Logs.PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("/rr/A"), RetentionInDays: aws.Int32(14)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Stacks.ContinueUpdateRollback(t.Context(), &cloudformation.ContinueUpdateRollbackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	for _, group := range []string{"/rr/A", "/rr/B"} {
		if got := w.retention(group); got != 7 {
			t.Errorf("got a retention of %d days of %s, want 7", got, group)
		}
	}
}

// halfway is a log group whose retention can be set and whose tag cannot.
func halfway(days string) string {
	return `{"Resources":{"A":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/A"},"RetentionInDays":` + days +
		`,"Tags":[{"Key":"long","Value":"` + strings.Repeat("x", 300) + `"}]}}}}`
}

// What an update that failed has changed in part, the next one knows of, and
// so does a rollback after several.
func TestUpdateAppliedInPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := aws.String("half")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A"))}, types.StackStatusCreateComplete)
	w.fail(*name, halfway("14"))
	if got := w.retention("/half/A"); got != 14 {
		t.Fatalf("got a retention of %d days, want the 14 that come before the failure", got)
	}
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A"))}, types.StackStatusUpdateComplete)
	if got := w.retention("/half/A"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}

	w.fail(*name, halfway("30"))
	w.fail(*name, halfway("30"))
	if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: name}); err != nil {
		t.Fatal(err)
	}
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	if got := w.retention("/half/A"); got != 7 {
		t.Errorf("got a retention of %d days after the rollback, want 7", got)
	}
}

// The template from before a replacement that failed takes the old resource
// back.
func TestReplacementTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	group := func(properties string) string {
		return `{"Resources":{"A":{"Type":"AWS::Logs::LogGroup","Properties":{` + properties + `}},
			"B":{"Type":"AWS::Logs::LogGroup","DependsOn":"A","Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/B"},"Tags":[{"Key":"of","Value":{"Ref":"A"}}]}}}}`
	}
	physical := func(name string) string {
		out, err := w.Stacks.DescribeStackResource(t.Context(), &cloudformation.DescribeStackResourceInput{StackName: &name, LogicalResourceId: aws.String("A")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.StackResourceDetail.PhysicalResourceId
	}
	for name, properties := range map[string]string{"named": `"LogGroupName":"/named/A",`, "unnamed": ""} {
		w.create(&cloudformation.CreateStackInput{StackName: &name, TemplateBody: aws.String(group(properties + `"RetentionInDays":7`))}, types.StackStatusCreateComplete)
		id := physical(name)
		for _, days := range []string{"7", "14"} {
			w.fail(name, group(`"LogGroupName":"/taken"`))
			w.update(&cloudformation.UpdateStackInput{StackName: &name, TemplateBody: aws.String(group(properties + `"RetentionInDays":` + days))}, types.StackStatusUpdateComplete)
			if got := physical(name); got != id {
				t.Errorf("%s: got %s, want %s back", name, got, id)
			}
			if got := w.logGroups(id); !slices.Equal(got, []string{id}) {
				t.Errorf("%s: got %v, want %s", name, got, id)
			}
		}
		if got := w.retention(id); got != 14 {
			t.Errorf("%s: got a retention of %d days, want 14", name, got)
		}
		w.fail(name, group(`"LogGroupName":"/taken"`))
		w.fail(name, strings.Replace(group(properties+`"RetentionInDays":30`), "/B", "/B|", 1))
		if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: &name}); err != nil {
			t.Fatal(err)
		}
		w.demand(name, types.StackStatusUpdateRollbackComplete)
		if got := w.retention(id); got != 14 {
			t.Errorf("%s: got a retention of %d days after the rollback, want 14", name, got)
		}
		w.delete(name)
		if got := w.logGroups(id); got != nil {
			t.Errorf("%s: %v is left over", name, got)
		}
	}
	if got := w.logGroups("/taken"); len(got) != 1 {
		t.Errorf("the log group of another stack is gone")
	}
}

// What a stack policy kept from changing does not stand in the way of updates
// that leave it alone.
func TestStackPolicyAfterwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policy := `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"Update:Modify","Resource":"LogicalResourceId/A"},
		{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`
	name := aws.String("spa")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A")), StackPolicyBody: &policy}, types.StackStatusCreateComplete)
	w.fail(*name, groups(14, "A"))
	w.update(&cloudformation.UpdateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A", "B"))}, types.StackStatusUpdateComplete)
	if diff := cmp.Diff([]string{"/spa/A", "/spa/B"}, w.logGroups("/spa/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}

	policy = strings.Replace(policy, "LogicalResourceId/A", "LogicalResourceId/App", 1)
	capabilities := []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityAutoExpand}
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("out"), TemplateBody: outer("rotate-a", ""), Capabilities: capabilities, StackPolicyBody: &policy}, types.StackStatusCreateComplete)
	w.update(&cloudformation.UpdateStackInput{
		StackName: aws.String("out"), TemplateBody: outer("rotate-a", `,"G":{"Type":"AWS::Logs::LogGroup"}`), Capabilities: capabilities,
	}, types.StackStatusUpdateComplete)
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("out"), TemplateBody: outer("rotate-b", ""), Capabilities: capabilities}, types.StackStatusUpdateRollbackComplete)
}

// Resources that depend on each other, because one is from before an update
// and the other from after it, are deleted all the same.
func TestDeletionInCircle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	group := func(id, name, depends string) string {
		return `"` + id + `":{"Type":"AWS::Logs::LogGroup","DependsOn":[` + depends + `],"Properties":{"LogGroupName":"/circle/` + name + `"}}`
	}
	name := aws.String("circle")
	st := w.create(&cloudformation.CreateStackInput{
		StackName: name, TemplateBody: aws.String(`{"Resources":{` + group("A", "a1", "") + `,` + group("B", "b1", `"A"`) + `}}`),
	}, types.StackStatusCreateComplete)
	w.fail(*name, `{"Resources":{`+group("B", "b2", "")+`,`+group("A", "a2", `"B"`)+`,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"A","Properties":{"LogGroupName":"/taken"}}}}`)
	if got := w.logGroups("/circle/"); len(got) != 4 {
		t.Fatalf("got %v, want two of before and two of after the update", got)
	}
	w.delete(*st.StackId)
	if got := w.logGroups("/circle/"); got != nil {
		t.Errorf("left over: %v", got)
	}
}
