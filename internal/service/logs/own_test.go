package logs_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// TestOwnGroups leaves the server's own log groups to the server, whatever a
// client may otherwise do.
func TestOwnGroups(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const group, stream = "/keyturn/rotation", "stream"
	b.append(group, stream, 0, "written by the server")
	name := aws.String(group)
	found := must[*cloudwatchlogs.DescribeLogGroupsOutput](t)(b.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: name}))
	if len(found.LogGroups) != 1 {
		t.Fatalf("got %d groups, want 1", len(found.LogGroups))
	}
	arn := found.LogGroups[0].LogGroupArn
	events := []types.InputLogEvent{{Message: aws.String(`{"status":"succeeded"}`), Timestamp: b.ms(0)}}
	for what, call := range map[string]func() error{
		"CreateLogStream": func() error {
			_, err := b.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: name, LogStreamName: aws.String("token")})
			return err
		},
		"DeleteLogStream": func() error {
			_, err := b.DeleteLogStream(b.ctx, &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: name, LogStreamName: aws.String(stream)})
			return err
		},
		"PutLogEvents": func() error {
			_, err := b.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: name, LogStreamName: aws.String(stream), LogEvents: events})
			return err
		},
		"PutLogEvents by ARN": func() error {
			_, err := b.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: arn, LogStreamName: aws.String(stream), LogEvents: events})
			return err
		},
	} {
		if what == "PutLogEvents by ARN" { // which is no name of a group, to the client's or the server's check
			if call() == nil {
				t.Errorf("%s: got no error", what)
			}
			continue
		}
		wantError(t, what, call(), "AccessDeniedException", "Log groups whose names begin with /keyturn/ are written by the server alone.")
	}
	got := must[*cloudwatchlogs.FilterLogEventsOutput](t)(b.FilterLogEvents(b.ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: name}))
	if len(got.Events) != 1 || aws.ToString(got.Events[0].Message) != "written by the server" {
		t.Errorf("got events %+v, want what the server wrote", got.Events)
	}
	must[*cloudwatchlogs.DescribeLogStreamsOutput](t)(b.DescribeLogStreams(b.ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: name}))
	must[*cloudwatchlogs.ListTagsForResourceOutput](t)(b.ListTagsForResource(b.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: arn}))
}
