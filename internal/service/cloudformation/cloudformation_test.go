package cloudformation_test

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
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

const group = `{"Description":"one group","Resources":{"G":{"Type":"AWS::Logs::LogGroup","Metadata":{"a":{"b":1}},"Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}"}}}}}`

// refused demands that an operation fails with a code and a text.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || e.ErrorMessage() != text {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

// create makes a stack of the template and waits with the SDK's own waiter.
func create(t testing.TB, s *apitest.Server, in *cloudformation.CreateStackInput) types.Stack {
	t.Helper()
	if _, err := s.Stacks.CreateStack(t.Context(), in); err != nil {
		t.Fatalf("creating %s: %v", *in.StackName, err)
	}
	w := cloudformation.NewStackCreateCompleteWaiter(s.Stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	out, err := w.WaitForOutput(t.Context(), &cloudformation.DescribeStacksInput{StackName: in.StackName}, time.Minute)
	if err != nil {
		t.Fatalf("waiting for %s: %v", *in.StackName, err)
	}
	return out.Stacks[0]
}

// What does not exist is told in the words of each operation.
func TestMissing(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	none := aws.String("none")
	call := func(name string, fn func() error, code, text string) {
		t.Helper()
		t.Run(name, func(t *testing.T) { refused(t, fn(), code, text) })
	}
	describe := func() error {
		_, err := s.Stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: none})
		return err
	}
	call("DescribeStacks", describe, missing, "Stack with id none does not exist")
	call("DescribeStackEvents", func() error {
		_, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: none})
		return err
	}, missing, "Stack [none] does not exist")
	call("DescribeStackResource", func() error {
		_, err := s.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: none, LogicalResourceId: none})
		return err
	}, missing, "Stack 'none' does not exist")
	call("DescribeStackResources", func() error {
		_, err := s.Stacks.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: none})
		return err
	}, missing, "Stack with id none does not exist")
	call("ListStackResources", func() error {
		_, err := s.Stacks.ListStackResources(ctx, &cloudformation.ListStackResourcesInput{StackName: none})
		return err
	}, missing, "Stack with id none does not exist")
	call("GetTemplate", func() error {
		_, err := s.Stacks.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: none})
		return err
	}, missing, "Stack with id none does not exist")
	call("UpdateStack", func() error {
		_, err := s.Stacks.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: none, TemplateBody: aws.String(group)})
		return err
	}, missing, "Stack [none] does not exist")
	call("ListChangeSets", func() error {
		_, err := s.Stacks.ListChangeSets(ctx, &cloudformation.ListChangeSetsInput{StackName: none})
		return err
	}, missing, "Stack [none] does not exist")
	call("change set by ARN", func() error {
		_, err := s.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: aws.String("arn:aws:cloudformation:us-east-1:123456789012:changeSet/a/b")})
		return err
	}, "ChangeSetNotFound", "ChangeSet [arn:aws:cloudformation:us-east-1:123456789012:changeSet/a/b] does not exist")
	if _, err := s.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: none}); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

const missing = "ValidationError"

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	for name, tc := range map[string]struct {
		edit       func(*cloudformation.CreateStackInput)
		code, text string
	}{
		"no template": {func(in *cloudformation.CreateStackInput) { in.TemplateBody = nil }, missing, "Either Template URL or Template Body must be specified."},
		"URL": {func(in *cloudformation.CreateStackInput) {
			in.TemplateBody, in.TemplateURL = nil, aws.String("https://bucket.s3.amazonaws.com/template.json")
		}, missing, "TemplateURL must be a supported URL."},
		"too long": {func(in *cloudformation.CreateStackInput) { in.TemplateBody = aws.String(strings.Repeat(" ", 51201)) }, missing,
			"1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200"},
		"not JSON": {func(in *cloudformation.CreateStackInput) { in.TemplateBody = aws.String(`{"Resources":`) }, missing, ""},
		"unknown type": {func(in *cloudformation.CreateStackInput) {
			in.TemplateBody = aws.String(`{"Resources":{"A":{"Type":"AWS::S3::Bucket"}}}`)
		}, missing, "Template format error: Unrecognized resource types: [AWS::S3::Bucket]"},
		"name": {func(in *cloudformation.CreateStackInput) { in.StackName = aws.String("1st") }, missing, "1 validation error detected: Value '1st' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"},
		"parameter": {func(in *cloudformation.CreateStackInput) {
			in.Parameters = []types.Parameter{{ParameterKey: aws.String("x"), ParameterValue: aws.String("y")}}
		}, missing, "Parameters: [x] do not exist in the template"},
		"capability": {func(in *cloudformation.CreateStackInput) {
			in.TemplateBody = aws.String(`{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{}}}}}`)
		}, "InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]"},
		"expansion": {func(in *cloudformation.CreateStackInput) {
			in.TemplateBody = aws.String(`{"Transform":"AWS::Serverless-2016-10-31","Resources":{"F":{"Type":"AWS::Serverless::Function"}}}`)
		}, "InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_AUTO_EXPAND]"},
		"resource types": {func(in *cloudformation.CreateStackInput) { in.ResourceTypes = []string{"AWS::IAM::*"} }, missing, "Resource type AWS::Logs::LogGroup is not allowed by parameter ResourceTypes [AWS::IAM::*]"},
		"stack policy":   {func(in *cloudformation.CreateStackInput) { in.StackPolicyURL = aws.String("https://x") }, missing, "StackPolicyURL must be a supported URL."},
		"both": {func(in *cloudformation.CreateStackInput) {
			in.OnFailure, in.DisableRollback = types.OnFailureDelete, aws.Bool(false)
		}, missing, "You cannot specify both DisableRollback and OnFailure"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &cloudformation.CreateStackInput{StackName: aws.String("new"), TemplateBody: aws.String(group)}
			tc.edit(in)
			_, err := s.Stacks.CreateStack(context.WithoutCancel(ctx), in)
			if tc.text == "" {
				if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != tc.code || !strings.HasPrefix(e.ErrorMessage(), "Template format error:") {
					t.Errorf("got %v", err)
				}
				return
			}
			refused(t, err, tc.code, tc.text)
		})
	}
	_, err := s.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: aws.String("none"), ChangeSetName: aws.String("none"), ChangeSetType: types.ChangeSetTypeImport, TemplateBody: aws.String(group),
	})
	refused(t, err, missing, "Importing existing resources is not supported by this server.")
	const foreign = "arn:aws:cloudformation:us-east-1:123456789012:stack/none/51af3dc0-da77-11e4-872e-1234567db123"
	_, err = s.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: aws.String(foreign), ChangeSetName: aws.String("none"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(group),
	})
	refused(t, err, missing, "Stack ["+foreign+"] does not exist")
	if list, err := s.Stacks.ListStacks(ctx, &cloudformation.ListStacksInput{}); err != nil || len(list.StackSummaries) != 0 {
		t.Errorf("got %v, %v after refusals alone", list, err)
	}
}

// What no statement of a stack policy allows is denied.
func TestStackPolicyAllowsNothing(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	create(t, s, &cloudformation.CreateStackInput{
		StackName: aws.String("guarded"), TemplateBody: aws.String(group),
		StackPolicyBody: aws.String(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"Update:*","NotResource":"LogicalResourceId/G"}]}`),
	})
	up := strings.Replace(group, `"Properties":{`, `"Properties":{"RetentionInDays":7,`, 1)
	if _, err := s.Stacks.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: aws.String("guarded"), TemplateBody: &up}); err != nil {
		t.Fatal(err)
	}
	rolled := cloudformation.NewStackRollbackCompleteWaiter(s.Stacks, func(o *cloudformation.StackRollbackCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	if err := rolled.Wait(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("guarded")}, time.Minute); err != nil {
		t.Error(err)
	}
	events, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: aws.String("guarded")})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events.StackEvents, func(e types.StackEvent) bool {
		return aws.ToString(e.ResourceStatusReason) == "Action denied by stack policy: No statement allows [Update:Modify] for resource [LogicalResourceId/G]"
	}) {
		t.Error("the stack policy was not applied")
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("shown"), TemplateBody: aws.String(group), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		NotificationARNs: []string{"arn:aws:sns:us-east-1:123456789012:t"}, TimeoutInMinutes: aws.Int32(5), EnableTerminationProtection: aws.Bool(true),
		RollbackConfiguration: &types.RollbackConfiguration{
			MonitoringTimeInMinutes: aws.Int32(3), RollbackTriggers: []types.RollbackTrigger{{Arn: aws.String("arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"), Type: aws.String("AWS::CloudWatch::Alarm")}},
		},
	}
	st := create(t, s, in)
	if st.DriftInformation.StackDriftStatus != types.StackDriftStatusNotChecked || *st.TimeoutInMinutes != 5 || !*st.EnableTerminationProtection ||
		*st.Description != "one group" || *st.DisableRollback || len(st.Tags) != 1 || !slices.Equal(st.NotificationARNs, in.NotificationARNs) ||
		*st.RollbackConfiguration.MonitoringTimeInMinutes != 3 || len(st.RollbackConfiguration.RollbackTriggers) != 1 || len(st.LastOperations) != 1 {
		t.Errorf("got %+v", st)
	}
	template, err := s.Stacks.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: st.StackId})
	if err != nil || *template.TemplateBody != group {
		t.Errorf("got %v, %v", template, err)
	}
	r, err := s.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: st.StackName, LogicalResourceId: aws.String("G")})
	if err != nil || *r.StackResourceDetail.Metadata != `{"a":{"b":1}}` || *r.StackResourceDetail.PhysicalResourceId != "/shown" {
		t.Errorf("got %v, %v", r, err)
	}
	_, err = s.Stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: st.StackName, LogicalResourceId: aws.String("H")})
	refused(t, err, "ValidationError", "Resource H does not exist for stack shown")
	by, err := s.Stacks.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{PhysicalResourceId: aws.String("/shown")})
	if err != nil || len(by.StackResources) != 1 || *by.StackResources[0].StackName != "shown" {
		t.Errorf("got %v, %v", by, err)
	}
	_, err = s.Stacks.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{PhysicalResourceId: aws.String("/none")})
	refused(t, err, "ValidationError", "Stack for /none does not exist")
	list, err := s.Stacks.ListStacks(ctx, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{types.StackStatusCreateComplete}})
	if err != nil || len(list.StackSummaries) != 1 {
		t.Errorf("got %v, %v", list, err)
	}
	if list, err := s.Stacks.ListStacks(ctx, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{types.StackStatusDeleteComplete}}); err != nil || len(list.StackSummaries) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
	valid, err := s.Stacks.ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{
		TemplateBody: aws.String(`{"Parameters":{"P":{"Type":"String","NoEcho":true,"Default":"d","Description":"e"}},"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{}}}}}`),
	})
	if err != nil || len(valid.Parameters) != 1 || !*valid.Parameters[0].NoEcho || *valid.CapabilitiesReason != "The following resource(s) require capabilities: [AWS::IAM::Role]" {
		t.Errorf("got %+v, %v", valid, err)
	}
	sum, err := s.Stacks.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: st.StackName})
	if err != nil || !slices.Equal(sum.ResourceTypes, []string{"AWS::Logs::LogGroup"}) {
		t.Errorf("got %+v, %v", sum, err)
	}
	if limits, err := s.Stacks.DescribeAccountLimits(ctx, &cloudformation.DescribeAccountLimitsInput{}); err != nil || len(limits.AccountLimits) != 3 {
		t.Errorf("got %v, %v", limits, err)
	}
	nested, err := s.Stacks.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: st.StackName, ChangeSetName: aws.String("nested"), UsePreviousTemplate: aws.Bool(true), IncludeNestedStacks: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := s.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: nested.Id}); err != nil || !*set.IncludeNestedStacks {
		t.Errorf("got %v, %v", set, err)
	}
	// The trail tells of the call and of what it made others do.
	found, err := s.Trail.LookupEvents(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for _, e := range found.Events {
		made[*e.EventName] = *e.CloudTrailEvent
	}
	if !strings.Contains(made["CreateLogGroup"], `"invokedBy":"cloudformation.amazonaws.com"`) || !strings.Contains(made["CreateStack"], `"stackId":"`+*st.StackId) {
		t.Errorf("got %v", made)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	var b strings.Builder
	b.WriteString(`{"Resources":{`)
	for i := range 120 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"H%03d":{"Type":"AWS::CloudFormation::WaitConditionHandle"}`, i)
	}
	b.WriteString(`},"Outputs":{`)
	for i := range 110 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"O%03d":{"Value":"%d","Export":{"Name":"export-%03d"}}`, i, i, i)
	}
	b.WriteString(`}}`)
	create(t, s, &cloudformation.CreateStackInput{StackName: aws.String("big"), TemplateBody: aws.String(b.String())})
	var ids []string
	pages := cloudformation.NewListStackResourcesPaginator(s.Stacks, &cloudformation.ListStackResourcesInput{StackName: aws.String("big")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.StackResourceSummaries {
			ids = append(ids, *r.LogicalResourceId)
		}
	}
	want := make([]string, 120)
	for i := range want {
		want[i] = fmt.Sprintf("H%03d", i)
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	var exports int
	more := cloudformation.NewListExportsPaginator(s.Stacks, &cloudformation.ListExportsInput{})
	for more.HasMorePages() {
		page, err := more.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		exports += len(page.Exports)
	}
	if exports != 110 {
		t.Errorf("got %d exports, want 110", exports)
	}
	var events int
	seen := map[string]bool{}
	told := cloudformation.NewDescribeStackEventsPaginator(s.Stacks, &cloudformation.DescribeStackEventsInput{StackName: aws.String("big")})
	for told.HasMorePages() {
		page, err := told.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.StackEvents {
			events++
			seen[*e.EventId] = true
		}
	}
	if events != 2+3*120 || len(seen) != events {
		t.Errorf("got %d events with %d IDs, want %d", events, len(seen), 2+3*120)
	}
	_, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: aws.String("big"), NextToken: aws.String("!")})
	refused(t, err, "ValidationError", "The specified NextToken is invalid.")
}

// Each operation is authorised on the stack by its ARN, with the condition
// keys of the request and of the stack.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	st := create(t, s, &cloudformation.CreateStackInput{StackName: aws.String("mine"), TemplateBody: aws.String(group), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("db")}}})
	create(t, s, &cloudformation.CreateStackInput{StackName: aws.String("other"), TemplateBody: aws.String(group)})
	ann := cloudformation.NewFromConfig(s.NewUser(t, "ann"))
	put := func(statements string) {
		t.Helper()
		if _, err := s.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
			UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`),
		}); err != nil {
			t.Fatal(err)
		}
	}
	describe := func(name string) error {
		_, err := ann.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
		return err
	}
	denied := func(action, resource string) string {
		return "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: cloudformation:" + action + " on resource: " + resource +
			" because no identity-based policy allows the cloudformation:" + action + " action"
	}
	put(`{"Effect":"Allow","Action":"cloudformation:*","Resource":"arn:aws:cloudformation:us-east-1:123456789012:stack/mine/*"}`)
	if err := describe("mine"); err != nil {
		t.Error(err)
	}
	if err := describe("other"); !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("got %v", err)
	}
	refused(t, describe("none"), "AccessDenied", denied("DescribeStacks", "arn:aws:cloudformation:us-east-1:123456789012:stack/none/*"))
	put(`{"Effect":"Allow","Action":"cloudformation:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"db"}}}`)
	if err := describe(*st.StackId); err != nil {
		t.Error(err)
	}
	if err := describe("other"); err == nil {
		t.Error("a stack without the tag is shown")
	}
	put(`{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"},{"Effect":"Deny","Action":"cloudformation:CreateChangeSet","Resource":"*","Condition":{"StringEquals":{"cloudformation:ChangeSetName":"forbidden"}}}`)
	set := func(name string) error {
		_, err := ann.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{StackName: st.StackName, ChangeSetName: &name, TemplateBody: aws.String(group)})
		return err
	}
	if err := set("allowed"); err != nil {
		t.Error(err)
	}
	if err := set("forbidden"); err == nil || !strings.Contains(err.Error(), "with an explicit deny in an identity-based policy") {
		t.Errorf("got %v", err)
	}
	put(`{"Effect":"Allow","Action":"cloudformation:CreateStack","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"db"}}}`)
	_, err := ann.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("third"), TemplateBody: aws.String(group)})
	refused(t, err, "AccessDenied", denied("CreateStack", "arn:aws:cloudformation:us-east-1:123456789012:stack/third/*"))

	// A policy for the stack takes the right to set one, also for one update.
	put(`{"Effect":"Allow","Action":["cloudformation:CreateStack","cloudformation:UpdateStack"],"Resource":"*"}`)
	const lax = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`
	_, err = ann.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("third"), TemplateBody: aws.String(group), StackPolicyBody: aws.String(lax)})
	refused(t, err, "AccessDenied", denied("SetStackPolicy", "arn:aws:cloudformation:us-east-1:123456789012:stack/third/*"))
	for _, in := range []*cloudformation.UpdateStackInput{{StackPolicyBody: aws.String(lax)}, {StackPolicyDuringUpdateBody: aws.String(lax)}} {
		in.StackName, in.TemplateBody = st.StackName, aws.String(group)
		_, err := ann.UpdateStack(ctx, in)
		refused(t, err, "AccessDenied", denied("SetStackPolicy", *st.StackId))
	}
	put(`{"Effect":"Allow","Action":["cloudformation:CreateStack","cloudformation:SetStackPolicy"],"Resource":"*"}`)
	if _, err = ann.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("third"), TemplateBody: aws.String(group), StackPolicyBody: aws.String(lax)}); err != nil {
		t.Error(err)
	}
}

// What a transform makes needs its capabilities too, though no change set
// shows it.
func TestProcessedCapabilities(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	const body = `{"Transform":"AWS::LanguageExtensions","Resources":{"Fn::ForEach::Roles":["N",["a"],{"Role${N}":{"Type":"AWS::IAM::Role",
		"Properties":{"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}}}}]}}`
	in := &cloudformation.CreateStackInput{StackName: aws.String("roles"), TemplateBody: aws.String(body), Capabilities: []types.Capability{types.CapabilityCapabilityAutoExpand}}
	if _, err := s.Stacks.CreateStack(ctx, in); err != nil {
		t.Fatal(err)
	}
	made := cloudformation.NewStackCreateCompleteWaiter(s.Stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	if err := made.Wait(ctx, &cloudformation.DescribeStacksInput{StackName: in.StackName}, time.Minute); err == nil {
		t.Error("the roles are made without CAPABILITY_IAM")
	}
	events, err := s.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: in.StackName})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events.StackEvents, func(e types.StackEvent) bool {
		return aws.ToString(e.ResourceStatusReason) == "Requires capabilities : [CAPABILITY_IAM]. Rollback requested by user."
	}) {
		t.Errorf("got %+v", events.StackEvents)
	}
	in.StackName, in.Capabilities = aws.String("granted"), append(in.Capabilities, types.CapabilityCapabilityIam)
	create(t, s, in)
}
