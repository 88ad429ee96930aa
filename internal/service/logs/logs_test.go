package logs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/service/logs"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// bench is a service with a client.
type bench struct {
	*servicetest.Parts
	*cloudwatchlogs.Client
	ctx context.Context
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T) *bench {
	p := servicetest.NewParts(t)
	_, cfg := p.Serve(t, logs.New(logs.Config{Store: p.Store, Guard: p.Guard}).Wire())
	return &bench{p, cloudwatchlogs.NewFromConfig(cfg), t.Context(), t, time.Now().Truncate(time.Second).Add(-time.Hour)}
}

// must returns v and fails the test on an error.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// append stores entries one second apart, as a function does.
func (b *bench) append(group, stream string, after time.Duration, messages ...string) {
	b.t.Helper()
	entries := make([]loggroup.Entry, len(messages))
	for i, m := range messages {
		at := b.now.Add(after + time.Duration(i)*time.Second)
		entries[i] = loggroup.Entry{Time: at, IngestedAt: at, Message: m}
	}
	err := b.Store.Update(b.ctx, func(tx *store.Tx) error {
		return tx.AppendLogEntries(servicetest.Account, servicetest.Region, group, stream, entries)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) ms(after time.Duration) *int64 { return aws.Int64(b.now.Add(after).UnixMilli()) }

// wantError fails the test unless err has the code and the message.
func wantError(t *testing.T, what string, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Errorf("%s: got error %v, want %s: %s", what, err, code, message)
	}
}

const noGroup, noStream = "The specified log group does not exist.", "The specified log stream does not exist."

func TestLogGroups(t *testing.T) {
	b := newBench(t)
	create := func(name string) error {
		_, err := b.CreateLogGroup(b.ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name, Tags: map[string]string{"team": "db"}})
		return err
	}
	for _, name := range []string{"/aws/lambda/a", "/aws/lambda/b", "other"} {
		if err := create(name); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "again", create("other"), "ResourceAlreadyExistsException", "The specified log group already exists")
	wantError(t, "bad name", create("a:b"), "InvalidParameterException",
		`1 validation error detected: Value 'a:b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`)
	if _, err := b.PutRetentionPolicy(b.ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("other"), RetentionInDays: aws.Int32(14)}); err != nil {
		t.Fatal(err)
	}
	_, err := b.PutRetentionPolicy(b.ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("other"), RetentionInDays: aws.Int32(2)})
	wantError(t, "retention", err, "InvalidParameterException", "1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]")

	describe := must[*cloudwatchlogs.DescribeLogGroupsOutput](t)
	page := describe(b.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{Limit: aws.Int32(2)}))
	rest := describe(b.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{Limit: aws.Int32(2), NextToken: page.NextToken}))
	if len(page.LogGroups) != 2 || page.NextToken == nil || len(rest.LogGroups) != 1 || rest.NextToken != nil {
		t.Fatalf("got pages of %d and %d groups", len(page.LogGroups), len(rest.LogGroups))
	}
	want := types.LogGroup{
		LogGroupName: aws.String("other"), MetricFilterCount: aws.Int32(0), RetentionInDays: aws.Int32(14), StoredBytes: aws.Int64(0),
		Arn:         aws.String("arn:aws:logs:us-east-1:123456789012:log-group:other:*"),
		LogGroupArn: aws.String("arn:aws:logs:us-east-1:123456789012:log-group:other"), LogGroupClass: types.LogGroupClassStandard,
	}
	if diff := cmp.Diff(want, rest.LogGroups[0], cmpopts.IgnoreUnexported(types.LogGroup{}), cmpopts.IgnoreFields(types.LogGroup{}, "CreationTime")); diff != "" {
		t.Errorf("group (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		in   cloudwatchlogs.DescribeLogGroupsInput
		want string
	}{
		{cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/aws/lambda/")}, "/aws/lambda/a /aws/lambda/b"},
		{cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePattern: aws.String("LAMBDA/b")}, "/aws/lambda/b"},
		{cloudwatchlogs.DescribeLogGroupsInput{LogGroupIdentifiers: []string{"other", "gone", "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/a"}}, "other /aws/lambda/a"},
		{cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("none")}, ""},
	} {
		var names []string
		for _, g := range describe(b.DescribeLogGroups(b.ctx, &tc.in)).LogGroups {
			names = append(names, *g.LogGroupName)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
	_, err = b.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("a"), LogGroupNamePattern: aws.String("a")})
	wantError(t, "prefix and pattern", err, "InvalidParameterException", "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	_, err = b.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{NextToken: aws.String("!")})
	wantError(t, "token", err, "InvalidParameterException", "The specified nextToken is invalid.")

	for range 2 {
		_, err = b.DeleteLogGroup(b.ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String("other")})
	}
	wantError(t, "delete twice", err, "ResourceNotFoundException", noGroup)
	if err := create("other"); err != nil {
		t.Errorf("making a deleted group again: %v", err)
	}
}

func TestTags(t *testing.T) {
	b := newBench(t)
	const arn = "arn:aws:logs:us-east-1:123456789012:log-group:g"
	b.append("g", "s", 0, "x")
	ok := must[any](t)
	ok(b.TagResource(b.ctx, &cloudwatchlogs.TagResourceInput{ResourceArn: aws.String(arn), Tags: map[string]string{"a": "1", "b": "2"}}))
	//lint:ignore SA1019 clients still use it
	ok(b.TagLogGroup(b.ctx, &cloudwatchlogs.TagLogGroupInput{LogGroupName: aws.String("g"), Tags: map[string]string{"b": "3", "c": "4"}}))
	ok(b.UntagResource(b.ctx, &cloudwatchlogs.UntagResourceInput{ResourceArn: aws.String(arn), TagKeys: []string{"a", "none"}}))
	got := must[*cloudwatchlogs.ListTagsForResourceOutput](t)(b.ListTagsForResource(b.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: aws.String(arn)}))
	if diff := cmp.Diff(map[string]string{"b": "3", "c": "4"}, got.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	many := map[string]string{}
	for i := range 49 {
		many[fmt.Sprint("k", i)] = ""
	}
	_, err := b.TagResource(b.ctx, &cloudwatchlogs.TagResourceInput{ResourceArn: aws.String(arn), Tags: many})
	wantError(t, "too many", err, "TooManyTagsException", "A resource can have no more than 50 tags.")
	_, err = b.ListTagsForResource(b.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: aws.String(arn + "x")})
	wantError(t, "no group", err, "ResourceNotFoundException", noGroup)
	_, err = b.ListTagsForResource(b.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: aws.String(strings.Replace(arn, "1234", "9999", 1))})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "AccessDeniedException" {
		t.Errorf("another account: got error %v, want AccessDeniedException", err)
	}
}

func TestLogStreams(t *testing.T) {
	b := newBench(t)
	b.append("g", "b", 0, "x")
	b.append("g", "a", time.Minute, "x", "y")
	if _, err := b.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("new")}); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("a")})
	wantError(t, "again", err, "ResourceAlreadyExistsException", "The specified log stream already exists")
	_, err = b.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("none"), LogStreamName: aws.String("a")})
	wantError(t, "no group", err, "ResourceNotFoundException", noGroup)

	arn := aws.String("arn:aws:logs:us-east-1:123456789012:log-group:g")
	for _, tc := range []struct {
		in   cloudwatchlogs.DescribeLogStreamsInput
		want string
	}{
		{cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g")}, "a b new"},
		{cloudwatchlogs.DescribeLogStreamsInput{LogGroupIdentifier: arn, Descending: aws.Bool(true)}, "new b a"},
		{cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g"), LogStreamNamePrefix: aws.String("n")}, "new"},
		{cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g"), OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)}, "a b new"},
	} {
		var names []string
		tc.in.Limit = aws.Int32(1)
		pages := cloudwatchlogs.NewDescribeLogStreamsPaginator(b.Client, &tc.in)
		for pages.HasMorePages() {
			for _, s := range must[*cloudwatchlogs.DescribeLogStreamsOutput](t)(pages.NextPage(b.ctx)).LogStreams {
				names = append(names, *s.LogStreamName)
			}
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
	got := must[*cloudwatchlogs.DescribeLogStreamsOutput](t)(b.DescribeLogStreams(b.ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g")})).LogStreams
	want := types.LogStream{
		//lint:ignore SA1019 clients still use it
		LogStreamName: aws.String("a"), Arn: aws.String(*arn + ":log-stream:a"), StoredBytes: aws.Int64(0),
		FirstEventTimestamp: b.ms(time.Minute), LastEventTimestamp: b.ms(61 * time.Second), LastIngestionTime: b.ms(61 * time.Second),
	}
	if diff := cmp.Diff(want, got[0], cmpopts.IgnoreUnexported(types.LogStream{}), cmpopts.IgnoreFields(types.LogStream{}, "CreationTime", "UploadSequenceToken")); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if got[2].LastEventTimestamp != nil {
		t.Errorf("an empty stream has the last event %d", *got[2].LastEventTimestamp)
	}

	_, err = b.DescribeLogStreams(b.ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g"), LogGroupIdentifier: arn})
	wantError(t, "name and ARN", err, "ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	_, err = b.DescribeLogStreams(b.ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g"), LogStreamNamePrefix: aws.String("x"), OrderBy: types.OrderByLastEventTime})
	wantError(t, "prefix by time", err, "InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
	for range 2 {
		_, err = b.DeleteLogStream(b.ctx, &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("a")})
	}
	wantError(t, "delete twice", err, "ResourceNotFoundException", noStream)
}

// events makes input events at times after now.
func (b *bench) events(after ...time.Duration) (list []types.InputLogEvent) {
	for i, d := range after {
		list = append(list, types.InputLogEvent{Timestamp: b.ms(d), Message: aws.String(fmt.Sprint("m", i))})
	}
	return list
}

func TestPutLogEvents(t *testing.T) {
	b := newBench(t)
	b.append("g", "s", 0, "x")
	day := 24 * time.Hour
	if _, err := b.PutRetentionPolicy(b.ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("g"), RetentionInDays: aws.Int32(5)}); err != nil {
		t.Fatal(err)
	}
	put := func(events []types.InputLogEvent) (*cloudwatchlogs.PutLogEventsOutput, error) {
		return b.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), LogEvents: events})
	}
	for _, tc := range []struct {
		name   string
		events []types.InputLogEvent
		want   *types.RejectedLogEventsInfo
	}{
		{"fine", b.events(-day, 0, 0), nil},
		{"new", b.events(0, 4*time.Hour, 5*time.Hour), &types.RejectedLogEventsInfo{TooNewLogEventStartIndex: aws.Int32(1)}},
		{"old", b.events(-15*day, -15*day), &types.RejectedLogEventsInfo{TooOldLogEventEndIndex: aws.Int32(2)}},
		{"expired", b.events(-5*day-time.Hour, -5*day+2*time.Hour), &types.RejectedLogEventsInfo{ExpiredLogEventEndIndex: aws.Int32(1)}},
		{"old and expired", b.events(-14*day-2*time.Hour, -13*day-8*time.Hour), &types.RejectedLogEventsInfo{TooOldLogEventEndIndex: aws.Int32(1), ExpiredLogEventEndIndex: aws.Int32(2)}},
	} {
		out, err := put(tc.events)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, out.RejectedLogEventsInfo, cmpopts.IgnoreUnexported(types.RejectedLogEventsInfo{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if out.NextSequenceToken == nil {
			t.Errorf("%s: no sequence token", tc.name)
		}
	}
	out := must[*cloudwatchlogs.GetLogEventsOutput](t)(b.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")}))
	var all string
	for _, e := range out.Events {
		all += *e.Message + " "
	}
	if want := "m1 m0 x m1 m2 m0 "; all != want {
		t.Errorf("stored %q, want %q", all, want)
	}

	big := strings.Repeat("x", 250<<10)
	for _, tc := range []struct {
		name, message string
		events        []types.InputLogEvent
	}{
		{"order", "Log events in a single PutLogEvents request must be in chronological order.", b.events(time.Second, 0)},
		{"span", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.", b.events(-25*time.Hour, 0)},
		{"one too large", "Log event too large: 262145 bytes exceeds limit of 262144", []types.InputLogEvent{{Timestamp: b.ms(0), Message: aws.String(strings.Repeat("x", 262119))}}},
		{"all too large", "Upload too large: 1280130 bytes exceeds limit of 1048576", []types.InputLogEvent{
			{Timestamp: b.ms(0), Message: &big}, {Timestamp: b.ms(0), Message: &big}, {Timestamp: b.ms(0), Message: &big}, {Timestamp: b.ms(0), Message: &big}, {Timestamp: b.ms(0), Message: &big},
		}},
	} {
		_, err := put(tc.events)
		wantError(t, tc.name, err, "InvalidParameterException", tc.message)
	}
	_, err := b.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("none"), LogEvents: b.events(0)})
	wantError(t, "no stream", err, "ResourceNotFoundException", noStream)
	_, err = b.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String("none"), LogStreamName: aws.String("s"), LogEvents: b.events(0)})
	wantError(t, "no group", err, "ResourceNotFoundException", noGroup)
}

// The events of entries name no message.
func TestPutLogEventsTrail(t *testing.T) {
	b := newBench(t)
	b.append("g", "s", 0, "x")
	in := &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), LogEvents: []types.InputLogEvent{{Timestamp: b.ms(0), Message: aws.String("canary")}},
	}
	if _, err := b.PutLogEvents(b.ctx, in); err != nil {
		t.Fatal(err)
	}
	err := b.Store.View(b.ctx, func(tx *store.Tx) error {
		events, _, err := tx.Events(store.EventQuery{Account: servicetest.Account, Region: servicetest.Region, Limit: 9})
		if err != nil {
			return err
		}
		if len(events) != 1 || events[0].Name != "PutLogEvents" || strings.Contains(string(events[0].JSON), "canary") {
			t.Errorf("got %d events, first %s", len(events), events[0].JSON)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
