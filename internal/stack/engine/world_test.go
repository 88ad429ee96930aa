package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
)

// world is a server and what tests of stacks do with it.
type world struct {
	*apitest.Server
	t testing.TB
}

func newWorld(t testing.TB) *world { return &world{apitest.Start(t, apitest.Options{}), t} }

// within bounds how long an operation may take.
const within = 60 * time.Second

// settled waits until the stack, by its name or ARN, is in no progress, and
// returns it.
func (w *world) settled(name string) types.Stack {
	w.t.Helper()
	until := time.Now().Add(within)
	for {
		out, err := w.Stacks.DescribeStacks(context.Background(), &cloudformation.DescribeStacksInput{StackName: &name})
		if err != nil {
			w.t.Fatalf("describing %s: %v", name, err)
		}
		st := out.Stacks[0]
		if st.StackStatus == types.StackStatusReviewInProgress || !strings.HasSuffix(string(st.StackStatus), "IN_PROGRESS") {
			return st
		}
		if time.Now().After(until) {
			w.t.Fatalf("%s is still %s\n%s", name, st.StackStatus, w.story(name))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// create makes a stack and demands that it comes to a status.
func (w *world) create(in *cloudformation.CreateStackInput, want types.StackStatus) types.Stack {
	w.t.Helper()
	out, err := w.Stacks.CreateStack(context.Background(), in)
	if err != nil {
		w.t.Fatalf("creating %s: %v", *in.StackName, err)
	}
	return w.demand(*out.StackId, want)
}

// update updates a stack and demands that it comes to a status.
func (w *world) update(in *cloudformation.UpdateStackInput, want types.StackStatus) types.Stack {
	w.t.Helper()
	out, err := w.Stacks.UpdateStack(context.Background(), in)
	if err != nil {
		w.t.Fatalf("updating %s: %v", *in.StackName, err)
	}
	return w.demand(*out.StackId, want)
}

func (w *world) demand(id string, want types.StackStatus) types.Stack {
	w.t.Helper()
	st := w.settled(id)
	if st.StackStatus != want {
		w.t.Fatalf("got %s (%s), want %s\n%s", st.StackStatus, aws.ToString(st.StackStatusReason), want, w.story(id))
	}
	return st
}

// delete deletes a stack and demands that it is gone.
func (w *world) delete(name string) {
	w.t.Helper()
	id := *w.settled(name).StackId
	if _, err := w.Stacks.DeleteStack(context.Background(), &cloudformation.DeleteStackInput{StackName: &id}); err != nil {
		w.t.Fatalf("deleting %s: %v", id, err)
	}
	w.demand(id, types.StackStatusDeleteComplete)
}

// events are a stack's, the oldest first, as LOGICAL STATUS REASON.
func (w *world) events(id string) []string {
	w.t.Helper()
	var list []string
	p := cloudformation.NewDescribeStackEventsPaginator(w.Stacks, &cloudformation.DescribeStackEventsInput{StackName: &id})
	for p.HasMorePages() {
		page, err := p.NextPage(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range page.StackEvents {
			text := aws.ToString(e.LogicalResourceId) + " " + string(e.ResourceStatus)
			if e.ResourceStatusReason != nil {
				text += " " + *e.ResourceStatusReason
			}
			list = append(list, text)
		}
	}
	slices.Reverse(list)
	return list
}

func (w *world) story(id string) string { return strings.Join(w.events(id), "\n") }

// logGroups are the names of all log groups with the prefix.
func (w *world) logGroups(prefix string) []string {
	w.t.Helper()
	out, err := w.Logs.DescribeLogGroups(context.Background(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &prefix})
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, g := range out.LogGroups {
		names = append(names, *g.LogGroupName)
	}
	return names
}

// retention is that of a log group in days.
func (w *world) retention(name string) int32 {
	w.t.Helper()
	out, err := w.Logs.DescribeLogGroups(context.Background(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
	if err != nil || len(out.LogGroups) == 0 {
		w.t.Fatalf("looking at %s: %v", name, err)
	}
	return aws.ToInt32(out.LogGroups[0].RetentionInDays)
}

// secrets are the names of all secrets.
func (w *world) secrets() []string {
	w.t.Helper()
	out, err := w.Secrets.ListSecrets(context.Background(), &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(100)})
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, s := range out.SecretList {
		names = append(names, *s.Name)
	}
	return names
}

// refused demands that an operation fails with a code and a text.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || e.ErrorMessage() != text {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

// parameter is one parameter of a request.
func parameter(name, value string) types.Parameter {
	return types.Parameter{ParameterKey: &name, ParameterValue: &value}
}

func output(st types.Stack, name string) string {
	for _, o := range st.Outputs {
		if *o.OutputKey == name {
			return *o.OutputValue
		}
	}
	return ""
}

// groups is a template of log groups with retention, one after another.
func groups(days int, names ...string) string {
	text, before := `{"Resources":{`, ""
	for i, name := range names {
		if i > 0 {
			text += ","
		}
		depends := ""
		if before != "" {
			depends = fmt.Sprintf(`,"DependsOn":%q`, before)
		}
		text += fmt.Sprintf(`%q:{"Type":"AWS::Logs::LogGroup"%s,"Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/%s"},"RetentionInDays":%d}}`, name, depends, name, days)
		before = name
	}
	return text + `}}`
}
